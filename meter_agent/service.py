"""The meter's shell: read, share, seal, keep, publish, until the PPN's receipt.

One `MeterStation` serves one meter on a connection of its own, or a group of meters behind one concentrator. Each meter of a
group has its own identity, keys and sealed shares; the station's outbox and connection carry sealed bytes only.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from hushgrid.agent import Agent
from hushgrid.config import read_token
from hushgrid.control import Role
from hushgrid.errors import ConfigurationError, MessageError, RejectReason
from hushgrid.link import REPAIR, SHARE, pass_envelope
from hushgrid.lossy_link import LossyLink
from hushgrid.membership import AdoptedPlan, Member
from hushgrid.messages import Closing, Envelope, FrameKind, Receipt, RepairRequest, frame_kind
from hushgrid.plan import Head, MeterPart
from hushgrid.runtime import Backoff
from hushgrid.schedule import round_at
from hushgrid.sealing import SealingKey
from hushgrid.supervision import keep_alive
from hushgrid.topics import Channel, Topic, topic
from hushgrid.transport import Transport
from meter_agent.config import MeterConfig
from meter_agent.not_masking import NotMasking
from meter_agent.outbox import Outbox
from meter_agent.sharing import derive_keys, seal_statement
from meter_agent.sources import CsvReplay, Source, SourceKind, open_source
from meter_agent.sources.csv_formats import open_csv

if TYPE_CHECKING:
    from meter_agent.masking_service import Masking
    from meter_agent.sources.live import LiveSource

log = logging.getLogger("hushgrid.meter")


@dataclass(frozen=True, slots=True, repr=False)
class _MeterPlan:
    """What one plan asks of one meter: its number and the key shared with each of its PPNs."""

    number: int
    keys: Mapping[int, SealingKey]


class MeterStation:
    """See the module. meters: the members that take readings; carrier: the concentrator, None for a meter alone."""

    def __init__(
        self, config: MeterConfig, meters: Sequence[Member], carrier: Member | None, transport: Transport | None = None
    ) -> None:
        self.config = config
        members = [*((carrier,) if carrier else ()), *meters]
        self.agent = Agent(
            config,
            carrier.role if carrier else Role.METER,
            members,
            hearers={
                Channel.RECEIPT: self._hear_receipt,
                Channel.MASKED: self._hear_consumer,
                Channel.PAIR: self._hear_pair,
            },
            on_plan=self._adopt,
            on_pace=self._wake,
            figures=self._figures,
            transport=transport,
        )
        self._meters = [meter.id for meter in meters]
        self._link = LossyLink(config.link.model, lambda: self.agent.pacing.link_stages, config.agent.state_directory)
        self._under_way: set[asyncio.Task[None]] = set()
        self.outbox = Outbox(config.agent.state_directory / "outbox.sqlite")
        if config.source.kind is SourceKind.CSV:
            if config.source.path is None:
                raise ConfigurationError("source.path: a source of kind csv needs a path")
            open_csv(config.source.path)  # an unusable file stops the meter at start, not when its first plan comes
        self._live = self._open_live(config)
        self._sources: dict[str, Source] = {}
        self._plans: dict[int, dict[str, _MeterPlan]] = {}
        self._ids: dict[int, str] = {}
        self._backoff = Backoff(config.outbox.repeat_seconds, config.outbox.repeat_most_seconds)
        self._published: set[tuple[int, int, int]] = set()
        self._work = asyncio.Event()
        self.masking: Masking | NotMasking = NotMasking()

    async def run(self) -> None:
        """Serve until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(keep_alive(), name="supervisor")
                if self._live is not None:
                    # Beside the agent, which waits for the broker: what the device says meanwhile is remembered.
                    group.create_task(self._live.run(), name="device")
                group.create_task(self.agent.run(self._keep_working), name="agent")
        finally:
            self.outbox.close()
            self.masking.close()
            self.agent.keyring.close()

    async def _keep_working(self) -> None:
        await self.agent.keep_working(self._advance, self._work, self._backoff)

    def _open_live(self, config: MeterConfig) -> LiveSource | None:
        """The real meter's source, listening from the start when a plan of before says how long rounds are."""
        if not config.source.live:
            return None
        if len(self._meters) != 1:
            raise ConfigurationError(
                f"source.kind {config.source.kind.value}: it reads one meter, this agent carries more"
            )
        from meter_agent.sources.live import open_live  # noqa: PLC0415 - a replaying meter needs none of it

        live = open_live(config)
        newest = self.agent.membership.plans.newest
        if newest is not None:
            live.begin(newest[0].interval_seconds)
        return live

    def _wake(self) -> None:
        self._work.set()

    # Plans

    def _adopt(self, adopted: AdoptedPlan) -> None:
        head = adopted.head
        if self._live is not None:
            self._live.begin(head.interval_seconds)
            self._sources = {self._meters[0]: self._live}
        elif not self._sources:
            self._sources = self._open_sources(head)
        found = {}
        for meter in self._meters:
            part = next((p for p in adopted.parts.get(meter, ()) if isinstance(p, MeterPart)), None)
            own = self.agent.keyring.agreement(meter, head.epoch)
            if part is not None and own is not None:
                found[meter] = _MeterPlan(part.number, derive_keys(own, head, part.points, self.agent.grid))
                self._ids[part.number] = meter
        self._plans[head.version] = found
        if isinstance(self.masking, NotMasking) and any(
            p.kind == "masking" for ps in adopted.parts.values() for p in ps
        ):
            self.masking = self._begin_masking()
        self.masking.adopt(adopted, self._meters)
        self._wake()

    def _open_sources(self, head: Head) -> dict[str, Source]:
        """What is known beforehand: replays and constructed households."""
        section = self.config.source
        names = self._meters if section.meter is None else [section.meter]
        opened = open_source(
            section.kind,
            section.path,
            names,
            first_round=section.first_round,
            last_round=section.last_round,
            interval_seconds=head.interval_seconds,
            seed=section.seed,
        )
        sources: dict[str, Source] = dict(zip(self._meters, opened.values(), strict=True))
        if section.from_now:
            coming = max(head.valid_from_round, round_at(time.time(), head.interval_seconds))
            sources = {m: s.beginning_at(coming) if isinstance(s, CsvReplay) else s for m, s in sources.items()}
        return sources

    def _begin_masking(self) -> Masking:
        from meter_agent.masking_service import Masking  # noqa: PLC0415  # a meter that masks nothing has no memory for it

        return Masking(
            self.agent,
            self.config.agent.state_directory / "masking.sqlite",
            link=self._link,
            backoff=self._backoff,
            most=self.config.outbox.envelope_positions,
            read=self._read,
        )

    # Rounds

    async def _advance(self) -> None:
        await self.masking.advance()
        await self._state_due()
        await self._publish_due()

    async def _hear_consumer(self, parsed: Topic, payload: bytes) -> None:
        await self.masking.hear_consumer(parsed, payload)

    async def _hear_pair(self, parsed: Topic, payload: bytes) -> None:
        await self.masking.hear_pair(parsed, payload)
        self._wake()

    async def _state_due(self) -> None:
        pace, plans = self.agent.pacing.pace, self.agent.membership.plans
        first = next(iter(plans), None)
        if pace is None or first is None:
            return
        first_round = max(first[0].valid_from_round, pace.frozen_through + 1)
        for round_number in range(first_round, pace.metered_through + 1):
            plan = plans.in_force(round_number)
            if plan is not None:
                await self._state_round(round_number, plan[0])
        self._erase_keys(pace.metered_through)

    async def _state_round(self, round_number: int, head: Head) -> None:
        """Say once what every meter of the station has to say about a round."""
        plan = self._plans[head.version]
        due = [m for m in self._meters if m in plan and (self.outbox.stated_through(m) or -1) < round_number]
        if not due:
            return
        digest = head.digest
        by_point: dict[int, list[tuple[int, bytes]]] = {}
        for meter in due:
            slots = await self._read(meter, round_number)
            terms = self.masking.shared_terms(meter, round_number)
            sealed = seal_statement(
                slots if terms is not None else None,
                number=plan[meter].number,
                round_number=round_number,
                head=head,
                plan_digest=digest,
                keys=plan[meter].keys,
                terms=terms or (),
            )
            for point, share in sealed.items():
                by_point.setdefault(point, []).append((plan[meter].number, share))
        envelopes = self._pack(round_number, head, by_point)
        shares = sum(len(envelope.shares) for envelope in envelopes)
        lost = sum(len(self._lost(envelope, head)) for envelope in envelopes)
        self.outbox.state(round_number, due, envelopes, shares=shares, lost=lost)
        log.info("round %d: %d meters stated, %d shares to %d PPNs", round_number, len(due), shares, len(by_point))
        self.agent.changed()

    async def _read(self, meter: str, round_number: int) -> tuple[int, ...] | None:
        """The meter's slots of one round; None when the source has no reading, or was not opened for the round."""
        try:
            reading = await self._sources[meter].read(round_number)
        except LookupError:
            log.warning("the source of %s does not reach round %d: stated as no reading", meter, round_number)
            return None
        plan = self.agent.membership.plans.in_force(round_number)
        if reading.watt_hours is None or plan is None:
            return None
        if abs(reading.watt_hours) > plan[0].reading_bound_watt_hours:
            log.warning("round %d of %s exceeds the plan's bound and is stated as no reading", round_number, meter)
            return None
        return (reading.watt_hours,)

    def _pack(self, round_number: int, head: Head, by_point: Mapping[int, list[tuple[int, bytes]]]) -> list[Envelope]:
        most = self.config.outbox.envelope_positions
        sequence = self.outbox.next_sequence(round_number)
        envelopes = []
        for point, shares in sorted(by_point.items()):
            for start in range(0, len(shares), most):
                group = dict(enumerate(shares[start : start + most]))
                envelopes.append(Envelope(head.version, round_number, point, sequence, len(group), 0, group))
                sequence += 1
        return envelopes

    def _lost(self, envelope: Envelope, head: Head) -> frozenset[int]:
        return pass_envelope(envelope, self._link, self._ids, head.ppn(envelope.point).id)[1]

    # Envelopes out, receipts in

    async def _publish_due(self) -> None:
        now = time.monotonic()
        waiting = self.outbox.outstanding()
        for key in self._published - {entry.key for entry in waiting}:
            self._published.remove(key)
            self._backoff.settle(key)
        for entry in waiting:
            if self._backoff.due(entry.key, now):
                envelopes = entry.still_open()
                if entry.key in self._published:
                    self.outbox.count_again(repeated=sum(len(envelope.shares) for envelope in envelopes))
                self._published.add(entry.key)
                for envelope in envelopes:
                    await self._publish(envelope)

    async def _publish(self, envelope: Envelope) -> None:
        plan = self.agent.membership.plans.version(envelope.plan_version)
        if plan is None:
            return
        ppn = plan[0].ppn(envelope.point)
        passed, lost = pass_envelope(envelope, self._link, self._ids, ppn.id)
        parties = [(self._ids[envelope.shares[position][0]], ppn.id) for position in sorted(lost)]
        self._link.note(SHARE, parties, envelope.round, envelope.attempt)
        if passed is None:
            return
        # An envelope travels as one message: one delay for all its shares.
        sender = f"{self.agent.id}/{envelope.sequence}"
        for seconds in self._link.delays(SHARE, sender, ppn.id, envelope.round, envelope.attempt):
            if seconds:
                task = asyncio.create_task(self._publish_later(seconds, passed, ppn.key.pseudonym))
                self._under_way.add(task)
                task.add_done_callback(self._under_way.discard)
            else:
                await self._publish_now(passed, ppn.key.pseudonym)

    async def _publish_later(self, seconds: float, envelope: Envelope, recipient: str) -> None:
        await asyncio.sleep(seconds)
        await self._publish_now(envelope, recipient)

    async def _publish_now(self, envelope: Envelope, recipient: str) -> None:
        name = topic(self.agent.grid, Channel.SHARE, self.agent.transport.pseudonym, recipient)
        await self.agent.transport.publish(name, envelope.to_bytes())

    async def _hear_receipt(self, parsed: Topic, payload: bytes) -> None:
        identities = {
            ppn.identity
            for head, _ in self.agent.membership.plans
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
            await self._send_again(request)
            return
        if kind is FrameKind.CLOSING:
            closing = Closing.from_bytes(payload, signer, parsed.recipient)
            self._check_point(signer, closing.point)
            changed = self.outbox.close_round(closing)
        else:
            receipt = Receipt.from_bytes(payload, signer, parsed.recipient)
            self._check_point(signer, receipt.point)
            changed = self.outbox.acknowledge(receipt)
            if receipt.reason is not None:
                self.agent.counters.add(f"not counted {receipt.reason.value}", len(receipt.refused))
        if changed:
            self.agent.changed()

    async def _send_again(self, request: RepairRequest) -> None:
        """Answer a repair request with the same bytes; what the link loses of the request itself was never asked for."""
        plan = self.agent.membership.plans.in_force(request.round)
        if plan is None:
            return
        ppn, carried = plan[0].ppn(request.point).id, [number for number in request.numbers if number in self._ids]
        lost = {n for n in carried if self._link.drops(REPAIR, ppn, self._ids[n], request.round, request.attempt)}
        self._link.note(REPAIR, [(ppn, self._ids[n]) for n in sorted(lost)], request.round, request.attempt)
        heard = tuple(number for number in carried if number not in lost)
        for envelope in self.outbox.asked_again(replace(request, numbers=heard)):
            self.outbox.count_again(repaired=len(envelope.shares))
            await self._publish(envelope)
        self.agent.changed()

    def _check_point(self, signer: bytes, point: int) -> None:
        """A PPN answers for its own point only."""
        for head, _ in self.agent.membership.plans:
            if any(ppn.point == point and ppn.identity == signer for ppn in head.ppns):
                return
        raise MessageError(RejectReason.WRONG_SENDER, f"receipt for point {point}")

    def _erase_keys(self, metered_through: int) -> None:
        """A meter needs an epoch's key only to seal: once all its rounds are stated, the private half is destroyed."""
        ended = [head.epoch - 1 for head, _ in self.agent.membership.plans if head.valid_from_round <= metered_through]
        in_use = self.masking.epoch_in_use(metered_through)
        if in_use is not None:
            ended = [epoch for epoch in ended if epoch < in_use]
        if ended and max(ended) >= 0:
            kept = self.agent.keyring.epochs(self.agent.id)
            if kept and min(kept) <= max(ended):
                self.agent.keyring.erase_through([self.agent.id, *self._meters], max(ended))

    # Progress, for a testbed's conductor

    def _figures(self) -> dict[str, int]:
        shares, lost = self.outbox.tallies()
        repaired, repeated = self.outbox.sent_again()
        masked = self.masking.figures()
        newest = max(self._plans, default=0)
        sharing = self._plans.get(newest, {})
        stated = [*self.masking.stated_through()]
        if sharing or not stated:
            stated += [self.outbox.stated_through(meter) for meter in self._meters]
        rounds = [r for r in stated if r is not None]
        return masked | {
            "stated_through": min(rounds) if len(rounds) == len(stated) else -1,
            "in_plan": len(sharing.keys() | self.masking.in_plan(newest)),
            "outbox": len(self.outbox.outstanding()) + masked["outbox"],
            "waiting": self._waiting() + masked["waiting"],
            "shares": shares,
            "lost": lost,
            "repaired": repaired,
            "repeated": repeated,
        }

    def _waiting(self) -> int:
        """Shares that the link let through and that have no answer yet; what it lost is given up."""
        waiting = 0
        for entry in self.outbox.outstanding():
            plan = self.agent.membership.plans.version(entry.envelope.plan_version)
            if plan is not None:
                waiting += sum(len(e.shares) - len(self._lost(e, plan[0])) for e in entry.still_open())
        return waiting


async def serve(config: MeterConfig) -> None:
    """Run one meter."""
    section = config.agent
    meter = Member(section.id, Role.METER, read_token(section.token_file))
    await MeterStation(config, [meter], None).run()
