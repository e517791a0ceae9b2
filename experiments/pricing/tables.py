"""What `hushgrid experiment pricing` prints and writes: distances of the greedy, sensitivities, the paper's own numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from experiments.pricing.feeders import HOME, Distance, question
from grid_operator.market.privacy import Attitude, printed_noise
from grid_operator.market.state_error import BoughtMode
from hushgrid.tables import Sheet, numbers, words

#: Fig. 6 varies these around the home of the random feeders.
LAMBDAS, BETAS = (15.0, 60.0, 240.0), (0.25, 0.5, 0.75, 1.0)
PAPER = Attitude(loss_aversion=500.0, risk_aversion=0.5, steepness=0.1, hesitation=10.0)
_PAPER_COMPENSATION, _PAPER_HOMES, _PAPER_DEVICE, _PAPER_BUDGET, _PAPER_LEVEL = 420.37, 58, 10_000, 30_000, 0.7788


@dataclass(frozen=True, slots=True)
class PriceSensitivity:
    """The mended campaign on one feeder for homes with this lambda and beta (Fig. 6). epsilon, compensation None: no offer."""

    loss_aversion: float
    risk_aversion: float
    devices: int
    epsilon: float | None
    compensation: float | None
    cost: float
    reached: bool


def sensitivities(*, seed: int, draws: int) -> list[PriceSensitivity]:
    """Of feeder 0, whose target and devices stay what they are: what is bought when privacy is dearer."""
    found = []
    asked = question(0, mode=BoughtMode.INDIVIDUAL, seed=seed, draws=draws)
    for loss_aversion in LAMBDAS:
        for risk_aversion in BETAS:
            home = replace(HOME, loss_aversion=loss_aversion, risk_aversion=risk_aversion)
            best = asked.valuing(home).search().mended()
            offer = best.campaign.offer
            devices = len(best.campaign.devices)
            epsilon = None if offer is None else offer.epsilon
            compensation = None if offer is None else offer.compensation
            found.append(
                PriceSensitivity(loss_aversion, risk_aversion, devices, epsilon, compensation, best.cost, best.reached)
            )
    return found


@dataclass(frozen=True, slots=True)
class Claim:
    """One of the paper's own numbers, and what follows from the others."""

    what: str
    printed: float
    follows: float

    @property
    def consistent(self) -> bool:
        """Whether they agree to the digits printed."""
        return math.isclose(self.printed, self.follows, rel_tol=5e-4)


def claims() -> list[Claim]:
    """The paper's case study, held against its equations (eqs. 5 to 7, 12)."""
    epsilon = 1 - _PAPER_LEVEL
    total = _PAPER_HOMES * _PAPER_COMPENSATION + _PAPER_DEVICE
    return [
        Claim("privacy-level as exp(-eps) of eps = 0.25", _PAPER_LEVEL, math.exp(-0.25)),
        Claim("compensation that 99 % accept, eps = 0.25", _PAPER_COMPENSATION, PAPER.compensation(0.25, 0.99)),
        Claim(f"the same, eps = 1 - {_PAPER_LEVEL}", _PAPER_COMPENSATION, PAPER.compensation(epsilon, 0.99)),
        Claim("budget, for 58 homes and a device", _PAPER_BUDGET, total),
        Claim(
            "eps of one home under eq. 4 as printed", epsilon, printed_noise(np.eye(1, _PAPER_HOMES), epsilon).guarantee
        ),
    ]


def distance_sheet(rows: Sequence[Distance]) -> Sheet:
    """The greedy of eqs. 12 and 13 and the mended one beside the exact campaign."""
    out = Sheet(
        "The cheapest campaign on random feeders: cost over that of the exact search",
        numbers("feeder", "purchases", "exact cost", "printed", "mended", "error, mean", "95 %", "campaigns"),
        "model money; purchases: of the exact campaign; error: of its state, in units of the target; campaigns: looked at",
    )
    for row in rows:
        out.add(
            str(row.feeder), str(row.purchases), f"{row.exact_cost:,.2f}",
            f"{row.printed_ratio:.3f}" if row.printed_reached else "not reached", f"{row.mended_ratio:.3f}",
            f"{row.error_mean:.2f}", f"{row.error_quantile_95:.2f}", str(row.evaluated),
        )  # fmt: skip
    return out


def distance_line(rows: Sequence[Distance]) -> str:
    """Means and worst cases of those that reached their targets."""
    printed = [row.printed_ratio for row in rows if row.printed_reached]
    mended = [row.mended_ratio for row in rows]
    if not printed:
        return "the printed greedy reached no target"
    return (
        f"printed greedy: {len(printed)} of {len(rows)} targets reached, mean {sum(printed) / len(printed):.3f}, worst {max(printed):.3f} "
        f"of the exact cost; mended: mean {sum(mended) / len(mended):.3f}, worst {max(mended):.3f}"
    )


def claim_sheet(rows: Sequence[Claim]) -> Sheet:
    """The paper's numbers beside what follows from its equations."""
    out = Sheet(
        "The paper's case study against its own equations",
        [*words("of the paper"), *numbers("printed", "follows", "agree")],
    )
    for row in rows:
        out.add(row.what, f"{row.printed:,.6g}", f"{row.follows:,.6g}", "yes" if row.consistent else "no")
    return out
