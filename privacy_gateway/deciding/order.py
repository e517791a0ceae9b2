"""The order in which a question is judged: who asks, purpose and consent, minimum, differencing, price.

`decide` changes nothing and reads no watt-hour. What it allows still has to be charged for, on disk, before anything is
computed (`privacy_gateway.deciding.answering`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from privacy_gateway.deciding.answer import GatewayAnswer
from privacy_gateway.deciding.laid_out import CoveredRow, lay_out, too_small, when_answerable
from privacy_gateway.deciding.policy import GatewayPolicy
from privacy_gateway.deciding.pricing import mechanism_for
from privacy_gateway.differencing.disclosed import DisclosedRow
from privacy_gateway.differencing.groups import small_group
from privacy_gateway.ledger.book import ChargeEntry, periods_of
from privacy_gateway.ledger.price import PrivacyPrice
from privacy_gateway.noise.mechanisms import NoiseMechanism
from privacy_gateway.questions.declined import DeclineCode, Declined
from privacy_gateway.questions.posed import PosedQuestion, pose
from privacy_gateway.questions.question import GatewayQuestion
from privacy_gateway.questions.recovered import RecoveredSum, RoundSpan


class GatewayKnowledge(Protocol):
    """What a decision is made from, as it stands now."""

    def admitted(self, asker: str, question: GatewayQuestion) -> Declined | None:
        """Why this asker may not ask this; None when it may."""
        ...

    def homes(self) -> Sequence[str]:
        """All homes that can be asked about, sorted."""
        ...

    def consented(self, posed: PosedQuestion) -> Declined | None:
        """Why the question's purpose is not agreed to by all its homes; None when it is."""
        ...

    def answer_to(self, digest: str) -> GatewayAnswer | None:
        """What was answered to this question before."""
        ...

    def settled_before(self) -> int:
        """Every round below it is over, and its sums are recovered or never will be."""
        ...

    def sums_within(self, span: RoundSpan) -> list[RecoveredSum]:
        """The recovered sums whose rounds lie in this span."""
        ...

    def disclosed(self) -> Sequence[DisclosedRow]:
        """All that was charged for, answered or not, by whoever asked."""
        ...

    def attempts(self, digest: str) -> int:
        """How often this question was charged for."""
        ...


@dataclass(frozen=True, slots=True)
class RepeatedQuestion:
    """A question that was answered before: the same answer, free."""

    answer: GatewayAnswer


@dataclass(frozen=True, slots=True)
class AllowedQuestion:
    """A question that may be answered once its entry is charged.

    mechanism: None where no noise is needed; told_before: rows that were disclosed when it was judged. A store that
    holds others by now has to have it judged anew.
    """

    posed: PosedQuestion
    rows: tuple[CoveredRow, ...]
    mechanism: NoiseMechanism | None
    entry: ChargeEntry
    told_before: int

    @property
    def disclosed(self) -> tuple[DisclosedRow, ...]:
        """What its answer tells; kept together with the charge."""
        homes = frozenset(self.posed.homes)
        return tuple(row.disclosed(homes) for row in self.rows)


Decision = Declined | RepeatedQuestion | AllowedQuestion


def decide(asker: str, question: GatewayQuestion, knowledge: GatewayKnowledge, policy: GatewayPolicy) -> Decision:
    """Every check in its order; the first that fails is the answer.

    A question that was answered before is given its answer again only after who asks, purpose and consent are found
    good now.
    """
    refused = knowledge.admitted(asker, question)
    if refused is not None:
        return refused
    posed = pose(question, knowledge.homes())
    if isinstance(posed, Declined):
        return posed
    refused = knowledge.consented(posed)
    if refused is not None:
        return refused
    before = knowledge.answer_to(posed.digest)
    if before is not None:
        return RepeatedQuestion(before)
    return _new_question(posed, knowledge, policy)


def _new_question(posed: PosedQuestion, knowledge: GatewayKnowledge, policy: GatewayPolicy) -> Decision:
    refused = when_answerable(posed, knowledge.settled_before())
    if refused is not None:
        return refused
    rows = lay_out(posed, knowledge.sums_within(posed.span))
    if isinstance(rows, Declined):
        return rows
    told = knowledge.disclosed()
    refused = too_small(rows, policy) or _differenced(posed, rows, told, policy)
    if refused is not None:
        return refused
    mechanism = mechanism_for(posed, rows, policy)
    if isinstance(mechanism, Declined):
        return mechanism
    entry = ChargeEntry(
        posed.digest, knowledge.attempts(posed.digest), posed.homes, periods_of(posed.span, policy.period_rounds),
        PrivacyPrice() if mechanism is None else mechanism.price,
    )  # fmt: skip
    return AllowedQuestion(posed, rows, mechanism, entry, len(told))


def _differenced(
    posed: PosedQuestion, rows: tuple[CoveredRow, ...], told: Sequence[DisclosedRow], policy: GatewayPolicy
) -> Declined | None:
    homes = frozenset(posed.homes)
    group = small_group([row.disclosed(homes) for row in rows], told, policy.minimum_homes)
    if group is None:
        return None
    if not group.proven:
        return Declined(
            DeclineCode.DIFFERENCING_NOT_SHOWN,
            "It was not shown that every combination with what was answered before is about "
            f"{group.needed} homes or more.",
        )
    return Declined(
        DeclineCode.DIFFERENCING,
        f"Combined with what was answered before it would be about no more homes than {len(group.homes)}; "
        f"{group.needed} are the fewest.",
    )
