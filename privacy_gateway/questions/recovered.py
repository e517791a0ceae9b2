"""What the gateway has: sums that were recovered, each of a cohort over a span of rounds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class RoundSpan:
    """The rounds [first, until). ValueError when there is none."""

    first: int
    until: int

    def __post_init__(self) -> None:
        if self.until <= self.first:
            raise ValueError(f"no round lies in [{self.first}, {self.until})")

    @property
    def rounds(self) -> int:
        """How many."""
        return self.until - self.first

    def holds(self, other: RoundSpan) -> bool:
        """Whether every round of the other is one of these."""
        return self.first <= other.first and other.until <= self.until

    def meets(self, other: RoundSpan) -> bool:
        """Whether some round is in both."""
        return self.first < other.until and other.first < self.until


@dataclass(frozen=True, slots=True)
class RecoveredSum:
    """The exact sum of one rule over one window, as its consumer recovered it.

    cohort: the homes the rule covers; included: (home, round) pairs that are in the sum; contributors: distinct homes
    with at least one pair in it. Which homes those are, nobody told the consumer. ValueError where these numbers
    cannot be.
    """

    rule: int
    cohort: frozenset[str]
    span: RoundSpan
    watt_hours: int
    included: int
    contributors: int

    def __post_init__(self) -> None:
        if not self.contributors <= self.included <= self.expected or self.contributors > len(self.cohort):
            raise ValueError(
                f"rule {self.rule}, rounds {self.span.first} to {self.span.until - 1}: {self.included} pairs of "
                f"{self.contributors} homes out of {len(self.cohort)} cannot be"
            )

    @property
    def expected(self) -> int:
        """Pairs of the cohort over the span."""
        return len(self.cohort) * self.span.rounds

    @property
    def loss(self) -> SumLoss:
        """What of the cohort is not in the sum."""
        return SumLoss(
            self.rule, self.span, len(self.cohort), self.expected - self.included, len(self.cohort) - self.contributors
        )


@dataclass(frozen=True, slots=True)
class SumLoss:
    """How much of a cohort is not in one sum: missing (home, round) pairs, and homes without any pair in it."""

    rule: int
    span: RoundSpan
    homes: int
    missing_pairs: int
    absent_homes: int

    def absent_in(self, part: RoundSpan) -> int:
        """The most homes that may have no pair in a part of the span.

        Of the whole span it is known exactly. A home that is absent throughout a part lacks a pair for each of its
        rounds.
        """
        return self.absent_homes if part.holds(self.span) else min(self.homes, self.missing_pairs // part.rounds)
