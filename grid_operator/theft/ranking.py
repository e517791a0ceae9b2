"""Which home may it be? A ranking from sums alone: bills of whole periods before and after, and what is missing since.

Every home is asked: had it used what it reported and all that is missing besides, would that fit its own past better than what it reported
does? Home i's after-sum is expected to be its own mean times the group's trend; a home's spread is its own, between periods.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats
from scipy.special import ndtr, ndtri

from grid_operator.arrays import Floats
from grid_operator.theft.errors import TheftError

#: So many amounts stand for all that may be missing.
_GAPS = 24


@dataclass(frozen=True, slots=True)
class PeriodSums:
    """What a supplier holds as bills. before, after: Wh, homes x periods; counted: the slots with a reading in each, likewise.

    slots: of a whole period. A sum over fewer readings is a smaller sum and no theft: everything is per counted slot.
    """

    before: Floats
    before_counted: Floats
    after: Floats
    after_counted: Floats
    slots: int

    def __post_init__(self) -> None:
        if self.before.ndim != 2 or self.before.shape[1] < 2 or len(self.before) < 2:
            raise TheftError("a ranking needs two homes and two periods before at least")
        if len(self.after) != len(self.before) or self.after.shape[1] < 1:
            raise TheftError("a ranking needs a period after, of the same homes")
        if not all(
            np.isfinite(part).all() for part in (self.before, self.before_counted, self.after, self.after_counted)
        ):
            raise TheftError("sums and counts are numbers: a gap is a slot that is not counted")
        if (self.before_counted.sum(axis=1) <= 0).any() or (self.after_counted.sum(axis=1) <= 0).any():
            raise TheftError("a home without any reading, before or after, cannot be ranked")


@dataclass(frozen=True, slots=True)
class Missing:
    """How many Wh are missing in the group after the periods before, and the variance of that number.

    A private sum is never used without its variance: of Laplace noise of scale s in each of k slots it is 2 k s^2.
    """

    watt_hours: float
    variance: float = 0.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.watt_hours) and 0 <= self.variance < math.inf):
            raise TheftError("what is missing, and its variance, are finite numbers")


@dataclass(frozen=True, slots=True)
class Tail:
    """The law of an honest home's standardised residual: Student's t. degrees = inf is the normal law, which homes do not follow."""

    degrees: float = math.inf
    scale: float = 1.0

    @classmethod
    def fitted(cls, residuals: Floats) -> Tail:
        """By maximum likelihood on residuals of honest homes."""
        if residuals.size < 50 or not np.isfinite(residuals).all():
            raise TheftError(
                f"{residuals.size} honest residuals are too few for a tail: 50 at least, all of them numbers"
            )
        degrees, _, scale = stats.t.fit(residuals, floc=0)
        return cls(float(min(max(degrees, 0.5), 1e6)), float(scale))

    def log_density(self, residual: Floats, variance: Floats) -> Floats:
        """ln f0 of a residual with this variance, up to a constant that is the same for all."""
        squared = residual**2 / (variance * self.scale**2)
        if math.isinf(self.degrees):
            return np.asarray(-(squared + np.log(variance)) / 2, float)
        return np.asarray(-(self.degrees + 1) / 2 * np.log1p(squared / self.degrees) - np.log(variance) / 2, float)


@dataclass(frozen=True, slots=True)
class Expectation:
    """Of every home's sum after: what it is expected to be, and the variance of its difference from that."""

    after: Floats
    expected: Floats
    variance: Floats

    @property
    def residuals(self) -> Floats:
        """Differences in standard deviations."""
        return np.asarray((self.after - self.expected) / np.sqrt(self.variance), float)


def expectation(sums: PeriodSums, missing: Missing, *, borrowed: float = 1.0, foreseen: bool = True) -> Expectation:
    """borrowed: how much the group's usual spread counts beside the home's own, by which a spread of a few periods is steadied; 0: not.

    foreseen: the mean of the few periods before is itself uncertain, and counts.
    """
    counted = sums.before_counted
    mean = sums.before.sum(axis=1) / counted.sum(axis=1)  # Wh per slot
    per_slot = np.divide(
        sums.before, counted, out=np.broadcast_to(mean[:, None], counted.shape).copy(), where=counted > 0
    )
    periods = counted.shape[1]
    own = ((per_slot - mean[:, None]) ** 2).sum(axis=1) / (periods - 1)
    usual = np.median(np.sqrt(own) / np.maximum(np.abs(mean), 1e-9))
    spread = (own + borrowed * (usual * mean) ** 2) / (1 + borrowed)
    spread = np.maximum(
        spread, (1e-3 * mean) ** 2 + 1e-9
    )  # a home that never varies is known to a thousandth, not for sure
    after, after_counted = sums.after.sum(axis=1), sums.after_counted.sum(axis=1)
    foreseen_total = float((mean * after_counted).sum())
    if foreseen_total <= 0:
        raise TheftError("a group that used nothing before has no trend")
    trend = max(0.0, (float(after.sum()) + missing.watt_hours) / foreseen_total)
    whole = after_counted / sums.slots  # how many whole periods were counted
    variance = spread * (trend * sums.slots) ** 2 * (whole + (whole**2 / periods if foreseen else 0))
    return Expectation(after, mean * trend * after_counted, np.maximum(variance, 1e-9))


def log_ratios(found: Expectation, missing: Missing, tail: Tail) -> Floats:
    """For each home ln f0(what it reported and what is missing) - ln f0(what it reported). The largest comes first in the ranking.

    What is missing is above 0: where it is known with a variance only, f0 is averaged over what it may be. So a gap that is known badly
    speaks softly, and no home that used more than usual looks like a thief. Dividing by the same for the group changes no rank.
    """
    residual = found.after - found.expected
    gaps = _gaps(missing)
    with_theft = tail.log_density(residual[:, None] + gaps, found.variance[:, None])
    largest = with_theft.max(axis=1)
    average = largest + np.log(np.exp(with_theft - largest[:, None]).mean(axis=1))
    return np.asarray(average - tail.log_density(residual, found.variance), float)


def _gaps(missing: Missing) -> Floats:
    """Equally likely amounts above 0 that may be missing."""
    deviation = math.sqrt(missing.variance)
    if deviation <= 1e-3 * abs(missing.watt_hours) or deviation == 0:
        return np.array([max(0.0, missing.watt_hours)])
    fractions = (np.arange(_GAPS) + 0.5) / _GAPS
    above = max(float(ndtr(missing.watt_hours / deviation)), 1e-12)
    return np.asarray(np.maximum(0, missing.watt_hours - deviation * ndtri(above * fractions)), float)


def naive_drops(found: Expectation) -> Floats:
    """What many do: the home whose sum fell most, relative to its expected sum, comes first. Of nothing expected nothing fell."""
    return 1 - np.divide(found.after, found.expected, out=np.ones_like(found.after), where=found.expected > 0)


def rank_of(scores: Floats, home: int) -> float:
    """1 for the largest score; equal scores share the middle of their ranks. TheftError for a score that is no number."""
    if np.isnan(scores).any():
        raise TheftError("a score is no number")
    return 1.0 + float((scores > scores[home]).sum()) + (float((scores == scores[home]).sum()) - 1) / 2
