"""The shell that every role but the configurator shares: one connection, one membership, one pace, one message loop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from typing import Any

from hushgrid import control
from hushgrid.certificates import Certificates, certificates_of
from hushgrid.config import BrokerSection, RoleConfig, ServiceConfig
from hushgrid.control import Report, Role, Statement, box_context
from hushgrid.errors import ConfigurationError, MessageError, RefusedError, RejectReason
from hushgrid.keyring import Keyring
from hushgrid.membership import AdoptedPlan, Member, Membership
from hushgrid.pacing import PaceFollower
from hushgrid.plan import Floors
from hushgrid.runtime import Backoff, Counters, keep_pulse
from hushgrid.sealing import seal_box
from hushgrid.topics import Channel, Topic, inbox, parse, topic
from hushgrid.transport import Contexts, MqttTransport, TlsFiles, Transport, Will

log = logging.getLogger("hushgrid.agent")

Hearer = Callable[[Topic, bytes], Awaitable[None]]
_MEMBERSHIP_CHANNELS = frozenset({Channel.CARD, Channel.HEAD, Channel.CONTROL})
_REPORT_PAUSE_SECONDS = 0.05
_REPORT_REPEAT_SECONDS = 1.0
_FAREWELL_SECONDS = 2.0


def tls_files(config: ServiceConfig) -> TlsFiles | None:
    """What mqtts:// needs; None for mqtt://."""
    broker = config.broker
    secure = broker.url.startswith("mqtts:")
    return TlsFiles(broker.ca_file, broker.certificate_file, broker.key_file) if secure else None


def mqtt_transport(config: ServiceConfig, pseudonym: str, certificates: Certificates | None = None) -> MqttTransport:
    """The connection a configuration asks for; its last will says that this agent is gone.

    certificates: those of the agent's names; None: the files of the configuration serve for every name.
    """
    grid, broker = config.agent.grid, config.broker
    tls: TlsFiles | Contexts | None = tls_files(config)
    if tls is not None and certificates is not None:
        tls = certificates.context
    return MqttTransport(
        broker.url,
        pseudonym,
        further_urls=broker.further_urls,
        will=Will(topic(grid, Channel.STATUS, pseudonym), b"offline"),
        tls=tls,
        user=broker.user_name,
        password=broker_password(broker),
        keepalive_seconds=broker.keepalive_seconds,
    )


def broker_password(broker: BrokerSection) -> str | None:
    """Of the agent's account at a broker that wants one; ConfigurationError when its file cannot be read."""
    if broker.password_file is None:
        return None
    try:
        return broker.password_file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        raise ConfigurationError(f"{broker.password_file}: the broker's password cannot be read") from None


