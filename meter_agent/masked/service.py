"""The shell of masked readings at a meter: mask, seal, keep, publish until the consumer's receipt; open what a closing asks.

It is there from the first plan on that asks a meter of the station for masked readings.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

from hushgrid.errors import MessageError, RefusedError, RejectReason
from hushgrid.plan.following import AdoptedPlan
from hushgrid.plan.parts import ConsumerEntry
from hushgrid.shell.agent import Agent
from hushgrid.shell.runtime import Backoff
from hushgrid.wire.frames import FrameKind, frame_kind
from hushgrid.wire.masked import (
    MaskedEnvelope,
    MaskedReceipt,
    OpeningEnvelope,
    OpenRequest,
    RoundClosing,
)
from hushgrid.wire.model import Mechanism
from hushgrid.wire.topics import Channel, Topic
from meter_agent.cover import Bare, Cover, Masked, Silent
from meter_agent.link import MeterLink
from meter_agent.masked.carry import Carry
from meter_agent.masked.journal import MaskingJournal
from meter_agent.masked.pairing import Pairing
from meter_agent.masked.stream import MaskedStream
from meter_agent.masked.streams import MaskedStreams
from meter_agent.masked.values import Key, Stated
from meter_agent.mechanism import Read

log = logging.getLogger("hushgrid.meter")


def in_batches(numbers: Iterable[int], most: int) -> list[list[int]]:
    """The numbers in ascending order, at most `most` together."""
    ordered = sorted(numbers)
    return [ordered[at : at + most] for at in range(0, len(ordered), most)]


def _check_own(stream: int, own: Container[int]) -> None:
    """A consumer's word about the readings that another one gets settles nothing, and moves no Wh."""
    if stream not in own:
        raise MessageError(RejectReason.WRONG_SENDER, f"stream {stream} is another consumer's")


