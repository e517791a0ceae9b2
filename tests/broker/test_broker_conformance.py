"""The promises of a Transport, the same tests on the broker in memory and on every engine a testbed can start.

One broker serves all tests of an engine; every test has names and topics of its own there (`Grid`). A cluster's agents are
spread over its nodes, so that what one node was told is read at another.
"""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TypeVar

import pytest
import pytest_asyncio

from hushgrid.shell.transport import Message, MqttTransport, Transport, Will
from hushgrid.testing.memory_broker import MemoryBroker
from testbed.brokers.broker import RunningBroker, start_broker
from testbed.processes import Supervisor

pytestmark = pytest.mark.asyncio(loop_scope="module")

T = TypeVar("T")
DEADLINE_SECONDS = 120.0
_numbers = itertools.count(1)

#: What the embedded broker does not promise (docs/brokers.md): the tests with `resuming` are not for it.
_ENGINES = [
    "memory",
    "mosquitto",
    "nats",
    pytest.param("nats-cluster", marks=pytest.mark.system),
    pytest.param("rabbitmq", marks=pytest.mark.system),
]
#: What an engine does not do, by engine and test: these tests must fail there (docs/brokers.md).
_KNOWN_FAILURES = {
    ("rabbitmq", name): "RabbitMQ 3.10 gives what is retained to subscriptions without wildcards only"
    for name in (
        "test_a_late_subscriber_gets_what_is_retained_and_marked_so",
        "test_an_empty_retained_message_clears_what_was_retained",
    )
}


class Grid:
    """Transports of one broker, and ways to hurt them. Readers stay open for the length of the test."""

    def __init__(self, broker: RunningBroker | None, stack: AsyncExitStack) -> None:
        self._broker = broker
        self._memory = None if broker else MemoryBroker()
        self.cluster = broker is not None and len(broker.urls) > 1
        self._stack = stack
        self._own = f"test-{next(_numbers)}"
        self._places = itertools.count()
        self._readers: dict[int, AsyncIterator[Message]] = {}

    def make(self, pseudonym: str, will: Will | None = None) -> Transport:
        name = self.name(pseudonym)
        will = Will(self.topic(will.topic_of(name)), will.payload) if will else None
        if self._memory is not None:
            return self._memory.transport(name, will=will)
        assert self._broker is not None
        return self._broker.connection(name, next(self._places), will=will, keepalive_seconds=10)

    def name(self, pseudonym: str) -> str:
        """The pseudonym, this test's own."""
        return f"{self._own}-{pseudonym}"

    def topic(self, name: str) -> str:
        """The topic or filter, this test's own."""
        return f"{self._own}/{name}"

    async def join(self, pseudonym: str, *filters: str, will: Will | None = None) -> Transport:
        transport = await self._stack.enter_async_context(self.make(pseudonym, will))
        await within(transport.wait_generation(0))
        await self.subscribe(transport, *filters)
        return transport

    async def subscribe(self, transport: Transport, *filters: str) -> None:
        names = set(map(self.topic, filters))
        await within(transport.subscribe(*names))
        if isinstance(transport, MqttTransport):  # what a busy cluster refuses is asked again behind the scenes
            async with asyncio.timeout(2 * DEADLINE_SECONDS):
                while not ((there := transport._session.connection) and there.subscribed >= names):  # noqa: ASYNC110
                    await asyncio.sleep(0.01)

    async def publish(self, transport: Transport, topic: str, payload: bytes, *, retain: bool = False) -> None:
        await within(transport.publish(self.topic(topic), payload, retain=retain))

    def cut(self, transport: Transport) -> None:
        """End the connection as a broken line does. MqttTransport comes back by itself; so that both do, memory does too."""
        if self._memory is not None:
            self._memory.disconnect(transport.pseudonym)
            self._memory.reconnect(transport.pseudonym)
            return
        assert isinstance(transport, MqttTransport)
        transport._session.connection._paho.socket().shutdown(socket.SHUT_RDWR)

    async def next(self, transport: Transport) -> Message:
        reader = self._readers.setdefault(id(transport), transport.messages())
        message = await within(anext(reader))
        topic = message.topic.removeprefix(f"{self._own}/").replace(f"{self._own}-", "")
        return Message(topic, message.payload, message.retained)

    async def take(self, transport: Transport, count: int) -> list[bytes]:
        """The next so many different payloads, in the order in which they first came.

        QoS 1 is at least once: NATS says again what is not acknowledged soon enough, as on a busy machine.
        """
        came: dict[bytes, None] = {}
        while len(came) < count:
            came[(await self.next(transport)).payload] = None
        return list(came)

    async def until(self, transport: Transport, wanted: Callable[[Message], bool]) -> Message:
        while not wanted(message := await self.next(transport)):
            pass
        return message


