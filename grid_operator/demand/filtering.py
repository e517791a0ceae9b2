"""What is known of the loads from one number per window: a point of their total, or the window's sum. Kalman filter on (e, c).

e: each load's deviation from its baseline. c: the running sum of their total over the window's rounds so far; it is seen at the
window's end, with noise or without, and begins again at 0. A meter that adds up sends sums, and a feeder is one scalar.
"""

from __future__ import annotations

import enum
from collections.abc import Callable

import numpy as np

from grid_operator.arrays import Floats
from grid_operator.demand.closed import total_variance
from grid_operator.demand.model import FlexibleLoads, variance_after

#: Windows after which a filter's uncertainty has to repeat itself.
_MOST_WINDOWS = 100_000


class Sampling(enum.StrEnum):
    """What is seen at a window's end: the total of its last round, or of all its rounds."""

    POINT = "point"
    SUM = "sum"


class WindowFilter:
    """The best linear estimate of e after every round, for several runs at once. It begins with what is always known: nothing.

    noise_variance: of what is seen at a window's end. Per round: `elapse`, at a window's end `observe`, then `advance`.
    """

    def __init__(self, loads: FlexibleLoads, sampling: Sampling, noise_variance: float = 0.0, runs: int = 1) -> None:
        if not noise_variance >= 0:
            raise ValueError(f"a variance cannot be negative: {noise_variance:g}")
        count = len(loads.alpha)
        self._noise_variance = noise_variance
        self._expected = np.zeros((count + 1, runs))
        self._covariance = np.diag([*variance_after(loads, None), 0.0])
        self._step = np.diag([*loads.alpha, 1.0])
        self._added = np.diag([*loads.variance, 0.0])
        self._total = np.array([1.0] * count + [0.0])
        self._elapsed = np.eye(count + 1)
        self._elapsed[-1, :-1] = 1.0
        self._known: dict[tuple[str, bytes], Floats] = {}
        self._seen = self._total if sampling is Sampling.POINT else 1.0 - self._total

    @property
    def deviation(self) -> Floats:
        """The estimate of e, (loads, runs)."""
        return self._expected[:-1]

    @property
    def total_variance(self) -> float:
        """How uncertain the total of e is now."""
        return float(self._covariance[:-1, :-1].sum())

    def elapse(self) -> None:
        """A round is over: its total joins the running sum."""
        self._expected = self._elapsed @ self._expected
        self._covariance = self._remembered("elapse", lambda: self._elapsed @ self._covariance @ self._elapsed.T)

    def observe(self, seen: Floats) -> None:
        """A window is over: what was seen of it, as a deviation from the baseline, (runs,). The running sum begins again."""
        gain = self._remembered("gain", self._gain)
        self._expected = self._expected + np.outer(gain, seen - self._seen @ self._expected)
        self._covariance = self._remembered("observe", lambda: self._covariance_after(gain))
        self._expected[-1] = 0.0

    def _gain(self) -> Floats:
        shared = self._covariance @ self._seen
        spread = float(self._seen @ shared) + self._noise_variance
        return np.asarray(shared / spread if spread > 0 else np.zeros_like(shared))

    def _covariance_after(self, gain: Floats) -> Floats:
        found = self._covariance - np.outer(gain, self._covariance @ self._seen)
        found = (found + found.T) / 2
        found[-1, :] = found[:, -1] = 0.0
        return np.asarray(found)

    def _remembered(self, step: str, work_out: Callable[[], Floats]) -> Floats:
        """What becomes of the covariance, which no reading changes: windows soon repeat it to the last bit."""
        key = (step, self._covariance.tobytes())
        if key not in self._known:
            self._known[key] = work_out()
        return self._known[key]

    def advance(self, control: Floats) -> None:
        """The next round begins. control: what was ordered, in units of power, (loads, runs)."""
        self._expected = self._step @ self._expected
        self._expected[:-1] += control
        self._covariance = self._remembered(
            "advance", lambda: self._step @ self._covariance @ self._step.T + self._added
        )


def worst_variance(
    loads: FlexibleLoads, sampling: Sampling, interval: int | None, noise_variance: float = 0.0
) -> float:
    """Of the controlled total in the last round before the next window is known, once this repeats; None: never seen.

    The same question as V_N, where the operator sees one scalar. ValueError for an interval below 1 or a negative variance.
    """
    everything = total_variance(loads, interval if interval is None else max(interval, 1))
    if interval is None:
        return everything
    if interval < 1:
        raise ValueError(f"a window has at least 1 round, not {interval}")
    known, still, nothing = WindowFilter(loads, sampling, noise_variance), np.zeros((len(loads.alpha), 1)), np.zeros(1)
    before = -1.0
    for _ in range(_MOST_WINDOWS):
        for place in range(interval):
            if place:
                known.advance(still)
            known.elapse()
        last = known.total_variance
        known.observe(nothing)
        known.advance(still)
        if abs(last - before) <= 1e-12 * max(last, 1e-300):
            return last
        before = last
    raise ValueError(f"what is known of loads seen every {interval} rounds does not settle")
