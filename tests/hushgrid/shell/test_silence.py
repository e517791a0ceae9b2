"""A broker that forgets a subscription or an acknowledgement: nobody waits for ever."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import pytest

from hushgrid.shell.transport import BrokerAddress, MqttTransport, connection
from hushgrid.shell.transport.silence import Subscriptions
from testbed.brokers.broker import start_broker
from testbed.processes import Supervisor

PUBLISH, PUBACK, SUBSCRIBE, UNSUBSCRIBE = 3, 4, 8, 10
T = TypeVar("T")


class Forgetful:
    """Between an agent and a broker: hands on all packets but those that `drops` names, from the broker."""

    def __init__(self, host: str, port: int) -> None:
        self.host, self.port = host, port
        self.drops: Callable[[int, bytes], bool] = lambda _kind, _body: False
        self.asked: list[int] = []
        self.connections = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        broker_reader, broker_writer = await asyncio.open_connection(self.host, self.port)

        def hear(kind: int, _body: bytes) -> bool:
            self.asked.append(kind)
            return False

        ways = (self._hand_on(reader, broker_writer, hear), self._hand_on(broker_reader, writer, self._dropped))
        self._tasks |= {asyncio.create_task(way) for way in ways}

    def _dropped(self, kind: int, body: bytes) -> bool:
        return self.drops(kind, body)

    async def _hand_on(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, dropped: Callable[[int, bytes], bool]
    ) -> None:
        try:
            while True:
                head = await reader.readexactly(1)
                length, shift, wire = 0, 0, head
                while True:
                    byte = await reader.readexactly(1)
                    wire += byte
                    length |= (byte[0] & 0x7F) << shift
                    shift += 7
                    if byte[0] < 0x80:
                        break
                body = await reader.readexactly(length)
                if not dropped(head[0] >> 4, body):
                    writer.write(wire + body)
                    await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()


@pytest.fixture
async def between(mosquitto: str, tmp_path: Path) -> AsyncIterator[tuple[Forgetful, str, str]]:  # noqa: ARG001
    """The one between, its address, and the broker's own."""
    supervisor = Supervisor()
    broker = await start_broker("mosquitto", supervisor, tmp_path)
    address = BrokerAddress.parse(broker.url)
    one = Forgetful(address.host, address.port)
    server = await asyncio.start_server(one.accept, "127.0.0.1", 0)
    yield one, f"mqtt://127.0.0.1:{server.sockets[0].getsockname()[1]}", broker.url
    server.close()
    await supervisor.stop_all()


async def within(waiting: Awaitable[T]) -> T:
    return await asyncio.wait_for(waiting, 60.0)


async def test_a_subscription_that_the_broker_forgot_is_made_anew(between: tuple[Forgetful, str, str]) -> None:
    one, url, direct = between
    async with MqttTransport(url, "r", silence_seconds=1.0) as receiver, MqttTransport(direct, "s") as sender:
        await receiver.subscribe("t/r/+", address="r")
        await receiver.connected(30)
        reader = receiver.messages()
        await within(sender.publish("t/r/s", b"1"))
        assert (await within(anext(reader))).payload == b"1"
        one.drops = lambda kind, body: kind == PUBLISH and b"forgotten" in body
        begun = one.asked.count(SUBSCRIBE)
        await within(sender.publish("t/r/s", b"forgotten"))
        while one.asked.count(SUBSCRIBE) == begun:  # noqa: ASYNC110 - a broker's side tells nobody
            await asyncio.sleep(0.05)
        assert one.asked.count(UNSUBSCRIBE) >= 1
        await within(sender.publish("t/r/s", b"2"))
        assert (await within(anext(reader))).payload == b"2"
        assert one.connections == 1


async def test_a_broker_that_acknowledges_nothing_is_left_for_another_connection(
    between: tuple[Forgetful, str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "_ACKNOWLEDGE_SECONDS", 1.0)
    one, url, _ = between
    one.drops = lambda kind, _body: kind == PUBACK and one.connections == 1
    async with MqttTransport(url, "s") as sender:
        await within(sender.publish("t", b"1"))
        assert one.connections == 2


def test_what_brings_nothing_is_made_anew_ever_more_seldom_and_what_brings_something_is_not() -> None:
    subscriptions = Subscriptions(10)
    subscriptions.made(["a/x/+", "a/y/+"], 0)
    both = ["a/x/+", "a/y/+"]
    assert subscriptions.silent(both, 9.9) == []
    assert subscriptions.seconds_to_next(4) == 6
    subscriptions.heard("a/y/someone", 9)
    assert subscriptions.silent(both, 10) == ["a/x/+"]
    assert subscriptions.silent(["a/y/+"], 10) == []
    subscriptions.made(["a/x/+"], 10)
    assert subscriptions.silent(["a/x/+"], 49.9) == []
    assert subscriptions.silent(["a/x/+"], 50) == ["a/x/+"]
    for again in (50, 210, 370):
        subscriptions.made(["a/x/+"], again)
    assert subscriptions.silent(["a/x/+"], 529.9) == []  # 16 times as long at most
    assert subscriptions.silent(["a/x/+"], 530) == ["a/x/+"]
    subscriptions.heard("a/x/someone", 531)
    assert subscriptions.silent(["a/x/+"], 541) == ["a/x/+"]  # it had worked: as at first
    subscriptions.ended(both)
    assert list(subscriptions) == subscriptions.silent(both, 999) == []


def test_a_message_counts_for_every_filter_of_another_form() -> None:
    subscriptions = Subscriptions(10)
    subscriptions.made(["a/#", "a/x/+"], 0)
    subscriptions.heard("a/b/c", 8)
    assert subscriptions.silent(["a/#", "a/x/+"], 10) == ["a/x/+"]
