"""A feeder of homes below a cap: what an interval and a budget of epsilon leave of control, and what stands beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from experiments.demand.homes import Homes
from experiments.demand.paper import BAND, DemandRow
from grid_operator import noise
from grid_operator.demand.baselines import Habit
from grid_operator.demand.closed import half_width, probability_inside
from grid_operator.demand.feeder import Act, Cap, CappedFeeder, Released, control, rms_above_cap
from grid_operator.demand.filtering import Sampling, worst_variance
from grid_operator.demand.model import SigmaReading
from grid_operator.demand.proxy import above_median_auc, held

#: Of the highest uncontrolled flow, where no cap is given.
CAP_FRACTION = 0.75
#: Days before a stretch of days on which alpha is fitted, where it must not know what comes; and how long the stretch is.
FITTED_DAYS, COVERED_DAYS = 28, 8


@dataclass(frozen=True, slots=True)
class FeederStage:
    """A feeder, its cap, and how often what is random there is played."""

    feeder: CappedFeeder
    cap: Cap
    rounds_per_day: int
    runs: int
    seed: int


@dataclass(frozen=True, slots=True)
class NoiseTerms:
    """sensitivity_kw: by contract, of one home in one round. factor: what nodes make of it. margin_kw: the band a row's Pr is of."""

    sensitivity_kw: float
    factor: float
    margin_kw: float


@dataclass(frozen=True, slots=True)
class NoisyRow:
    """One interval under one budget: a row's numbers, how the budget is given, and the noise it means."""

    row: DemandRow
    budget: str
    epsilon_per_window: float
    noise_scale_kw: float
    peak_kw: float


@dataclass(frozen=True, slots=True)
class Beside:
    """What noisy sums are compared with. inside_fraction: of the rounds before a window is known, in the 99 % band; None: no windows."""

    what: str
    interval: int | None
    peak_kw: float
    rms_above_cap: float
    moved_kwh: float
    inside_fraction: float | None


def noisy_rows(
    stage: FeederStage, terms: NoiseTerms, intervals: Sequence[int], epsilons: Sequence[float], budget: str
) -> list[NoisyRow]:
    """Window sums with simulated noise. budget "day": each epsilon is spent over a day; "window": by every window."""
    found = []
    for epsilon in epsilons:
        for interval in intervals:
            if budget == "day":
                scale = noise.scale_per_day(terms.sensitivity_kw, interval, stage.rounds_per_day, epsilon)
            else:
                scale = noise.scale_per_window(terms.sensitivity_kw, interval, epsilon)
            windows = stage.rounds_per_day / interval
            daily = epsilon if budget == "day" else epsilon * windows
            released = Released(Sampling.SUM, interval, scale, terms.factor)
            played = control(
                stage.feeder, released, stage.cap, np.random.default_rng([stage.seed, interval]), stage.runs
            )
            spread = noise.variance(scale, terms.factor)
            variance = worst_variance(stage.feeder.loads, Sampling.SUM, interval, spread)
            row = DemandRow(
                "feeder", SigmaReading.VARIANCE.value, Sampling.SUM.value, interval, variance,
                probability_inside(variance, terms.margin_kw), half_width(variance, BAND), played.rms_above_kw, daily,
            )  # fmt: skip
            found.append(NoisyRow(row, budget, daily / windows, scale, played.peak_kw))
    return found


def beside(stage: FeederStage, intervals: Sequence[int], price: float) -> list[Beside]:
    """No control, exact points and sums, one device at the feeder, and what holds control back."""
    demand = stage.feeder.demand_kw[1:, None]
    found = [Beside("no control", None, float(demand.max()), rms_above_cap(demand, stage.cap.kilowatts), 0.0, None)]
    device = _exact(stage, "feeder device, no meters", Released(), stage.cap)
    found.append(device)
    for sampling in Sampling:
        found += [
            _exact(stage, f"exact {sampling.value}s", Released(sampling, interval), stage.cap) for interval in intervals
        ]
    bounded = replace(stage.cap, flexible_fraction=stage.cap.flexible_fraction * 0.1)
    must_run = (1 - bounded.flexible_fraction) * float(stage.feeder.habit_kw.max())
    if must_run <= stage.cap.kilowatts:
        found.append(_exact(stage, "a tenth of the habit can move", Released(), bounded))
    dear = replace(stage.cap, price=price)
    found.append(_exact(stage, f"a price on control, {price:g} kW", Released(), dear))
    half = replace(stage.cap, answering_fraction=stage.cap.answering_fraction / 2)
    found.append(_exact(stage, "half of an order is followed", Released(), half))
    return found