class Agent:
    """One process's place in the grid. The role hands in what it does with plans, pace, statements and its own channels.

    hearers: what to do with messages of the role's own channels; a MessageError from them is counted, and stops nothing.
    figures: counts for the conductor of a testbed.
    """

    def __init__(
        self,
        config: RoleConfig,
        role: Role,
        members: Iterable[Member],
        *,
        hearers: Mapping[Channel, Hearer],
        on_plan: Callable[[AdoptedPlan], None],
        on_pace: Callable[[], None],
        on_statement: Callable[[str, control.Body], None] = lambda _member, _body: None,
        figures: Callable[[], dict[str, int]] = dict,
        transport: Transport | None = None,
    ) -> None:
        self.config = config
        self.role = role
        self.id = config.agent.id
        self.grid = config.agent.grid
        directory = config.agent.state_directory
        self.keyring = Keyring(directory / "keys.sqlite")
        self.counters = Counters()
        self.pacing = PaceFollower(config.pace)
        self.identity = self.keyring.identity(self.id)
        self._hearers = hearers
        self._role_on_plan = on_plan
        self._on_pace = on_pace
        self._figures = figures
        self._reported = asyncio.Event()
        self._listening: set[int] = set()
        pseudonym = self.identity.pseudonym(self.grid, 0)
        self._certificates = None if transport is not None else certificates_of(config, role, self.identity)
        self.transport: Transport = transport or mqtt_transport(config, pseudonym, self._certificates)
        floors = config.floors
        self.membership = Membership(
            self.transport,
            self.keyring,
            directory / "plans.sqlite",
            grid=self.grid,
            configurator=config.configurator.identity,
            members=members,
            floors=Floors(
                floors.threshold,
                floors.minimum_contributors,
                tuple(floors.pinned_ppns.items()),
                unsafe_published=floors.unsafe_published,
            ),
            on_plan=self._adopt,
            on_statement=on_statement,
        )

    def pseudonym(self, epoch: int) -> str:
        """This connection's pseudonym in an epoch."""
        return self.identity.pseudonym(self.grid, epoch)

    async def run(self, *loops: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Connect and serve until cancelled; `loops` are the role's own, begun once the broker is reached."""
        epoch = self._epoch_begun()
        await self._certify(range(epoch, epoch + 2))
        await self.transport.rename(self.pseudonym(epoch))
        async with self.transport:
            await self.transport.subscribe(*self._published())
            await self._subscribe(epoch)
            await self.transport.publish(self._status_topic(), b"online", retain=True)
            log.info("%s %s is up", self.role.value, self.id)
            for adopted in [entry for _, entry in self.membership.plans]:
                self.pacing.set_interval(adopted.head.interval_seconds)
                self._role_on_plan(adopted)
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._listen(), name="listen")
                    group.create_task(self.membership.run(), name="membership")
                    group.create_task(self.pacing.follow_clock(self._on_pace), name="clock")
                    group.create_task(self._keep_address(), name="address")
                    if self._certificates is not None:
                        keeping = self._certificates.keep(self._names_ahead, self.transport.renew)
                        group.create_task(keeping, name="certificates")
                    pulse = keep_pulse(self.config.agent.pulse_file, lambda: self.transport.reachable)
                    group.create_task(pulse, name="pulse")
                    if self.pacing.conducted:
                        group.create_task(self._report(), name="report")
                    for number, loop in enumerate(loops):
                        group.create_task(loop(), name=f"role-{number}")
            finally:
                # Leaving in order, the broker does not say the last will.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_FAREWELL_SECONDS):
                        await self.transport.publish(self._status_topic(), b"offline", retain=True)

    def _status_topic(self) -> str:
        return topic(self.grid, Channel.STATUS, self.transport.pseudonym)

    async def _subscribe(self, epoch: int) -> None:
        pseudonym = self.pseudonym(epoch)
        channels = [Channel.CONTROL, *(channel for channel in self._hearers if channel.addressed)]
        filters = [inbox(self.grid, channel, pseudonym) for channel in channels]
        await self.transport.subscribe(*filters, address=pseudonym)
        self._listening.add(epoch)

    def _published(self) -> list[str]:
        clock = [inbox(self.grid, Channel.CLOCK)] if self.pacing.conducted else []
        return [*self.membership.published(), *clock]

    async def _certify(self, epochs: Iterable[int]) -> None:
        """There is a certificate for the names of these epochs, where there is an authority. ConfigurationError if refused."""
        if self._certificates is not None:
            try:
                await self._certificates.ensure([self.pseudonym(epoch) for epoch in epochs])
            except RefusedError as error:
                raise ConfigurationError(str(error)) from None

    def _names_ahead(self) -> list[str]:
        """The names in use, and that of the epoch to come."""
        return [self.pseudonym(epoch) for epoch in sorted(self._listening | {max(self._listening, default=0) + 1})]

    def _epochs_in_use(self, begun: int) -> set[int]:
        """The one that has begun, the one before for what is late, those announced, and whose key is still needed."""
        announced = {head.epoch for head, _ in self.membership.plans}
        kept = announced & set(self.keyring.epochs(self.id))
        return {epoch for epoch in announced if epoch >= begun - 1} | kept | {begun, self.membership.epoch}

    def _adopt(self, adopted: AdoptedPlan) -> None:
        self.pacing.set_interval(adopted.head.interval_seconds)
        self._role_on_plan(adopted)
        self.changed()

    async def _keep_address(self) -> None:
        """Listen under the pseudonyms of every epoch in use, and speak under the newest that has begun."""
        known: tuple[int, int] | None = None
        generation = self.transport.generation
        while True:
            if self.transport.generation != generation:  # while it was away, the broker may have said the last will
                generation = self.transport.generation
                await self.transport.publish(self._status_topic(), b"online", retain=True)
            begun, newest = self._epoch_begun(), self.membership.plans.newest
            state = (begun, newest[0].version if newest else -1)
            if state != known:
                known, epochs = state, self._epochs_in_use(begun)
                await self._certify(sorted(epochs))
                for epoch in sorted(epochs - self._listening):
                    await self._subscribe(epoch)
            if self.transport.pseudonym != self.pseudonym(begun):
                await self.transport.publish(self._status_topic(), b"", retain=True)
                await self.transport.rename(self.pseudonym(begun))
                await self.transport.publish(self._status_topic(), b"online", retain=True)
                for epoch in self._listening - self._epochs_in_use(begun):
                    await self.transport.leave(self.pseudonym(epoch))
                    self._listening.discard(epoch)
            await asyncio.sleep(0.2)

    def _epoch_begun(self) -> int:
        pace = self.pacing.pace
        plan = self.membership.plans.in_force(pace.metered_through) if pace else None
        return plan[0].epoch if plan else self.membership.epoch

    async def _listen(self) -> None:
        async for message in self.transport.messages():
            name = "topic"
            if not message.payload:  # a retained message was cleared
                continue
            try:
                parsed = parse(message.topic)
                name = parsed.channel.value
                if parsed.grid != self.grid:
                    raise MessageError(RejectReason.MALFORMED, "another grid")
                if parsed.channel in _MEMBERSHIP_CHANNELS:
                    self.membership.hear(parsed, message.payload)
                elif parsed.channel is Channel.CLOCK:
                    if self.pacing.hear(message.payload, parsed.sender):
                        self._on_pace()
                elif parsed.channel in self._hearers:
                    await self._hearers[parsed.channel](parsed, message.payload)
                else:
                    raise MessageError(RejectReason.UNKNOWN_KIND, "channel")
            except MessageError as error:
                self.counters.refuse(name, error)

    async def keep_working(self, step: Callable[[], Awaitable[None]], work: asyncio.Event, backoff: Backoff) -> None:
        """Take a step whenever there is work or something is due to be repeated; after a reconnection everything is due."""
        generation = self.transport.generation
        while True:
            if self.transport.generation != generation:
                generation = self.transport.generation
                backoff.restart()
            work.clear()
            await step()
            try:
                async with asyncio.timeout(backoff.seconds_to_next(time.monotonic())):
                    await work.wait()
            except TimeoutError:
                continue

    def changed(self) -> None:
        """Tell the conductor soon: a figure changed."""
        self._reported.set()

    async def _report(self) -> None:
        said: Report | None = None
        while True:
            self._reported.clear()
            newest = self.membership.plans.newest
            refused = {name: count for name, count in self.counters.counts.items() if name.startswith("refused")}
            figures = {**self._figures(), **refused}
            report = Report(role=self.role, plan_version=newest[0].version if newest else 0, figures=figures)
            quiet = report == said
            if self.pacing.conductor_pseudonym is not None:
                await self._send_report(report)
                said = report
            pause = _REPORT_REPEAT_SECONDS if quiet or said is None else _REPORT_PAUSE_SECONDS
            await asyncio.sleep(_REPORT_PAUSE_SECONDS)
            try:
                async with asyncio.timeout(pause):
                    await self._reported.wait()
            except TimeoutError:
                continue

    async def _send_report(self, report: Report) -> None:
        key, conductor = self.config.pace.conductor_agreement, self.pacing.conductor_pseudonym
        if key is None or conductor is None:
            return
        statement = Statement(sender=self.id, recipient="conductor", sequence=0, body=report)
        sender = self.transport.pseudonym
        box = seal_box(key, statement.to_bytes(self.identity), box_context(self.grid, sender, conductor))
        await self.transport.publish(topic(self.grid, Channel.CONTROL, sender, conductor), box)
