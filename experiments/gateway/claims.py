"""What the paper says of differential privacy for meters, each beside what the exact laws say (docs/reproduction.md).

Nothing is simulated. Energies in kWh; noise is drawn over whole Wh, and computed so.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from hushgrid.search import least
from privacy_gateway.ledger.price import MICRO, FailureDelta, PrivacyPrice
from privacy_gateway.noise.laws import LaplaceLaw
from privacy_gateway.noise.mechanisms import NoiseMechanism, gaussian_for_epsilon, laplace

HOURS_OF_DAY, HOURS_OF_YEAR = 24, 8760
_WATT_HOURS = 1000


@dataclass(frozen=True, slots=True)
class PaperClaim:
    """One sentence of the paper, and what is so. holds: yes, no, or under which condition."""

    where: str
    paper: str
    computed: str
    holds: str


@dataclass(frozen=True, slots=True)
class HomesNeeded:
    """How many homes make an hour's total so large that 95 % of its noise lies within a share of it."""

    share_percent: float
    hourly_kwh: float
    noise_kwh: float
    homes: int


@dataclass(frozen=True, slots=True)
class StreamRow:
    """Noise on each of so many hourly totals, when all of them together may cost a home epsilon. kWh."""

    totals: int
    laplace_scale: float
    laplace_deviation: float
    laplace_95: float
    gaussian_deviation: float
    gaussian_95: float


@dataclass(frozen=True, slots=True)
class NoiseSetting:
    """bound_watt_hours: the most one home can move an hour's total; epsilon_micro: to be spent, on all that is told."""

    bound_watt_hours: int
    epsilon_micro: int
    delta: FailureDelta

    def single(self) -> NoiseMechanism:
        """Of one hour's total."""
        return laplace(self.bound_watt_hours, self.epsilon_micro)


def kilowatt_hours(watt_hours: float) -> float:
    """For tables."""
    return watt_hours / _WATT_HOURS


def homes_needed(
    setting: NoiseSetting, shares_percent: Sequence[float], uses_kwh: Sequence[float]
) -> list[HomesNeeded]:
    """Every share for every use of a home in an hour."""
    width = setting.single().half_width
    return [
        HomesNeeded(
            share, use, kilowatt_hours(width), math.ceil(width / (_exactly(share) / 100 * _exactly(use) * _WATT_HOURS))
        )
        for share in shares_percent
        for use in uses_kwh
    ]


def stream_row(setting: NoiseSetting, totals: int) -> StreamRow:
    """ValueError where the epsilon is worth no rho that could be charged."""
    single = laplace(totals * setting.bound_watt_hours, setting.epsilon_micro)
    stream = gaussian_for_epsilon(totals * setting.bound_watt_hours**2, setting.epsilon_micro, setting.delta)
    if stream is None:
        raise ValueError(f"an epsilon of {setting.epsilon_micro / MICRO:g} is too little")
    return StreamRow(
        totals=totals,
        laplace_scale=kilowatt_hours(totals * setting.bound_watt_hours * MICRO / setting.epsilon_micro),
        laplace_deviation=kilowatt_hours(single.law.standard_deviation),
        laplace_95=kilowatt_hours(single.half_width),
        gaussian_deviation=kilowatt_hours(stream.law.standard_deviation),
        gaussian_95=kilowatt_hours(stream.half_width),
    )


def first_gaussian(setting: NoiseSetting) -> int:
    """From so many totals on the Gaussian's interval is the narrower one.

    It grows with the root of their number, Laplace's with the number itself.
    """
    below, above = 0, 1
    while _laplace_is_narrower(setting, above):
        below, above = above, 2 * above
    return least(lambda totals: not _laplace_is_narrower(setting, totals), below, above)


def paper_claims(delta: FailureDelta) -> list[PaperClaim]:
    """The sentences of section 3 and of the summary that state a number: 5 kWh is their bound, 1 their epsilon."""
    paper = NoiseSetting(5 * _WATT_HOURS, MICRO, delta)
    example = stream_row(NoiseSetting(5 * _WATT_HOURS, MICRO // 2, delta), 1)
    day = stream_row(paper, HOURS_OF_DAY)
    scale_10 = LaplaceLaw(Fraction(10 * _WATT_HOURS))
    inside, width = scale_10.within(10 * _WATT_HOURS), kilowatt_hours(scale_10.half_width)
    by_adding = HOURS_OF_DAY * MICRO // 2
    by_rho = delta.worth_micro(PrivacyPrice(rho_pico=HOURS_OF_DAY * (MICRO // 2) ** 2 // 2))
    use = 1.2
    needed = {row.share_percent: row.homes for row in homes_needed(paper, (1, 0.1), (use,))}
    of_a_day = math.ceil(day.gaussian_95 / (0.001 * use))
    alone = kilowatt_hours(paper.single().half_width)
    return [
        PaperClaim("3.1", "Delta 5 kWh, epsilon 0.5: scale 10 kWh", f"scale {example.laplace_scale:g} kWh", "yes"),
        PaperClaim(
            "3.1", "its standard deviation is about 10 kWh",
            f"{kilowatt_hours(scale_10.standard_deviation):.2f} kWh", "no: sqrt 2 times 10",
        ),
        PaperClaim(
            "3.1", "totals are typically within +-10 kWh",
            f"{100 * inside:.1f} % are; 95 % within +-{width:.2f} kWh", "two times in three",
        ),
        PaperClaim(
            "3.1", "24 hours at epsilon 0.5 add up to 12",
            f"{by_adding / MICRO:g} by adding; {by_rho / MICRO:.2f} as zCDP at delta {float(delta.delta):g}", "yes",
        ),
        PaperClaim(
            "3.3", "a single home's hour would be meaningless",
            f"+-{alone:.2f} kWh on {use:g} kWh: {100 * alone / use:,.0f} %", "yes",
        ),
        PaperClaim(
            "summary", "epsilon <= 1: noise below 1 % of feeder-level hourly totals",
            f"one hour: from {needed[1]:,} homes of {use:g} kWh on", "for large feeders",
        ),
        PaperClaim(
            "9", "load shapes with noise +-0.1 % of total load",
            f"one hour: from {needed[0.1]:,} homes on; 24 of them: from {of_a_day:,}", "for towns",
        ),
    ]  # fmt: skip


def _laplace_is_narrower(setting: NoiseSetting, totals: int) -> bool:
    row = stream_row(setting, totals)
    return row.laplace_95 < row.gaussian_95


def _exactly(number: float) -> Fraction:
    """As it was written: 0.1 is one tenth."""
    return Fraction(str(number))
