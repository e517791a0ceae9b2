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

from hushgrid.agent import Agent
from hushgrid.bitmap import Bitmap
from hushgrid.config import read_token
from hushgrid.control import Role
from hushgrid.errors import ConfigurationError, MessageError, RejectReason
from hushgrid.link import pass_envelope
from hushgrid.membership import AdoptedPlan, Member
from hushgrid.messages import Closing, Envelope, FrameKind, Receipt, frame_kind
from hushgrid.plan import Head, MeterPart
from hushgrid.runtime import Backoff
from hushgrid.sealing import SealingKey
from hushgrid.topics import Channel, Topic, topic
from hushgrid.transport import Transport
from meter_agent.config import MeterConfig
from meter_agent.outbox import Outbox, Outstanding
from meter_agent.sharing import derive_keys, seal_statement
from meter_agent.sources import Source, SourceKind, open_source
from meter_agent.sources.csv_formats import open_csv

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
            hearers={Channel.RECEIPT: self._hear_receipt},
            on_plan=self._adopt,
            on_pace=self._wake,
            figures=self._figures,
            transport=transport,
        )
        self._meters = [meter.id for meter in meters]
        self.outbox = Outbox(config.agent.state_directory / "outbox.sqlite")
        if config.source.kind is SourceKind.CSV:
            if config.source.path is None:
                raise ConfigurationError("source.path: a source of kind csv needs a path")
            open_csv(config.source.path)  # an unusable file stops the meter at start, not when its first plan comes
        self._sources: dict[str, Source] = {}
        self._plans: dict[int, dict[str, _MeterPlan]] = {}
        self._ids: dict[int, str] = {}
        self._backoff = Backoff(config.outbox.repeat_seconds, config.outbox.repeat_most_seconds)
        self._work = asyncio.Event()

    async def run(self) -> None:
        """Serve until cancelled."""
        try:
            await self.agent.run(self.agent.keep_working(self._advance, self._work, self._backoff))
        finally:
            self.outbox.close()
            self.agent.keyring.close()

    def _wake(self) -> None:
        self._work.set()

    # Plans

    def _adopt(self, adopted: AdoptedPlan) -> None:
        head = adopted.head
        if not self._sources:
            section = self.config.source
            sources = open_source(
                section.kind,
                section.path,
                self._meters,
                first_round=section.first_round,
                last_round=section.last_round,
                interval_seconds=head.interval_seconds,
                seed=section.seed,
            )
            self._sources = dict(sources)
        found = {}
        for meter in self._meters:
            part = next((p for p in adopted.parts.get(meter, ()) if isinstance(p, MeterPart)), None)
            own = self.agent.keyring.agreement(meter, head.epoch)
            if part is not None and own is not None:
                found[meter] = _MeterPlan(part.number, derive_keys(own, head, part.points, self.agent.grid))
                self._ids[part.number] = meter
        self._plans[head.version] = found
        self._wake()

    # Rounds

    async def _advance(self) -> None:
        await self._state_due()
        await self._publish_due()

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
            if slots is not None and abs(slots[0]) > head.reading_bound_watt_hours:
                log.warning("round %d of %s exceeds the plan's bound and is stated as no reading", round_number, meter)
                slots = None
            sealed = seal_statement(
                slots,
                number=plan[meter].number,
                round_number=round_number,
                head=head,
                plan_digest=digest,
                keys=plan[meter].keys,
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
        return None if reading.watt_hours is None else (reading.watt_hours,)

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
        return pass_envelope(envelope, self.config.link.model, self._ids, head.ppn(envelope.point).id)[1]

    # Envelopes out, receipts in

    async def _publish_due(self) -> None:
        now = time.monotonic()
        for entry in self.outbox.outstanding():
            if self._backoff.due(entry.key, now):
                await self._publish(entry)

    async def _publish(self, entry: Outstanding) -> None:
        plan = self.agent.membership.plans.version(entry.envelope.plan_version)
        if plan is None:
            return
        ppn = plan[0].ppn(entry.envelope.point)
        passed, _ = pass_envelope(entry.still_open(), self.config.link.model, self._ids, ppn.id)
        if passed is not None:
            name = topic(self.agent.grid, Channel.SHARE, self.agent.transport.pseudonym, ppn.key.pseudonym)
            await self.agent.transport.publish(name, passed.to_bytes())

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
        if frame_kind(payload) is FrameKind.CLOSING:
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

    def _check_point(self, signer: bytes, point: int) -> None:
        """A PPN answers for its own point only."""
        for head, _ in self.agent.membership.plans:
            if any(ppn.point == point and ppn.identity == signer for ppn in head.ppns):
                return
        raise MessageError(RejectReason.WRONG_SENDER, f"receipt for point {point}")

    def _erase_keys(self, metered_through: int) -> None:
        """A meter needs an epoch's key only to seal: once all its rounds are stated, the private half is destroyed."""
        ended = [head.epoch - 1 for head, _ in self.agent.membership.plans if head.valid_from_round <= metered_through]
        if ended and max(ended) >= 0:
            kept = self.agent.keyring.epochs(self.agent.id)
            if kept and min(kept) <= max(ended):
                self.agent.keyring.erase_through([self.agent.id, *self._meters], max(ended))

    # Progress, for a testbed's conductor

    def _figures(self) -> dict[str, int]:
        shares, lost = self.outbox.tallies()
        stated = [self.outbox.stated_through(meter) for meter in self._meters]
        rounds = [r for r in stated if r is not None]
        return {
            "stated_through": min(rounds) if len(rounds) == len(stated) else -1,
            "in_plan": len(self._plans[max(self._plans)]) if self._plans else 0,
            "outbox": len(self.outbox.outstanding()),
            "waiting": self._waiting(),
            "shares": shares,
            "lost": lost,
        }

    def _waiting(self) -> int:
        """Shares that the link let through and that have no answer yet; what it lost is given up."""
        waiting = 0
        for entry in self.outbox.outstanding():
            plan = self.agent.membership.plans.version(entry.envelope.plan_version)
            if plan is not None:
                open_envelope = replace(entry.still_open())
                passed = Bitmap.of(entry.envelope.size, open_envelope.shares)
                lost = Bitmap.of(entry.envelope.size, self._lost(open_envelope, plan[0]))
                waiting += len(passed - lost)
        return waiting


async def serve(config: MeterConfig) -> None:
    """Run one meter."""
    section = config.agent
    meter = Member(section.id, Role.METER, read_token(section.token_file))
    await MeterStation(config, [meter], None).run()
