"""What a person is told while a run waits: what for, and who is gone."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hushgrid.core.schedule import round_start

#: A wait in which nothing moves for so long is told, and told again after longer.
FIRST_WORD_SECONDS = 4.0
NEXT_WORD_SECONDS = 15.0


def names_of(agents: Sequence[str], most: int = 5) -> str:
    """The first few, and how many more there are."""
    more = len(agents) - most
    return ", ".join(agents[:most]) + (f" and {more} more" if more > 0 else "")


def round_in_words(round_number: int, first_round: int, rounds: int, interval_seconds: int) -> str:
    """Which round of a run it is, and when its readings are from: `round 3 of 8 (2013-03-11 01:00 to 01:30 UTC)`."""
    begin = round_start(round_number, interval_seconds)
    end = begin + dt.timedelta(seconds=interval_seconds)
    until = f"{end:%H:%M}" if end.date() == begin.date() or end.time() == dt.time() else f"{end:%Y-%m-%d %H:%M}"
    return f"round {round_number - first_round + 1} of {rounds} ({begin:%Y-%m-%d %H:%M} to {until} UTC)"


@dataclass(slots=True)
class Words:
    """When to say that something is waited for. tell: says a line to a person; gone: who cannot answer, in words."""

    tell: Callable[[str], None]
    gone: Callable[[], Sequence[str]]
    _since: float | None = None
    _due: float = 0.0

    def waiting(self, now: float, since: float, what: Callable[[], str]) -> None:
        """Nothing has moved from `since` to `now`, seconds of one clock: say so when it is time."""
        if since != self._since:
            self._since, self._due = since, since + FIRST_WORD_SECONDS
        if now >= self._due:
            self._due = now + NEXT_WORD_SECONDS
            self.tell(f"waiting for {self.described(what())}, {now - since:.0f} s now")

    def moving(self) -> None:
        """Nothing is waited for any more."""
        self._since = None

    def described(self, what: str) -> str:
        """What is waited for, with who is gone."""
        gone = self.gone()
        return f"{what}; gone: {names_of(gone)}" if gone else what
