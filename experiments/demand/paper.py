"""The paper's own example (its eq. 37 and Figs. 1 to 3): two loads, both readings of Sigma, points and sums."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from grid_operator.arrays import Floats
from grid_operator.demand.closed import half_width, largest_interval, probability_inside, rms_above, total_variance
from grid_operator.demand.control import ControlLimits
from grid_operator.demand.filtering import Sampling, worst_variance
from grid_operator.demand.model import FlexibleLoads, SigmaReading, mean_after, offsets, variance_after
from grid_operator.demand.simulation import Programme, ShareRule, simulate

#: Eq. 37, and the horizon K of the text. Y* is printed as 949482 and read as 94.9482: Y_b = 25 would be nothing beside the other.
ALPHA, BETA, SIGMA, TARGET, BOUND, HORIZON = "0.64,-0.32", "2.54,1.27", "10,20", 94.9482, 25.0, 128
#: The paper's probability of its Fig. 3.
BAND = 0.99
#: Constructed, as the paper prints no habit: how far habits swing, over how many rounds, and how far apart the loads are.
_SWING, _SWING_ROUNDS, _FIRST_SHARE = 0.2, 48, 0.58
#: alpha of the slow loads, which inform over more rounds.
SLOW_ALPHA = 0.95


@dataclass(frozen=True, slots=True)
class DemandRow:
    """What one sampling interval comes to. interval: None is never. epsilon_per_day: None where nothing is noised.

    variance: of the controlled total's error, in the last round before the loads are seen again. rms_above_cap: above target + bound.
    simulated_: what runs of the model came to, with its standard error; None where only the closed form was asked.
    """

    loads: str
    sigma: str
    sampling: str
    interval: int | None
    variance: float
    probability: float
    half_width: float
    rms_above_cap: float
    epsilon_per_day: float | None = None
    simulated_probability: float | None = None
    simulated_error: float | None = None
    simulated_half_width: float | None = None


@dataclass(frozen=True, slots=True)
class Question:
    """The loads as they are printed, and the band. ValueError, once `loads` is asked, for loads that cannot be."""

    alpha: tuple[float, ...]
    beta: tuple[float, ...]
    sigma: tuple[float, ...]
    target: float
    bound: float

    def loads(self, reading: SigmaReading) -> FlexibleLoads:
        """With Sigma read so."""
        return FlexibleLoads.of(self.alpha, self.beta, self.sigma, reading)

    def habit(self) -> Floats:
        """Constructed habits, (rounds + 1, loads): a daily swing around the target, the first load a little larger."""
        count = len(self.alpha)
        parts = np.array([_FIRST_SHARE, *[(1 - _FIRST_SHARE) / max(count - 1, 1)] * (count - 1)])
        swing = 1 + _SWING * np.sin(2 * np.pi * np.arange(HORIZON + 1) / _SWING_ROUNDS)
        return np.asarray(self.target * parts / parts.sum() * swing[:, None])


def paper_rows(
    question: Question, reading: SigmaReading, intervals: Sequence[int | None], runs: int, seed: int
) -> list[DemandRow]:
    """Points as the paper takes them, beside simulation, and sums as a feeder's meters send them."""
    loads, rows = question.loads(reading), []
    for interval in intervals:
        row = _row("paper", reading, Sampling.POINT, interval, total_variance(loads, interval), question.bound)
        fits = interval is None or interval <= HORIZON
        rows.append(_simulated(row, question, loads, runs, seed) if fits else row)
    for interval in intervals:
        variance = worst_variance(loads, Sampling.SUM, interval)
        rows.append(_row("paper", reading, Sampling.SUM, interval, variance, question.bound))
    return rows


def slow_rows(intervals: Sequence[int | None]) -> list[DemandRow]:
    """One slow load with a disturbance of variance 1: here the interval counts. The band is its own 99 % without sampling."""
    loads = FlexibleLoads((SLOW_ALPHA,), (1.0,), (1.0,))
    bound = half_width(total_variance(loads, None), BAND)
    return [
        _row("slow", SigmaReading.VARIANCE, sampling, interval, worst_variance(loads, sampling, interval), bound)
        for sampling in Sampling
        for interval in intervals
    ]


def _row(
    name: str, reading: SigmaReading, sampling: Sampling, interval: int | None, variance: float, bound: float
) -> DemandRow:
    inside, width, above = probability_inside(variance, bound), half_width(variance, BAND), rms_above(variance, bound)
    return DemandRow(name, reading.value, sampling.value, interval, variance, inside, width, above)


