"""`GatewayRecords` as they are on disk, for one question of one asker: who may ask, consents, store and audit log."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from fractions import Fraction

import hushgrid
from privacy_gateway.audit.entries import LoggedAnswer, LoggedCharge, LoggedQuestion, LoggedRefusal
from privacy_gateway.audit.log_file import AuditLog
from privacy_gateway.consent.state import covered, rests_on
from privacy_gateway.consent.store import HeardConsents
from privacy_gateway.deciding.answer import GatewayAnswer
from privacy_gateway.deciding.order import AllowedQuestion
from privacy_gateway.deciding.policy import GatewayPolicy
from privacy_gateway.desk.admission import why_not_admitted, why_too_few
from privacy_gateway.differencing.disclosed import DisclosedRow
from privacy_gateway.ledger.balance import BudgetCap
from privacy_gateway.ledger.book import Overdraft
from privacy_gateway.ledger.price import MICRO, PICO
from privacy_gateway.people.clients import Client
from privacy_gateway.questions.declined import DeclineCode, Declined
from privacy_gateway.questions.posed import PosedQuestion, pose
from privacy_gateway.questions.question import GatewayQuestion
from privacy_gateway.questions.recovered import RecoveredSum, RoundSpan
from privacy_gateway.store.gateway_store import GatewayStore
from privacy_gateway.store.written import answer_written


class AskedRecords:
    """See `privacy_gateway.deciding.answering.GatewayRecords`. charged: whether this question was charged for just now."""

    def __init__(
        self,
        client: Client,
        question: GatewayQuestion,
        *,
        homes: Sequence[str],
        store: GatewayStore,
        consents: HeardConsents,
        log: AuditLog,
        policy: GatewayPolicy,
        settled_before: int,
        interval_seconds: int,
        now: Callable[[], int] = lambda: int(time.time()),
    ) -> None:
        """The question is in the audit log, on disk, when this returns."""
        self._client, self._homes, self._policy = client, homes, policy
        self._store, self._consents, self._log = store, consents, log
        self._settled, self._interval, self._now = settled_before, interval_seconds, now
        self.charged = False
        posed = pose(question, homes)
        self._posed = None if isinstance(posed, Declined) else posed
        self._name = _unposed(question) if self._posed is None else bytes.fromhex(self._posed.digest)
        self._log.append(
            LoggedQuestion(
                at_seconds=now(), question=self._name, asker=client.name, purpose=question.purpose,
                statistic=question.kind.value, homes=0 if self._posed is None else len(self._posed.homes),
            )
        )  # fmt: skip

    def admitted(self, asker: str, question: GatewayQuestion) -> Declined | None:
        """By the client's scope."""
        del asker
        return why_not_admitted(
            self._client.scope.asking, question, settled_before=self._settled, interval_seconds=self._interval
        )

    def homes(self) -> Sequence[str]:
        """Of the list of homes."""
        return self._homes

    def consented(self, posed: PosedQuestion) -> Declined | None:
        """As every gateway that shares the consents has heard by now."""
        few = why_too_few(self._client.scope.asking, posed, self._policy)
        if few is not None:
            return few
        self._consents.look_again()
        purpose = posed.question.purpose
        if len(covered(purpose, posed.homes, self._consents.homes)) < len(posed.homes):
            return Declined(DeclineCode.NO_CONSENT, f"Not every home of the cohort has consented to {purpose.value}.")
        return None

    def answer_to(self, digest: str) -> GatewayAnswer | None:
        """As it is kept; none that cost more than this client's scope allows."""
        answer, scope = self._store.answer_to(digest), self._client.scope.asking
        if answer is None or scope is None or scope.largest_epsilon_micro is None:
            return answer
        return answer if self._policy.cap.delta.worth_micro(answer.price) <= scope.largest_epsilon_micro else None

    def settled_before(self) -> int:
        """As far as results were read."""
        return self._settled

    def sums_within(self, span: RoundSpan) -> list[RecoveredSum]:
        """As they are kept."""
        return self._store.sums_within(span)

    def disclosed(self) -> Sequence[DisclosedRow]:
        """By every gateway that shares the store."""
        return self._store.disclosed()

    def attempts(self, digest: str) -> int:
        """As they are kept."""
        return self._store.attempts(digest)

    def charge(self, allowed: AllowedQuestion, cap: BudgetCap) -> Overdraft | None:
        """On disk in the ledger, then in the audit log."""
        overdraft = self._store.charge(allowed, cap)
        if overdraft is None:
            self.charged = True
            entry = allowed.entry
            self._log.append(
                LoggedCharge(
                    at_seconds=self._now(), question=self._name,
                    budget=f"period-{entry.periods[0]}..{entry.periods[-1]}",
                    epsilon=str(Fraction(entry.price.epsilon_micro, MICRO)),
                    rho=str(Fraction(entry.price.rho_pico, PICO)),
                )
            )  # fmt: skip
        return overdraft

    def audited(
        self, asker: str, question: GatewayQuestion, outcome: Declined | GatewayAnswer
    ) -> Declined | GatewayAnswer:
        """The answer that is kept, once its leaving is in the log; a refusal where consent was taken back meanwhile."""
        posed = self._posed
        if isinstance(outcome, GatewayAnswer) and posed is not None:
            self._store.keep_answer(outcome, posed)
            kept = self._store.answer_to(outcome.question)
            outcome = self.consented(posed) or kept or outcome
        if isinstance(outcome, Declined):
            self._log.append(
                LoggedRefusal(at_seconds=self._now(), question=self._name, asker=asker, reason=outcome.code.value)
            )
            return outcome
        said = hashlib.sha256(answer_written(outcome).encode()).digest()
        rests = rests_on(question.purpose, posed.homes if posed else (), self._consents.homes)
        self._log.append(
            LoggedAnswer(
                at_seconds=self._now(), question=self._name, answer=said, asker=asker, purpose=question.purpose,
                consents=rests, code=hushgrid.__version__,
            )
        )  # fmt: skip
        return outcome


def _unposed(question: GatewayQuestion) -> bytes:
    """The name of a question whose homes are not known."""
    return hashlib.sha256(b"hushgrid question without homes\n" + question.to_json()).digest()
