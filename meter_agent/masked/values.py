"""What is kept of masked readings, and of what pairs agree on."""

from __future__ import annotations

from dataclasses import dataclass

Key = tuple[int, int, int]  # stream, round, meter number


@dataclass(frozen=True, slots=True, repr=False)
class Stated:
    """One sealed masked reading that has no receipt yet."""

    stream: int
    round: int
    number: int
    meter: str
    plan_version: int
    sealed: bytes

    @property
    def key(self) -> Key:
        """(stream, round, number)."""
        return self.stream, self.round, self.number


@dataclass(frozen=True, slots=True, order=True)
class PairPeriod:
    """One meter's side of all its pairs in one period: where set-ups are kept."""

    meter: str
    stream: int
    graph: bytes
    first_round: int


@dataclass(frozen=True, slots=True, repr=False)
class PairTexts:
    """What was said to one neighbour, what it said, and whether it has answered."""

    said: bytes
    heard: bytes | None
    answered: bool
