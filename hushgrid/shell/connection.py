"""How an agent is on the line: its name of the epoch, the certificates of its names, `online` for all to see, its pulse.

Every role has one, the configurator too. What is said over it is the role's business.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any

from hushgrid.core.sealing import Identity, seal_box
from hushgrid.errors import ConfigurationError, MessageError, RefusedError, RejectReason
from hushgrid.shell.certificates import Certificates, certificates_of
from hushgrid.shell.config import BrokerSection, ServiceConfig
from hushgrid.shell.runtime import Counters, keep_pulse
from hushgrid.shell.transport import Contexts, MqttTransport, TlsFiles, Transport, Will
from hushgrid.statements.statement import Body, Statement, box_context
from hushgrid.wire.access import here_channel
from hushgrid.wire.presence import OFFLINE, ONLINE
from hushgrid.wire.role import Role
from hushgrid.wire.topics import Channel, Topic, parse, topic

Hearer = Callable[[Topic, bytes], Awaitable[None]]
#: Work that goes on for as long as the agent is up, by name.
Loops = dict[str, Coroutine[Any, Any, None]]


def tls_files(config: ServiceConfig) -> TlsFiles | None:
    """What mqtts:// needs; None for mqtt://."""
    broker = config.broker
    secure = broker.url.startswith("mqtts:")
    return TlsFiles(broker.ca_file, broker.certificate_file, broker.key_file) if secure else None


def mqtt_transport(
    config: ServiceConfig, role: Role, pseudonym: str, certificates: Certificates | None = None
) -> MqttTransport:
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
        will=Will(topic(grid, here_channel(role), pseudonym), OFFLINE),
        tls=tls,
        user=broker.user_name,
        password=broker_password(broker),
        keepalive_seconds=broker.keepalive_seconds,
        silence_seconds=broker.silence_seconds,
    )


def broker_password(broker: BrokerSection) -> str | None:
    """Of the agent's account at a broker that wants one; ConfigurationError when its file cannot be read."""
    if broker.password_file is None:
        return None
    try:
        return broker.password_file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        raise ConfigurationError(f"{broker.password_file}: the broker's password cannot be read") from None


class Attendance:
    """See the module.

    epoch: the one whose name the agent begins under. transport: given by tests; else the one that the configuration asks for,
    with certificates where there is an authority.
    """

    def __init__(
        self,
        config: ServiceConfig,
        role: Role,
        identity: Identity,
        *,
        epoch: int = 0,
        transport: Transport | None = None,
    ) -> None:
        self.id = config.agent.id
        self.grid = config.agent.grid
        self.identity = identity
        self.counters = Counters()
        self._here = here_channel(role)
        self._pulse_file = config.agent.pulse_file
        self._certificates = None if transport is not None else certificates_of(config, role, identity)
        self.transport: Transport = transport or mqtt_transport(config, role, self.pseudonym(epoch), self._certificates)

    def pseudonym(self, epoch: int) -> str:
        """This connection's name in an epoch."""
        return self.identity.pseudonym(self.grid, epoch)

    async def certify(self, epochs: Iterable[int]) -> None:
        """There is a certificate for the names of these epochs, where there is an authority. ConfigurationError if refused."""
        if self._certificates is not None:
            try:
                await self._certificates.ensure([self.pseudonym(epoch) for epoch in epochs])
            except RefusedError as error:
                raise ConfigurationError(str(error)) from None

    def loops(self, epochs: Callable[[], Iterable[int]]) -> Loops:
        """What goes on beside the role's own work. epochs: those whose names need a certificate, asked again and again."""
        found: Loops = {"pulse": keep_pulse(self._pulse_file, lambda: self.transport.reachable)}
        if self._certificates is not None:
            names = self._certificates.keep(lambda: [self.pseudonym(epoch) for epoch in epochs()], self.transport.renew)
            found["certificates"] = names
        return found

    # What goes out

    async def publish(self, channel: Channel, payload: bytes) -> None:
        """Say something for everybody, retained, under the name in use; nothing (no bytes) takes back what was said."""
        await self.transport.publish(topic(self.grid, channel, self.transport.pseudonym), payload, retain=True)

    async def send(self, channel: Channel, recipient: str, payload: bytes) -> None:
        """Say something to one pseudonym, under the name in use."""
        await self.transport.publish(topic(self.grid, channel, self.transport.pseudonym, recipient), payload)

    async def send_sealed(self, recipient: str, agreement: bytes, statement: Statement, sender: Identity) -> None:
        """Say a statement on the channel of statements, signed by its sender and sealed to the recipient's agreement key."""
        context = box_context(self.grid, self.transport.pseudonym, recipient)
        await self.send(Channel.CONTROL, recipient, seal_box(agreement, statement.to_bytes(sender), context))

    async def send_own(self, recipient: str, recipient_id: str, agreement: bytes, body: Body) -> None:
        """The same for what the agent says in its own name."""
        statement = Statement(sender=self.id, recipient=recipient_id, sequence=0, body=body)
        await self.send_sealed(recipient, agreement, statement, self.identity)

    async def say_online(self) -> None:
        """That this agent is here, under the name in use."""
        await self.publish(self._here, ONLINE)

    async def say_offline(self, within_seconds: float) -> None:
        """That it leaves, when the broker can be told in time: leaving in order, the broker does not say the last will."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_seconds):
                await self.publish(self._here, OFFLINE)

    async def rename(self, epoch: int, *, published: Iterable[Channel] = ()) -> None:
        """Speak under the name of another epoch. published: where more than the status stands under the old name; it is taken back."""
        for channel in (*published, self._here):
            await self.publish(channel, b"")
        await self.transport.rename(self.pseudonym(epoch))

    # What comes in

    async def listen(self, hear: Hearer, *, hears_cleared: frozenset[Channel] = frozenset()) -> None:
        """Hand over every message of this grid, for ever; a MessageError is counted, and stops nothing.

        hears_cleared: channels on which it matters that a retained message was cleared (no bytes).
        """
        async for message in self.transport.messages():
            name = "topic"
            if not message.payload and not hears_cleared:
                continue
            try:
                parsed = parse(message.topic)
                if not message.payload and parsed.channel not in hears_cleared:
                    continue
                name = parsed.channel.value
                if parsed.grid != self.grid:
                    raise MessageError(RejectReason.MALFORMED, "another grid")
                await hear(parsed, message.payload)
            except MessageError as error:
                self.counters.refuse(name, error)
