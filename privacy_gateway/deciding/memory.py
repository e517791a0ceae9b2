"""Everything a gateway has to know, in memory: to play in a prompt, and for whoever tests the order of checks."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from privacy_gateway.deciding.answer import GatewayAnswer
from privacy_gateway.deciding.answering import DecidedTooEarlyError
from privacy_gateway.deciding.order import AllowedQuestion
from privacy_gateway.differencing.disclosed import DisclosedRow
from privacy_gateway.ledger.balance import BudgetCap
from privacy_gateway.ledger.book import MemoryLedger, Overdraft
from privacy_gateway.questions.declined import Declined
from privacy_gateway.questions.posed import PosedQuestion
from privacy_gateway.questions.question import GatewayQuestion
from privacy_gateway.questions.recovered import RecoveredSum, RoundSpan


def _nobody_objects(*_: object) -> None:
    """Who asks, and for what, is judged elsewhere."""


class MemoryRecords:
    """`GatewayRecords` without a disk. admit, consent: who may ask, and what homes agree to; by default everybody and
    all.
    """

    def __init__(
        self,
        homes: Sequence[str],
        sums: Sequence[RecoveredSum],
        settled_before: int,
        *,
        admit: Callable[[str, GatewayQuestion], Declined | None] = _nobody_objects,
        consent: Callable[[PosedQuestion], Declined | None] = _nobody_objects,
    ) -> None:
        self.ledger = MemoryLedger()
        self.log: list[tuple[str, GatewayQuestion, Declined | GatewayAnswer]] = []
        self._homes, self._sums, self._settled = sorted(homes), list(sums), settled_before
        self._admit, self._consent = admit, consent
        self._answers: dict[str, GatewayAnswer] = {}
        self._disclosed: list[DisclosedRow] = []

    def admitted(self, asker: str, question: GatewayQuestion) -> Declined | None:
        """What `admit` says."""
        return self._admit(asker, question)

    def homes(self) -> Sequence[str]:
        """As they were given, sorted."""
        return self._homes

    def consented(self, posed: PosedQuestion) -> Declined | None:
        """What `consent` says."""
        return self._consent(posed)

    def answer_to(self, digest: str) -> GatewayAnswer | None:
        """What was answered before."""
        return self._answers.get(digest)

    def settled_before(self) -> int:
        """As it was given."""
        return self._settled

    def sums_within(self, span: RoundSpan) -> list[RecoveredSum]:
        """Those whose rounds lie in the span."""
        return [each for each in self._sums if span.holds(each.span)]

    def disclosed(self) -> Sequence[DisclosedRow]:
        """All that was charged for."""
        return self._disclosed

    def attempts(self, digest: str) -> int:
        """How often this question was charged for."""
        return self.ledger.attempts(digest)

    def charge(self, allowed: AllowedQuestion, cap: BudgetCap) -> Overdraft | None:
        """Entry and rows, or neither."""
        if allowed.told_before != len(self._disclosed):
            raise DecidedTooEarlyError(f"{len(self._disclosed)} rows are disclosed, not {allowed.told_before}")
        overdraft = self.ledger.charge(allowed.entry, cap)
        if overdraft is None:
            self._disclosed += allowed.disclosed
        return overdraft

    def audited(
        self, asker: str, question: GatewayQuestion, outcome: Declined | GatewayAnswer
    ) -> Declined | GatewayAnswer:
        """A line of the log; an answer is kept."""
        self.log.append((asker, question, outcome))
        if isinstance(outcome, GatewayAnswer):
            self._answers[outcome.question] = outcome
        return outcome
