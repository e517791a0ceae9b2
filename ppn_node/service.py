"""The PPN's shell: bytes in, journal, bytes out."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from hushgrid import control
from hushgrid.agent import Agent
from hushgrid.bitmap import Bitmap
from hushgrid.config import read_token
from hushgrid.control import Role
from hushgrid.errors import MessageError, RejectReason, ShareRejectedError
from hushgrid.lossy_link import LossyLink
from hushgrid.membership import AdoptedPlan, Member
from hushgrid.messages import MAX_ENVELOPE, AggregateReceipt, AggregateText, Closing, Envelope, Receipt, RepairRequest
from hushgrid.plan import ConsumerEntry, Recovery
from hushgrid.runtime import Backoff
from hushgrid.sealing import Kind, SealingKey
from hushgrid.topics import Channel, Topic, topic
from hushgrid.transport import Transport
from ppn_node.admission import AdmittedShare, check_envelope, open_share
from ppn_node.aggregation import aggregate
from ppn_node.agreement import RoundState
from ppn_node.assignment import Assignment
from ppn_node.config import PpnConfig
from ppn_node.journal import Journal, StoredRelease
from ppn_node.partition import Opened
from ppn_node.repair import Repairs
from ppn_node.rounds import Rounds
from ppn_node.workers import Workers

log = logging.getLogger("hushgrid.ppn")

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
    """One PPN. add: how it makes aggregate shares (see Rounds)."""

    def __init__(
        self,
        config: PpnConfig,
        transport: Transport | None = None,
        *,
        add: Callable[..., AggregateText] = aggregate,
    ) -> None:
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
        self._link = LossyLink(config.link.model, lambda: self.agent.pacing.link_stages, section.state_directory)
        self.journal = Journal(section.state_directory / "journal.sqlite")
        directory, count = section.state_directory, config.ppn.workers
        self.workers = Workers(directory, count) if Workers.needed(directory, count) else None
        self.rounds = Rounds(
            self.journal,
            self.agent.identity,
            config.configurator.identity,
            assignment_of=self._assignment_of,
            meter_key=lambda plan, number: self._key(plan, plan.meters[number].agreement, Kind.SHARE),
            consumer_key=self._consumer_key,
            add=add,
            workers=self.workers,
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
        self._repairs = Repairs(config.ppn.repair_pause_seconds)
        self._asked = self.journal.asked()
        self._resuming = True

    async def run(self) -> None:
        """Serve until cancelled."""
        if self.workers is not None:
            self.workers.attach()
        try:
            await self.agent.run(self._commit, self._keep_working)
        finally:
            if self.workers is not None:
                self.workers.close()
            self.journal.close()
            self.agent.keyring.close()

    async def _keep_working(self) -> None:
        await self.agent.keep_working(self._advance, self._work, self._backoff)

    # Plans and keys

    def _adopt(self, adopted: AdoptedPlan) -> None:
        parts = adopted.parts.get(self.agent.id, ())
        self._assignments[adopted.head.version] = Assignment.of(adopted.head, self.agent.id, parts)
        if self.workers is not None:
            own = self.agent.keyring.agreement(self.agent.id, adopted.head.epoch)
            if own is not None:
                self.workers.adopt(adopted.head, self.agent.id, parts, self.agent.grid, own.to_bytes())
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
        if self.workers is not None:
            self.rounds.held(envelope.round)
            version = assignment.head.version
            self.workers.open(
                version, parsed.sender, envelope, payload, lambda opened: self._take_opened(answer, opened)
            )
            return
        for position, (number, sealed) in envelope.shares.items():
            self._take(answer, position, partial(self._open, envelope, number, sealed, assignment))
        self._queue(answer)

    def _open(self, envelope: Envelope, number: int, sealed: bytes, assignment: Assignment) -> AdmittedShare:
        return open_share(
            number, sealed, envelope.round, assignment, lambda n: self._meter_key(assignment, n), envelope.attempt
        )

    def _take_opened(self, answer: _Answer, opened: dict[int, Opened]) -> None:
        """An envelope's shares come back from the workers that opened them."""
        for position, outcome in opened.items():
            number, sealed = answer.envelope.shares[position]
            self._take(answer, position, partial(outcome.share, answer.envelope, number, sealed))
        self._queue(answer)

    def _take(self, answer: _Answer, position: int, opened: Callable[[], AdmittedShare]) -> None:
        try:
            if self._admit(opened()):
                answer.held.add(position)
        except MessageError as error:
            self.agent.counters.refuse("share", error)
            if error.reason in _ANSWERED:
                answer.refused.add(position)
                answer.reason = answer.reason or error.reason

    def _meter_key(self, assignment: Assignment, number: int) -> SealingKey:
        return self._key(assignment, assignment.meters[number].agreement, Kind.SHARE)

    def _admit(self, share: AdmittedShare) -> bool:
        """True when the share is, or will be, on disk; False when that waits for the round's decision: it gets no answer yet."""
        if self.rounds.known(share):
            self.agent.counters.add("duplicate share")
            return True
        for waiting in self._batch if (share.round, share.number) in self._batched else ():
            if (waiting.round, waiting.number) == (share.round, share.number):
                if waiting.sharing_id != share.sharing_id:
                    raise ShareRejectedError(RejectReason.CONFLICTING, f"meter {share.number} round {share.round}")
                return True
        taken = self.rounds.takes(share.round, share.number)
        if taken is False:
            raise ShareRejectedError(RejectReason.CLOSED_ROUND, f"meter {share.number} round {share.round}")
        if taken is None:
            self.agent.counters.add("share after the roster")
            return False
        self._batch.append(share)
        self._batched.add((share.round, share.number))
        return True

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
            self._hasten({share.round for share in batch})
        return answers

    def _hasten(self, rounds: set[int]) -> None:
        """Shares of these rounds have come: whoever waits for more of them waits anew, or not at all."""
        now = time.monotonic()
        for round_number in rounds:
            if round_number in self._repairs:
                self._repairs.heard(round_number, now)
                if not self.rounds.lacks(round_number):
                    self._wake()

    async def _commit(self) -> None:
        while True:
            await self._committing.wait()
            await asyncio.sleep(self.config.ppn.commit_delay_seconds)
            self._committing.clear()
            for answer in self._flush():
                if answer.held or answer.refused:
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

    def _parted(self, other: str) -> bool:
        """Whether a testbed's link lets nothing pass between this PPN and another party in the round that is metered now."""
        pace = self.agent.pacing.pace
        return pace is not None and self._link.parts(self.agent.id, other, pace.metered_through)

    # Agreement

    def _hear_statement(self, _member: str, body: control.Body) -> None:
        if self._parted(Role.CONFIGURATOR.value):
            return
        match body:
            case control.DecisionMessage():
                self._backoff.settle(("roster", body.core.round))
                if self.rounds.hear_decision(body) is not None:
                    self._catch_up(body.core.round)
            case control.Certificate():
                if self.rounds.hear_certificate(body):
                    self._backoff.settle(("countersignature", body.round))
                    self._release(body.round)
            case control.Forgotten(through=through):
                if self.rounds.forget(through):
                    log.warning("rounds up to %d are over everywhere: their shares are erased unused", through)
            case control.Refusal():
                raise MessageError(RejectReason.WRONG_SENDER, f"refused: {body.of}: {body.reason}")
            case _:
                raise MessageError(RejectReason.UNKNOWN_KIND, body.kind)
        self._wake()

    def _wake(self) -> None:
        self._work.set()

    async def _advance(self) -> None:
        await self._freeze_due()
        await self._repair_due()
        await self._say_what_is_due()

    async def _freeze_due(self) -> None:
        pace, plans = self.agent.pacing.pace, list(self.agent.membership.plans)
        if pace is None or not plans:
            return
        if self._resuming:
            self._resuming = False
            await self._resume()
        first = max(self.rounds.floor, plans[0][0].valid_from_round)
        over = range(first, pace.frozen_through + 1)
        fresh = [r for r in over if self.rounds.state(r) is RoundState.OPEN and r not in self._repairs]
        if fresh and self.workers is not None:
            self.workers.drain()
        for answer in self._flush() if fresh else ():
            await self._send_receipt(answer)
        for round_number in fresh:
            recovery = self.rounds.recovery(round_number)
            if recovery is Recovery.NONE or not self.rounds.lacks(round_number):
                self.rounds.freeze(round_number)
                if recovery is Recovery.NONE:
                    await self._close(round_number)
            else:
                self._repairs.begin(round_number, time.monotonic(), after=0, most=self._repair_attempts(round_number))

    async def _resume(self) -> None:
        """After a restart: closings are said again (they may not have left), and what was certified is released."""
        for round_number, state in self.rounds.in_hand():
            if self.rounds.recovery(round_number) is Recovery.NONE:
                await self._close(round_number)
            elif state is RoundState.DECIDED:
                self._catch_up(round_number)
        for round_number in self.rounds.certified():
            self._release(round_number)

    def _repair_attempts(self, round_number: int) -> int:
        assignment = self._assignment_of(round_number)
        return assignment.head.repair_attempts if assignment else 0

    async def _close(self, round_number: int) -> None:
        """Tell whoever carries a meter whose share is missing that it will not be counted."""
        assignment = self._assignment_of(round_number)
        if assignment is not None:
            for sender in self.rounds.missing(round_number):
                closing = Closing(round_number, assignment.point).to_bytes(self.agent.identity, sender)
                await self._send(Channel.RECEIPT, sender, closing)

    # Repair

    def _catch_up(self, round_number: int) -> None:
        """A round is decided: included shares that this PPN lacks, because it was away, are fetched until its release."""
        if self.rounds.recovery(round_number) is not Recovery.NONE and round_number not in self._repairs:
            self._repairs.catch_up(round_number, time.monotonic(), self._repair_attempts(round_number))

    async def _repair_due(self) -> None:
        now = time.monotonic()
        for round_number in list(self._repairs):
            attempt = self._repairs.step(round_number, now) if self.rounds.lacks(round_number) else None
            if attempt:
                await self._ask(round_number, attempt)
            if attempt is not None:
                self._backoff.remind(("repair", round_number), self._repairs.next_step(round_number))
                continue
            self._repairs.end(round_number)
            self._backoff.settle(("repair", round_number))
            state = self.rounds.state(round_number)
            if state is RoundState.OPEN:
                self.rounds.freeze(round_number)
            elif state is not RoundState.RELEASED:
                await self._close(round_number)
                self.rounds.settle(round_number)
                self._release(round_number)

    async def _ask(self, round_number: int, attempt: int) -> None:
        """Ask for what is missing, once."""
        assignment = self._assignment_of(round_number)
        wanted = self.rounds.wanted(round_number)
        count = sum(map(len, wanted.values()))
        if assignment is None or not count:
            return
        log.info("round %d: %d shares are missing, request %d", round_number, count, attempt)
        self.journal.add_asked(count)
        self._asked += count
        for sender, numbers in wanted.items():
            for start in range(0, len(numbers), MAX_ENVELOPE):
                asked = tuple(sorted(numbers[start : start + MAX_ENVELOPE]))
                request = RepairRequest(round_number, assignment.point, attempt, asked)
                await self._send(Channel.RECEIPT, sender, request.to_bytes(self.agent.identity, sender))
        self.agent.changed()

    def _release(self, round_number: int) -> None:
        """Whatever is complete around a round leaves now."""
        for release in self.rounds.release_around(round_number):
            self._outstanding[release.rule, release.first_round] = release
        self._erase_keys()
        self._wake()
        self.agent.changed()

    async def _say_what_is_due(self) -> None:
        now = time.monotonic()
        for round_number in () if self._parted(Role.CONFIGURATOR.value) else self.rounds.waiting():
            signature = self.rounds.countersignature(round_number)
            if signature is not None:
                if self._backoff.due(("countersignature", round_number), now):
                    await self.agent.membership.tell(self.agent.id, signature)
            elif self._backoff.due(("roster", round_number), now):
                for page in self.rounds.roster(round_number):
                    await self.agent.membership.tell(self.agent.id, page)
        for key, release in list(self._outstanding.items()):
            if not self._parted(release.consumer) and self._backoff.due(("release", key), now):
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
        senders = {entry.identity: entry.id for entry in entries if entry.key.pseudonym == parsed.sender}
        if not senders or parsed.recipient is None:
            raise MessageError(RejectReason.UNKNOWN_SENDER, "receipt")
        identity, consumer = senders.popitem()
        if self._parted(consumer):
            return
        receipt = AggregateReceipt.from_bytes(payload, identity, parsed.recipient)
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
            if self.workers is not None:
                self.workers.erase(max(ended))
            self._keys = {key: value for key, value in self._keys.items() if key[0] > max(ended)}

    def _figures(self) -> dict[str, int]:
        return {"outstanding": len(self._outstanding), "floor": self.rounds.floor, "repair_requests": self._asked}


async def serve(config: PpnConfig) -> None:
    """Run one PPN."""
    await Ppn(config).run()
