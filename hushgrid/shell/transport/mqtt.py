"""The transport of every agent: one session for each name it is addressed under."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Sequence
from typing import Self

import aiomqtt

from hushgrid.errors import ConfigurationError
from hushgrid.shell.transport.connection import Arrival, Settings
from hushgrid.shell.transport.interface import BrokerAddress, Contexts, Message, TlsFiles, Will
from hushgrid.shell.transport.session import Session
from hushgrid.shell.transport.silence import SILENCE_SECONDS

log = logging.getLogger("hushgrid.transport")

#: Publishes that may wait for acknowledgement at once; further ones wait for room.
OUTSTANDING_PUBLISHES = 500


def _contexts(tls: TlsFiles | Contexts) -> Contexts:
    """Of files that serve under every name: read anew for every connection, once now to see that they can be."""
    if not isinstance(tls, TlsFiles):
        return tls
    tls.context()
    return lambda _name: tls.context()


class MqttTransport:
    """See the module and `Transport`. An async context manager; it keeps trying until left.

    further_urls: other nodes of the same broker cluster; whenever a connection ends or cannot be made, the next address is tried.
    tls: files that serve under every name, or a context for each name. will: its topic follows the pseudonym. keepalive_seconds:
    after 1.5 of these without a sign the broker says the will. user: where a broker that is not hushgrid's wants another name
    than the pseudonym. lasting: whether the broker keeps what comes while this is away. silence_seconds: a subscription that brings
    nothing for so long is made anew. ConfigurationError for URLs or TLS files
    that cannot be used.
    """

    def __init__(
        self,
        url: str,
        pseudonym: str,
        *,
        further_urls: Sequence[str] = (),
        will: Will | None = None,
        user: str | None = None,
        password: str | None = None,
        tls: TlsFiles | Contexts | None = None,
        keepalive_seconds: int = 30,
        lasting: bool = True,
        silence_seconds: float = SILENCE_SECONDS,
    ) -> None:
        self.pseudonym = pseudonym
        self.generation = 0
        urls = (url, *further_urls)
        addresses = tuple(map(BrokerAddress.parse, urls))
        if len({address.secure for address in addresses}) > 1:
            raise ConfigurationError(f"broker URLs {', '.join(urls)}: either all mqtt:// or all mqtts://")
        contexts = _contexts(tls or TlsFiles(None, None, None)) if addresses[0].secure else None
        self._settings = Settings(
            urls, addresses, will, password, contexts, keepalive_seconds, user, lasting, silence_seconds
        )
        self._filters: dict[str, None] = {}
        self._addresses: dict[str, dict[str, None]] = {}
        self._room = asyncio.Semaphore(OUTSTANDING_PUBLISHES)
        self._incoming: asyncio.Queue[Arrival] = asyncio.Queue()
        self._changed = asyncio.Event()
        self._sessions: dict[str, Session] = {}
        self._retiring: dict[asyncio.Task[None], Session] = {}

    async def __aenter__(self) -> Self:
        for name in dict.fromkeys([self.pseudonym, *self._addresses]):
            self._open(name)
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._retiring:
            task.cancel()
        await asyncio.gather(*self._retiring, return_exceptions=True)
        await asyncio.gather(*(session.close() for session in self._sessions.values()))

    @property
    def reachable(self) -> bool:
        """Whether the broker is on the line now."""
        return self.pseudonym in self._sessions and self._session.connection is not None

    async def connected(self, timeout_seconds: float) -> None:
        """Return once connected; ConfigurationError naming the broker and the trouble when that takes too long."""
        session = self._session
        try:
            async with asyncio.timeout(timeout_seconds):
                await session.connected()
        except TimeoutError:
            raise ConfigurationError(f"no broker answers at {self._settings.label}: {session.trouble}") from None

    async def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Hand over one message; waits for room, for a connection, and for the broker's acknowledgement."""
        session = self._session
        session.outstanding += 1
        try:
            async with self._room:
                while True:
                    connection = session.connection or await session.connected()
                    if await connection.publish(topic, payload, retain=retain):
                        return
                    log.debug("a publish of %d bytes is repeated", len(payload))
        finally:
            session.outstanding -= 1

    async def subscribe(self, *filters: str, address: str | None = None) -> None:
        """Subscribe at QoS 1 now, when connected, and after every reconnection. A new address is a new connection."""
        if address is None:
            self._filters.update(dict.fromkeys(filters))
        else:
            self._addresses.setdefault(address, {}).update(dict.fromkeys(filters))
        name = address or self.pseudonym
        await (self._sessions.get(name) or self._open(name)).subscribe()

    async def unsubscribe(self, *filters: str) -> None:
        """Subscribe no longer, now and after reconnections."""
        known = [name for name in filters if self._filters.pop(name, self) is not self]
        connection = self._session.connection
        if connection is not None and known:
            with contextlib.suppress(aiomqtt.MqttError):
                await connection.unsubscribe(known)

    async def messages(self) -> AsyncIterator[Message]:
        """Everything that comes in, for ever; asking for the next message acknowledges the last one."""
        while True:
            arrival = await self._incoming.get()
            yield arrival.message
            arrival.connection.acknowledge(arrival.mid)
            for session in (*self._sessions.values(), *self._retiring.values()):
                if session.connection is not None:
                    session.connection.adjust()

    async def wait_generation(self, after: int) -> int:
        """Return the generation once it is above `after`."""
        while self.generation <= after:
            self._changed.clear()
            await self._changed.wait()
        return self.generation

    async def rename(self, pseudonym: str) -> None:
        """Come in under the new name, then leave under the old one: what is sent meanwhile comes twice rather than never."""
        if pseudonym == self.pseudonym or not self._sessions:
            self.pseudonym = pseudonym  # not entered yet: there is nothing to leave
            return
        before = self._session
        self.pseudonym = pseudonym
        successor = self._sessions.get(pseudonym) or self._open(pseudonym)
        if before.pseudonym not in self._addresses:
            self._retire(before, successor)
        await successor.connected()
        await successor.subscribe()
        self._count()

    async def leave(self, address: str) -> None:
        """Close a former name's connection behind all that waits for it. ValueError for the name we go by."""
        if address == self.pseudonym:
            raise ValueError(f"{address} is in use")
        if self._addresses.pop(address, None) is not None and address in self._sessions:
            self._retire(self._sessions[address], self._session)

    async def renew(self) -> None:
        """Disconnect in order and connect again, name by name; what was not acknowledged is sent again."""
        for session in list(self._sessions.values()):
            session.renew()

    def _open(self, name: str) -> Session:
        session = Session(self._settings, name, lambda: self._wanted(name), self._incoming, self._count)
        self._sessions[name] = session
        return session

    def _wanted(self, name: str) -> list[str]:
        """What is subscribed to under a name: its own inbox, and under the current one what everybody reads."""
        return [*(self._filters if name == self.pseudonym else ()), *self._addresses.get(name, ())]

    def _retire(self, session: Session, successor: Session) -> None:
        del self._sessions[session.pseudonym]
        task = asyncio.create_task(session.retire(successor))
        self._retiring[task] = session
        task.add_done_callback(self._retiring.pop)

    @property
    def _session(self) -> Session:
        """Of the name we go by."""
        try:
            return self._sessions[self.pseudonym]
        except KeyError:
            raise RuntimeError("the transport has not been entered") from None

    def _count(self) -> None:
        self.generation += 1
        self._changed.set()
