"""A meter's own clock: how old a sample is when it arrives. Pure.

The clocks of meters are wrong in the field, by minutes or by years. So a meter's time is compared with itself only: what it moved
between two samples, beside what the machine's clock moved between their arrivals. The same time again, from a clock that is
known to go, is no new sample: a gateway repeats its last one. Time that moved less than arrival did is late: the sample
waited on its way. What was last heard is remembered over a restart, which a gateway that repeats itself may outlast.
"""

from __future__ import annotations

from dataclasses import dataclass

from meter_agent.sources.sample import Doubt, Sample, SampleRefusedError

#: So much slower than the machine's a meter's clock may go: a bad crystal is no lateness that adds up.
_DRIFT_FRACTION = 1e-3
#: What flows in time for so long, only later than it once did, is a clock that was set: it is taken as it is now.
_SET_SECONDS = 600.0


@dataclass(frozen=True, slots=True, repr=False)
class ClockHeard:
    """The newest sample that tells a time, believed or not.

    at_seconds: when it came; None when the machine's clock was set since then.
    goes: the meter's clock was seen to move.
    """

    sample: Sample
    at_seconds: float | None
    goes: bool


class DeviceClock:
    """Follows the clock of one meter. tolerance_seconds: the most that a sample may be late. heard: from before a restart."""

    def __init__(self, tolerance_seconds: float, heard: ClockHeard | None = None) -> None:
        self._tolerance_seconds = tolerance_seconds
        self._last = heard
        self._late_seconds = 0.0
        self._late_since: float | None = None

    def machine_stepped(self) -> None:
        """The machine's clock was set: nobody knows when the newest sample came. What it said is known."""
        if self._last is not None:
            self._start(self._last.sample, None, goes=self._last.goes)

    def heard(self) -> ClockHeard | None:
        """What a restart has to know, as if nothing had been late on its way; None from a meter that tells no time."""
        last = self._last
        if last is None or last.at_seconds is None:
            return last
        return ClockHeard(last.sample, last.at_seconds - self._late_seconds, last.goes)

    def late_seconds(self, sample: Sample, at_seconds: float) -> float:
        """How long a sample has been on its way, beyond what is usual. 0 from a meter that tells no time.

        SampleRefusedError: REPEATED for the same sample again, LATE above the tolerance.
        """
        if sample.device_seconds is None:
            return 0.0
        before = self._last
        if before is None or before.sample.device_seconds is None or before.sample.device != sample.device:
            return self._start(sample, at_seconds, goes=False)
        passed = sample.device_seconds - before.sample.device_seconds
        if passed < 0:  # a clock that was put back
            return self._start(sample, at_seconds, goes=before.goes)
        if passed == 0:
            if before.sample != sample:  # registers that move under a time that stands: it says nothing
                self._last = ClockHeard(sample, before.at_seconds, goes=False)
            elif before.goes:
                raise SampleRefusedError(Doubt.REPEATED, "the meter's own time stands still, and so do its registers")
            return 0.0
        if before.at_seconds is None:
            return self._start(sample, at_seconds, goes=True)
        arrived = at_seconds - before.at_seconds
        self._last = ClockHeard(sample, at_seconds, goes=True)
        self._late_seconds = max(0.0, self._late_seconds + arrived * (1 - _DRIFT_FRACTION) - passed)
        if self._late_seconds <= self._tolerance_seconds:
            self._late_since = None
            return self._late_seconds
        return self._too_late(sample, at_seconds)

    def _start(self, sample: Sample, at_seconds: float | None, *, goes: bool) -> float:
        self._last, self._late_seconds, self._late_since = ClockHeard(sample, at_seconds, goes), 0.0, None
        return 0.0

    def _too_late(self, sample: Sample, at_seconds: float) -> float:
        """SampleRefusedError, unless it has been as late as this for long."""
        if self._late_since is None:
            self._late_since = at_seconds
        if at_seconds - self._late_since >= _SET_SECONDS:
            return self._start(sample, at_seconds, goes=True)
        raise SampleRefusedError(Doubt.LATE, f"{self._late_seconds:.0f} s late by the meter's own time")
