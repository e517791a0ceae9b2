"""Whether a feeder's balance shows what meters do not report, for what theft does to demand response.

The watch is that of `grid_operator.theft`: a balance meter of class 0.5, simulated, whose gain is tracked, and a CUSUM on what that
does not explain; its days are here windows of N rounds. It says that something is missing and how much, never whose it is.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from grid_operator.arrays import Floats
from grid_operator.theft.balance import BalanceMeter, Days, HonestFit, Losses, track
from grid_operator.theft.errors import TheftError
from grid_operator.theft.watch import limit_of, missing_from_alarm, watch

#: Of the flow: the missing share that the watch is set for.
_STEP = 0.005
#: Calibrated on the day before: what is left of the gain's error is what it drifts from then on. Nothing is lost on the way.
_METER, _NO_LOSSES = BalanceMeter(gain=0.0), Losses(0.0, 0.0)
#: Honest runs from which the limit is taken, and how often one of them is drawn for it.
_HONEST_RUNS, _LIMIT_DRAWS = 1_000, 4_000
#: What a window takes is so many times what its balance may be off by, at least.
_LEAST_IN_SIGMAS = 10.0
#: Runs that are worked out side by side.
_TOGETHER = 50


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


class FeederWatch:
    """The balance of one feeder, compared with what is reported at the end of every window.

    Control moves balance and reports alike, so the uncontrolled flow will do.
    """

    def __init__(self, flow_kw: Floats, interval: int, rounds_per_day: int, false_alarm: float, seed: int) -> None:
        """flow_kw: (rounds,). The limit is passed in a `false_alarm` fraction of honest stretches of this length (simulated).

        TheftError where that is too small to be simulated, or where no window takes more than it feeds back: such windows say nothing.
        """
        whole = len(flow_kw) // interval * interval
        windows = flow_kw[:whole].reshape(-1, interval)
        self._told = np.flatnonzero(
            windows.sum(axis=1) > _LEAST_IN_SIGMAS * _METER.white * np.linalg.norm(windows, axis=1)
        )
        if not self._told.size:
            raise TheftError("a feeder that feeds back all the time has no missing share")
        self._rounds, self._interval, self._seed, self._flow = len(flow_kw), interval, seed, windows[self._told]
        self._meter_and_fit = _METER.per(interval / rounds_per_day), HonestFit(_NO_LOSSES, 0.0, 0.0)
        rng = np.random.default_rng([seed, 1])
        honest: list[Floats] = []
        for _ in range(_HONEST_RUNS // _TOGETHER):
            honest += list(
                watch(track(self._days(self._flow, _TOGETHER, rng), *self._meter_and_fit), _STEP).statistic.T
            )
        self._limit = limit_of(honest, len(self._told), false_alarm, _LIMIT_DRAWS, np.random.default_rng([seed, 3]))

    def watch(self, stolen: Floats, runs: int) -> Watched:
        """stolen: of each round's flow, the part that is not reported, (rounds,)."""
        windows = stolen[: len(stolen) // self._interval * self._interval].reshape(-1, self._interval)
        reported = self._flow * (1 - windows[self._told])
        days = self._days(reported, runs, np.random.default_rng([self._seed, 2]))
        innovations = track(days, *self._meter_and_fit)
        watched = watch(innovations, _STEP)
        share = missing_from_alarm(days, innovations, watched, self._limit)
        alarmed = watched.statistic >= self._limit
        ends = (self._told[alarmed.argmax(axis=0)] + 1) * self._interval - 1
        latest = np.searchsorted(self._told, np.arange(len(windows)), side="right") - 1  # window that said something
        said = np.where(latest[:, None] >= 0, share[latest], 0.0)
        found = np.zeros((self._rounds, runs))
        found[: windows.size] = np.repeat(np.clip(said, 0.0, 0.99), self._interval, axis=0)
        return Watched(np.where(alarmed.any(axis=0), ends, -1).astype(float), found)

    def _days(self, reported: Floats, runs: int, rng: np.random.Generator) -> Days:
        """What so many balance meters say is missing, window by window."""
        meter = self._meter_and_fit[0]
        expected = Days.of(self._flow, reported, _NO_LOSSES, meter)
        seen = [Days.of(meter.measured(self._flow, rng), reported, _NO_LOSSES, meter).share for _ in range(runs)]
        return Days(np.stack(seen, axis=1), expected.variance, expected.flow)
