"""One feeder, controlled below a cap from what is released of it, on measured or constructed flows.

What homes do is given; what their flexible part does when it is told is constructed: it follows eq. 30 with beta = 1, one unit of
control is 1 kW. Rounds are on the first axis, runs with noise of their own on the second.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass, field

import numpy as np

from grid_operator import noise
from grid_operator.arrays import Floats
from grid_operator.demand.closed import half_width
from grid_operator.demand.filtering import Sampling, WindowFilter
from grid_operator.demand.model import FlexibleLoads


class Act(enum.StrEnum):
    """shed: only what is expected above the cap. hold: eq. 36 in every round, with the smaller of baseline and cap as its target."""

    SHED = "shed"
    HOLD = "hold"


@dataclass(frozen=True, slots=True)
class CappedFeeder:
    """demand_kw: what flows without control, (rounds,). habit_kw: its baseline. alpha, variance: how deviations go on."""

    demand_kw: Floats
    habit_kw: Floats
    alpha: float
    variance: float

    @property
    def loads(self) -> FlexibleLoads:
        """The feeder as one load."""
        return FlexibleLoads((self.alpha,), (1.0,), (self.variance,))


@dataclass(frozen=True, slots=True)
class Released:
    """What the operator gets: a point or a sum every `interval` rounds (None: nothing), with noise of that scale.

    noise_factor: what nodes make of it (`noise.nodes_factor`).
    """

    sampling: Sampling = Sampling.POINT
    interval: int | None = 1
    noise_scale: float = 0.0
    noise_factor: float = 1.0

    def check(self, rounds_per_day: int) -> None:
        """ValueError for an interval that does not divide the day: its windows would wander through it."""
        if self.interval is not None and (self.interval < 1 or rounds_per_day % self.interval):
            raise ValueError(f"an interval of {self.interval} rounds does not divide the day of {rounds_per_day}")


@dataclass(frozen=True, slots=True)
class Cap:
    """Where the flow is to stay, and with what. flexible_fraction: of the baseline, the part that control may move.

    price: see `grid_operator.demand.control.ControlLimits`. answering_fraction: of an order, the part that is followed.
    """

    kilowatts: float
    act: Act = Act.SHED
    flexible_fraction: float = 1.0
    price: float = 0.0
    answering_fraction: float = 1.0

    def check(self, feeder: CappedFeeder) -> None:
        """ValueError for a cap that cannot be kept, or numbers without a meaning."""
        for name, value in (("flexible", self.flexible_fraction), ("answering", self.answering_fraction)):
            if not 0 <= value <= 1:
                raise ValueError(f"the {name} fraction is between 0 and 1, not {value:g}")
        if not (self.price >= 0 and math.isfinite(self.price)):
            raise ValueError(f"a price of control is at least 0, not {self.price:g}")
        must_run = (1 - self.flexible_fraction) * float(feeder.habit_kw.max())
        if not (self.kilowatts > 0 and math.isfinite(self.kilowatts)):
            raise ValueError(f"a cap is above 0 kW, not {self.kilowatts:g}")
        if self.kilowatts < must_run:
            raise ValueError(f"a cap of {self.kilowatts:g} kW is below the {must_run:.1f} kW that must run")


@dataclass(frozen=True, slots=True)
class Controlled:
    """flow_kw: (rounds, runs), from the second round on. due, inside: of rounds just before a window is known, and within the band.

    moved_kwh_per_run: energy that control moved, up or down.
    """

    cap_kw: float
    flow_kw: Floats = field(repr=False)
    due: int
    inside: int
    moved_kw_rounds: float

    @property
    def peak_kw(self) -> float:
        """The highest flow of a run, on average over the runs."""
        return float(self.flow_kw.max(axis=0).mean())

    @property
    def rms_above_kw(self) -> float:
        """Root of the mean square above the cap; what is not above it counts as 0."""
        return rms_above_cap(self.flow_kw, self.cap_kw)


def rms_above_cap(flow_kw: Floats, cap_kw: float) -> float:
    """Root of the mean square above a cap, over all rounds and runs."""
    return float(np.sqrt(np.mean(np.maximum(flow_kw - cap_kw, 0.0) ** 2)))


def control(
    feeder: CappedFeeder,
    released: Released,
    cap: Cap,
    rng: np.random.Generator,
    runs: int = 1,
    reported: Floats | None = None,
) -> Controlled:
    """Play all rounds of a feeder.

    reported: the part of each round's flow that meters report, (rounds,) or (rounds, runs); 1 without theft, and where what is
    stolen was found and is added again. The baseline is from before any theft. ValueError for what `Cap.check` refuses.
    """
    cap.check(feeder)
    demand, habit, alpha = feeder.demand_kw, feeder.habit_kw, feeder.alpha
    rounds = len(demand)
    share = np.ones(rounds) if reported is None else reported
    spread = noise.variance(released.noise_scale, released.noise_factor)
    known = WindowFilter(feeder.loads, released.sampling, spread, runs)
    deviation = np.full(runs, demand[0] - habit[0])
    flow, summed = np.empty((rounds - 1, runs)), np.zeros(runs)
    due = inside = 0
    moved = 0.0
    for k in range(rounds - 1):
        known.elapse()
        seen = share[k] * (habit[k] + deviation) - habit[k]
        summed = summed + seen
        ends = released.interval is not None and (k + 1) % released.interval == 0
        if ends:
            wanted = summed if released.sampling is Sampling.SUM else seen
            drawn = noise.draw(released.noise_scale, released.noise_factor, runs, rng) if released.noise_scale else 0.0
            known.observe(wanted + drawn)
            summed = np.zeros(runs)
        told = _order(cap, habit[k + 1], alpha * known.deviation[0])
        known.advance(told[None, :])
        happened = demand[k + 1] - habit[k + 1] - alpha * (demand[k] - habit[k])
        deviation = alpha * deviation + cap.answering_fraction * told + happened
        flow[k] = habit[k + 1] + deviation
        moved += float(np.abs(told).mean()) * cap.answering_fraction
        if released.interval is not None and (k + 2) % released.interval == 0:
            due += runs
            inside += int((np.abs(deviation - known.deviation[0]) <= half_width(known.total_variance)).sum())
    return Controlled(cap.kilowatts, flow, due, inside, moved)


def _order(cap: Cap, habit_kw: float, expected: Floats) -> Floats:
    """kW by which the next round is to move. expected: its deviation without an order, (runs,)."""
    if cap.act is Act.SHED:
        gap = np.minimum(0.0, cap.kilowatts - habit_kw - expected)
    else:
        gap = min(habit_kw, cap.kilowatts) - habit_kw - expected
    gap = np.sign(gap) * np.maximum(0.0, np.abs(gap) - cap.price / 2)
    movable = cap.flexible_fraction * max(habit_kw, 0.0)  # homes that feed in have nothing to shed
    return np.asarray(np.clip(gap, -movable, movable))
