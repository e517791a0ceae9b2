"""The meter's shell: what a station's meters read, and who says it how.

One `MeterStation` serves one meter on a connection of its own, or a group of meters behind one concentrator. Each meter of a
group has its own identity, keys and sealed shares; the station's outbox and connection carry sealed bytes only.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from hushgrid.core.schedule import round_at
from hushgrid.errors import ConfigurationError, MessageError, RejectReason
from hushgrid.plan.following import AdoptedPlan
from hushgrid.plan.head import Head
from hushgrid.plan.parts import MaskingPart
from hushgrid.shell.agent import Agent
from hushgrid.shell.config import read_token
from hushgrid.shell.membership import Member
from hushgrid.shell.runtime import Backoff
from hushgrid.shell.transport import Transport
from hushgrid.wire.role import Role
from hushgrid.wire.topics import Channel, Topic
from meter_agent.config import MeterConfig
from meter_agent.cover import Bare, Cover
from meter_agent.link import PERFECT, MeterLink
from meter_agent.mechanism import MeterMechanism
from meter_agent.shares.service import Sharing
from meter_agent.sources import Source, SourceKind, open_source
from meter_agent.supervision import keep_alive

if TYPE_CHECKING:
    from meter_agent.sources.live import LiveSource

log = logging.getLogger("hushgrid.meter")


class MeterStation:
    """See the module. meters: the members that take readings; carrier: the concentrator, None for a meter alone.

    link: another than PERFECT is for showing what happens when messages are lost.
    """

    def __init__(
        self,
        config: MeterConfig,
        meters: Sequence[Member],
        carrier: Member | None,
        transport: Transport | None = None,
        *,
        link: MeterLink = PERFECT,
    ) -> None:
        self.config = config
        members = [*((carrier,) if carrier else ()), *meters]
        self.agent = Agent(
            config,
            carrier.role if carrier else Role.METER,
            members,
            hearers=dict.fromkeys((Channel.RECEIPT, Channel.PRESENCE, Channel.MASKED, Channel.PAIR), self._hear),
            on_plan=self._adopt,
            on_pace=self._wake,
            figures=self._figures,
            transport=transport,
        )
        self._meters = [meter.id for meter in meters]
        self._link = link
        if config.source.kind is SourceKind.CSV:
            if config.source.path is None:
                raise ConfigurationError("source.path: a source of kind csv needs a path")
            from meter_agent.sources.files.tables import open_table  # noqa: PLC0415 - a meter of another kind needs none of it

            # An unusable file stops the meter at start, not when its first plan comes.
            open_table(config.source.path, config.source.described)
        self._live = self._open_live(config)
        self._sources: dict[str, Source] = {}
        self._backoff = Backoff(config.outbox.repeat_seconds, config.outbox.repeat_most_seconds)
        self._work = asyncio.Event()
        self.mechanisms: tuple[MeterMechanism, ...] = (
            Sharing(
                self.agent,
                config.agent.state_directory / "outbox.sqlite",
                self._meters,
                link=link,
                backoff=self._backoff,
                most=config.outbox.envelope_positions,
                read=self._read,
                cover=self._cover,
                wake=self._wake,
            ),
        )
        self._masks = False

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
            for mechanism in self.mechanisms:
                mechanism.close()
            self.agent.close()

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

        live = open_live(config.source, config.registers, config.agent.state_directory / "register.sqlite")
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
        if not self._masks and any(isinstance(p, MaskingPart) for parts in adopted.parts.values() for p in parts):
            self._begin_masking()
        for mechanism in self.mechanisms:
            mechanism.adopt(adopted)
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
            said=section.described,
        )
        sources: dict[str, Source] = dict(zip(self._meters, opened.values(), strict=True))
        if section.from_now:
            from meter_agent.sources.files.replay import CsvReplay  # noqa: PLC0415 - read_table has loaded it

            coming = max(head.valid_from_round, round_at(time.time(), head.interval_seconds))
            sources = {m: s.beginning_at(coming) if isinstance(s, CsvReplay) else s for m, s in sources.items()}
        return sources

    def _begin_masking(self) -> None:
        """It comes first: what it masks of shared readings has to be ready when they are shared."""
        from meter_agent.masked.service import Masking  # noqa: PLC0415  # a meter that masks nothing has no memory for it

        masking = Masking(
            self.agent,
            self.config.agent.state_directory / "masking.sqlite",
            self._meters,
            link=self._link,
            backoff=self._backoff,
            most=self.config.outbox.envelope_positions,
            read=self._read,
            wake=self._wake,
        )
        self.mechanisms = (masking, *self.mechanisms)
        self._masks = True

    # Rounds

    async def _advance(self) -> None:
        pace = self.agent.pacing.pace
        for mechanism in self.mechanisms:
            await mechanism.advance()
        if pace is not None:
            self._erase_keys(pace.metered_through)

    async def _hear(self, parsed: Topic, payload: bytes) -> None:
        for mechanism in self.mechanisms:
            if parsed.channel in mechanism.channels:
                await mechanism.hear(parsed, payload)
                return
        raise MessageError(RejectReason.NOT_IN_PLAN, parsed.channel.value)  # as long as no plan asks to mask

    def _cover(self, meter: str, round_number: int) -> Cover:
        """What goes under a reading before it is shared."""
        covers = (mechanism.cover(meter, round_number) for mechanism in self.mechanisms)
        return next((cover for cover in covers if not isinstance(cover, Bare)), Bare())

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

    # The end of keys, and progress for a testbed's conductor

    def _erase_keys(self, metered_through: int) -> None:
        """Destroy the private halves of the epochs that no mechanism needs any more."""
        needed = [mechanism.let_go(metered_through) for mechanism in self.mechanisms]
        ended = min((epoch for epoch in needed if epoch is not None), default=0) - 1
        if ended >= 0:
            kept = self.agent.keyring.epochs(self.agent.id)
            if kept and min(kept) <= ended:
                self.agent.keyring.erase_through([self.agent.id, *self._meters], ended)

    def _figures(self) -> dict[str, int]:
        newest = self.agent.membership.plans.newest
        version = newest[0].version if newest else 0
        counted = Counter[str]()
        for mechanism in self.mechanisms:
            counted.update(mechanism.figures())
        stated = (through for mechanism in self.mechanisms for through in mechanism.stated_through())
        in_plan = {meter for mechanism in self.mechanisms for meter in mechanism.in_plan(version)}
        return self._link.figures() | counted | {"stated_through": min(stated, default=-1), "in_plan": len(in_plan)}


async def serve(config: MeterConfig) -> None:
    """Run one meter."""
    section = config.agent
    meter = Member(section.id, Role.METER, read_token(section.token_file))
    await MeterStation(config, [meter], None).run()