class Masking:
    """See the module. most: readings in one envelope."""

    channels = frozenset({Channel.MASKED, Channel.PAIR})

    def __init__(
        self,
        agent: Agent,
        path: Path,
        meters: Sequence[str],
        *,
        link: MeterLink,
        backoff: Backoff,
        most: int,
        read: Read,
        wake: Callable[[], None],
    ) -> None:
        self._agent = agent
        self._meters = meters
        self._link = link
        self._backoff = backoff
        self._most = most
        self._read = read
        self._wake = wake
        self.journal = MaskingJournal(path)
        self._streams = MaskedStreams(agent, self.journal)
        self._pairing = Pairing(agent, self.journal, self._streams, backoff)
        self._reached: dict[tuple[str, int], int] = {}

    def adopt(self, adopted: AdoptedPlan) -> None:
        """Take in the parts that ask for masked readings."""
        self._streams.adopt(adopted, self._meters)

    def in_plan(self, version: int) -> set[str]:
        """The meters that the plan asks for masked readings, shared ones included."""
        return self._streams.in_plan(version)

    async def hear(self, parsed: Topic, payload: bytes) -> None:
        """What neighbours of this station's meters say, or a consumer."""
        if parsed.channel is Channel.PAIR:
            await self._pairing.hear(parsed, payload)
            self._wake()
        else:
            await self._hear_consumer(parsed, payload)

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
            self.journal.state(round_number, fresh, carries)
            log.info("round %d: %d meters masked", round_number, len(fresh))
            self._agent.changed()
        return done

    # Masked readings out, receipts in

    async def _publish_due(self) -> None:
        now = time.monotonic()
        due = [one for one in self.journal.outstanding() if self._backoff.due(("masked", *one.key), now)]
        for consumer, envelope in self._envelopes(due):
            send = partial(self._agent.send, Channel.MASKED, consumer.key.pseudonym)
            await self._link.say(envelope, consumer.id, send)

    def _envelopes(self, listed: Iterable[Stated]) -> Iterator[tuple[ConsumerEntry, MaskedEnvelope]]:
        """Stated readings in envelopes, and to whom; what no plan at hand sends to anybody is left out."""
        together: dict[tuple[int, int, int], list[Stated]] = {}
        for one in listed:
            together.setdefault((one.plan_version, one.stream, one.round), []).append(one)
        for (version, stream, round_number), stated in together.items():
            found = self._streams.in_version(version, (stated[0].meter, stream))
            consumer = found.part.consumer if found else None
            if consumer is None:
                continue
            sealed = {one.number: one.sealed for one in stated}
            for numbers in in_batches(sealed, self._most):
                yield consumer, MaskedEnvelope(version, stream, round_number, {n: sealed[n] for n in numbers})

    async def _hear_consumer(self, parsed: Topic, payload: bytes) -> None:
        """A consumer's receipt, or a closing that it passes on: of its own streams only, MessageError(WRONG_SENDER) otherwise."""
        known = self._streams.consumers()
        consumers = {consumer.identity for consumer, _ in known if consumer.key.pseudonym == parsed.sender}
        if len(consumers) != 1 or parsed.recipient is None:
            raise MessageError(RejectReason.UNKNOWN_SENDER, "masked")
        identity = next(iter(consumers))
        own = {stream for consumer, stream in known if consumer.identity == identity}
        if frame_kind(payload) is FrameKind.OPEN:
            request = OpenRequest.from_bytes(payload)
            _check_own(request.closing.stream, own)
            await self._open(request, parsed.sender)
            return
        receipt = MaskedReceipt.from_bytes(payload, identity, parsed.recipient)
        _check_own(receipt.stream, own)
        self._take_receipt(receipt)

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
            envelope = OpeningEnvelope(request.plan_version, closing.stream, closing.round, answers)
            await self._agent.send(Channel.MASKED, consumer, envelope.to_bytes())

    def _answer(self, stream: MaskedStream, closing: RoundClosing) -> bytes | None:
        meter, number = stream.meter, closing.stream
        found = self._streams.stream_of((meter, number), closing.round)
        if found is None or found[0] is not stream:
            raise MessageError(RejectReason.WRONG_PLAN, f"closing of round {closing.round}")
        kept = self.journal.answer(meter, number, closing.round)
        if kept is not None:
            return kept  # whatever another closing of the round says
        if stream.part.number in closing.absent:
            # It is masked first, though in no sum, so that its Wh are carried.
            if not self.journal.has_stated(meter, number, closing.round):
                return None
            self.journal.exclude(meter, number, closing.round, stream.head.reading_bound_watt_hours)
            self._settle([(number, closing.round, stream.part.number)])
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
        if settled:
            self._agent.changed()

    # Progress and the end of things

    def cover(self, meter: str, round_number: int) -> Cover:
        """What goes under the shares of a round: nothing, the noise of mechanism both, or no reading at all.

        A meter that masks what it shares shares no bare reading, also where it has no pairs in this period.
        """
        member = (meter, 0)
        if member not in self._streams.members:
            return Bare()
        found = self._streams.stream_of(member, round_number)
        if found is None or found[0].terms.mechanism is not Mechanism.BOTH:
            return Silent()
        stream, period = found
        noises = self._streams.noises(stream, period)
        terms = () if noises is None else stream.noise_terms(round_number, period, noises)
        return Masked(terms) if terms else Silent()

    def let_go(self, metered_through: int) -> int | None:
        """What is still needed begins with the period before the one that is being metered, and the key of its epoch."""
        found = [self._streams.stream_of(member, metered_through) for member in self._streams.members]
        firsts = [period.first - period.rounds for _, period in filter(None, found)]
        if not firsts:
            return None
        plan = self._agent.membership.plans.in_force(min(firsts)) or next(iter(self._agent.membership.plans))
        self.journal.forget_before(min(firsts))
        self._streams.forget_before(min(firsts))
        return plan[0].epoch

    def stated_through(self) -> Iterator[int]:
        """How far each meter has come, of those that send masked readings; what is before its first plan is done with."""
        first = next(iter(self._agent.membership.plans), None)
        for member in self._streams.members:
            if member[1]:
                yield -1 if first is None else self._through(member, first[0].valid_from_round)

    def figures(self) -> dict[str, int]:
        """Counts for a testbed's conductor; see `MeterMechanism.figures`."""
        outstanding = self.journal.outstanding()
        waiting = sum(len(e.sealed) - self._link.given_up(e, to.id) for to, e in self._envelopes(outstanding))
        return {
            "masked": self.journal.readings_stated(),
            "waiting": waiting,
            "outbox": len(outstanding),
            "pairs_open": self._pairing.open,
        }

    def close(self) -> None:
        """Close the store."""
        self.journal.close()
