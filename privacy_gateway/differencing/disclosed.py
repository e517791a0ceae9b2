"""What an answer tells, as far as differencing goes: one number for some homes over some rounds."""

from __future__ import annotations

from dataclasses import dataclass

from privacy_gateway.questions.recovered import RoundSpan, SumLoss


@dataclass(frozen=True, slots=True)
class DisclosedRow:
    """One number that was answered, or is about to be. Its noise is left out of account, as if it were exact.

    losses: of the recovered sums it was put together from, those in which something is missing.
    """

    homes: frozenset[str]
    span: RoundSpan
    losses: frozenset[SumLoss] = frozenset()

    def meets(self, other: DisclosedRow) -> bool:
        """Whether some home in some round is in both."""
        return self.span.meets(other.span) and not self.homes.isdisjoint(other.homes)


@dataclass(frozen=True, slots=True)
class SmallGroup:
    """Why rows may not be answered beside those before. homes: whom a combination may single out.

    proven: False when the search gave up, and there may be no such combination.
    """

    homes: tuple[str, ...]
    needed: int
    proven: bool
