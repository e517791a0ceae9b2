"""A broker in memory whose faults are parameters. For tests: no sleeping, no wall clock.

    broker = MemoryBroker(fault=lambda topic, payload: [payload, payload])   # [] drops, two duplicate
    async with broker.transport("meter-1") as transport: ...
    broker.disconnect("meter-1"); broker.reconnect("meter-1")

It keeps the promises of `hushgrid.shell.transport.MqttTransport` on Mosquitto; tests/broker runs the same tests against both.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Self

from hushgrid.shell.transport import OUTSTANDING_PUBLISHES, Message, Will

Fault = Callable[[str, bytes], list[bytes]]


Hold = Callable[[str, bytes], int]


def matches(topic_filter: str, topic: str) -> bool:
    """MQTT 3.1.1 matching: `+` is one level, a final `#` the parent and everything below; neither leads into `$...`."""
    wanted, levels = topic_filter.split("/"), topic.split("/")
    if topic.startswith("$") and wanted[0] in ("+", "#"):
        return False
    for position, level in enumerate(wanted):
        if level == "#":
            return position == len(wanted) - 1
        if position >= len(levels) or level not in ("+", levels[position]):
            return False
    return len(wanted) == len(levels)


@dataclass(slots=True, eq=False)
class _Session:
    """What the broker keeps for a client id, present or absent."""

    filters: dict[str, None] = field(default_factory=dict)
    queued: deque[Message] = field(default_factory=deque)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    def deliver(self, topic: str, payload: bytes) -> None:
        """Queue a message, if it was subscribed to."""
        if any(matches(topic_filter, topic) for topic_filter in self.filters):
            self.queued.append(Message(topic, payload))
            self.arrived.set()


@dataclass(frozen=True, slots=True)
class _Held:
    publications_left: int
    topic: str
    payload: bytes
    retain: bool


class MemoryBroker:
    """Routes between the transports it gives out, in the order of publication.

    fault: what reaches subscribers instead of one published payload: [] drops it, two duplicate it, other bytes corrupt it.
    hold: after how many further publications it is routed; 0 at once. Held ones come out by `flush` when nothing follows.
    capture: every (topic, payload) published, wills too, before any fault: what an eavesdropper in the broker reads.
    retained: the payload kept for each topic. sessions: by client id, of those present and absent.
    """

    def __init__(self, fault: Fault | None = None, *, hold: Hold | None = None) -> None:
        self.fault = fault
        self.hold = hold
        self.capture: list[tuple[str, bytes]] = []
        self.retained: dict[str, bytes] = {}
        self.sessions: dict[str, _Session] = {}
        self._transports: list[MemoryTransport] = []
        self._held: list[_Held] = []
        self._down = False

    def transport(self, pseudonym: str, *, will: Will | None = None) -> MemoryTransport:
        """A client, connected once entered. Entering under the name of another ends the other, as in MQTT."""
        return MemoryTransport(self, pseudonym, will)

    def waiting(self, pseudonym: str) -> int:
        """How many messages a client, present or absent, has not dealt with yet."""
        session = self.sessions.get(pseudonym)
        return len(session.queued) if session is not None else 0

    def disconnect(self, pseudonym: str) -> None:
        """Cut a connection: the will is said, publishes wait and messages are kept until `reconnect`."""
        transport = self._find(pseudonym)
        transport.cut_off = True
        self._end(transport)

    def reconnect(self, pseudonym: str) -> None:
        """Let a client that was cut off come back; its generation rises."""
        transport = self._find(pseudonym)
        transport.cut_off = False
        self.admit(transport)

    def kill(self, pseudonym: str) -> None:
        """As kill -9 of the client's process: the will is said; that transport does nothing any more, and its successor, a
        new transport of the same name, finds the session.
        """
        transport = self._find(pseudonym)
        self._transports.remove(transport)
        self._end(transport)

    def crash(self) -> None:
        """As kill -9 of Mosquitto: everybody is cut off; sessions, retained messages and what was queued are lost."""
        self._down = True
        for transport in self._transports:
            transport.attach(None)
        self.sessions.clear()
        self.retained.clear()
        self._held.clear()

    def restart(self) -> None:
        """After `crash`: everybody comes back and subscribes again."""
        self._down = False
        for transport in list(self._transports):
            self.admit(transport)

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Publish as somebody without a transport of this broker: a stranger, a replay."""
        self.capture.append((topic, payload))
        counted = [_Held(held.publications_left - 1, held.topic, held.payload, held.retain) for held in self._held]
        self._held = [held for held in counted if held.publications_left > 0]
        later = self.hold(topic, payload) if self.hold is not None else 0
        if later > 0:
            self._held.append(_Held(later, topic, payload, retain))
        else:
            self._route(topic, payload, retain=retain)
        for held in counted:
            if held.publications_left <= 0:
                self._route(held.topic, held.payload, retain=held.retain)

    def flush(self) -> None:
        """Route everything held back, in the order of publication."""
        held_back, self._held = self._held, []
        for held in held_back:
            self._route(held.topic, held.payload, retain=held.retain)

    def enter(self, transport: MemoryTransport) -> None:
        """A transport begins; the one that had its name ends."""
        for other in [other for other in self._transports if other.pseudonym == transport.pseudonym]:
            self._transports.remove(other)
            self._end(other)
        self._transports.append(transport)
        self.admit(transport)

    def leave(self, transport: MemoryTransport) -> None:
        """A transport ends in order: no will is said, the session is kept."""
        if transport in self._transports:
            self._transports.remove(transport)
            transport.attach(None)

    def admit(self, transport: MemoryTransport) -> None:
        """Connect a transport where it may be; what waits under its former names goes over to its session."""
        if self._down or transport.cut_off or transport not in self._transports:
            return
        session = self.sessions.setdefault(transport.pseudonym, _Session())
        while transport.former:
            old = self.sessions.pop(transport.former.pop(), _Session())
            session.queued.extendleft(reversed(old.queued))
        transport.attach(session)
        for topic_filter in transport.filters:
            self.subscribe(session, topic_filter)

    def subscribe(self, session: _Session, topic_filter: str) -> None:
        """Every SUBSCRIBE brings the retained messages again, as MQTT 3.1.1 has it."""
        session.filters[topic_filter] = None
        for topic, payload in self.retained.items():
            if matches(topic_filter, topic):
                session.queued.append(Message(topic, payload, retained=True))
                session.arrived.set()

    def _route(self, topic: str, payload: bytes, *, retain: bool) -> None:
        for passed in [payload] if self.fault is None else self.fault(topic, payload):
            if retain and passed:
                self.retained[topic] = passed
            elif retain:
                self.retained.pop(topic, None)
            for session in self.sessions.values():
                session.deliver(topic, passed)

    def _find(self, pseudonym: str) -> MemoryTransport:
        for transport in self._transports:
            if transport.pseudonym == pseudonym:
                return transport
        raise KeyError(pseudonym)

    def _end(self, transport: MemoryTransport) -> None:
        was_connected = transport.reachable
        transport.attach(None)
        if was_connected and transport.will is not None:
            will = transport.will
            self.publish(will.topic_of(transport.pseudonym), will.payload, retain=True)


