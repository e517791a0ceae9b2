"""The promises of a Transport, the same tests on the broker in memory, on Mosquitto and, where it can, on the embedded one."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TypeVar

import pytest

from hushgrid.testing import MemoryBroker
from hushgrid.transport import Message, MqttTransport, Transport, Will
from testbed.broker import start_broker
from testbed.processes import Supervisor

T = TypeVar("T")
DEADLINE_SECONDS = 20.0


class Grid:
    """Transports of one broker, and ways to hurt them. Readers stay open for the length of the test."""

    def __init__(self, kind: str, memory: MemoryBroker | None, url: str, stack: AsyncExitStack) -> None:
        self.kind = kind
        self._memory = memory
        self._url = url
        self._stack = stack
        self._readers: dict[int, AsyncIterator[Message]] = {}

    def make(self, pseudonym: str, will: Will | None = None) -> Transport:
        if self._memory is not None:
            return self._memory.transport(pseudonym, will=will)
        return MqttTransport(self._url, pseudonym, will=will, keepalive_seconds=10)

    async def join(self, pseudonym: str, *filters: str, will: Will | None = None) -> Transport:
        transport = await self._stack.enter_async_context(self.make(pseudonym, will))
        await within(transport.wait_generation(0))
        await transport.subscribe(*filters)
        return transport

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
        return await within(anext(reader))

    async def take(self, transport: Transport, count: int) -> list[bytes]:
        return [(await self.next(transport)).payload for _ in range(count)]

    async def until(self, transport: Transport, wanted: Callable[[Message], bool]) -> Message:
        while not wanted(message := await self.next(transport)):
            pass
        return message


async def within(waiting: Awaitable[T]) -> T:
    return await asyncio.wait_for(waiting, DEADLINE_SECONDS)


@pytest.fixture(params=["memory", "mosquitto", "embedded"])
async def grid(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Grid]:
    async with AsyncExitStack() as stack:
        if request.param == "memory":
            yield Grid("memory", MemoryBroker(), "", stack)
            return
        if request.param == "mosquitto":
            request.getfixturevalue("mosquitto")
        supervisor = Supervisor()
        stack.push_async_callback(supervisor.stop_all)
        broker = await start_broker(request.param, supervisor, tmp_path)
        yield Grid(request.param, None, broker.url, stack)


@pytest.fixture
def resuming(grid: Grid) -> Grid:
    if grid.kind == "embedded":
        pytest.skip("the embedded broker resumes nothing: for demonstrations")
    return grid


async def test_a_message_comes_with_its_exact_bytes_and_not_as_retained(grid: Grid) -> None:
    receiver = await grid.join("ppn-1", "g/share/+/ppn-1")
    sender = await grid.join("meter-1")
    payload = bytes(range(256)) * 40
    await within(sender.publish("g/share/meter-1/ppn-1", payload))
    assert await grid.next(receiver) == Message("g/share/meter-1/ppn-1", payload, retained=False)


@pytest.mark.parametrize(
    ("topic_filter", "seen"),
    [("g/+/x", {"g/a/x", "g/b/x"}), ("g/#", {"g", "g/a", "g/a/x", "g/b/x"}), ("g/a", {"g/a"}), ("+", {"g", "h"})],
)
async def test_wildcards_choose_what_comes(grid: Grid, topic_filter: str, seen: set[str]) -> None:
    receiver = await grid.join("receiver", topic_filter, "end")
    sender = await grid.join("sender")
    for topic in ["g", "h", "g/a", "g/a/x", "g/b/x", "h/a/x", "end"]:
        await within(sender.publish(topic, topic.encode()))
    came: set[str] = set()
    while (message := await grid.next(receiver)).topic != "end":
        came.add(message.topic)
    assert came - {"end"} == seen


async def test_publishes_of_one_sender_come_in_order(grid: Grid) -> None:
    receiver = await grid.join("receiver", "t")
    sender = await grid.join("sender")
    sent = [str(number).encode() for number in range(300)]
    for payload in sent:
        await within(sender.publish("t", payload))
    assert await grid.take(receiver, 300) == sent


async def test_many_publishes_at_once_all_come(grid: Grid) -> None:
    receiver = await grid.join("receiver", "t/#")
    sender = await grid.join("sender")
    sent = [str(number).encode() for number in range(1500)]
    publishing = asyncio.gather(*(sender.publish(f"t/{number % 7}", payload) for number, payload in enumerate(sent)))
    assert sorted(await grid.take(receiver, 1500)) == sorted(sent)
    await within(publishing)


async def test_a_late_subscriber_gets_what_is_retained_and_marked_so(grid: Grid) -> None:
    sender = await grid.join("sender")
    await within(sender.publish("g/head/a", b"old", retain=True))
    await within(sender.publish("g/head/a", b"new", retain=True))
    receiver = await grid.join("receiver", "g/head/+")
    assert await grid.next(receiver) == Message("g/head/a", b"new", retained=True)


async def test_an_empty_retained_message_clears_what_was_retained(grid: Grid) -> None:
    sender = await grid.join("sender")
    await within(sender.publish("g/head/a", b"old", retain=True))
    await within(sender.publish("g/head/a", b"", retain=True))
    await within(sender.publish("g/head/b", b"kept", retain=True))
    receiver = await grid.join("receiver", "g/head/+")
    assert (await grid.next(receiver)).topic == "g/head/b"


async def test_nothing_comes_after_unsubscribing(grid: Grid) -> None:
    receiver = await grid.join("receiver", "a", "b")
    sender = await grid.join("sender")
    await within(sender.publish("a", b"1"))
    assert (await grid.next(receiver)).payload == b"1"
    await receiver.unsubscribe("a")
    await within(sender.publish("a", b"2"))
    await within(sender.publish("b", b"3"))
    assert (await grid.next(receiver)).payload == b"3"


async def test_the_will_is_said_when_the_line_breaks(grid: Grid) -> None:
    watcher = await grid.join("watcher", "g/status/+")
    meter = await grid.join("meter-1", will=Will("g/status/meter-1", b"offline"))
    grid.cut(meter)
    message = await grid.next(watcher)
    assert (message.topic, message.payload) == ("g/status/meter-1", b"offline")


async def test_no_will_is_said_when_leaving_in_order(grid: Grid) -> None:
    watcher = await grid.join("watcher", "g/status/+")
    async with grid.make("meter-1", Will("g/status/meter-1", b"offline")) as meter:
        await within(meter.publish("g/status/meter-1", b"online"))
    await within(watcher.publish("g/status/end", b"end"))
    assert await grid.take(watcher, 2) == [b"online", b"end"]


async def test_a_broken_line_is_mended_and_the_generation_rises(grid: Grid) -> None:
    receiver = await grid.join("receiver", "t")
    sender = await grid.join("sender")
    generation = receiver.generation
    grid.cut(receiver)
    assert await within(receiver.wait_generation(generation)) == generation + 1
    await within(sender.publish("t", b"after"))
    assert (await grid.until(receiver, lambda message: message.payload == b"after")).topic == "t"


async def test_publishes_under_way_when_the_line_breaks_all_come(resuming: Grid) -> None:
    receiver = await resuming.join("receiver", "t")
    sender = await resuming.join("sender")
    wanted = {str(number).encode() for number in range(1200)}
    publishing = asyncio.gather(*(sender.publish("t", payload) for payload in wanted))
    came = {(await resuming.next(receiver)).payload}
    resuming.cut(sender)
    while came != wanted:
        came.add((await resuming.next(receiver)).payload)
    await within(publishing)


async def test_an_absent_subscriber_gets_everything_when_it_is_back(resuming: Grid) -> None:
    sender = await resuming.join("sender")
    async with resuming.make("receiver") as receiver:
        await within(receiver.wait_generation(0))
        await receiver.subscribe("t")
    wanted = [str(number).encode() for number in range(1500)]
    await within(asyncio.gather(*(sender.publish("t", payload) for payload in wanted)))
    back = await resuming.join("receiver", "t")
    assert sorted(await resuming.take(back, 1500)) == sorted(wanted)


async def test_what_the_reader_had_in_hand_when_it_died_comes_again(resuming: Grid) -> None:
    sender = await resuming.join("sender")
    async with resuming.make("receiver") as receiver:
        await within(receiver.wait_generation(0))
        await receiver.subscribe("t")
        await within(sender.publish("t", b"1"))
        await within(sender.publish("t", b"2"))
        reader = receiver.messages()
        assert (await within(anext(reader))).payload == b"1"
        assert (await within(anext(reader))).payload == b"2"  # 1 is dealt with, 2 is in hand
    back = await resuming.join("receiver", "t")
    assert (await resuming.next(back)).payload == b"2"


async def test_a_renamed_agent_keeps_its_subscriptions_and_its_will_follows(grid: Grid) -> None:
    watcher = await grid.join("watcher", "g/status/+")
    meter = await grid.join("old-name", "g/inbox", will=Will("g/status/old-name", b"offline"))
    generation = meter.generation
    await within(meter.rename("new-name"))
    assert meter.pseudonym == "new-name"
    assert meter.generation > generation
    await within(watcher.publish("g/inbox", b"hello"))
    assert (await grid.next(meter)).payload == b"hello"
    await within(meter.publish("g/status/new-name", b"online"))
    grid.cut(meter)
    seen = [(message.topic, message.payload) for message in [await grid.next(watcher), await grid.next(watcher)]]
    assert seen == [("g/status/new-name", b"online"), ("g/status/new-name", b"offline")]


async def test_nothing_sent_around_a_rename_is_missed(resuming: Grid) -> None:
    receiver = await resuming.join("old-name", "t")
    sender = await resuming.join("sender")
    wanted = {str(number).encode() for number in range(2000)}
    publishing = asyncio.gather(*(sender.publish("t", payload) for payload in wanted))
    came = {(await resuming.next(receiver)).payload}
    renaming = asyncio.create_task(receiver.rename("new-name"))
    while came != wanted:
        came.add((await resuming.next(receiver)).payload)
    await within(renaming)
    await within(publishing)


async def test_a_reader_that_publishes_for_every_message_gets_through_a_flood(grid: Grid) -> None:
    answering = await grid.join("answering", "question")
    asking = await grid.join("asking", "answer")
    publishing = asyncio.gather(*(asking.publish("question", str(number).encode()) for number in range(1000)))

    async def answer() -> None:
        async for message in answering.messages():
            await answering.publish("answer", message.payload)

    answers = asyncio.create_task(answer())
    came: set[bytes] = set()
    while len(came) < 1000:
        came.add((await grid.next(asking)).payload)
    await within(publishing)
    answers.cancel()
