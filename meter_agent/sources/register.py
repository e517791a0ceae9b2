"""From what a meter's display says to the energy of a round. Pure: samples and times come in, closed rounds come out.

A meter counts energy in registers that only rise: import and export, here in whole Wh, rounded down before anything is
subtracted, so that the rounds of a day add up to the day. The register at a round's boundary is the first sound sample at
most `tolerance_seconds` after it. A round's reading is the difference of its two boundaries, import minus export. Where a
boundary was not seen there is no reading: nothing is interpolated, and a gap is never a zero.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from meter_agent.sources.device_clock import ClockHeard, DeviceClock
from meter_agent.sources.sample import Doubt, Sample, SampleRefusedError

_SECONDS_PER_HOUR = 3600
#: A register moves in steps (some by 10 Wh), and what it shows may be seconds old: so much is never an implausible leap.
_SLACK_WATT_HOURS = 100
#: The coarsest step of a register: meters that tell whole kWh until their PIN is entered.
_COARSEST_WATT_HOURS = 1000


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
class OpeningSample:
    """The register as a round began. heard: what the meter's own clock had said by then; None from a meter that tells no time."""

    round: int
    sample: Sample
    heard: ClockHeard | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True, repr=False)
class Crossing:
    """A boundary was passed. closed: the round that ended, None when none was open; watt_hours: None for a gap; opening:
    None when the boundary itself was not seen; late_seconds: how long after it the first sample came, when that is too long.
    """

    closed: int | None
    watt_hours: int | None
    opening: OpeningSample | None
    late_seconds: float | None = None


@dataclass(frozen=True, slots=True, repr=False)
class _Seen:
    """A sample and when it came. moved_seconds: when its registers were first seen as they are; None when nobody knows."""

    sample: Sample
    at_seconds: float | None
    moved_seconds: float | None


@dataclass(frozen=True, slots=True, repr=False)
class _Candidate:
    """What may be another meter: since when it contradicts the past, and its newest sample. stands: no single damaged sample."""

    since_seconds: float
    newest: _Seen
    doubt: Doubt
    stands: bool


class Register:
    """One meter's register, followed through its rounds.

    opening: as remembered from before a restart, and heard: what the meter's own clock said last. at_seconds is always the
    machine's UTC clock.
    """

    def __init__(self, limits: Limits, opening: OpeningSample | None = None, heard: ClockHeard | None = None) -> None:
        self._limits = limits
        self._opening = opening
        self._last: _Seen | None = None
        self._candidate: _Candidate | None = None
        self._round = opening.round if opening is not None else None  # of the newest sample that was believed
        self._clock = DeviceClock(limits.tolerance_seconds, heard)
        self._common = 0  # what all registers so far are multiples of
        self._smallest_move: int | None = None  # that was seen
        if opening is not None:
            began = opening.round * limits.interval_seconds
            self._last = _Seen(opening.sample, began, began)

    def clock_stepped(self) -> int | None:
        """The clock was set: the round under way, which is given, has no length that anybody knows. It is a gap."""
        spoilt = self._opening.round if self._opening is not None else None
        self._opening = self._candidate = self._round = None
        if self._last is not None:
            self._last = _Seen(self._last.sample, None, None)
        self._clock.machine_stepped()
        return spoilt

    def take(self, sample: Sample, at_seconds: float) -> Crossing | None:
        """Take in one sample; a Crossing when it is the first of a round. SampleRefusedError when it is not believed."""
        at_seconds -= self._believe(sample, at_seconds)
        round_number, into_seconds = divmod(at_seconds, self._limits.interval_seconds)
        return self._cross(sample, int(round_number), into_seconds)

    def _cross(self, sample: Sample, round_number: int, into_seconds: float) -> Crossing | None:
        before = self._opening
        if self._round == round_number:
            return None
        first, self._round = self._round is None, round_number
        on_time = into_seconds <= self._limits.tolerance_seconds
        late_seconds = None if on_time or first else into_seconds
        self._opening = OpeningSample(round_number, sample, self._clock.heard()) if on_time else None
        if before is None:
            seen = on_time or late_seconds is not None
            return Crossing(None, None, self._opening, late_seconds) if seen else None
        watt_hours = None
        if on_time and before.round + 1 == round_number:
            watt_hours = sample.net_watt_hours - before.sample.net_watt_hours
        return Crossing(before.round, watt_hours, self._opening, late_seconds)

    @property
    def step_watt_hours(self) -> int:
        """The steps that this register moves in, by what the meter tells and by what was seen of it."""
        told = self._last.sample.step_watt_hours if self._last is not None else 1
        seen = max(math.gcd(self._common, _COARSEST_WATT_HOURS), self._smallest_move or 1)
        return max(told, min(seen, _COARSEST_WATT_HOURS))

    def _believe(self, sample: Sample, at_seconds: float) -> float:
        """How late the sample is; SampleRefusedError."""
        sample.refuse_implausible()
        if self._last is not None and self._last.sample.device != sample.device:
            self._opening = self._last = self._candidate = self._round = (
                None  # a new meter: the round under way has no reading
            )
            self._clock, self._common, self._smallest_move = DeviceClock(self._limits.tolerance_seconds), 0, None
        before = self._last
        moved = before is None or before.sample != sample
        late_seconds = self._clock.late_seconds(sample, at_seconds)
        at_seconds -= late_seconds
        seen = _Seen(sample, at_seconds, at_seconds if before is None or moved else before.moved_seconds)
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
        self._learn_step(before, sample)
        return late_seconds

    def _learn_step(self, before: _Seen | None, sample: Sample) -> None:
        self._common = math.gcd(self._common, sample.import_watt_hours, sample.export_watt_hours)
        if before is not None:
            moves = (
                sample.import_watt_hours - before.sample.import_watt_hours,
                sample.export_watt_hours - before.sample.export_watt_hours,
            )
            seen = [move for move in (*moves, self._smallest_move) if move is not None and move > 0]
            self._smallest_move = min(seen, default=None)

    def _go_on(self, candidate: _Candidate, seen: _Seen, at_seconds: float) -> None:
        """What goes on contradicting the past, and not itself, is another meter that tells no serial number."""
        if at_seconds - candidate.since_seconds < self._limits.exchange_seconds:
            self._candidate = _Candidate(candidate.since_seconds, seen, candidate.doubt, stands=True)
            raise SampleRefusedError(candidate.doubt)
        self._opening, self._last, self._candidate, self._round = None, seen, None, None

    def _follows(self, before: _Seen | None, after: _Seen) -> Doubt | None:
        """None when the one sample can come after the other on one meter."""
        if before is None:
            return None
        imported = after.sample.import_watt_hours - before.sample.import_watt_hours
        exported = after.sample.export_watt_hours - before.sample.export_watt_hours
        if min(imported, exported) < 0:
            return Doubt.BACKWARD
        if before.at_seconds is None or before.moved_seconds is None or after.at_seconds is None:
            return None
        step_watt_hours = max(self.step_watt_hours, after.sample.step_watt_hours)
        # What a coarse register shows at once was used since it last moved.
        coarse = step_watt_hours > _SLACK_WATT_HOURS
        since_seconds = before.moved_seconds if coarse else before.at_seconds
        elapsed_seconds = max(0.0, after.at_seconds - since_seconds)
        slack = max(_SLACK_WATT_HOURS, step_watt_hours)
        most = self._limits.largest_watts * elapsed_seconds / _SECONDS_PER_HOUR + slack
        return Doubt.LEAP if max(imported, exported) > most else None
