"""From what a meter's display says to the energy of a round. Pure: samples and times come in, closed rounds come out.

A meter counts energy in registers that only rise: import and export, here in whole Wh, rounded down before anything is
subtracted, so that the rounds of a day add up to the day. The register at a round's boundary is the first sound sample at
most `tolerance_seconds` after it. A round's reading is the difference of its two boundaries, import minus export. Where a
boundary was not seen there is no reading: nothing is interpolated, and a gap is never a zero.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from decimal import ROUND_FLOOR, Decimal

from hushgrid.errors import HushgridError

_SECONDS_PER_HOUR = 3600
#: A register moves in steps (some by 10 Wh), and what it shows may be seconds old: so much is never an implausible leap.
_SLACK_WATT_HOURS = 100


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
    CLOCK = "clock"  # the machine's clock is not set


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
    """What the meter counted so far. device: its serial number, "" where it tells none."""

    import_watt_hours: int
    export_watt_hours: int
    device: str = ""

    @property
    def net_watt_hours(self) -> int:
        """Import minus export."""
        return self.import_watt_hours - self.export_watt_hours


@dataclass(frozen=True, slots=True)
class Limits:
    """What is believed. tolerance_seconds: how late a boundary's first sample may be. largest_watts: more than the house's
    connection carries. exchange_seconds: how long a register that contradicts the past must go on before it is a new meter.
    """

    interval_seconds: int
    tolerance_seconds: float
    largest_watts: int
    exchange_seconds: float


@dataclass(frozen=True, slots=True, repr=False)
class Opening:
    """The register as a round began."""

    round: int
    sample: Sample


@dataclass(frozen=True, slots=True, repr=False)
class Crossing:
    """A boundary was passed. closed: the round that ended, None when none was open; watt_hours: None for a gap; opening:
    None when the boundary itself was not seen.
    """

    closed: int | None
    watt_hours: int | None
    opening: Opening | None


@dataclass(frozen=True, slots=True, repr=False)
class _Seen:
    sample: Sample
    at_seconds: float | None


@dataclass(frozen=True, slots=True, repr=False)
class _Candidate:
    """What may be another meter: since when it contradicts the past, and its newest sample. stands: no single damaged sample."""

    since_seconds: float
    newest: _Seen
    doubt: Doubt
    stands: bool


class Register:
    """One meter's register, followed through its rounds.

    opening: as remembered from before a restart. at_seconds is always the machine's UTC clock.
    """

    def __init__(self, limits: Limits, opening: Opening | None = None) -> None:
        self._limits = limits
        self._opening = opening
        self._last: _Seen | None = None
        self._candidate: _Candidate | None = None
        if opening is not None:
            self._last = _Seen(opening.sample, opening.round * limits.interval_seconds)

    def clock_stepped(self) -> int | None:
        """The clock was set: the round under way, which is given, has no length that anybody knows. It is a gap."""
        spoilt = self._opening.round if self._opening is not None else None
        self._opening = self._candidate = None
        if self._last is not None:
            self._last = _Seen(self._last.sample, None)
        return spoilt

    def take(self, sample: Sample, at_seconds: float) -> Crossing | None:
        """Take in one sample; a Crossing when it is the first of a round. SampleRefusedError when it is not believed."""
        self._believe(sample, at_seconds)
        round_number, into_seconds = divmod(at_seconds, self._limits.interval_seconds)
        return self._cross(sample, int(round_number), into_seconds)

    def _cross(self, sample: Sample, round_number: int, into_seconds: float) -> Crossing | None:
        before = self._opening
        if before is not None and before.round == round_number:
            return None
        on_time = into_seconds <= self._limits.tolerance_seconds
        self._opening = Opening(round_number, sample) if on_time else None
        if before is None:
            return Crossing(None, None, self._opening) if on_time else None
        watt_hours = None
        if on_time and before.round + 1 == round_number:
            watt_hours = sample.net_watt_hours - before.sample.net_watt_hours
        return Crossing(before.round, watt_hours, self._opening)

    def _believe(self, sample: Sample, at_seconds: float) -> None:
        if min(sample.import_watt_hours, sample.export_watt_hours) < 0:
            raise SampleRefusedError(Doubt.NEGATIVE)
        if sample.import_watt_hours == sample.export_watt_hours == 0:
            raise SampleRefusedError(Doubt.ZERO)
        seen = _Seen(sample, at_seconds)
        if self._last is not None and self._last.sample.device != sample.device:
            self._opening = self._last = self._candidate = None  # a new meter: the round under way has no reading
        doubt, candidate = self._follows(self._last, seen), self._candidate
        fits = candidate is not None and self._follows(candidate.newest, seen) is None
        # What is allowed grows with time: waiting must not make a standing candidate's register that of the meter before.
        if candidate is not None and fits and (doubt is not None or candidate.stands):
            self._go_on(candidate, seen, at_seconds)
        elif doubt is None:
            self._last, self._candidate = seen, None
        else:
            self._candidate = _Candidate(at_seconds, seen, doubt, stands=doubt is Doubt.LEAP)
            raise SampleRefusedError(doubt)

    def _go_on(self, candidate: _Candidate, seen: _Seen, at_seconds: float) -> None:
        """What goes on contradicting the past, and not itself, is another meter that tells no serial number."""
        if at_seconds - candidate.since_seconds < self._limits.exchange_seconds:
            self._candidate = _Candidate(candidate.since_seconds, seen, candidate.doubt, stands=True)
            raise SampleRefusedError(candidate.doubt)
        self._opening, self._last, self._candidate = None, seen, None

    def _follows(self, before: _Seen | None, after: _Seen) -> Doubt | None:
        """None when the one sample can come after the other on one meter."""
        if before is None:
            return None
        imported = after.sample.import_watt_hours - before.sample.import_watt_hours
        exported = after.sample.export_watt_hours - before.sample.export_watt_hours
        if min(imported, exported) < 0:
            return Doubt.BACKWARD
        if before.at_seconds is None or after.at_seconds is None:
            return None
        elapsed_seconds = max(0.0, after.at_seconds - before.at_seconds)
        most = self._limits.largest_watts * elapsed_seconds / _SECONDS_PER_HOUR + _SLACK_WATT_HOURS
        return Doubt.LEAP if max(imported, exported) > most else None
