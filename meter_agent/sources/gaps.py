"""Why a round has no reading, told apart. Pure: what was heard around each boundary comes in."""

from __future__ import annotations

import enum
from collections import Counter
from dataclasses import dataclass, field

from meter_agent.sources.sample import Doubt

#: Boundaries that are remembered: a round has two, and the next one may have begun.
_REMEMBERED = 4
#: Rounds that are known to have been told.
_TOLD = 256


class Gap(enum.StrEnum):
    """Why there is no reading."""

    SILENT = "nothing was heard in time"
    NOT_BELIEVED = "what was heard in time was not believed"
    LATE = "the first sample came too late"
    CLOCK = "the clock was set, or is not set yet"
    NOT_RUNNING = "the agent was not running"
    EXCHANGED = "another meter"


@dataclass(slots=True)
class _Boundary:
    """What was heard within the tolerance after it, and how late the first sound sample after that was."""

    doubts: Counter[Doubt] = field(default_factory=Counter)
    sound: bool = False
    late_seconds: float | None = None


class GapWatch:
    """Follows what a device says around the boundaries of rounds. began_seconds: since when it is listened to."""

    def __init__(self, interval_seconds: int, tolerance_seconds: float, began_seconds: float) -> None:
        self._interval_seconds, self._tolerance_seconds = interval_seconds, tolerance_seconds
        self._began_seconds = began_seconds
        self._boundaries: dict[int, _Boundary] = {}
        self._clock_rounds: set[int] = set()
        self._told: set[int] = set()
        self.counts: Counter[Gap] = Counter()

    def heard(self, at_seconds: float, doubt: Doubt | None) -> None:
        """A sample; doubt: why it was not believed."""
        number, into_seconds = divmod(at_seconds, self._interval_seconds)
        boundary = self._boundaries.setdefault(int(number), _Boundary())
        if into_seconds > self._tolerance_seconds:
            if doubt is None and boundary.late_seconds is None:
                boundary.late_seconds = into_seconds
        elif doubt is None:
            boundary.sound = True
        else:
            boundary.doubts[doubt] += 1
        for old in [each for each in self._boundaries if each <= number - _REMEMBERED]:
            del self._boundaries[old]

    def clock_set(self, at_seconds: float) -> None:
        """The clock was set: the round under way by the new time has no length."""
        number = int(at_seconds // self._interval_seconds)
        self._clock_rounds = {each for each in self._clock_rounds if each > number - _REMEMBERED} | {number}

    def closed(self, round_number: int) -> tuple[Gap, str] | None:
        """A round is closed as a gap: which one, and what a person is told. It is counted; None when it was before."""
        if round_number in self._told:
            return None
        self._told = {*sorted(self._told)[1 - _TOLD :], round_number}
        gap, detail = self._why(round_number)
        self.counts[gap] += 1
        return gap, f"{gap.value}{detail}"

    def _why(self, round_number: int) -> tuple[Gap, str]:
        if round_number in self._clock_rounds:
            return Gap.CLOCK, ""
        for number in (round_number, round_number + 1):
            boundary = self._boundaries.get(number, _Boundary())
            if boundary.sound:
                continue
            end = "began" if number == round_number else "ended"
            if number * self._interval_seconds + self._tolerance_seconds < self._began_seconds:
                return Gap.NOT_RUNNING, f" when it {end}"
            if boundary.doubts:
                ((doubt, count),) = boundary.doubts.most_common(1)
                gap = Gap.CLOCK if doubt is Doubt.CLOCK else Gap.NOT_BELIEVED
                return gap, f" when it {end}: {doubt.value}, {count} samples"
            if boundary.late_seconds is not None:
                return (
                    Gap.LATE,
                    f": {boundary.late_seconds:.0f} s after it {end}, {self._tolerance_seconds:.0f} are allowed",
                )
            if number * self._interval_seconds < self._began_seconds:
                return Gap.NOT_RUNNING, f" when it {end}"
            return Gap.SILENT, f" when it {end}"
        return Gap.EXCHANGED, ", or one whose register ran backwards"
