"""For tests: a broker in memory, with faults as a parameter, and a clock that stands still."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Self

from hushgrid.transport import Message, Will

#: What becomes of one message: [] drops it, two copies duplicate it, others change it.
Fault = Callable[[str, bytes], list[bytes]]


def matches(name_filter: str, name: str) -> bool:
    """Whether an MQTT subscription filter covers a topic."""
    wanted, parts = name_filter.split("/"), name.split("/")
    for at, step in enumerate(wanted):
        if step == "#":
            return True
        if at >= len(parts) or step not in ("+", parts[at]):
            return False
    return len(wanted) == len(parts)


class MemoryBroker:
    """Delivers in order, keeps retained messages and the sessions of absent clients, and does to each message what `fault` says.

    capture: every (topic, payload) as it was published, before any fault.
    """

    def __init__(self, fault: Fault = lambda _topic, payload: [payload]) -> None:
        self.fault = fault
        self.capture: list[tuple[str, bytes]] = []
        self.retained: dict[str, bytes] = {}
        self.sessions: dict[str, MemoryTransport] = {}

    def transport(self, pseudonym: str, will: Will | None = None) -> MemoryTransport:
        """A client of this broker."""
        return MemoryTransport(self, pseudonym, will)

    def publish(self, topic: str, payload: bytes, *, retain: bool) -> None:
        """Deliver to every session that subscribed, present or absent."""
        self.capture.append((topic, payload))
        for copy in self.fault(topic, payload):
            if retain:
                self.retained[topic] = copy
            for session in list(self.sessions.values()):
                session.deliver(topic, copy)
        if retain and not payload:
            self.retained.pop(topic, None)


class MemoryTransport:
    """A `hushgrid.transport.Transport` over a `MemoryBroker`."""

    def __init__(self, broker: MemoryBroker, pseudonym: str, will: Will | None = None) -> None:
        self.pseudonym = pseudonym
        self.generation = 0
        self.filters: dict[str, None] = {}
        self.incoming: asyncio.Queue[Message] = asyncio.Queue()
        self._broker = broker
        self._will = will

    async def __aenter__(self) -> Self:
        before = self._broker.sessions.get(self.pseudonym)
        if before is not None and before is not self:  # a persistent session is taken up again
            self.filters, self.incoming = before.filters, before.incoming
        self._broker.sessions[self.pseudonym] = self
        self.generation += 1
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._will is not None:
            self._broker.publish(self._will.topic, self._will.payload, retain=True)

    def deliver(self, topic: str, payload: bytes) -> None:
        """What the broker does with a message for this session, if it subscribed to it."""
        if any(matches(name_filter, topic) for name_filter in self.filters):
            self.incoming.put_nowait(Message(topic, payload, retained=False))

    def reconnect(self) -> None:
        """As after a lost connection: the services send again what has no receipt."""
        self.generation += 1

    async def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Hand over one message."""
        self._broker.publish(topic, payload, retain=retain)
        await asyncio.sleep(0)

    async def subscribe(self, *filters: str) -> None:
        """Subscribe; retained messages come at once."""
        for name_filter in filters:
            if name_filter not in self.filters:
                self.filters[name_filter] = None
                for topic, payload in list(self._broker.retained.items()):
                    if matches(name_filter, topic):
                        self.incoming.put_nowait(Message(topic, payload, retained=True))

    async def messages(self) -> AsyncIterator[Message]:
        """Everything that comes in, for ever."""
        while True:
            yield await self.incoming.get()

    async def rename(self, pseudonym: str) -> None:
        """Go on under another name, with the same subscriptions."""
        self._broker.sessions.pop(self.pseudonym, None)
        self.pseudonym = pseudonym
        self._broker.sessions[pseudonym] = self
        self.generation += 1


class FakeClock:
    """A clock that moves when it is told to."""

    def __init__(self, now_seconds: float = 0.0) -> None:
        self.now_seconds = now_seconds

    def __call__(self) -> float:
        """The time, in seconds."""
        return self.now_seconds

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now_seconds += seconds
