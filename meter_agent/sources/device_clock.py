"""A meter's own clock: how old a sample is when it arrives. Pure.

The clocks of meters are wrong in the field, by minutes or by years. So a meter's time is compared with itself only: what it moved
between two samples, beside what the machine's clock moved between their arrivals. The same time again, from a clock that is
known to go, is no new sample: a gateway repeats its last one. Time that moved less than arrival did is late: the sample
waited on its way.
"""

from __future__ import annotations

from dataclasses import dataclass

from meter_agent.sources.sample import Doubt, SampleRefusedError

#: So much slower than the machine's a meter's clock may go: a bad crystal is no lateness that adds up.
_DRIFT_FRACTION = 1e-3
#: What flows in time for so long, only later than it once did, is a clock that was set: it is taken as it is now.
_SET_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class _Heard:
    device_seconds: float
    at_seconds: float


class DeviceClock:
    """Follows the clock of one meter. tolerance_seconds: the most that a sample may be late."""

    def __init__(self, tolerance_seconds: float) -> None:
        self._tolerance_seconds = tolerance_seconds
        self._last: _Heard | None = None
        self._goes = False  # it was seen to move
        self._late_seconds = 0.0
        self._late_since: float | None = None

    def late_seconds(self, device_seconds: float | None, at_seconds: float, *, moved: bool) -> float:
        """How long a sample has been on its way, beyond what is usual. 0 from a meter that tells no time.

        moved: whether its registers differ from those of the sample before.
        SampleRefusedError: REPEATED for the same sample again, LATE above the tolerance.
        """
        if device_seconds is None:
            return 0.0
        heard, before = _Heard(device_seconds, at_seconds), self._last
        if before is None or device_seconds < before.device_seconds:  # the first, or a clock that was put back
            self._start(heard)
            return 0.0
        passed = device_seconds - before.device_seconds
        if passed == 0:
            if self._goes and not moved:
                raise SampleRefusedError(Doubt.REPEATED, "the meter's own time stands still, and so do its registers")
            self._goes = False  # registers that move under a time that stands: it says nothing
            return 0.0
        arrived = at_seconds - before.at_seconds
        self._goes, self._last = True, heard
        self._late_seconds = max(0.0, self._late_seconds + arrived * (1 - _DRIFT_FRACTION) - passed)
        if self._late_seconds <= self._tolerance_seconds:
            self._late_since = None
            return self._late_seconds
        return self._too_late(heard)

    def _start(self, heard: _Heard) -> None:
        self._last, self._late_seconds, self._late_since = heard, 0.0, None

    def _too_late(self, heard: _Heard) -> float:
        """SampleRefusedError, unless it has been as late as this for long."""
        if self._late_since is None:
            self._late_since = heard.at_seconds
        if heard.at_seconds - self._late_since >= _SET_SECONDS:
            self._start(heard)
            return 0.0
        raise SampleRefusedError(Doubt.LATE, f"{self._late_seconds:.0f} s late by the meter's own time")
