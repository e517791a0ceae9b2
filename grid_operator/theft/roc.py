"""The likelihood-ratio test of a window: threshold, detection, and the slope of its curve (eqs. 8-10, 27)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from grid_operator.arrays import Floats
from grid_operator.theft.densities import Density, LatticeSum
from grid_operator.theft.errors import TheftError
from grid_operator.theft.tilt import Tilt

_ROUNDING = 1e-10


@dataclass(frozen=True, slots=True)
class Threshold:
    """An alarm above tau, and with probability gamma at tau: so a false-alarm probability is met exactly at atoms too."""

    tau: float
    gamma: float = 0.0

    def alarms(self, statistic: Floats) -> float:
        """The probability of an alarm, over values of the statistic that are equally likely.

        What differs from tau by no more than sums of floats do is at tau.
        """
        if not np.isfinite(statistic).all():
            raise TheftError("a statistic is a number: a window with a gap has none")
        at = np.isclose(statistic, self.tau, rtol=_ROUNDING, atol=_ROUNDING)
        return float(np.mean((statistic > self.tau) & ~at) + self.gamma * np.mean(at))


def check_false_alarm(false_alarm: float) -> None:
    """TheftError unless it is in [0, 1]."""
    if not 0 <= false_alarm <= 1:
        raise TheftError(f"a false-alarm probability of {false_alarm} is not between 0 and 1")


def threshold_of(honest: Floats, false_alarm: float) -> Threshold:
    """tau and gamma from values of the statistic under f0 that are equally likely (eq. 10)."""
    check_false_alarm(false_alarm)
    values, counts = np.unique(honest, return_counts=True)
    above = np.concatenate([np.cumsum(counts[::-1])[::-1][1:], [0]]) / honest.size  # P(D > value)
    at = int(np.searchsorted(-above, -false_alarm, side="left"))  # the smallest value with P(D > value) <= e
    share = counts[at] / honest.size
    return Threshold(float(values[at]), float(min(1.0, (false_alarm - above[at]) / share)))


@dataclass(frozen=True)
class RatioTest:
    """D* over a window of slots. Exact where the law of the sum is known, else over seeded draws of sums.

    draws: how many sums are drawn under each density where it is not.
    """

    tilt: Tilt
    slots: int
    draws: int = 20_000
    seed: int = 1
    _known: dict[tuple[str, bool], Any] = field(default_factory=dict, repr=False, compare=False)

    def statistic(self, totals: ArrayLike) -> Floats:
        """D* of windows with these sums."""
        return self.tilt.log_ratio(np.asarray(totals, float), self.slots)

    def total_at(self, tau: float) -> float:
        """The sum at which D* is tau: smaller sums are more suspicious."""
        return -(tau + self.slots * self.tilt.log_z) / self.tilt.mu

    @property
    def largest(self) -> float:
        """No window has a larger D*."""
        return float(-self.slots * (self.tilt.mu * self.tilt.honest.least + self.tilt.log_z))

    @property
    def least(self) -> float:
        """No window has a smaller D*."""
        return float(-self.slots * (self.tilt.mu * self.tilt.honest.most + self.tilt.log_z))

    def threshold(self, false_alarm: float) -> Threshold:
        """tau and gamma for a false-alarm probability e (eq. 10)."""
        check_false_alarm(false_alarm)
        law = self._law(stolen=False)
        if law is None:
            return threshold_of(self._draws(stolen=False), false_alarm)
        total = float(law.ppf(false_alarm))
        return Threshold(float(self.statistic(total)), _share_at(law, total, false_alarm))

    def detection(self, false_alarm: float) -> float:
        """rho, the probability that the thief of this tilt is found (eq. 9)."""
        check_false_alarm(false_alarm)
        law, thief = self._law(stolen=False), self._law(stolen=True)
        if law is None or thief is None:
            return self.threshold(false_alarm).alarms(self._draws(stolen=True))
        total = float(law.ppf(false_alarm))
        below = _below(thief, total)
        return below + _share_at(law, total, false_alarm) * (float(thief.cdf(total)) - below)

    def above(self, tau: float, *, stolen: bool) -> float:
        """P(D* > tau), of honest readings or the thief's."""
        if math.isinf(tau):
            return float(tau < 0)
        law = self._law(stolen=stolen)
        return float(np.mean(self._draws(stolen=stolen) > tau)) if law is None else _below(law, self.total_at(tau))

    def _law(self, *, stolen: bool) -> Any | None:
        return self._once("law", stolen, lambda density: density.total(self.slots))

    def _draws(self, *, stolen: bool) -> Floats:
        """D* of sums that are drawn once. Two streams of one seed: honest and stolen sums are independent."""

        def drawn(density: Density) -> Floats:
            rng = np.random.default_rng([self.seed, self.slots, int(stolen)])
            part = max(1, 2_000_000 // self.slots)
            sizes = [min(part, self.draws - begun) for begun in range(0, self.draws, part)]
            return self.statistic(
                np.concatenate([density.sample(rng, (size, self.slots)).sum(axis=1) for size in sizes])
            )

        found: Floats = self._once("draws", stolen, drawn)
        return found

    def _once(self, what: str, stolen: bool, work_out: Callable[[Density], Any]) -> Any:
        if (what, stolen) not in self._known:
            self._known[what, stolen] = work_out(self.tilt.stolen if stolen else self.tilt.honest)
        return self._known[what, stolen]


def _below(law: Any, total: float) -> float:
    """P(sum < total)."""
    return float(law.below(total) if isinstance(law, LatticeSum) else law.cdf(total))


def _share_at(law: Any, total: float, false_alarm: float) -> float:
    """gamma: the share of windows with exactly this sum that is flagged, so that all flagged ones are the share false_alarm."""
    below, at_most = _below(law, total), float(law.cdf(total))
    return min(1.0, max(0.0, (false_alarm - below) / (at_most - below))) if at_most > below else 0.0
