"""A question laid out over recovered sums: what each of its numbers is put together from, and whether it is about too
few.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from dataclasses import dataclass

from privacy_gateway.deciding.policy import GatewayPolicy
from privacy_gateway.differencing.disclosed import DisclosedRow
from privacy_gateway.questions.cover import cover
from privacy_gateway.questions.declined import DeclineCode, Declined
from privacy_gateway.questions.posed import PosedQuestion
from privacy_gateway.questions.question import DISTRIBUTIONS
from privacy_gateway.questions.recovered import RecoveredSum, RoundSpan


@dataclass(frozen=True, slots=True)
class CoveredRow:
    """One number of an answer: the disjoint sums that make it up, exactly."""

    span: RoundSpan
    sums: tuple[RecoveredSum, ...]

    @property
    def watt_hours(self) -> int:
        """The exact sum: secret until noise is added."""
        return sum(each.watt_hours for each in self.sums)

    @property
    def included(self) -> int:
        """(home, round) pairs that are in it."""
        return sum(each.included for each in self.sums)

    @property
    def expected(self) -> int:
        """Pairs it would have if nothing were missing."""
        return sum(each.expected for each in self.sums)

    @property
    def fewest_homes(self) -> int:
        """Homes that are certainly in it, in the part of its span that has fewest."""
        beginning: defaultdict[int, list[RecoveredSum]] = defaultdict(list)
        for each in self.sums:
            beginning[each.span.first].append(each)
        cuts = beginning.keys() | {each.span.until for each in self.sums}
        on: list[RecoveredSum] = []
        fewest = []
        for first, until in itertools.pairwise(sorted(cuts)):
            on = [each for each in on if each.span.until > first] + beginning.get(first, [])
            part = RoundSpan(first, until)
            fewest.append(sum(len(each.cohort) - each.loss.absent_in(part) for each in on))
        return min(fewest)

    def disclosed(self, homes: frozenset[str]) -> DisclosedRow:
        """What answering it would tell."""
        return DisclosedRow(
            homes, self.span, frozenset(each.loss for each in self.sums if each.included < each.expected)
        )


def when_answerable(posed: PosedQuestion, settled_before: int) -> Declined | None:
    """Why no recovered sum can answer a question yet; None when one may. settled_before: every round below it is
    over.
    """
    if posed.question.kind in DISTRIBUTIONS:
        return Declined(
            DeclineCode.NOT_YET_DISTRIBUTION,
            f"Not yet: a {posed.question.kind.value} counts homes in bins, which only each home can say of "
            "itself. It needs private rules about the future; of the past there are sums only.",
        )
    if posed.span.until > settled_before:
        return Declined(
            DeclineCode.NOT_YET_FUTURE,
            f"Not yet: round {posed.span.until - 1} is not over (rounds below {settled_before} are). A question about "
            "the future needs a private rule, and those are not there yet.",
        )
    return None


def lay_out(posed: PosedQuestion, sums: list[RecoveredSum]) -> tuple[CoveredRow, ...] | Declined:
    """Every number of the question as disjoint sums, or why one of them cannot be put together."""
    homes, spans = frozenset(posed.homes), posed.rows
    starting: list[list[RecoveredSum]] = [[] for _ in spans]
    for each in sums:
        if posed.span.holds(each.span):
            starting[(each.span.first - posed.span.first) // spans[0].rounds].append(each)
    rows = []
    for row, at_hand in zip(spans, starting, strict=True):
        found = cover(homes, row, at_hand)
        if isinstance(found, Declined):
            return found
        rows.append(CoveredRow(row, found))
    return tuple(rows)


def too_small(rows: tuple[CoveredRow, ...], policy: GatewayPolicy) -> Declined | None:
    """Whether a number is about too few homes or too few rounds."""
    shortest = min(row.span.rounds for row in rows)
    if shortest < policy.minimum_rounds:
        return Declined(
            DeclineCode.TOO_SHORT,
            f"Each number would cover {shortest} rounds; {policy.minimum_rounds} are the fewest that may be told.",
        )
    fewest = min(rows, key=lambda row: row.fewest_homes)
    if fewest.fewest_homes < policy.minimum_homes:
        return Declined(
            DeclineCode.TOO_FEW_HOMES,
            f"Rounds {fewest.span.first} to {fewest.span.until - 1} have readings of {fewest.fewest_homes} homes at "
            f"some time; {policy.minimum_homes} are the fewest that may be told of.",
        )
    return None
