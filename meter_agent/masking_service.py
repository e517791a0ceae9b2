"""The shell of masked readings at a meter: mask, seal, keep, publish until the consumer's receipt; open what a closing asks.

It lives beside the sharing of the same station (`meter_agent.service`) on the same connection, and does what the plan's
parts of kind "masking" ask for; without such a part it does nothing.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path

from hushgrid.agent import Agent
from hushgrid.errors import MessageError, RefusedError, RejectReason
from hushgrid.link import Lossy
from hushgrid.masked_messages import (
    MaskedEnvelope,
    MaskedReceipt,
    OpeningEnvelope,
    OpenRequest,
    RoundClosing,
    in_batches,
)
from hushgrid.membership import AdoptedPlan
from hushgrid.messages import FrameKind, frame_kind
from hushgrid.plan import Mechanism
from hushgrid.runtime import Backoff
from hushgrid.topics import Channel, Topic, topic
from meter_agent.carry import Carry
from meter_agent.masked_streams import MaskedStreams
from meter_agent.masking import MaskedStream
from meter_agent.masking_journal import Key, MaskingJournal, Stated
from meter_agent.pairing_service import Pairing

log = logging.getLogger("hushgrid.meter")

Read = Callable[[str, int], Awaitable[tuple[int, ...] | None]]
_MOST_PAIR_ENTRIES = 100


class Masking:
    """See the module. read: the station's way to a meter's slots of a round; None is "no reading"."""

    def __init__(self, agent: Agent, path: Path, *, link: Lossy, backoff: Backoff, most: int, read: Read) -> None:
        self._agent = agent
        self._link = link
        self._backoff = backoff
        self._most = most
        self._read = read
        self.journal = MaskingJournal(path)
        self._streams = MaskedStreams(agent, self.journal)
        self._pairing = Pairing(agent, self.journal, self._streams, backoff)
        self._reached: dict[tuple[str, int], int] = {}
        self._attempts: dict[Key, int] = {}
        self._on_way: set[Key] = set()

    def adopt(self, adopted: AdoptedPlan, meters: Sequence[str]) -> None:
        """Take in the parts of kind "masking" of a plan."""
        self._streams.adopt(adopted, meters)

    def in_plan(self, version: int) -> set[str]:
        """The meters that the plan asks for masked readings, shared ones included."""
        return self._streams.in_plan(version)

    async def hear_pair(self, parsed: Topic, payload: bytes) -> None:
        """What neighbours of this station's meters say."""
        await self._pairing.hear(parsed, payload)

    # Rounds

    async def advance(self) -> None:
        """Do all that is due."""
        if not self._streams.members:
            return
        pace = self._agent.pacing.pace
        # What is masked under a plan that no longer holds counts for nothing, and nothing is masked twice.
        if pace is not None and self._agent.membership.current:
            self._pairing.prepare(pace.metered_through)
            await self._state_due(pace.metered_through)
        await self._pairing.publish()
        await self._publish_due()

    async def _state_due(self, metered_through: int) -> None:
        first = next(iter(self._agent.membership.plans), None)
        if first is None:
            return
        members = [member for member in self._streams.members if member[1]]
        reached = {member: self._through(member, first[0].valid_from_round) for member in members}
        begin = min(reached.values(), default=metered_through) + 1
        for round_number in range(begin, metered_through + 1):
            due = sorted(member for member in members if reached[member] == round_number - 1)
            done = await self._state_round(round_number, due)
            for member in done:
                reached[member] = self._reached[member] = round_number

    def _through(self, member: tuple[str, int], first_round: int) -> int:
        stated = self.journal.stated_through(*member)
        return max(self._reached.get(member, first_round - 1), -1 if stated is None else stated)

    async def _state_round(self, round_number: int, due: Sequence[tuple[str, int]]) -> list[tuple[str, int]]:
        """Mask one round for these meters; those that are done with it, the ones no plan asks included."""
        done, fresh = [], list[Stated]()
        carries: list[tuple[str, int, Carry, int]] = []
        for member in due:
            found = self._streams.stream_of(member, round_number)
            if found is None or found[0].part.consumer is None:
                done.append(member)
                continue
            stream, period = found
            noises = self._streams.noises(stream, period)
            if noises is None:
                continue  # a neighbour's draw is still to come: the round waits, nothing is skipped
            slots = await self._read(member[0], round_number)
            self_mask = self._streams.self_mask(stream)
            if slots is not None and self_mask is not None:
                bound = stream.head.reading_bound_watt_hours
                put, carry = self.journal.carry(*member, bound).prepare(round_number, slots[0])
                carries.append((*member, carry, put - slots[0]))
                slots = (put, *slots[1:])
            sealed = stream.seal(slots, round_number, noises, self_mask)
            fresh.append(Stated(member[1], round_number, stream.part.number, member[0], stream.head.version, sealed))
            done.append(member)
        if fresh:
            lost = sum(self._loses(one, 0) for one in fresh)
            self.journal.state(round_number, fresh, carries, lost=lost)
            log.info("round %d: %d meters masked", round_number, len(fresh))
            self._agent.changed()
        return done

    # Masked readings out, receipts in

    async def _publish_due(self) -> None:
        now = time.monotonic()
        due: dict[tuple[int, int, int], list[Stated]] = {}
        for one in self.journal.outstanding():
            if self._backoff.due(("masked", *one.key), now):
                due.setdefault((one.plan_version, one.stream, one.round), []).append(one)
        for (version, stream, round_number), listed in due.items():
            await self._publish(version, stream, round_number, listed)

    async def _publish(self, version: int, stream: int, round_number: int, listed: Sequence[Stated]) -> None:
        found = self._streams.in_version(version, (listed[0].meter, stream))
        consumer = found.part.consumer if found else None
        if consumer is None:
            return
        passed = {}
        for one in listed:
            attempt = self._attempts.get(one.key, 0)
            self._attempts[one.key] = attempt + 1
            if self._loses(one, attempt):
                self._on_way.discard(one.key)
            else:
                passed[one.number] = one.sealed
                self._on_way.add(one.key)
        name = topic(self._agent.grid, Channel.MASKED, self._agent.transport.pseudonym, consumer.key.pseudonym)
        for numbers in in_batches(passed, self._most):
            envelope = MaskedEnvelope(version, stream, round_number, {n: passed[n] for n in numbers})
            await self._agent.transport.publish(name, envelope.to_bytes())

    def _loses(self, one: Stated, attempt: int) -> bool:
        """Whether the injected link loses this sending."""
        found = self._streams.in_version(one.plan_version, (one.meter, one.stream))
        consumer = found.part.consumer if found else None
        return consumer is not None and self._link.drops("masked", one.meter, consumer.id, one.round, attempt)

    async def hear_consumer(self, parsed: Topic, payload: bytes) -> None:
        """A consumer's receipt."""
        known = self._streams.consumers()
        consumers = {consumer.identity for consumer, _ in known if consumer.key.pseudonym == parsed.sender}
        if len(consumers) != 1 or parsed.recipient is None:
            raise MessageError(RejectReason.UNKNOWN_SENDER, "masked")
        identity = next(iter(consumers))
        if frame_kind(payload) is FrameKind.OPEN:
            await self._open(OpenRequest.from_bytes(payload), parsed.sender)
            return
        self._take_receipt(MaskedReceipt.from_bytes(payload, identity, parsed.recipient))

    async def _open(self, request: OpenRequest, consumer: str) -> None:
        """Disclose what a closed round asks of this station's meters: on disk first, one answer for ever."""
        closing = request.closing
        closing.check(self._agent.config.configurator.identity, self._agent.grid)
        if closing.round < self.journal.floor:
            raise MessageError(RejectReason.FORGOTTEN_ROUND, f"round {closing.round}")
        asked = [
            stream
            for stream in self._streams.of_version(request.plan_version)
            if stream.terms.stream == closing.stream and stream.part.number in request.holders
        ]
        if any(stream.terms.graph != closing.graph or not stream.terms.self_masks for stream in asked):
            raise MessageError(RejectReason.NOT_IN_PLAN, "closing of another graph")
        with self.journal.transaction():
            found = {stream.part.number: self._answer(stream, closing) for stream in asked}
        answers = {number: sealed for number, sealed in found.items() if sealed is not None}
        if answers:
            name = topic(self._agent.grid, Channel.MASKED, self._agent.transport.pseudonym, consumer)
            envelope = OpeningEnvelope(request.plan_version, closing.stream, closing.round, answers)
            await self._agent.transport.publish(name, envelope.to_bytes())

    def _answer(self, stream: MaskedStream, closing: RoundClosing) -> bytes | None:
        meter, number = stream.meter, closing.stream
        found = self._streams.stream_of((meter, number), closing.round)
        if found is None or found[0] is not stream:
            raise MessageError(RejectReason.WRONG_PLAN, f"closing of round {closing.round}")
        if stream.part.number in closing.absent:
            # It is masked first, though in no sum, so that its Wh are carried.
            if (self.journal.stated_through(meter, number) or -1) < closing.round:
                return None
            self.journal.exclude(meter, number, closing.round, stream.head.reading_bound_watt_hours)
            self._settle([(number, closing.round, stream.part.number)])
        kept = self.journal.answer(meter, number, closing.round)
        if kept is not None:
            return kept
        openings = {peer: self.journal.openings(meter, number, peer, closing.round) for peer in stream.pairs}
        try:
            stream.check_rows(closing, found[1], self.journal.rows_opened(meter, number, found[1]))
            texts = self.journal.setups(stream.place(found[1]))
            text = stream.opening_text(closing, found[1], texts, openings)
        except RefusedError as error:
            log.warning("%s does not open: %s", meter, error.reason)
            self._agent.counters.add("openings refused")
            return None
        if text is None:
            return None
        sealed = stream.seal_opening(text[0], closing.round)
        self.journal.commit_answer(meter, number, closing.round, text[1], sealed)
        return sealed

    def _take_receipt(self, receipt: MaskedReceipt) -> None:
        if receipt.reason is not None:
            self._agent.counters.add(f"not counted {receipt.reason.value}", len(receipt.refused))
        for number in receipt.refused:
            self._exclude(receipt.stream, receipt.round, number)
        self._settle([(receipt.stream, receipt.round, number) for number in receipt.held | receipt.refused])

    def _exclude(self, stream: int, round_number: int, number: int) -> None:
        """The consumer has closed the round without this meter."""
        for member in self._streams.members:
            found = self._streams.stream_of(member, round_number) if member[1] == stream else None
            if found is not None and found[0].part.number == number and found[0].terms.self_masks:
                self.journal.exclude(*member, round_number, found[0].head.reading_bound_watt_hours)

    def _settle(self, keys: Sequence[Key]) -> None:
        settled = self.journal.receipted(keys)
        for key in settled:
            self._backoff.settle(("masked", *key))
            self._attempts.pop(key, None)
            self._on_way.discard(key)
        if settled:
            self._agent.changed()

    # Progress and the end of things

    def shared_terms(self, meter: str, round_number: int) -> tuple[tuple[int, ...], ...] | None:
        """Mechanism both: the noise that goes under the shares of a round; () for a meter whose readings are shared bare. None
        for one that masks what it shares but has no pairs in this period: it has nothing to say, and shares no bare reading.
        """
        member = (meter, 0)
        if member not in self._streams.members:
            return ()
        found = self._streams.stream_of(member, round_number)
        if found is None or found[0].terms.mechanism is not Mechanism.BOTH:
            return None
        stream, period = found
        noises = self._streams.noises(stream, period)
        return None if noises is None else stream.noise_terms(round_number, period, noises)

    def epoch_in_use(self, metered_through: int) -> int | None:
        """The oldest epoch whose key is still needed: of the period before the one that is being metered; None for any."""
        found = [self._streams.stream_of(member, metered_through) for member in self._streams.members]
        firsts = [period.first - period.rounds for _, period in filter(None, found)]
        if not firsts:
            return None
        plan = self._agent.membership.plans.in_force(min(firsts)) or next(iter(self._agent.membership.plans))
        self.journal.forget_before(min(firsts))
        self._streams.forget_before(min(firsts))
        return plan[0].epoch

    def stated_through(self) -> Iterator[int | None]:
        """How far each meter has come, of those that send masked readings."""
        for member in self._streams.members:
            if member[1]:
                yield self._reached.get(member, self.journal.stated_through(*member))

    def figures(self) -> dict[str, int]:
        """Counts for a testbed's conductor. waiting: what the link let through and has no receipt; masked_lost: readings whose
        first sending the link lost.
        """
        masked, lost = self.journal.tallies()
        return {
            "masked": masked,
            "masked_lost": lost,
            "waiting": len(self._on_way),
            "outbox": len(self.journal.outstanding()),
            "pairs_open": self._pairing.open,
        }

    def close(self) -> None:
        """Close the store."""
        self.journal.close()
