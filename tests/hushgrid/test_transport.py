"""The MQTT transport against the real Mosquitto: reconnection, back-pressure, another name."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import aiomqtt
import pytest

from hushgrid.errors import ConfigurationError
from hushgrid.transport import BrokerAddress, MqttTransport, TlsFiles, Will
from testbed.broker import free_port, start_broker
from testbed.processes import Supervisor


@contextlib.asynccontextmanager
async def broker(directory: Path, port: int) -> AsyncIterator[tuple[Supervisor, str]]:
    supervisor = Supervisor()
    try:
        running = await start_broker("mosquitto", supervisor, directory, port)
        supervisor.children[0].restarts = 5
        yield supervisor, running.url
    finally:
        await supervisor.stop_all()


async def take(transport: MqttTransport, count: int, seconds: float = 30) -> list[bytes]:
    found: list[bytes] = []
    async with asyncio.timeout(seconds):
        async for message in transport.messages():
            found.append(message.payload)
            if len(found) >= count:
                return found
    return found


@pytest.mark.usefixtures("mosquitto")
async def test_what_is_published_arrives_in_order(tmp_path):
    async with broker(tmp_path, free_port()) as (_, url), MqttTransport(url, "a") as a, MqttTransport(url, "b") as b:
        await b.subscribe("t/+")
        await b.connected(10)
        await a.publish("t/first", b"ready")
        assert await take(b, 1) == [b"ready"]
        payloads = [str(n).encode() for n in range(2000)]
        await asyncio.gather(*(a.publish("t/x", payload) for payload in payloads))
        assert await take(b, 2000) == payloads


@pytest.mark.usefixtures("mosquitto")
async def test_a_killed_broker_delays_publishes_and_loses_no_publisher(tmp_path):
    async with (
        broker(tmp_path, free_port()) as (supervisor, url),
        MqttTransport(url, "a") as a,
        MqttTransport(url, "b") as b,
    ):
        await b.subscribe("t/x")
        await b.connected(10)
        await a.publish("t/x", b"before")
        assert await take(b, 1) == [b"before"]
        before = b.generation
        supervisor.kill("broker", signal.SIGKILL)
        late = asyncio.create_task(a.publish("t/x", b"during"))
        async with asyncio.timeout(30):
            await b._connection(before)
            await late
        # What the broker had acknowledged and forgot is for the layer above, which repeats what has no receipt.
        await a.publish("t/x", b"after")
        async with asyncio.timeout(30):
            async for message in b.messages():
                if message.payload == b"after":
                    break


@pytest.mark.usefixtures("mosquitto")
async def test_a_reader_that_falls_behind_holds_the_broker_back_and_loses_nothing(tmp_path):
    async with broker(tmp_path, free_port()) as (_, url), MqttTransport(url, "reader") as reader:
        await reader.subscribe("flood")
        await reader.connected(10)
        address = BrokerAddress.parse(url)
        count = 12_000
        async with aiomqtt.Client(
            address.host, address.port, identifier="flooder", max_inflight_messages=500
        ) as flooder:
            flooder.pending_calls_threshold = count
            flooding = asyncio.gather(
                *(flooder.publish("flood", n.to_bytes(4, "big"), qos=1, timeout=60) for n in range(count))
            )
            async with asyncio.timeout(60):
                await flooding
            held = reader._incoming.qsize() + reader._queue.qsize()
            assert held < 6000, held  # the rest waits at the broker
            found = await take(reader, count, 60)
        assert [int.from_bytes(payload, "big") for payload in found] == list(range(count))


@pytest.mark.usefixtures("mosquitto")
async def test_another_name_keeps_the_subscriptions(tmp_path):
    async with (
        broker(tmp_path, free_port()) as (_, url),
        MqttTransport(url, "old", will=Will("s/old", b"offline")) as moving,
    ):
        await moving.subscribe("t/x", "s/+")
        await moving.connected(10)
        await moving.rename("new")
        assert moving.pseudonym == "new"
        await moving.publish("t/x", b"here")
        assert await take(moving, 1) == [b"here"]


async def test_a_broker_that_is_not_there_is_named():
    port = free_port()
    async with MqttTransport(f"mqtt://127.0.0.1:{port}", "a") as transport:
        with pytest.raises(ConfigurationError, match=f"no broker answers at mqtt://127.0.0.1:{port}"):
            await transport.connected(1)


@pytest.mark.parametrize("url", ["http://x", "mqtt://", "mqtt://h:0", "mqtt://h:port", "mqtt://h/path", "localhost"])
def test_a_bad_url_is_refused(url):
    with pytest.raises(ConfigurationError, match="expected mqtt://"):
        BrokerAddress.parse(url)


def test_tls_files_that_cannot_be_read_are_named(tmp_path):
    with pytest.raises(ConfigurationError, match="TLS files"):
        TlsFiles(tmp_path / "missing.pem", None, None).context()