def _simulated(row: DemandRow, question: Question, loads: FlexibleLoads, runs: int, seed: int) -> DemandRow:
    programme = Programme(question.target, row.interval)
    rng = np.random.default_rng([seed, row.interval or 0, len(row.sigma)])
    played = simulate(loads, question.habit(), programme, runs, rng)
    gaps = np.abs(played.totals[list(played.due)] - question.target)
    inside = float((gaps <= question.bound).mean())
    return DemandRow(
        row.loads, row.sigma, row.sampling, row.interval, row.variance, row.probability, row.half_width, row.rms_above_cap,
        simulated_probability=inside,
        simulated_error=float(np.sqrt(row.probability * (1 - row.probability) / gaps.size)),
        simulated_half_width=float(np.quantile(gaps, BAND)),
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Drift:
    """What a rule of shares does to single loads, over all rounds and runs: how many values are negative, the largest |y|."""

    shares: str
    sigma: str
    interval: int
    negative_fraction: float
    largest: float


def drift(question: Question, reading: SigmaReading, runs: int, seed: int) -> list[Drift]:
    """The printed rule beside shares from baselines, loads seen in every round."""
    found = []
    for rule in ShareRule:
        rng = np.random.default_rng([seed, 1])
        played = simulate(question.loads(reading), question.habit(), Programme(question.target, 1, rule), runs, rng)
        found.append(Drift(rule.value, reading.value, 1, played.negative_fraction, played.largest))
    return found


@dataclass(frozen=True, slots=True)
class HeldBack:
    """What a limit does to control of the paper's loads, N = 1, simulated. idle_fraction: of all orders, those that are 0."""

    what: str
    sigma: str
    probability: float
    half_width: float
    idle_fraction: float


def held_back(question: Question, reading: SigmaReading, runs: int, seed: int) -> list[HeldBack]:
    """The paper's wishes: control that is bounded or has a price, and a load that does not answer.

    Bounds: half of what free control orders at most. Price: such that deviations below one standard deviation of the total's
    disturbance are left alone.
    """
    loads, habit = question.loads(reading), question.habit()
    spread = float(np.sqrt(total_variance(loads, 1)))
    most = float(np.abs(habit.sum(axis=1) - question.target).max() / np.abs(loads.betas).sum() / 2)
    limits = {
        "free": ControlLimits(),
        f"|u| at most {most:.2f}": ControlLimits(-most, most),
        f"price {2 * spread:.2f} on |u|": ControlLimits(price=2 * spread),
    }
    if len(loads.alpha) > 1:
        limits["load 1 is silent"] = ControlLimits(silent=frozenset({0}))
    found = []
    for what, limit in limits.items():
        programme = Programme(question.target, 1, limits=limit)
        played = simulate(loads, habit, programme, runs, np.random.default_rng([seed, 3]))
        gaps = np.abs(played.totals - question.target)
        inside, width = float((gaps <= question.bound).mean()), float(np.quantile(gaps, BAND))
        found.append(HeldBack(what, reading.value, inside, width, played.idle_fraction))
    return found


@dataclass(frozen=True, slots=True)
class Longest:
    """The paper's design question: the largest N with Pr >= 1 - miss; None: loads need never be seen, 0: no N is enough."""

    sigma: str
    miss: float
    interval: int | None

    @property
    def words(self) -> str:
        """The same as a person reads it."""
        return {None: "never need be seen", 0: "no interval is enough"}.get(self.interval, f"N = {self.interval}")


def longest(question: Question, reading: SigmaReading, misses: Sequence[float]) -> list[Longest]:
    """For each probability to miss the band."""
    loads = question.loads(reading)
    return [Longest(reading.value, miss, largest_interval(loads, question.bound, miss)) for miss in misses]


@dataclass(frozen=True, slots=True)
class Nominal:
    """What Fig. 1 draws. uncontrolled: the total without control, one run. expected, spread: its mean and deviation by eq. 35."""

    uncontrolled: Floats = field(repr=False)
    controlled: Floats = field(repr=False)
    expected: Floats = field(repr=False)
    spread: Floats = field(repr=False)


def nominal(question: Question, reading: SigmaReading, seed: int) -> Nominal:
    """One run of `HORIZON` rounds without and with control in every round, from the same disturbances."""
    loads, habit = question.loads(reading), question.habit()
    mu, rng = offsets(loads, habit), np.random.default_rng([seed, 2])
    y, free, expected, spread = habit[0], [], [], []
    for k in range(HORIZON):
        y = loads.alphas * y + mu[k] + loads.deviations * rng.standard_normal(len(loads.alpha))
        free.append(y.sum())
        expected.append(mean_after(loads, habit[0], np.zeros_like(mu[: k + 1]), mu[: k + 1]).sum())
        spread.append(float(np.sqrt(variance_after(loads, k + 1).sum())))
    played = simulate(loads, habit, Programme(question.target, 1), 1, np.random.default_rng([seed, 2]))
    return Nominal(np.array(free), played.totals[:, 0], np.array(expected), np.array(spread))