def _exact(stage: FeederStage, what: str, released: Released, cap: Cap) -> Beside:
    played = control(stage.feeder, released, cap, np.random.default_rng(stage.seed))
    inside = played.inside / played.due if played.due else None
    moved = played.moved_kw_rounds * 24 / stage.rounds_per_day
    return Beside(what, released.interval, played.peak_kw, played.rms_above_kw, moved, inside)


@dataclass(frozen=True, slots=True)
class Coverage:
    """How often the 99 % band held on the homes, over so many stretches of days; alpha: on average, as fitted before each."""

    interval: int
    stretches: int
    rounds: int
    inside_fraction: float
    lowest_fraction: float
    alpha: float


def coverage(homes: Homes, cap: Cap, intervals: Sequence[int], stretches: int, seed: int) -> list[Coverage]:
    """Stretches of `COVERED_DAYS` spread over the homes' days, each with a baseline and an alpha from the days before it."""
    first, last = 7 + FITTED_DAYS, homes.days - COVERED_DAYS
    if last < first:
        return []
    begins = np.unique(np.linspace(first, last, stretches).astype(int))
    feeders = [
        homes.feeder(Habit.WEEK, int(day), COVERED_DAYS, slice(int(day) - FITTED_DAYS, int(day))) for day in begins
    ]
    found = []
    for interval in intervals:
        played = [
            control(
                feeder, Released(interval=interval), replace(cap, flexible_fraction=1.0), np.random.default_rng(seed)
            )
            for feeder in feeders
        ]
        shares = [one.inside / one.due for one in played]
        alpha = float(np.mean([feeder.alpha for feeder in feeders]))
        due = sum(one.due for one in played)
        found.append(Coverage(interval, len(feeders), due, float(np.mean(shares)), min(shares), alpha))
    return found


@dataclass(frozen=True, slots=True)
class ProxyRow:
    """The attacker's proxy score against N, averaged over homes: from the home's own windows, and from all homes' together."""

    interval: int
    own_auc: float
    feeder_auc: float
    noisy_auc: float


def proxy_rows(homes: Homes, days: slice, intervals: Sequence[int], scale_kw: float, seed: int) -> list[ProxyRow]:
    """AUC for "above its own median this round" from a home's windows, the feeder's, and the feeder's with noise of that scale."""
    day = homes.rounds_per_day
    power = homes.power_kw[days.start * day : days.stop * day]
    changing = [place for place in range(power.shape[1]) if np.median(power[:, place]) < power[:, place].max()]
    found = []
    for interval in intervals:
        rng = np.random.default_rng([seed, interval])
        own, total = held(power, interval), held(power.sum(axis=1), interval)
        noisy = total + np.repeat(noise.draw(scale_kw, 1.0, len(total) // interval, rng), interval)
        scores = [
            [above_median_auc(power[:, place], seen) for place in changing for seen in released]
            for released in ((total,), (noisy,))
        ]
        mine = [above_median_auc(power[:, place], own[:, place]) for place in changing]
        found.append(ProxyRow(interval, float(np.mean(mine)), float(np.mean(scores[0])), float(np.mean(scores[1]))))
    return found


def cap_of(feeder: CappedFeeder, kilowatts: float | None, flexible_fraction: float, act: Act) -> Cap:
    """The cap that was asked for, or the stated fraction of the highest uncontrolled flow. ValueError for one that cannot be kept."""
    found = Cap(
        CAP_FRACTION * float(feeder.demand_kw.max()) if kilowatts is None else kilowatts, act, flexible_fraction
    )
    found.check(feeder)
    return found
