"""The shell of shares at a meter: share a reading, seal, keep, publish until the PPN's receipt; send again what a PPN asks for."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import partial
from pathlib import Path

from hushgrid.core.sealing import SealingKey
from hushgrid.errors import MessageError, RejectReason
from hushgrid.plan.following import AdoptedPlan
from hushgrid.plan.head import Head
from hushgrid.plan.parts import MeterPart
from hushgrid.shell.agent import Agent
from hushgrid.shell.runtime import Backoff
from hushgrid.wire.frames import FrameKind, frame_kind
from hushgrid.wire.shares import Closing, Envelope, Receipt, RepairRequest
from hushgrid.wire.topics import Channel, Topic
from meter_agent.cover import Bare, Cover
from meter_agent.link import MeterLink
from meter_agent.mechanism import Read
from meter_agent.shares.outbox import Outbox, Outstanding
from meter_agent.shares.recipients import Recipients
from meter_agent.shares.sharing import derive_keys, seal_statement

log = logging.getLogger("hushgrid.meter")


class Sharing:
    """See the module. A station's outbox holds sealed bytes only, of all its meters.

    cover: what goes under a reading before it is shared; most: shares in one envelope; wake: there is something to do.
    """

    channels = frozenset({Channel.RECEIPT, Channel.PRESENCE})

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
        cover: Callable[[str, int], Cover],
        wake: Callable[[], None],
    ) -> None:
        self._agent = agent
        self._meters = meters
        self._link = link
        self._backoff = backoff
        self._most = most
        self._read = read
        self._cover = cover
        self._wake = wake
        self._recipients = Recipients()
        self._outbox = Outbox(path)
        #: By plan version and meter: its number, and while the epoch lasts the key shared with each of its PPNs.
        self._numbers: dict[int, dict[str, int]] = {}
        self._keys: dict[int, dict[str, Mapping[int, SealingKey]]] = {}
        self._published: set[tuple[int, int, int]] = set()
        self._done: dict[str, int] = {}

    def adopt(self, adopted: AdoptedPlan) -> None:
        """Take in the parts that ask for shares."""
        head = adopted.head
        numbers, keys = dict[str, int](), dict[str, Mapping[int, SealingKey]]()
        for meter in self._meters:
            part = next((p for p in adopted.parts.get(meter, ()) if isinstance(p, MeterPart)), None)
            own = self._agent.keyring.agreement(meter, head.epoch)
            if part is not None and own is not None:
                numbers[meter] = part.number
                keys[meter] = derive_keys(own, head, part.points, self._agent.grid)
        self._numbers[head.version], self._keys[head.version] = numbers, keys
        self._recipients.adopt(head)

    async def advance(self) -> None:
        """Do all that is due."""
        await self._state_due()
        await self._publish_due()

    def cover(self, _meter: str, _round_number: int) -> Cover:
        """Nothing: sharing hides by itself."""
        return Bare()

    # Rounds

    async def _state_due(self) -> None:
        pace, plans = self._agent.pacing.pace, self._agent.membership.plans
        first = next(iter(plans), None)
        if pace is None or first is None:
            return
        first_round = max(first[0].valid_from_round, pace.frozen_through + 1)
        for round_number in range(first_round, pace.metered_through + 1):
            plan = plans.in_force(round_number)
            if plan is not None:
                await self._state_round(round_number, plan[0])

    async def _state_round(self, round_number: int, head: Head) -> None:
        """Say once what every meter of the station has to say about a round."""
        numbers, keys = self._numbers[head.version], self._keys.get(head.version, {})
        due = [meter for meter in keys if not self._outbox.has_stated(meter, round_number)]
        if not due:
            return
        digest = head.digest
        by_point: dict[int, list[tuple[int, bytes]]] = {}
        for meter in due:
            slots = await self._read(meter, round_number)
            sealed = seal_statement(
                slots,
                number=numbers[meter],
                round_number=round_number,
                head=head,
                plan_digest=digest,
                keys=keys[meter],
                cover=self._cover(meter, round_number),
            )
            for point, share in sealed.items():
                by_point.setdefault(point, []).append((numbers[meter], share))
        envelopes = self._pack(round_number, head, by_point)
        self._outbox.state(round_number, due, envelopes)
        shares = sum(len(envelope.shares) for envelope in envelopes)
        log.info("round %d: %d meters stated, %d shares to %d PPNs", round_number, len(due), shares, len(by_point))
        self._agent.changed()

    def _pack(self, round_number: int, head: Head, by_point: Mapping[int, list[tuple[int, bytes]]]) -> list[Envelope]:
        sequence = self._outbox.next_sequence(round_number)
        envelopes = []
        for point, shares in sorted(by_point.items()):
            for start in range(0, len(shares), self._most):
                group = dict(enumerate(shares[start : start + self._most]))
                envelopes.append(Envelope(head.version, round_number, point, sequence, len(group), 0, group))
                sequence += 1
        return envelopes

    # Envelopes out, receipts in

    async def _publish_due(self) -> None:
        now = time.monotonic()
        waiting = self._outbox.outstanding()
        for key in self._published - {entry.key for entry in waiting}:
            self._published.remove(key)
            self._backoff.settle(key)
        for entry in waiting:
            if self._held_back(entry):
                self._backoff.settle(entry.key)
            elif self._backoff.due(entry.key, now):
                envelopes = entry.still_open()
                if entry.key in self._published:
                    self._outbox.count_again(repeated=sum(len(envelope.shares) for envelope in envelopes))
                self._published.add(entry.key)
                for envelope in envelopes:
                    await self._publish(envelope)

    def _held_back(self, entry: Outstanding) -> bool:
        """Whether it waits for a PPN that is gone."""
        plan = self._agent.membership.plans.version(entry.envelope.plan_version)
        return plan is not None and plan[0].ppn(entry.envelope.point).id in self._recipients.gone

    async def _publish(self, envelope: Envelope) -> None:
        plan = self._agent.membership.plans.version(envelope.plan_version)
        if plan is None:
            return
        ppn = plan[0].ppn(envelope.point)
        await self._link.say(envelope, ppn.id, partial(self._agent.send, Channel.SHARE, ppn.key.pseudonym))

    async def hear(self, parsed: Topic, payload: bytes) -> None:
        """What a PPN says of its own point: a receipt, a closing, a request for what it lacks; and whether it is here."""
        if parsed.channel is Channel.PRESENCE:
            if self._recipients.hear(parsed.sender, payload):
                self._wake()
            self._agent.changed()
            return
        identities = {
            ppn.identity
            for head, _ in self._agent.membership.plans
            for ppn in head.ppns
            if ppn.key.pseudonym == parsed.sender
        }
        if not identities or parsed.recipient is None:
            raise MessageError(RejectReason.UNKNOWN_SENDER, "receipt")
        signer = identities.pop()
        kind = frame_kind(payload)
        if kind is FrameKind.REPAIR_REQUEST:
            request = RepairRequest.from_bytes(payload, signer, parsed.recipient)
            self._check_point(signer, request.point)
            self._heard_from(parsed.sender)
            await self._send_again(request)
            return
        if kind is FrameKind.CLOSING:
            closing = Closing.from_bytes(payload, signer, parsed.recipient)
            self._check_point(signer, closing.point)
            changed = self._outbox.close_round(closing)
        else:
            receipt = Receipt.from_bytes(payload, signer, parsed.recipient)
            self._check_point(signer, receipt.point)
            changed = self._outbox.acknowledge(receipt)
            if receipt.reason is not None:
                self._agent.counters.add(f"not counted {receipt.reason.value}", len(receipt.refused))
        self._heard_from(parsed.sender)
        if changed:
            self._agent.changed()

    def _heard_from(self, pseudonym: str) -> None:
        """It has signed something: whatever was said of it, it is here."""
        if self._recipients.heard_from(pseudonym):
            self._wake()

    async def _send_again(self, request: RepairRequest) -> None:
        """Answer a repair request with the same bytes."""
        plan = self._agent.membership.plans.in_force(request.round)
        if plan is None:
            return
        heard = self._link.heard(request, plan[0].ppn(request.point).id)
        for envelope in self._outbox.asked_again(heard):
            self._outbox.count_again(repaired=len(envelope.shares))
            await self._publish(envelope)
        self._agent.changed()

    def _check_point(self, signer: bytes, point: int) -> None:
        """A PPN answers for its own point only."""
        for head, _ in self._agent.membership.plans:
            if any(ppn.point == point and ppn.identity == signer for ppn in head.ppns):
                return
        raise MessageError(RejectReason.WRONG_SENDER, f"receipt for point {point}")

    # Progress and the end of things

    def let_go(self, metered_through: int) -> int | None:
        """A meter needs an epoch's keys only to seal: once all its rounds are stated they are let go of."""
        begun = [head for head, _ in self._agent.membership.plans if head.valid_from_round <= metered_through]
        if not begun:
            return None
        needed = max(head.epoch for head in begun)
        for head in begun:
            if head.epoch < needed:
                self._keys.pop(head.version, None)
        return needed

    def stated_through(self) -> Iterator[int]:
        """How far each meter has come; what no plan asks it to share it does not owe."""
        return (self._done_through(meter) for meter in self._meters)

    def _done_through(self, meter: str) -> int:
        """The last round up to which this meter owes no share: stated, frozen, or asked for by no plan; -1 before any plan."""
        pace, plans = self._agent.pacing.pace, self._agent.membership.plans
        first = next(iter(plans), None)
        if first is None:
            return -1
        stated = self._outbox.stated_through(meter)
        done = max(first[0].valid_from_round - 1, self._done.get(meter, -1), -1 if stated is None else stated)
        if pace is not None:
            done = max(done, pace.frozen_through)
            while done < pace.metered_through:
                plan = plans.in_force(done + 1)
                if plan is None or meter in self._numbers.get(plan[0].version, {}):
                    break
                done += 1
        self._done[meter] = done
        return done

    def in_plan(self, version: int) -> AbstractSet[str]:
        """The meters that a plan asks for shares."""
        return self._numbers.get(version, {}).keys()

    def figures(self) -> dict[str, int]:
        """Counts for a testbed's conductor; see `MeterMechanism.figures`."""
        repaired, repeated = self._outbox.sent_again()
        outstanding = self._outbox.outstanding()
        return {
            "outbox": len(outstanding),
            "waiting": self._waiting(outstanding),
            "held_back": self._waiting(filter(self._held_back, outstanding)),
            "gone": len(self._recipients.gone),
            "shares": self._outbox.shares_stated(),
            "repaired": repaired,
            "repeated": repeated,
        }

    def _waiting(self, entries: Iterable[Outstanding]) -> int:
        """Shares that have no answer yet and are not known to be lost."""
        waiting = 0
        for entry in entries:
            plan = self._agent.membership.plans.version(entry.envelope.plan_version)
            if plan is not None:
                ppn = plan[0].ppn(entry.envelope.point).id
                waiting += sum(len(e.shares) - self._link.given_up(e, ppn) for e in entry.still_open())
        return waiting

    def close(self) -> None:
        """Close the outbox."""
        self._outbox.close()
