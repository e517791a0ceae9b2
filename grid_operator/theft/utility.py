"""The utility's side: how many false alarms it best pays for, and what it earns.

The best e maximizes sum rho(e) F - psi(e) over [0, 1] (eqs. 5, 23, 25-27). The profit is R(e, D) - C({Y_k}) - psi(e) (eqs. 1, 2, 28).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar

from grid_operator.arrays import Floats
from grid_operator.theft.errors import TheftError
from grid_operator.theft.roc import RatioTest


@dataclass(frozen=True, slots=True)
class Effort:
    """The best false-alarm probability e, the detection of each thief there, and what it is worth.

    tau: where one threshold serves all thieves, else None. corner: whether e is 0 or 1 because the curve's slope never meets the cost.
    """

    false_alarm: float
    detections: tuple[float, ...]
    utility: float
    tau: float | None
    corner: bool


def equal_thieves(test: RatioTest, thieves: int, fine: float, cost_slope: float) -> Effort:
    """All thieves steal the same q_u and psi(e) = cost_slope e: tau* = ln(psi' / (|O| F)), as the curve's slope at tau is e^tau.

    The slope is not infinite at e = 0 (what the paper says before section VI): where psi' / (|O| F) is above it, the best effort is none.
    """
    _check(thieves, fine, cost_slope)
    tau = math.log(cost_slope / (thieves * fine)) if cost_slope else -math.inf
    if tau >= test.largest or tau <= test.least:
        end = 0.0 if tau >= test.largest else 1.0
        return Effort(end, (end,) * thieves, thieves * fine - cost_slope if end else 0.0, tau, corner=True)
    false_alarm, detection = test.above(tau, stolen=False), test.above(tau, stolen=True)
    utility = thieves * fine * detection - cost_slope * false_alarm
    return Effort(false_alarm, (detection,) * thieves, utility, tau, corner=False)


def best_effort(thieves: Sequence[tuple[RatioTest, float]], cost: Callable[[float], float]) -> Effort:
    """Thieves (their test, their fine) who steal different amounts, and any cost psi(e): by a search over e, both ends included.

    Each thief is tested against his own f1*; all tests share e.
    """
    if not thieves:
        raise TheftError("there is no thief to look for")
    for _, fine in thieves:
        _check(len(thieves), fine, 0.0)

    def utility(false_alarm: float) -> float:
        found = sum(fine * test.detection(false_alarm) for test, fine in thieves)
        spent = float(cost(false_alarm))
        if not math.isfinite(spent):
            raise TheftError(
                f"false alarms of {false_alarm:g} cost {spent}: psi is a finite number everywhere in [0, 1]"
            )
        return found - spent

    ends = np.logspace(-9, -2, 22)
    tried = np.concatenate([[0.0], ends, np.linspace(0.02, 0.98, 49), 1 - ends[::-1], [1.0]])
    values = [utility(e) for e in tried]
    at = int(np.argmax(values))
    best, false_alarm = values[at], float(tried[at])
    low, high = tried[max(0, at - 1)], tried[min(at + 1, len(tried) - 1)]
    refined = minimize_scalar(lambda e: -utility(e), bounds=(low, high), method="bounded", options={"xatol": 1e-12})
    if -refined.fun > best:
        best, false_alarm = float(-refined.fun), float(refined.x)
    detections = tuple(test.detection(false_alarm) for test, _ in thieves)
    return Effort(false_alarm, detections, best, None, corner=false_alarm in (0.0, 1.0))


@dataclass(frozen=True, slots=True)
class SupplyPrice:
    """C = r sum Y_k + p max Y_k (eq. 28). energy_price r per unit of energy, peak_price p per unit of the largest slot; p > r."""

    energy_price: float
    peak_price: float

    def __post_init__(self) -> None:
        if not 0 <= self.energy_price < self.peak_price < math.inf:
            raise TheftError(
                f"prices of {self.energy_price} and {self.peak_price}: the peak's is the higher one, none below 0"
            )

    def cost(self, load: Floats) -> float:
        """Of the load per slot, stolen energy included: it has to be bought too."""
        if load.size == 0 or not np.isfinite(load).all():
            raise TheftError("a load has one slot at least, and every slot is a number")
        return float(self.energy_price * load.sum() + self.peak_price * load.max())


@dataclass(frozen=True, slots=True)
class HomeAccount:
    """One home's part of eq. 1. used: q; stolen: q_u, 0 of an honest home; detection: rho; fine: F(q_u)."""

    used: float
    stolen: float = 0.0
    detection: float = 0.0
    fine: float = 0.0


@dataclass(frozen=True, slots=True)
class Profit:
    """The terms of eq. 2. tariffs and fines are R."""

    tariffs: float
    fines: float
    supply: float
    effort: float

    @property
    def total(self) -> float:
        """R(e, D) - C - psi(e)."""
        return self.tariffs + self.fines - self.supply - self.effort


def profit(accounts: Sequence[HomeAccount], tariff: Callable[[float], float], supply: float, effort: float) -> Profit:
    """Eqs. 1 and 2. tariff: T, of the energy that is billed; supply: C; effort: psi(e)."""
    for account in accounts:
        if (
            not 0 <= account.stolen <= account.used
            or not 0 <= account.detection <= 1
            or not 0 <= account.fine < math.inf
        ):
            raise TheftError(
                f"{account}: stolen is within what is used, detection between 0 and 1, a fine is finite and not below 0"
            )
    tariffs = sum(tariff(account.used - account.stolen) for account in accounts)
    fines = sum(account.detection * account.fine for account in accounts)
    return Profit(float(tariffs), float(fines), supply, effort)


def _check(thieves: int, fine: float, cost_slope: float) -> None:
    if thieves < 1:
        raise TheftError(f"{thieves} thieves: there is one at least")
    if not 0 < fine < math.inf:
        raise TheftError(f"a fine of {fine} is not a finite amount above 0")
    if not 0 <= cost_slope < math.inf:
        raise TheftError(f"a false alarm that costs {cost_slope} is not understood: a finite amount, at least 0")
