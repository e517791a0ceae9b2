"""When to ask again for shares that are missing, and when to stop. No I/O; what time it is is an argument.

A request follows when nothing of the round has arrived for a pause; after the last request and one more pause the round goes
on without what is still missing. So a backlog that is still coming in is never asked for, and a request is never repeated
while its answers arrive. The cost is the loss fraction per share and request, not a fixed number of cycles.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass

#: Requests for the shares of a decided round that a PPN was away for, at least: with recovery `agree`, too.
CATCH_UP_ATTEMPTS = 5


class Turn(enum.Enum):
    """Whose turn it is."""

    WAIT = "wait"  # the round has not been quiet for long enough
    ASK = "ask"  # what is missing is asked for now
    OVER = "over"  # no more requests may be made


@dataclass(frozen=True, slots=True)
class RepairStep:
    """What follows for a round that is waited for. attempt: the number of the request to be made, from 1; 0 where there is none."""

    turn: Turn
    attempt: int = 0


@dataclass(slots=True)
class _Asking:
    attempt: int  # of the last request made
    last: int  # of the last that may be made
    quiet_since: float


class Repairs:
    """The rounds that wait for shares. pause_seconds: how long a round must be quiet before the next step."""

    def __init__(self, pause_seconds: float) -> None:
        self._pause_seconds = pause_seconds
        self._asking: dict[int, _Asking] = {}

    def __contains__(self, round_number: int) -> bool:
        return round_number in self._asking

    def __iter__(self) -> Iterator[int]:
        return iter(sorted(self._asking))

    def begin(self, round_number: int, now_seconds: float, *, after: int, most: int) -> None:
        """Something of this round is missing. after: the attempts made before; most: how many more may be made."""
        self._asking.setdefault(round_number, _Asking(after, after + most, now_seconds))

    def catch_up(self, round_number: int, now_seconds: float, repair_attempts: int) -> None:
        """A decided round includes shares that are missing. repair_attempts: the plan's, made or not; numbers go on from there."""
        most = max(repair_attempts, CATCH_UP_ATTEMPTS)
        self.begin(round_number, now_seconds, after=repair_attempts, most=most)

    def heard(self, round_number: int, now_seconds: float) -> None:
        """A share of this round arrived."""
        if round_number in self._asking:
            self._asking[round_number].quiet_since = now_seconds

    def next_step(self, round_number: int) -> float:
        """When the round has been quiet for long enough, in the seconds of `now_seconds`."""
        return self._asking[round_number].quiet_since + self._pause_seconds

    def step(self, round_number: int, now_seconds: float) -> RepairStep:
        """What follows now; a request is counted as made."""
        asking = self._asking[round_number]
        if now_seconds < self.next_step(round_number):
            return RepairStep(Turn.WAIT)
        if asking.attempt == asking.last:
            return RepairStep(Turn.OVER)
        asking.attempt += 1
        asking.quiet_since = now_seconds
        return RepairStep(Turn.ASK, asking.attempt)

    def end(self, round_number: int) -> None:
        """Nothing is missing any more, or it is given up."""
        self._asking.pop(round_number, None)
