"""The PPN's shell: bytes in, journal, bytes out."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

from hushgrid import control
from hushgrid.agent import Agent
from hushgrid.bitmap import Bitmap
from hushgrid.config import read_token
from hushgrid.control import Role
from hushgrid.errors import MessageError, RejectReason, ShareRejectedError
from hushgrid.membership import AdoptedPlan, Member
from hushgrid.messages import AggregateReceipt, Closing, Envelope, Receipt
from hushgrid.plan import ConsumerEntry
from hushgrid.runtime import Backoff
from hushgrid.sealing import Kind, SealingKey
from hushgrid.topics import Channel, Topic, topic
from hushgrid.transport import Transport
from ppn_node.admission import AdmittedShare, check_envelope, open_share
from ppn_node.agreement import RoundState
from ppn_node.assignment import Assignment
from ppn_node.config import PpnConfig
from ppn_node.journal import Journal, StoredRelease
from ppn_node.rounds import Rounds

#: Refusals a sender hears of, so that its outbox drains: of shares whose seal was good, or of rounds long over. Anything else may
#: be a message that somebody changed on its way; its sender tries again until the round is closed.
_ANSWERED = frozenset({RejectReason.CLOSED_ROUND, RejectReason.FORGOTTEN_ROUND, RejectReason.CONFLICTING})


@dataclass(slots=True)
class _Answer:
    """A receipt being made: it is sent when the shares it speaks of are on disk."""

    envelope: Envelope
    sender: str
    held: set[int] = field(default_factory=set)
    refused: set[int] = field(default_factory=set)
    reason: RejectReason | None = None


class Ppn:
    """One PPN."""

    def __init__(self, config: PpnConfig, transport: Transport | None = None) -> None:
        self.config = config
        section = config.agent
        member = Member(section.id, Role.PPN, read_token(section.token_file), operator=config.ppn.operator)
        self.agent = Agent(
            config,
            Role.PPN,
            [member],
            hearers={Channel.SHARE: self._hear_envelope, Channel.RECEIPT: self._hear_receipt},
            on_plan=self._adopt,
            on_pace=self._wake,
            on_statement=self._hear_statement,
            figures=self._figures,
            transport=transport,
        )
        self._assignments: dict[int, Assignment | None] = {}
        self._keys: dict[tuple[int, bytes], SealingKey] = {}
        self.journal = Journal(section.state_directory / "journal.sqlite")
        self.rounds = Rounds(
            self.journal,
            self.agent.identity,
            config.configurator.identity,
            assignment_of=self._assignment_of,
            meter_key=lambda plan, number: self._key(plan, plan.meters[number].agreement, Kind.SHARE),
            consumer_key=self._consumer_key,
        )
        self._backoff = Backoff()
        self._work = asyncio.Event()
        self._batch: list[AdmittedShare] = []
        self._batched: set[tuple[int, int]] = set()
        self._answers: list[_Answer] = []
        self._committing = asyncio.Event()
        self._outstanding: dict[tuple[int, int], StoredRelease] = {
            (r.rule, r.first_round): r for r in self.journal.outstanding()
        }
        self._closed_through: int | None = None
        self._releasing_due = True

    async def run(self) -> None:
        """Serve until cancelled."""
        try:
            working = self.agent.keep_working(self._advance, self._work, self._backoff)
            await self.agent.run(self._commit(), working)
        finally:
            self.journal.close()
            self.agent.keyring.close()

    # Plans and keys

    def _adopt(self, adopted: AdoptedPlan) -> None:
        parts = adopted.parts.get(self.agent.id, ())
        self._assignments[adopted.head.version] = Assignment.of(adopted.head, self.agent.id, parts)
        self._wake()

    def _assignment_of(self, round_number: int) -> Assignment | None:
        plan = self.agent.membership.plans.in_force(round_number)
        return self._assignments.get(plan[0].version) if plan else None

    def _key(self, plan: Assignment, peer: bytes, kind: Kind) -> SealingKey:
        """The AEAD key shared with a meter (shares come in) or a consumer (aggregate shares go out)."""
        found = self._keys.get((plan.head.epoch, peer))
        if found is None:
            own = self.agent.keyring.agreement(self.agent.id, plan.head.epoch)
            if own is None:
                raise MessageError(RejectReason.BAD_SEAL, f"the key of epoch {plan.head.epoch} is erased")
            sender, recipient = (peer, own.public) if kind is Kind.SHARE else (own.public, peer)
            found = SealingKey.derive(
                own, peer, kind=kind, grid=self.agent.grid, epoch=plan.head.epoch, sender=sender, recipient=recipient
            )
            self._keys[plan.head.epoch, peer] = found
        return found

    def _consumer_key(self, plan: Assignment, consumer: ConsumerEntry) -> SealingKey:
        consumer.key.check(consumer.identity, self.agent.grid)
        return self._key(plan, consumer.key.agreement, Kind.AGGREGATE)

    # Shares in

    async def _hear_envelope(self, parsed: Topic, payload: bytes) -> None:
        envelope = Envelope.from_bytes(payload)
        answer = _Answer(envelope, parsed.sender)
        try:
            if envelope.round < self.rounds.floor:
                raise ShareRejectedError(RejectReason.FORGOTTEN_ROUND, f"round {envelope.round}")
            assignment = self._assignment_of(envelope.round)
            assignment = check_envelope(envelope, assignment, self.agent.pacing.pace)
        except ShareRejectedError as error:
            self.agent.counters.refuse("share", error)
            if error.reason in _ANSWERED:
                answer.refused, answer.reason = set(envelope.shares), error.reason
                self._queue(answer)
            return
        for position, (number, sealed) in envelope.shares.items():
            try:
                self._admit(
                    open_share(number, sealed, envelope.round, assignment, lambda n: self._meter_key(assignment, n))
                )
                answer.held.add(position)
            except MessageError as error:
                self.agent.counters.refuse("share", error)
                if error.reason in _ANSWERED:
                    answer.refused.add(position)
                    answer.reason = answer.reason or error.reason
        self._queue(answer)

    def _meter_key(self, assignment: Assignment, number: int) -> SealingKey:
        return self._key(assignment, assignment.meters[number].agreement, Kind.SHARE)

    def _admit(self, share: AdmittedShare) -> None:
        if self.rounds.known(share):
            self.agent.counters.add("duplicate share")
            return
        for waiting in self._batch if (share.round, share.number) in self._batched else ():
            if (waiting.round, waiting.number) == (share.round, share.number):
                if waiting.sharing_id != share.sharing_id:
                    raise ShareRejectedError(RejectReason.CONFLICTING, f"meter {share.number} round {share.round}")
                return
        if self.rounds.state(share.round) is not RoundState.OPEN:
            raise ShareRejectedError(RejectReason.CLOSED_ROUND, f"meter {share.number} round {share.round}")
        self._batch.append(share)
        self._batched.add((share.round, share.number))

    def _queue(self, answer: _Answer) -> None:
        self._answers.append(answer)
        self._committing.set()

    def _flush(self) -> list[_Answer]:
        """Everything admitted goes to disk in one commit; returns the receipts that may be sent now."""
        batch, self._batch, answers, self._answers = self._batch, [], self._answers, []
        self._batched.clear()
        if batch:
            self.rounds.keep(batch, lambda r: plan.head.version if (plan := self._assignment_of(r)) else 0)
            self.agent.counters.add("share", len(batch))
        return answers

    async def _commit(self) -> None:
        while True:
            await self._committing.wait()
            await asyncio.sleep(self.config.ppn.commit_delay_seconds)
            self._committing.clear()
            for answer in self._flush():
                await self._send_receipt(answer)

    async def _send_receipt(self, answer: _Answer) -> None:
        envelope = answer.envelope
        receipt = Receipt(
            envelope.round,
            envelope.point,
            envelope.sequence,
            Bitmap.of(envelope.size, answer.held),
            Bitmap.of(envelope.size, answer.refused),
            answer.reason,
        )
        await self._send(Channel.RECEIPT, answer.sender, receipt.to_bytes(self.agent.identity, answer.sender))

    async def _send(self, channel: Channel, recipient: str, payload: bytes) -> None:
        name = topic(self.agent.grid, channel, self.agent.transport.pseudonym, recipient)
        await self.agent.transport.publish(name, payload)

    # Agreement

    def _hear_statement(self, _member: str, body: control.Body) -> None:
        match body:
            case control.DecisionMessage():
                self._backoff.settle(("roster", body.core.round))
                self.rounds.hear_decision(body)
            case control.Certificate():
                if self.rounds.hear_certificate(body):
                    self._backoff.settle(("countersignature", body.round))
                    for release in self.rounds.release_around(body.round):
                        self._outstanding[release.rule, release.first_round] = release
                    self._erase_keys()
                    self.agent.changed()
            case control.Refusal():
                raise MessageError(RejectReason.WRONG_SENDER, f"refused: {body.of}: {body.reason}")
            case _:
                raise MessageError(RejectReason.UNKNOWN_KIND, body.kind)
        self._wake()

    def _wake(self) -> None:
        self._work.set()

    async def _advance(self) -> None:
        await self._freeze_due()
        await self._say_what_is_due()

    async def _freeze_due(self) -> None:
        pace, plans = self.agent.pacing.pace, list(self.agent.membership.plans)
        if pace is None or not plans:
            return
        first = max(self.rounds.floor, plans[0][0].valid_from_round)
        fresh = [r for r in range(first, pace.frozen_through + 1) if self.rounds.state(r) is RoundState.OPEN]
        for answer in self._flush() if fresh else ():
            await self._send_receipt(answer)
        for round_number in fresh:
            self.rounds.freeze(round_number)
        # After a restart the closings of rounds still in hand are said again: the first time they may not have left.
        again = self._closed_through is None
        for round_number in self.rounds.waiting(most=1024) if again else fresh:
            for sender in self.rounds.missing(round_number):
                closing = Closing(round_number, self._point(round_number)).to_bytes(self.agent.identity, sender)
                await self._send(Channel.RECEIPT, sender, closing)
        self._closed_through = pace.frozen_through
        if self._releasing_due:
            self._releasing_due = False
            self._release_left_over()

    def _point(self, round_number: int) -> int:
        assignment = self._assignment_of(round_number)
        return assignment.point if assignment else 0

    def _release_left_over(self) -> None:
        """After a restart: what was certified, and killed before it was released."""
        for round_number in self.rounds.certified():
            for release in self.rounds.release_around(round_number):
                self._outstanding[release.rule, release.first_round] = release
        self._erase_keys()

    async def _say_what_is_due(self) -> None:
        now = time.monotonic()
        for round_number in self.rounds.waiting():
            signature = self.rounds.countersignature(round_number)
            if signature is not None:
                if self._backoff.due(("countersignature", round_number), now):
                    await self.agent.membership.tell(self.agent.id, signature)
            elif self._backoff.due(("roster", round_number), now):
                for page in self.rounds.roster(round_number):
                    await self.agent.membership.tell(self.agent.id, page)
        for key, release in list(self._outstanding.items()):
            if self._backoff.due(("release", key), now):
                await self._publish_release(release)

    async def _publish_release(self, release: StoredRelease) -> None:
        assignment = self._assignment_of(release.first_round)
        newest = self.agent.membership.plans.newest
        plans = [newest[0].version] if newest else []
        for version in (*plans, assignment.head.version if assignment else None):
            plan = self._assignments.get(version) if version is not None else None
            entry = plan.consumers.get(release.consumer) if plan else None
            if entry is not None:
                await self._send(Channel.AGGREGATE, entry.key.pseudonym, release.frame)

    async def _hear_receipt(self, parsed: Topic, payload: bytes) -> None:
        entries = [e for plan in self._assignments.values() if plan for e in plan.consumers.values()]
        identities = {entry.identity for entry in entries if entry.key.pseudonym == parsed.sender}
        if not identities or parsed.recipient is None:
            raise MessageError(RejectReason.UNKNOWN_SENDER, "receipt")
        receipt = AggregateReceipt.from_bytes(payload, identities.pop(), parsed.recipient)
        if self._outstanding.pop((receipt.rule, receipt.first_round), None) is not None:
            self.journal.received(receipt.rule, receipt.first_round)
            self._backoff.settle(("release", (receipt.rule, receipt.first_round)))
            self.agent.changed()

    def _erase_keys(self) -> None:
        """Destroy the private halves of epochs whose last round is released (forward secrecy)."""
        ended = [
            head.epoch - 1 for head, _ in self.agent.membership.plans if head.valid_from_round <= self.rounds.floor
        ]
        if ended and max(ended) >= min(self.agent.keyring.epochs(self.agent.id), default=max(ended) + 1):
            self.agent.keyring.erase_through([self.agent.id], max(ended))
            self._keys = {key: value for key, value in self._keys.items() if key[0] > max(ended)}

    def _figures(self) -> dict[str, int]:
        return {"outstanding": len(self._outstanding), "floor": self.rounds.floor}


async def serve(config: PpnConfig) -> None:
    """Run one PPN."""
    await Ppn(config).run()