async def within(waiting: Awaitable[T]) -> T:
    return await asyncio.wait_for(waiting, DEADLINE_SECONDS)


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=[*_ENGINES, "embedded"])
async def broker(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[str, RunningBroker | None]]:
    """An engine's name, and its broker; None for those of which every test has its own."""
    if request.param in ("memory", "embedded"):
        yield request.param, None
        return
    request.getfixturevalue("needs_engine")(request.param)
    supervisor = Supervisor()
    try:
        yield request.param, await start_broker(request.param, supervisor, tmp_path_factory.mktemp(request.param))
    finally:
        await supervisor.stop_all()


@pytest_asyncio.fixture(loop_scope="module")
async def grid(
    broker: tuple[str, RunningBroker | None], request: pytest.FixtureRequest, tmp_path: Path
) -> AsyncIterator[Grid]:
    kind, running = broker
    reason = _KNOWN_FAILURES.get((kind, request.node.originalname))
    if reason is not None:
        request.applymarker(pytest.mark.xfail(strict=True, reason=reason, raises=AssertionError))
    async with AsyncExitStack() as stack:
        if kind == "embedded":  # amqtt keeps handing one test's messages to the next one's sessions
            supervisor = Supervisor()
            stack.push_async_callback(supervisor.stop_all)
            running = await start_broker(kind, supervisor, tmp_path)
        yield Grid(running, stack)


resuming = pytest.mark.parametrize("broker", _ENGINES, indirect=True)


async def test_a_message_comes_with_its_exact_bytes_and_not_as_retained(grid: Grid) -> None:
    receiver = await grid.join("ppn-1", "g/share/+/ppn-1")
    sender = await grid.join("meter-1")
    payload = bytes(range(256)) * 40
    await grid.publish(sender, "g/share/meter-1/ppn-1", payload)
    assert await grid.next(receiver) == Message("g/share/meter-1/ppn-1", payload, retained=False)


@pytest.mark.parametrize(
    ("topic_filter", "seen"),
    [("g/+/x", {"g/a/x", "g/b/x"}), ("g/#", {"g", "g/a", "g/a/x", "g/b/x"}), ("g/a", {"g/a"}), ("+", {"g", "h"})],
)
async def test_wildcards_choose_what_comes(grid: Grid, topic_filter: str, seen: set[str]) -> None:
    receiver = await grid.join("receiver", topic_filter, "end")
    sender = await grid.join("sender")
    for topic in ["g", "h", "g/a", "g/a/x", "g/b/x", "h/a/x", "end"]:
        await grid.publish(sender, topic, topic.encode())
    came: set[str] = set()
    while not came >= seen | {"end"}:  # in a cluster nothing orders messages of different subscriptions
        came.add((await grid.next(receiver)).topic)
    assert came - {"end"} == seen


async def test_publishes_of_one_sender_come_in_order(grid: Grid) -> None:
    receiver = await grid.join("receiver", "t")
    sender = await grid.join("sender")
    sent = [str(number).encode() for number in range(300)]
    for payload in sent:
        await grid.publish(sender, "t", payload)
    assert await grid.take(receiver, 300) == sent


async def test_many_publishes_at_once_all_come(grid: Grid) -> None:
    receiver = await grid.join("receiver", "t/#")
    sender = await grid.join("sender")
    sent = [str(number).encode() for number in range(1500)]
    publishing = asyncio.gather(
        *(grid.publish(sender, f"t/{number % 7}", payload) for number, payload in enumerate(sent))
    )
    assert sorted(await grid.take(receiver, 1500)) == sorted(sent)
    await within(publishing)


async def test_a_late_subscriber_gets_what_is_retained_and_marked_so(grid: Grid) -> None:
    sender = await grid.join("sender")
    await grid.publish(sender, "g/head/a", b"old", retain=True)
    await grid.publish(sender, "g/head/a", b"new", retain=True)
    receiver = await grid.join("receiver", "g/head/+", "end")
    await grid.publish(sender, "end", b"")
    assert await grid.next(receiver) == Message("g/head/a", b"new", retained=True)


async def test_an_empty_retained_message_clears_what_was_retained(grid: Grid) -> None:
    sender = await grid.join("sender")
    await grid.publish(sender, "g/head/a", b"old", retain=True)
    await grid.publish(sender, "g/head/a", b"", retain=True)
    await grid.publish(sender, "g/head/b", b"kept", retain=True)
    receiver = await grid.join("receiver", "g/head/+", "end")
    await grid.publish(sender, "end", b"")
    assert (await grid.next(receiver)).topic == "g/head/b"


async def test_nothing_comes_after_unsubscribing(grid: Grid) -> None:
    receiver = await grid.join("receiver", "a", "b")
    sender = await grid.join("sender")
    await grid.publish(sender, "a", b"1")
    assert (await grid.next(receiver)).payload == b"1"
    await receiver.unsubscribe(grid.topic("a"))
    for number in range(50):
        end = f"end {number}".encode()
        await grid.publish(sender, "a", b"2")
        await grid.publish(sender, "b", end)
        came = set()
        while (payload := (await grid.next(receiver)).payload) != end:
            came.add(payload)
        if not grid.cluster or b"2" not in came:  # a cluster's other nodes hear of it a little later
            break
    assert b"2" not in came


