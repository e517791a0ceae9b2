"""The shape test, which runs inside the home only: do single readings look like the home's own?

Chi-square over bins of equal probability, and an atom at 0. It needs every reading, so nobody outside may play it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from grid_operator.arrays import Floats
from grid_operator.theft.densities import Density
from grid_operator.theft.errors import TheftError
from grid_operator.theft.roc import check_false_alarm

_BINS = 40
_CALIBRATING_DRAWS = 50_000


@dataclass(frozen=True, slots=True)
class ShapeTest:
    """edges: upper ends of all bins but the last; probabilities: of the bins, then of exactly 0; an alarm above limit.

    A reading of exactly 0 where the honest density gives it no probability is an alarm by itself.
    """

    edges: Floats
    probabilities: Floats
    slots: int
    limit: float

    @classmethod
    def of(cls, honest: Density, slots: int, false_alarm: float, seed: int) -> ShapeTest:
        """Calibrated on seeded honest counts: with few slots a bin the chi-square law is not exact."""
        check_false_alarm(false_alarm)
        if slots < 1:
            raise TheftError(f"{slots} slots: there is one at least")
        edges = np.unique(honest.quantile(np.arange(1, _BINS) / _BINS))
        upper = np.concatenate([honest.cdf(edges), [1.0]])
        inside = np.diff(np.concatenate([[0.0], upper]))
        nothing = honest.atom(0.0)
        inside[int(np.searchsorted(edges, 0.0, side="left"))] -= nothing
        probabilities = np.maximum(np.concatenate([inside, [nothing]]), 0)
        probabilities /= probabilities.sum()
        counts = np.random.default_rng([seed, slots]).multinomial(slots, probabilities, size=_CALIBRATING_DRAWS)
        limit = np.quantile(_chi_square(counts, probabilities, slots), 1 - false_alarm, method="higher")
        return cls(edges, probabilities, slots, float(limit))

    def alarms(self, readings: Floats) -> float:
        """The share of windows (rows of readings, runs x slots) that it flags."""
        if readings.ndim != 2 or readings.shape[1] != self.slots:
            raise TheftError(f"the shape test is for windows of {self.slots} slots")
        if not np.isfinite(readings).all():
            raise TheftError("the shape test is for windows without gaps: no reading is no small reading")
        bins = len(self.probabilities)
        at = np.where(readings == 0, bins - 1, np.searchsorted(self.edges, readings, side="left"))
        rows = np.arange(len(readings))[:, None] * bins
        counts = np.bincount((rows + at).ravel(), minlength=bins * len(readings)).reshape(-1, bins).astype(np.int64)
        return float(np.mean(_chi_square(counts, self.probabilities, self.slots) > self.limit))


def _chi_square(counts: NDArray[np.int64], probabilities: Floats, slots: int) -> Floats:
    expected = slots * probabilities
    possible = expected > 0
    found = ((counts[:, possible] - expected[possible]) ** 2 / expected[possible]).sum(axis=1)
    return np.where((counts[:, ~possible] > 0).any(axis=1), np.inf, found)
