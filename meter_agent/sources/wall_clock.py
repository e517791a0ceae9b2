"""Whether the machine's clock can be believed. A Raspberry Pi has no clock that runs without power."""

from __future__ import annotations

import ctypes
import time
from dataclasses import dataclass

_TIMEX_BYTES = 512  # more than any kernel's struct timex; a zeroed one asks and sets nothing
_TIME_ERROR = 5
_STEP_SECONDS = 2.0


def synchronised() -> bool:
    """Whether the kernel was told by a time service that its clock is right (adjtimex(2))."""
    try:
        return ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES)) not in (-1, _TIME_ERROR)
    except (OSError, AttributeError):
        return False


@dataclass(frozen=True, slots=True)
class Instant:
    """The same moment on two clocks: UTC, which may be set, and the seconds since the machine started, which may not."""

    unix_seconds: float
    uptime_seconds: float

    @classmethod
    def now(cls) -> Instant:
        """Both clocks, read together."""
        return cls(time.time(), time.clock_gettime(time.CLOCK_BOOTTIME))

    def step_seconds(self, before: Instant) -> float:
        """By how much UTC was set in between; 0.0 for what a time service does slowly."""
        drift = (self.unix_seconds - before.unix_seconds) - (self.uptime_seconds - before.uptime_seconds)
        return drift if abs(drift) > _STEP_SECONDS else 0.0
