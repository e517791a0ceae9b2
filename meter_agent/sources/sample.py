"""What a meter's display says at one instant, and why it may not be believed. Pure."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from decimal import ROUND_FLOOR, Decimal

from hushgrid.errors import HushgridError

#: More than the meter of a house counts in its life, in Wh. Beyond it a number is not understood.
MOST_WATT_HOURS = 10**12


class Doubt(enum.StrEnum):
    """Why a sample is not believed."""

    MALFORMED = "malformed"  # not what the device's format says
    CHECKSUM = "checksum"  # damaged on its way
    NO_CHECKSUM = "no-checksum"  # nothing protects it, and the configuration does not allow that
    NO_REGISTER = "no-register"  # it names no electricity register
    NEGATIVE = "negative"
    ZERO = "zero"  # both registers: what a device says that has lost its memory, or a failed read
    BACKWARD = "backward"
    LEAP = "leap"  # more than the connection can carry
    ENCRYPTED = "encrypted"  # a key that is not here opens it
    CLOCK = "clock"  # the machine's clock is not set
    REPEATED = "repeated"  # the sample before, once more
    LATE = "late"  # by the meter's own time it waited on its way


class SampleRefusedError(HushgridError):
    """One sample is not believed; `doubt` labels the count. No text carries a register."""

    def __init__(self, doubt: Doubt, detail: str = "") -> None:
        super().__init__(f"{doubt.value}: {detail}" if detail else doubt.value)
        self.doubt = doubt


def whole_watt_hours(kilowatt_hours: Decimal) -> int:
    """kWh as whole Wh, rounded down."""
    return int((kilowatt_hours * 1000).to_integral_value(ROUND_FLOOR))


@dataclass(frozen=True, slots=True, repr=False)
class Sample:
    """What the meter counted so far.

    device: its serial number, "" where it tells none.
    device_seconds: its own time, from any beginning; None where it tells none. Compared with itself only.
    step_watt_hours: what its registers are told in at the finest, 1 where that is not known.
    SampleRefusedError(MALFORMED) for more than a meter can have counted.
    """

    import_watt_hours: int
    export_watt_hours: int
    device: str = ""
    device_seconds: float | None = field(default=None, compare=False)
    step_watt_hours: int = field(default=1, compare=False)

    def __post_init__(self) -> None:
        if max(abs(self.import_watt_hours), abs(self.export_watt_hours)) >= MOST_WATT_HOURS:
            raise SampleRefusedError(Doubt.MALFORMED, "more than a meter counts in its life")

    def refuse_implausible(self) -> None:
        """SampleRefusedError for what no meter of a house shows, whatever it showed before."""
        if min(self.import_watt_hours, self.export_watt_hours) < 0:
            raise SampleRefusedError(Doubt.NEGATIVE)
        if self.import_watt_hours == self.export_watt_hours == 0:
            raise SampleRefusedError(Doubt.ZERO, "both registers")

    @property
    def net_watt_hours(self) -> int:
        """Import minus export."""
        return self.import_watt_hours - self.export_watt_hours
