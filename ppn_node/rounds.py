"""Every round this PPN has in hand: memory over the journal, and the steps from frozen to released. No network.

What a method returns is to be sent; calling it again gives the same bytes (docs/protocol.md, section Rounds).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from hushgrid.core.recovery import Recovery
from hushgrid.core.schedule import Window, window_of
from hushgrid.core.sealing import Identity, SealingKey, verify
from hushgrid.errors import MessageError, RejectReason
from hushgrid.plan.parts import ConsumerEntry
from hushgrid.statements.rounds import (
    Contributors,
    Countersignature,
    DecisionCore,
    DecisionMessage,
    DecisionPage,
    ReleaseCertificate,
    RosterPage,
    check_certificate,
    countersign,
)
from hushgrid.wire.aggregates import AggregateFrame, AggregateText, aggregate_context
from ppn_node import freezing
from ppn_node.aggregation import aggregate
from ppn_node.agreement import assemble, check_decision, roster_pages, withheld_reason
from ppn_node.freezing import Standing
from ppn_node.intake import Admission, beside
from ppn_node.shares.assignment import Assignment, ServedRule
from ppn_node.shares.journal import Journal
from ppn_node.shares.store import ShareStore
from ppn_node.shares.values import HeldShare, RoundState, StoredRelease, StoredShare

log = logging.getLogger("hushgrid.ppn")


@dataclass(slots=True)
class RoundRecord:
    """One round in hand."""

    state: RoundState
    pages: dict[int, DecisionPage] = field(default_factory=dict)
    core: DecisionCore | None = None
    decided: Contributors | None = None
    countersignature: Countersignature | None = None
    certificate: ReleaseCertificate | None = None
    settled: bool = False  # nothing more is taken in: included shares that are missing are given up


class Rounds:
    """See the module.

    store: where the shares are. assignment_of: the plan in force for a round, as this PPN sees it. consumer_key: AEAD keys by
    plan. add: how aggregate shares are made; another than `aggregate` is for showing what a faulty PPN does.
    """

    def __init__(
        self,
        journal: Journal,
        store: ShareStore,
        identity: Identity,
        configurator: bytes,
        *,
        assignment_of: Callable[[int], Assignment | None],
        consumer_key: Callable[[Assignment, ConsumerEntry], SealingKey],
        add: Callable[..., AggregateText] = aggregate,
    ) -> None:
        self._journal = journal
        self._store = store
        self._identity = identity
        self._configurator = configurator
        self._assignment_of = assignment_of
        self._consumer_key = consumer_key
        self._add = add
        self._held: dict[int, dict[int, HeldShare]] = {}
        self._records: dict[int, RoundRecord] = {}
        self.floor = journal.floor()
        for stored in journal.rounds():
            record = RoundRecord(stored.state, {}, stored.core, None, stored.countersignature, stored.certificate)
            if stored.core is not None:
                record.pages = journal.decision_pages(stored.round)
                record.decided = assemble(stored.core, record.pages)
            self._records[stored.round] = record

    # Shares

    def state(self, round_number: int) -> RoundState:
        """How far a round has come; rounds below the floor are released."""
        if round_number < self.floor:
            return RoundState.RELEASED
        record = self._records.get(round_number)
        return record.state if record else RoundState.OPEN

    def held(self, round_number: int) -> dict[int, HeldShare]:
        """The shares on disk of a round, by meter number."""
        if round_number not in self._held:
            planned = self._assignment_of(round_number) is not None
            self._held[round_number] = self._store.held(round_number) if planned else {}
        return self._held[round_number]

    def admission(self, share: StoredShare) -> Admission:
        """What becomes of a genuine share: it is on disk already, beside another of its reading, taken, or not."""
        found = beside(share, self.held(share.round).get(share.number))
        return found or self.takes(share.round, share.number)

    def keep(self, shares: Iterable[StoredShare]) -> None:
        """Put new shares on disk, then count them as held. A receipt may follow."""
        fresh = {(s.round, s.number): s for s in shares if s.number not in self.held(s.round)}
        self._store.keep(fresh.values())
        for share in fresh.values():
            self.held(share.round)[share.number] = HeldShare(share.sharing_id, share.gap, share.attempt)

    # Freeze and roster

    def freeze(self, round_number: int) -> None:
        """No further share of this round counts."""
        if self.state(round_number) is RoundState.OPEN:
            self._journal.freeze(round_number, (n for numbers in self.missing(round_number).values() for n in numbers))
            self._records[round_number] = RoundRecord(RoundState.FROZEN)

    def roster(self, round_number: int) -> list[RosterPage]:
        """The pages of a frozen round's roster."""
        assignment = self._assignment_of(round_number)
        record = self._records[round_number]
        if assignment is None or record.state is RoundState.OPEN:
            return []
        if record.state is RoundState.FROZEN:
            self._journal.set_state(round_number, RoundState.ROSTERED)
            record.state = RoundState.ROSTERED
        return roster_pages(round_number, assignment, self.held(round_number))

    def standing(self, round_number: int) -> Standing:
        """What `freezing` decides by."""
        record = self._records.get(round_number)
        included = record.decided.included if record and record.decided else None
        given_up = record is not None and record.settled
        return Standing(self.state(round_number), self.recovery(round_number), included, given_up)

    def takes(self, round_number: int, number: int) -> Admission:
        """Whether a share of this meter that is not on disk counts now: TAKEN, CLOSED or NOT_YET."""
        return freezing.takes(self.standing(round_number), number)

    def lacks(self, round_number: int) -> bool:
        """Whether this PPN waits for shares: of any meter while the round is open, of included ones once it is decided."""
        assignment = self._assignment_of(round_number)
        if round_number < self.floor or assignment is None:
            return False
        return freezing.lacks(self.standing(round_number), assignment.expected, self.held(round_number))

    def wanted(self, round_number: int) -> dict[str, list[int]]:
        """The meters whose shares `lacks` speaks of, rising, by the pseudonym that carries them."""
        record = self._records.get(round_number)
        missing = self.missing(round_number)
        if record is None or record.decided is None:
            return missing
        included = record.decided.included
        found = {sender: [n for n in numbers if n in included] for sender, numbers in missing.items()}
        return {sender: numbers for sender, numbers in found.items() if numbers}

    def settle(self, round_number: int) -> None:
        """Nothing more of a decided round is taken in; windows over it may be released."""
        self._records[round_number].settled = True

    def recovery(self, round_number: int) -> Recovery:
        """What becomes of lost shares of a round, by the plan in force for it; `none` without one."""
        assignment = self._assignment_of(round_number)
        return Recovery.NONE if assignment is None else assignment.head.recovery

    def missing(self, round_number: int) -> dict[str, list[int]]:
        """Meters of a round whose share is not held, rising, by the pseudonym that carries them."""
        assignment = self._assignment_of(round_number)
        if assignment is None:
            return {}
        held = self.held(round_number)
        absent = {sender: [n for n in numbers if n not in held] for sender, numbers in assignment.senders.items()}
        return {sender: numbers for sender, numbers in absent.items() if numbers}

    def waiting(self, most: int = 32) -> list[int]:
        """The first frozen rounds that are not certified yet."""
        found = [r for r, record in sorted(self._records.items()) if record.certificate is None]
        return found[:most]

    def in_hand(self) -> list[tuple[int, RoundState]]:
        """The frozen rounds that are not forgotten yet."""
        return [(r, record.state) for r, record in sorted(self._records.items())]

    def certified(self) -> list[int]:
        """The rounds in hand that may be released."""
        return [r for r in sorted(self._records) if self._certified(r)]

    def countersignature(self, round_number: int) -> Countersignature | None:
        """The countersignature given for a round, None before."""
        return self._records[round_number].countersignature

    # Decision and certificate

    def hear_decision(self, message: DecisionMessage) -> Countersignature | None:
        """Take in a page of a decision; the countersignature once all pages are there and fit.

        MessageError when it is not the configurator's, does not fit, or is another than the one countersigned before.
        """
        core = message.core
        if core.round < self.floor:
            return None
        verify(self._configurator, "decision", core.to_json(), message.signature)
        record, assignment = self._records.get(core.round), self._assignment_of(core.round)
        if record is None or assignment is None:
            raise MessageError(RejectReason.FUTURE_ROUND, f"decision of round {core.round}")
        if record.countersignature is not None:
            if record.countersignature.digest != core.digest:
                raise MessageError(RejectReason.CONFLICTING, f"second decision of round {core.round}")
            return record.countersignature
        if message.index >= len(core.pages) or message.page.digest != core.pages[message.index]:
            raise MessageError(RejectReason.BAD_SIGNATURE, f"decision of round {core.round}")
        if record.core is None or record.core.digest != core.digest:
            record.core, record.pages = core, {}
        record.pages[message.index] = message.page
        decided = assemble(core, record.pages)
        if decided is None:
            return None
        check_decision(core, decided, assignment, self.held(core.round))
        signature = countersign(self._identity, core.round, assignment.point, core.digest)
        self._journal.set_decision(core, record.pages, signature)
        record.decided, record.countersignature, record.state = decided, signature, RoundState.DECIDED
        return signature

    def hear_certificate(self, certificate: ReleaseCertificate) -> bool:
        """Take in the leave to release a round; True when it is new. MessageError when it is not valid."""
        record, assignment = self._records.get(certificate.round), self._assignment_of(certificate.round)
        if certificate.round < self.floor or (record is not None and record.certificate is not None):
            return False
        if record is None or assignment is None or record.countersignature is None:
            raise MessageError(RejectReason.FUTURE_ROUND, f"certificate of round {certificate.round}")
        if record.countersignature.digest != certificate.digest:
            raise MessageError(RejectReason.CONFLICTING, f"certificate of round {certificate.round}")
        check_certificate(certificate, assignment.head)
        self._journal.set_certificate(certificate)
        record.certificate = certificate
        return True

    # Release

    def release_around(self, round_number: int) -> list[StoredRelease]:
        """Release what is complete now that this round is certified, each (rule, window) once, on disk before it is returned."""
        found = []
        for served, window, assignment in self._windows_over(round_number):
            ready = all(self._certified(r) and self._settled(r) for r in window)
            if ready and not self._journal.released(served.rule.number, window.first):
                found.append(self._release(served, window, assignment))
        self._forget()
        return found

    def _windows_over(self, round_number: int) -> list[tuple[ServedRule, Window, Assignment]]:
        """The (rule, window)s that contain a round, each under the plan of its first round."""
        found = []
        seen = set()
        for assignment in self._assignments_near(round_number):
            for served in assignment.rules.values():
                window = window_of(round_number, served.rule.window_rounds)
                own = self._assignment_of(window.first)
                if own is None or own.head.version != assignment.head.version or served.rule.number in seen:
                    continue
                if window in [w for s, w in own.windows_ending(window.last) if s.rule.number == served.rule.number]:
                    seen.add(served.rule.number)
                    found.append((served, window, own))
        return found

    def _assignments_near(self, round_number: int) -> list[Assignment]:
        """The plans in force for this round and for the rounds in hand before it."""
        found: dict[int, Assignment] = {}
        for r in [*(r for r in self._records if r <= round_number), round_number]:
            assignment = self._assignment_of(r)
            if assignment is not None:
                found[assignment.head.version] = assignment
        return list(found.values())

    def _certified(self, round_number: int) -> bool:
        record = self._records.get(round_number)
        return record is not None and record.certificate is not None

    def _settled(self, round_number: int) -> bool:
        return freezing.is_settled(self.standing(round_number), lacks=self.lacks(round_number))

    def _release(self, served: ServedRule, window: Window, assignment: Assignment) -> StoredRelease:
        rule = served.rule
        decisions = {r: decided for r in window if (decided := self._records[r].decided) is not None}
        held = {r: self.held(r) for r in window}
        last = self._records[window.last].core
        withheld = withheld_reason(last, rule.number, window.first) if last else None
        if withheld is None or len(decisions) != window.rounds:
            raise MessageError(RejectReason.FUTURE_ROUND, f"window {window.first} of rule {rule.number} is not decided")
        text = self._add(
            assignment.head, rule, served.cohort, window=window, decisions=decisions, held=held, withheld=withheld,
            sums=lambda pairs: self._store.sums(assignment.head.version, pairs, assignment.head.field),
        )  # fmt: skip
        frame = self._seal(text, served, window, assignment)
        release = StoredRelease(rule.number, window.first, rule.consumer, frame.to_bytes())
        self._journal.add_release(release, window.last)
        log.info(
            "rule %d rounds %d to %d: %s, %d of %d", rule.number, window.first, window.last, text.status.name.lower(),
            text.included, text.expected,
        )  # fmt: skip
        return release

    def _seal(self, text: AggregateText, served: ServedRule, window: Window, assignment: Assignment) -> AggregateFrame:
        rule, point = served.rule, assignment.point
        key = self._consumer_key(assignment, assignment.consumers[rule.consumer])
        context = aggregate_context(assignment.digest, rule.number, window.first, window.rounds, point)
        sealed = key.seal(text.to_bytes(assignment.head.field), context, stream=rule.number, round_number=window.first)
        return AggregateFrame(assignment.head.version, rule.number, window.first, window.rounds, point, sealed)

    def _forget(self) -> None:
        """Raise the floor over rounds that no window needs any more; their shares are erased."""
        floor = self.floor
        for round_number in sorted(self._records):
            if not self._certified(round_number):
                break
            over = all(
                self._journal.released(served.rule.number, window.first)
                for served, window, _ in self._windows_over(round_number)
            )
            if not over:
                break
            floor = round_number + 1
        self.forget(floor - 1)

    def forget(self, through: int) -> bool:
        """Let go of rounds up to this one, whatever became of them; False when that is done already."""
        if through < self.floor:
            return False
        self.floor = through + 1
        self._store.forget(self.floor)
        self._journal.raise_floor(self.floor)
        for table in (self._records, self._held):
            for round_number in [r for r in table if r <= through]:
                del table[round_number]
        return True