async def test_the_will_is_said_when_the_line_breaks(grid: Grid) -> None:
    watcher = await grid.join("watcher", "g/status/+")
    meter = await grid.join("meter-1", will=Will("g/status/meter-1", b"offline"))
    grid.cut(meter)
    message = await grid.next(watcher)
    assert (message.topic, message.payload) == ("g/status/meter-1", b"offline")


async def test_no_will_is_said_when_leaving_in_order(grid: Grid) -> None:
    watcher = await grid.join("watcher", "g/status/+")
    async with grid.make("meter-1", Will("g/status/meter-1", b"offline")) as meter:
        await grid.publish(meter, "g/status/meter-1", b"online")
    await grid.publish(watcher, "g/status/end", b"end")
    assert await grid.take(watcher, 2) == [b"online", b"end"]


async def test_a_broken_line_is_mended_and_the_generation_rises(grid: Grid) -> None:
    receiver = await grid.join("receiver", "t")
    sender = await grid.join("sender")
    generation = receiver.generation
    grid.cut(receiver)
    assert await within(receiver.wait_generation(generation)) == generation + 1
    await grid.publish(sender, "t", b"after")
    assert (await grid.until(receiver, lambda message: message.payload == b"after")).topic == "t"


@resuming
async def test_publishes_under_way_when_the_line_breaks_all_come(grid: Grid) -> None:
    receiver = await grid.join("receiver", "t")
    sender = await grid.join("sender")
    wanted = {str(number).encode() for number in range(1200)}
    publishing = asyncio.gather(*(grid.publish(sender, "t", payload) for payload in wanted))
    came = {(await grid.next(receiver)).payload}
    grid.cut(sender)
    while came != wanted:
        came.add((await grid.next(receiver)).payload)
    await within(publishing)


@resuming
async def test_an_absent_subscriber_gets_everything_when_it_is_back(grid: Grid) -> None:
    sender = await grid.join("sender")
    async with grid.make("receiver") as receiver:
        await within(receiver.wait_generation(0))
        await grid.subscribe(receiver, "t")
    wanted = [str(number).encode() for number in range(1500)]
    await within(asyncio.gather(*(grid.publish(sender, "t", payload) for payload in wanted)))
    back = await grid.join("receiver", "t")
    assert sorted(await grid.take(back, 1500)) == sorted(wanted)


@resuming
async def test_what_the_reader_had_in_hand_when_it_died_comes_again(grid: Grid) -> None:
    sender = await grid.join("sender")
    async with grid.make("receiver") as receiver:
        await within(receiver.wait_generation(0))
        await grid.subscribe(receiver, "t")
        await grid.publish(sender, "t", b"1")
        await grid.publish(sender, "t", b"2")
        reader = receiver.messages()
        assert (await within(anext(reader))).payload == b"1"
        assert (await within(anext(reader))).payload == b"2"  # 1 is dealt with, 2 is in hand
    back = await grid.join("receiver", "t")
    assert (await grid.next(back)).payload == b"2"


async def test_a_renamed_agent_keeps_its_subscriptions_and_its_will_follows(grid: Grid) -> None:
    watcher = await grid.join("watcher", "g/status/+")
    meter = await grid.join("old-name", "g/inbox", will=Will("g/status/old-name", b"offline"))
    generation = meter.generation
    await within(meter.rename(grid.name("new-name")))
    assert meter.pseudonym == grid.name("new-name")
    assert meter.generation > generation
    await grid.publish(watcher, "g/inbox", b"hello")
    assert (await grid.next(meter)).payload == b"hello"
    await grid.publish(meter, "g/status/new-name", b"online")
    grid.cut(meter)
    seen = [(message.topic, message.payload) for message in [await grid.next(watcher), await grid.next(watcher)]]
    assert seen == [("g/status/new-name", b"online"), ("g/status/new-name", b"offline")]


@resuming
async def test_nothing_sent_around_a_rename_is_missed(grid: Grid) -> None:
    receiver = await grid.join("old-name", "t")
    sender = await grid.join("sender")
    wanted = {str(number).encode() for number in range(2000)}
    publishing = asyncio.gather(*(grid.publish(sender, "t", payload) for payload in wanted))
    came = {(await grid.next(receiver)).payload}
    renaming = asyncio.create_task(receiver.rename(grid.name("new-name")))
    while came != wanted:
        came.add((await grid.next(receiver)).payload)
    await within(renaming)
    await within(publishing)


async def test_a_reader_that_publishes_for_every_message_gets_through_a_flood(grid: Grid) -> None:
    answering = await grid.join("answering", "question")
    asking = await grid.join("asking", "answer")
    publishing = asyncio.gather(*(grid.publish(asking, "question", str(number).encode()) for number in range(1000)))

    async def answer() -> None:
        async for message in answering.messages():
            await answering.publish(grid.topic("answer"), message.payload)

    answers = asyncio.create_task(answer())
    came: set[bytes] = set()
    while len(came) < 1000:
        came.add((await grid.next(asking)).payload)
    await within(publishing)
    answers.cancel()
