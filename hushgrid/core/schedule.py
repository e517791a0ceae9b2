"""Rounds and windows: UTC, half-open, numbered from the Unix epoch. Nothing here asks what time it is.

A round is one metering interval: round r covers [r * interval, (r + 1) * interval) in Unix seconds, so daylight saving and
time zones do not exist here. A window of a rule is k rounds [m k, m k + k).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass


def round_at(unix_seconds: float, interval_seconds: int) -> int:
    """The number of the round that contains this instant."""
    return int(unix_seconds // interval_seconds)


def round_start(round_number: int, interval_seconds: int) -> dt.datetime:
    """The UTC instant at which the round begins."""
    return dt.datetime.fromtimestamp(round_number * interval_seconds, tz=dt.UTC)


def utc_text(instant: dt.datetime) -> str:
    """An instant of UTC to the second, as results, bills and logs write it."""
    return instant.strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True, slots=True, order=True)
class Window:
    """The k rounds [first, first + rounds) of one rule; first is a multiple of k."""

    first: int
    rounds: int

    def __post_init__(self) -> None:
        if self.rounds < 1 or self.first % self.rounds:
            raise ValueError(f"no window of {self.rounds} rounds begins at round {self.first}")

    @property
    def last(self) -> int:
        """The window's last round."""
        return self.first + self.rounds - 1

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.first, self.first + self.rounds))


def window_of(round_number: int, window_rounds: int) -> Window:
    """The window of length k that contains the round."""
    return Window(round_number - round_number % window_rounds, window_rounds)


def windows_within(first_round: int, last_round: int, window_rounds: int) -> list[Window]:
    """All whole windows of length k inside [first_round, last_round]."""
    first = -(-first_round // window_rounds) * window_rounds
    return [Window(start, window_rounds) for start in range(first, last_round - window_rounds + 2, window_rounds)]


@dataclass(frozen=True, slots=True)
class Pace:
    """How far a grid has come: rounds up to `metered_through` have ended and may be shared, rounds up to
    `frozen_through` take no more shares. Both only rise.
    """

    metered_through: int
    frozen_through: int

    def __post_init__(self) -> None:
        if self.frozen_through > self.metered_through:
            raise ValueError("a round cannot freeze before it ends")

    def merge(self, other: Pace) -> Pace:
        """The furthest of both: pace never goes back, whatever order its news arrives in."""
        return Pace(
            max(self.metered_through, other.metered_through),
            max(self.frozen_through, other.frozen_through),
        )


def pace_at(unix_seconds: float, interval_seconds: int, grace_seconds: float) -> Pace:
    """The pace the clock on the wall prescribes: a round freezes `grace_seconds` after its end."""
    return Pace(
        round_at(unix_seconds, interval_seconds) - 1,
        min(round_at(unix_seconds, interval_seconds), round_at(unix_seconds - grace_seconds, interval_seconds)) - 1,
    )


def seconds_to_next(unix_seconds: float, interval_seconds: int, grace_seconds: float) -> float:
    """Seconds until `pace_at` changes next; positive."""
    to_end = interval_seconds - unix_seconds % interval_seconds
    to_freeze = interval_seconds - (unix_seconds - grace_seconds) % interval_seconds
    return min(to_end, to_freeze)