class MemoryTransport:
    """A `hushgrid.shell.transport.Transport` of a MemoryBroker. Messages wait in the broker; one at a time is with the reader."""

    def __init__(self, broker: MemoryBroker, pseudonym: str, will: Will | None) -> None:
        self.pseudonym = pseudonym
        self.generation = 0
        self.will = will
        self.filters: dict[str, None] = {}
        self.former: list[str] = []
        self.addresses: dict[str, set[str]] = {}
        self.cut_off = False
        self._entered = False
        self._broker = broker
        self._session: _Session | None = None
        self._changed = asyncio.Event()
        self._room = asyncio.Semaphore(OUTSTANDING_PUBLISHES)

    @property
    def reachable(self) -> bool:
        """Whether the broker has this client on the line."""
        return self._session is not None

    async def __aenter__(self) -> Self:
        self._entered = True
        self._broker.enter(self)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._broker.leave(self)

    def attach(self, session: _Session | None) -> None:
        """For the broker: connected to this session from now on, or to none."""
        before, self._session = self._session, session
        if session is not None:
            self.generation += 1
        if before is not None:
            before.arrived.set()  # a reader that waits there looks again
        self._changed.set()

    async def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Waits for room and for a connection."""
        async with self._room:
            await self._connection()
            self._broker.publish(topic, payload, retain=retain)
            await asyncio.sleep(0)  # an acknowledgement takes a turn of the loop

    async def subscribe(self, *filters: str, address: str | None = None) -> None:
        """At once when connected, and at every reconnection. This broker lets everybody read every inbox: one session does."""
        if address is not None:
            self.addresses.setdefault(address, set()).update(filters)
        for topic_filter in filters:
            if topic_filter not in self.filters:
                self.filters[topic_filter] = None
                if self._session is not None:
                    self._broker.subscribe(self._session, topic_filter)

    async def unsubscribe(self, *filters: str) -> None:
        """At once when connected, and no more at reconnections."""
        for topic_filter in filters:
            self.filters.pop(topic_filter, None)
            if self._session is not None:
                self._session.filters.pop(topic_filter, None)

    async def messages(self) -> AsyncIterator[Message]:
        """What the reader had in hand when the connection ended comes again."""
        while True:
            session = await self._connection()
            if not session.queued:
                session.arrived.clear()
                await session.arrived.wait()
                continue
            generation, message = self.generation, session.queued[0]
            yield message
            if self._session is not None and self.generation == generation:
                session.queued.popleft()

    async def wait_generation(self, after: int) -> int:
        """Return the generation once it is above `after`."""
        while self.generation <= after:
            await self._change()
        return self.generation

    async def rename(self, pseudonym: str) -> None:
        """What waited under the old name is still read."""
        if not self._entered:
            self.pseudonym = pseudonym
        elif pseudonym != self.pseudonym:
            self.former.append(self.pseudonym)
            self.pseudonym = pseudonym
            self._broker.admit(self)
            await self._connection()

    async def leave(self, address: str) -> None:
        """ValueError for the name we go by."""
        if address == self.pseudonym:
            raise ValueError(f"{address} is in use")
        await self.unsubscribe(*self.addresses.pop(address, ()))

    async def renew(self) -> None:
        """A short absence."""
        self._broker.disconnect(self.pseudonym)
        self._broker.reconnect(self.pseudonym)

    async def _connection(self) -> _Session:
        while self._session is None:
            await self._change()
        return self._session

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()
