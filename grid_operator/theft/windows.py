"""Windows of honest history with a theft put in: how good a ranking is, measured before anybody is ranked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from grid_operator.arrays import Floats
from grid_operator.theft.errors import TheftError
from grid_operator.theft.ranking import Missing, PeriodSums, rank_of

_MOST_TRIES = 200


@dataclass(frozen=True, slots=True)
class WindowPlan:
    """Days before and after; a period's days (the supplier's billing period); slots of a day; the groups, each with a balance of its own.

    groups: homes by number, every home in one of them. gap_error: standard deviation of what is missing, as a share of the group's use.
    noise_scale: Laplace noise in each slot of the group's sum, in Wh; 0: the sum is exact.
    """

    groups: tuple[tuple[int, ...], ...]
    days_before: int = 28
    days_after: int = 14
    period_days: int = 7
    slots_per_day: int = 48
    gap_error: float = 0.0
    noise_scale: float = 0.0

    def __post_init__(self) -> None:
        if self.period_days < 1 or self.days_before % self.period_days or self.days_after % self.period_days:
            raise TheftError(
                f"{self.days_before} days before and {self.days_after} after are not whole periods of {self.period_days}"
            )
        if (
            min(self.days_before // self.period_days - 1, self.days_after) < 1
            or not 0 <= self.gap_error < 1
            or not 0 <= self.noise_scale < np.inf
        ):
            raise TheftError("two periods before and one after, and no error below 0")

    @property
    def days(self) -> int:
        """How long a window is."""
        return self.days_before + self.days_after


@dataclass(frozen=True, slots=True)
class TrialWindow:
    """group: its homes by number; sums: theirs; missing: as their balance says; thieves: who they are, by their place in the group."""

    group: tuple[int, ...]
    sums: PeriodSums
    missing: Missing
    thieves: tuple[int, ...]


class History:
    """Honest readings of homes, homes x slots, NaN where there is none; the first slot begins a day."""

    def __init__(self, watt_hours: Floats, slots_per_day: int = 48) -> None:
        """TheftError for readings that are not homes x whole days, or are no numbers."""
        if watt_hours.ndim != 2 or watt_hours.shape[1] % slots_per_day or np.isinf(watt_hours).any():
            raise TheftError("a history is homes x slots of whole days, each a number or none")
        known = np.isfinite(watt_hours)
        self.homes, self.days, self.slots_per_day = len(watt_hours), watt_hours.shape[1] // slots_per_day, slots_per_day
        self._sums, self._counts = (
            np.pad(np.cumsum(part, axis=1, dtype=float), ((0, 0), (1, 0)))
            for part in (np.where(known, watt_hours, 0.0), known)
        )

    def sums(self, homes: Sequence[int], first_day: int, periods: int, period_days: int) -> tuple[Floats, Floats]:
        """Wh, and counted slots: homes x periods."""
        edges = self.slots_per_day * (first_day + period_days * np.arange(periods + 1))
        at = np.ix_(np.array(homes, dtype=np.int64), edges)
        return np.diff(self._sums[at], axis=1), np.diff(self._counts[at], axis=1)

    def window(
        self, plan: WindowPlan, group: Sequence[int], first_day: int, fractions: Floats, rng: np.random.Generator
    ) -> TrialWindow:
        """One window. fractions: what each home of the group reports too little of its use after, 0 of the honest."""
        before, before_counted = self.sums(group, first_day, plan.days_before // plan.period_days, plan.period_days)
        true, counted = self.sums(
            group, first_day + plan.days_before, plan.days_after // plan.period_days, plan.period_days
        )
        after = true * (1 - fractions[:, None])
        slots = plan.days_after * plan.slots_per_day
        variance = (plan.gap_error * float(true.sum())) ** 2 + 2 * slots * plan.noise_scale**2
        error = plan.gap_error * float(true.sum()) * rng.normal()
        if plan.noise_scale:
            error += float(rng.laplace(0, plan.noise_scale, slots).sum())
        missing = Missing(float((true - after).sum()) + error, variance)
        sums = PeriodSums(before, before_counted, after, counted, plan.period_days * plan.slots_per_day)
        return TrialWindow(tuple(group), sums, missing, tuple(int(home) for home in np.flatnonzero(fractions)))


@dataclass(frozen=True, slots=True)
class Mix:
    """What thefts are put in. fractions: one is drawn for each thief; nobody, several: the shares of windows without and with 2 or 3."""

    fractions: tuple[float, ...]
    nobody: float = 0.0
    several: float = 0.0

    def __post_init__(self) -> None:
        if not self.fractions or not all(0 < fraction < 1 for fraction in self.fractions):
            raise TheftError("stolen fractions lie between 0 and 1")
        if not (self.nobody >= 0 and self.several >= 0 and self.nobody + self.several <= 1):
            raise TheftError("shares of windows add up to 1 at most")


def draw_windows(
    history: History, plan: WindowPlan, mix: Mix, count: int, rng: np.random.Generator
) -> list[TrialWindow]:
    """Windows at random days, the thief a random home. A window in which a home has no reading at all is drawn anew.

    TheftError where the history is shorter than a window, none is asked for, or a home has readings in none that is drawn.
    """
    if sorted(home for group in plan.groups for home in group) != list(range(history.homes)):
        raise TheftError("every home is in one group")
    if history.days < plan.days or plan.slots_per_day != history.slots_per_day:
        raise TheftError(f"a window takes {plan.days} days, and the history has {history.days}")
    if count < 1:
        raise TheftError("there is one window at least")
    group_of = {home: group for group in plan.groups for home in group}
    found = []
    for _ in range(count):
        thief, kind = int(rng.integers(history.homes)), rng.random()
        group = group_of[thief]
        first_day = _heard(history, plan, group, rng)
        thieves = [] if kind < mix.nobody else [group.index(thief)]
        if mix.nobody <= kind < mix.nobody + mix.several:
            others = [home for home in range(len(group)) if home != thieves[0]]
            thieves += list(rng.choice(others, min(int(rng.integers(1, 3)), len(others)), replace=False))
        fractions = np.zeros(len(group))
        fractions[thieves] = rng.choice(mix.fractions, len(thieves))
        found.append(history.window(plan, group, first_day, fractions, rng))
    return found


def _heard(history: History, plan: WindowPlan, group: Sequence[int], rng: np.random.Generator) -> int:
    """A day on which a window begins that has a reading of every home, before and after."""
    for _ in range(_MOST_TRIES):
        first_day = int(rng.integers(history.days - plan.days + 1))
        _, before = history.sums(group, first_day, 1, plan.days_before)
        _, after = history.sums(group, first_day + plan.days_before, 1, plan.days_after)
        if before.all() and after.all():
            return first_day
    raise TheftError(f"a home without any reading: no window of {_MOST_TRIES} has one of every home before and after")


@dataclass(frozen=True, slots=True)
class HitRate:
    """How often a ranking has the thief in its first places, over so many windows with one thief. ranks: of each."""

    ranks: Floats

    @classmethod
    def of(cls, windows: Sequence[TrialWindow], scores: Callable[[TrialWindow], Floats]) -> HitRate:
        """TheftError where no window has one thief."""
        ranks = [rank_of(scores(window), window.thieves[0]) for window in windows if len(window.thieves) == 1]
        if not ranks:
            raise TheftError("no window has one thief")
        return cls(np.array(ranks))

    def within(self, places: int) -> float:
        """The share of windows in which the thief is among so many first ones."""
        return float(np.mean(self.ranks <= places))

    @property
    def median_rank(self) -> float:
        """Half of the thieves are placed no worse."""
        return float(np.median(self.ranks))


def paired_ratio(
    better: HitRate, worse: HitRate, places: int, rng: np.random.Generator, draws: int = 2000
) -> tuple[float, float, float]:
    """How many times as often one ranking has the thief within `places`, with its 95 % interval by drawing windows in pairs anew."""
    if better.ranks.size != worse.ranks.size:
        raise TheftError("both rankings are of the same windows")
    hits = np.stack([better.ranks <= places, worse.ranks <= places]).astype(float)
    if not hits[1].any():
        raise TheftError(f"a ranking that never has the thief within {places} cannot be compared")
    size = hits.shape[1]
    drawn = np.stack([hits[:, rng.integers(size, size=size)].mean(axis=1) for _ in range(draws)])
    ratios = drawn[:, 0] / np.maximum(drawn[:, 1], 1 / size)
    low, high = np.quantile(ratios, [0.025, 0.975])
    return float(hits[0].mean() / hits[1].mean()), float(low), float(high)
