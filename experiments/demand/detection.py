"""Whether a feeder's balance shows what meters do not report: one function, for what theft does to demand response.

A balance meter of class 0.5 at the feeder, simulated: a gain error that calibration on honest days removes, white noise, and a
drift of the gain. It says that something is missing and how much, never whose it is.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from grid_operator.demand.model import Floats

#: Of the balance meter, as fractions: white noise of a half hour, and drift of the gain per square root of a day.
WHITE, DRIFT_PER_DAY = 0.0025, 0.0003
#: Of the flow: the part missing that the CUSUM does not count.
ALLOWANCE = 0.0025
#: Honest runs from which the threshold is taken.
_HONEST_RUNS = 2_000


@dataclass(frozen=True, slots=True)
class Watched:
    """alarm: the first round with an alarm, -1 for none, (runs,). found: the part of the flow taken for stolen, (rounds, runs)."""

    alarm: Floats = field(repr=False)
    found: Floats = field(repr=False)

    @property
    def alarm_fraction(self) -> float:
        """rho of eq. 1: of the runs, those with an alarm."""
        return float((self.alarm >= 0).mean())

    def mean_delay_rounds(self, begun: int) -> float | None:
        """From the round in which theft begins to the alarm, where there was one from then on."""
        late = self.alarm[self.alarm >= begun]
        return float(late.mean()) + 1 - begun if len(late) else None


def watch(
    flow_kw: Floats, stolen: Floats, interval: int, rounds_per_day: int, false_alarm: float, runs: int, seed: int
) -> Watched:
    """Compare the balance with what is reported, window by window, until the CUSUM of what is missing passes its threshold.

    stolen: of each round's flow, the part that is not reported, (rounds,).
    The threshold is passed in a `false_alarm` fraction of honest stretches of this length (simulated). From the alarm on, `found` is
    what was missing on average since the CUSUM last was 0. Control moves balance and reports alike, so the uncontrolled flow will do.
    """
    honest, _, _ = _cusum(
        flow_kw, np.zeros_like(flow_kw), interval, rounds_per_day, _HONEST_RUNS, np.random.default_rng([seed, 1])
    )
    threshold = float(np.quantile(honest.max(axis=0), 1 - false_alarm))
    level, since, counted = _cusum(flow_kw, stolen, interval, rounds_per_day, runs, np.random.default_rng([seed, 2]))
    alarmed = np.maximum.accumulate(level > threshold, axis=0)
    windows = np.where(alarmed, since / np.maximum(counted, 1), 0.0)
    found = np.repeat(np.clip(windows, 0.0, 0.99), interval, axis=0)
    first = np.where(alarmed.any(axis=0), (alarmed.argmax(axis=0) + 1) * interval - 1, -1)
    whole = np.zeros((len(flow_kw), runs))
    whole[: len(found)] = found
    return Watched(first.astype(float), whole)


def _cusum(
    flow_kw: Floats, stolen: Floats, interval: int, rounds_per_day: int, runs: int, rng: np.random.Generator
) -> tuple[Floats, Floats, Floats]:
    """Per whole window and run: the CUSUM's level, the sum of what was missing since it was 0, and over how many windows."""
    count = len(flow_kw) // interval
    energy = flow_kw[: count * interval].reshape(count, interval)
    weights = energy / energy.sum(axis=1, keepdims=True)
    taken = (weights * stolen[: count * interval].reshape(count, interval)).sum(axis=1)[:, None]
    white = WHITE * np.sqrt((weights**2).sum(axis=1))[:, None] * rng.standard_normal((count, runs))
    steps = DRIFT_PER_DAY * np.sqrt(interval / rounds_per_day)
    gain = np.cumsum(steps * rng.standard_normal((count, runs)), axis=0)
    missing = 1 - (1 - taken) / ((1 + white) * (1 + gain))
    level, since, counted = (np.empty((count, runs)) for _ in range(3))
    now, total, windows = (np.zeros(runs) for _ in range(3))
    for at in range(count):
        now = now + missing[at] - ALLOWANCE
        below = now <= 0
        now[below] = 0.0
        total = np.where(below, 0.0, total + missing[at])
        windows = np.where(below, 0.0, windows + 1)
        level[at], since[at], counted[at] = now, total, windows
    return level, since, counted
