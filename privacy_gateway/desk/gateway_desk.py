"""One desk: questions and consents are put here, one after the other, and sums are taken in.

Everything here waits for disks. Whoever calls it does so in a thread; one lock makes it one at a time, so that a consent
that was taken back before a question is put holds for it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from hushgrid.errors import MessageError, RejectReason
from hushgrid.statements.consent import Consent
from hushgrid.statements.lines import wire_of
from privacy_gateway.audit.entries import LoggedConsent
from privacy_gateway.audit.log_file import AuditLog
from privacy_gateway.consent.state import HomeConsents
from privacy_gateway.consent.store import HeardConsents
from privacy_gateway.deciding.answer import GatewayAnswer
from privacy_gateway.deciding.answering import reply
from privacy_gateway.deciding.policy import GatewayPolicy
from privacy_gateway.desk.admission import stricter
from privacy_gateway.desk.home_list import HomeList
from privacy_gateway.desk.records import AskedRecords
from privacy_gateway.desk.results_file import RecoveredSums
from privacy_gateway.ledger.book import periods_of
from privacy_gateway.noise.sampler import NoiseSampler
from privacy_gateway.people.clients import Client
from privacy_gateway.questions.declined import DeclineCode, Declined
from privacy_gateway.questions.posed import PosedQuestion, pose
from privacy_gateway.questions.question import GatewayQuestion
from privacy_gateway.questions.recovered import RecoveredSum
from privacy_gateway.store.gateway_store import ConflictingSumError, GatewayStore

log = logging.getLogger("hushgrid")


@dataclass(frozen=True, slots=True)
class GivenAnswer:
    """What leaves. charged: whether it was charged for just now; left_micro: the epsilon that all its homes can still pay."""

    answer: GatewayAnswer
    charged: bool
    left_micro: int


class GatewayDesk:
    """See the module. Any thread may call it."""

    def __init__(
        self,
        *,
        home_list: HomeList,
        store: GatewayStore,
        consents: HeardConsents,
        audit: AuditLog,
        policy: GatewayPolicy,
        interval_seconds: int,
        sampler: NoiseSampler,
        source: RecoveredSums,
        now: Callable[[], int] = lambda: int(time.time()),
    ) -> None:
        """now: seconds since 1970, UTC."""
        self.home_list, self.store, self.consents, self.audit, self.policy = home_list, store, consents, audit, policy
        self._interval, self._sampler, self._source, self.now = interval_seconds, sampler, source, now
        self._homes = home_list.homes
        self._settled = store.settled_before()
        self.lock = threading.RLock()

    def ask(self, client: Client, question: GatewayQuestion) -> GivenAnswer | Declined:
        """From who asks to what is answered, as `privacy_gateway.deciding.answering.reply`."""
        with self.lock:
            records = self._records(client, question)
            policy = stricter(self.policy, client.scope.asking)
            outcome = reply(client.name, question, records, policy, self._sampler)
            return outcome if isinstance(outcome, Declined) else self._given(outcome, question, charged=records.charged)

    def again(self, client: Client, digest: str) -> GivenAnswer | Declined | None:
        """The answer to the question of this digest, after who asks and consent are looked at again. None: none was answered.

        Nothing is ever charged.
        """
        with self.lock:
            question = self.store.question_of(digest)
            if question is None:
                return None
            records = self._records(client, question)
            outcome = self._known(records, client, question)
            given = records.audited(client.name, question, outcome)
            return given if isinstance(given, Declined) else self._given(given, question, charged=False)

    def _known(self, records: AskedRecords, client: Client, question: GatewayQuestion) -> Declined | GatewayAnswer:
        refused = records.admitted(client.name, question)
        posed = refused or pose(question, self._homes)
        if isinstance(posed, Declined):
            return posed
        refused = records.consented(posed)
        if refused is not None:
            return refused
        answer = records.answer_to(posed.digest)
        return answer or Declined(
            DeclineCode.NOT_ADMITTED, "The answer cost more than this client's scope allows it to be told."
        )

    def _records(self, client: Client, question: GatewayQuestion) -> AskedRecords:
        return AskedRecords(
            client, question, homes=self._homes, store=self.store, consents=self.consents, log=self.audit,
            policy=self.policy, settled_before=self._settled, interval_seconds=self._interval, now=self.now,
        )  # fmt: skip

    def _given(self, answer: GatewayAnswer, question: GatewayQuestion, *, charged: bool) -> GivenAnswer:
        posed = pose(question, self._homes)
        return GivenAnswer(answer, charged, self._left(posed) if isinstance(posed, PosedQuestion) else 0)

    def _left(self, posed: PosedQuestion) -> int:
        cap = self.policy.cap
        paying = [(home, at) for home in posed.homes for at in periods_of(posed.span, self.policy.period_rounds)]
        found = self.store.ledger.balances(paying)
        return min((cap.left_micro(balance) for balance in set(found.values())), default=cap.epsilon_micro)

    def hear(self, line: bytes) -> tuple[str, Consent]:
        """A signed consent, in the audit log and on disk when this returns; no answer goes against it from then on.

        In the log first: what a kill leaves between the two has no effect, and nobody was told that it has. The meter, and
        what it says. MessageError as `HeardConsents.hear`.
        """
        wire = wire_of(line)
        with self.lock:
            meter, consent, digest = self.consents.judge(wire)
            entry = LoggedConsent(at_seconds=self.now(), statement=digest, purpose=consent.purpose, act=consent.act)
            self.audit.append(entry)
            self.consents.hear(wire)
            return meter, consent

    def consents_of(self, meter: str) -> HomeConsents:
        """What a home has said."""
        with self.lock:
            self.consents.look_again()
            return self.consents.homes.get(meter, HomeConsents())

    def take_in(self) -> int:
        """What the consumer has written since; how many sums are new. ConfigurationError when that cannot be read."""
        with self.lock:
            read = self._source.read()
            for why in read.refused:
                log.warning("refused: %s", why)
            self._settled = max(self._settled, read.settled_before)
            if not read.sums:
                return 0
            try:
                return self.store.take_in(read.sums)
            except ConflictingSumError:
                return sum(self._take(each) for each in read.sums)

    def _take(self, each: RecoveredSum) -> int:
        try:
            return self.store.take_in([each])
        except ConflictingSumError as error:
            log.warning("refused: %s", error)
            return 0


def sentence_of(error: MessageError) -> str:
    """What somebody is told whose statement was not believed."""
    return _SENTENCES.get(error.reason, "It is not a statement that can be read here.")


_SENTENCES = {
    RejectReason.UNKNOWN_SENDER: "The meter is not on the gateway's list of homes.",
    RejectReason.BAD_SIGNATURE: "It was not signed by the meter that it names, or was changed.",
    RejectReason.WRONG_RECIPIENT: "It was made for another gateway or another grid.",
    RejectReason.UNKNOWN_KIND: "It is a statement of another kind.",
    RejectReason.WRONG_VERSION: "It is a statement of another version.",
    RejectReason.REPLAYED: "It was heard before.",
    RejectReason.CONFLICTING: "Its number was used for something else: the meter's disk may have been put back.",
    RejectReason.MISSING_BEFORE: "Statements before it were not heard, one of which may take it back.",
    RejectReason.FORGOTTEN_ROUND: "Its challenge has run out; ask for another one.",
}
