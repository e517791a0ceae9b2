"""MqttTransport where only a real broker shows it: broker crashes, floods, refusals, TLS. Common promises: tests/broker."""

from __future__ import annotations

import asyncio
import datetime as dt
import gc
import ipaddress
import logging
import re
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import aiomqtt
import psutil
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from hushgrid.errors import ConfigurationError
from hushgrid.shell.transport import INCOMING_HIGH, BrokerAddress, MqttTransport, TlsFiles, Will, connection
from testbed.processes import Child, Supervisor

T = TypeVar("T")
DEADLINE_SECONDS = 120.0
OPEN = "allow_anonymous true\n"


async def within(waiting: Awaitable[T]) -> T:
    return await asyncio.wait_for(waiting, DEADLINE_SECONDS)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not condition():  # noqa: ASYNC110 - brokers and processes tell nobody when they are ready
            await asyncio.sleep(0.01)


class Broker:
    """A Mosquitto whose configuration is the test's, on one port through kills and restarts."""

    def __init__(self, program: str, directory: Path, supervisor: Supervisor, configuration: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self.url = f"mqtt://127.0.0.1:{self.port}"
        self._program = program
        self._supervisor = supervisor
        self._directory = directory
        self._file = directory / "mosquitto.conf"
        text = f"listener {self.port} 127.0.0.1\nuser root\npersistence false\nmax_queued_messages 0\n{configuration}"
        self._file.write_text(text, encoding="utf-8")
        self.child: Child | None = None

    async def start(self) -> None:
        command = [self._program, "-c", str(self._file)]
        self.child = await self._supervisor.start("broker", "broker", command, self._directory / "log", restarts=0)
        process = psutil.Process(self.child.pid)
        await until(lambda: any(c.status == psutil.CONN_LISTEN for c in process.net_connections("tcp")))

    async def kill(self) -> None:
        assert self.child is not None
        psutil.Process(self.child.pid).kill()
        await until(lambda: not self.child.running)
        self._supervisor.children.remove(self.child)


Start = Callable[[str], Awaitable[Broker]]


@pytest.fixture
async def start(mosquitto: str, tmp_path: Path) -> AsyncIterator[Start]:
    supervisor = Supervisor()

    async def begin(configuration: str) -> Broker:
        broker = Broker(mosquitto, tmp_path, supervisor, configuration)
        await broker.start()
        return broker

    yield begin
    await supervisor.stop_all()


async def collect(transport: MqttTransport, wanted: set[bytes]) -> None:
    left = set(wanted)
    async for message in transport.messages():
        left.discard(message.payload)
        if not left:
            return


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("mqtt://10.0.0.1:1884", BrokerAddress("10.0.0.1", 1884, secure=False)),
        ("mqtts://broker.example", BrokerAddress("broker.example", 8883, secure=True)),
        ("mqtt://[::1]/", BrokerAddress("::1", 1883, secure=False)),
    ],
)
def test_a_broker_url_is_read(url: str, address: BrokerAddress) -> None:
    assert BrokerAddress.parse(url) == address


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost",
        "http://h:1",
        "mqtt://",
        "mqtt://h:0",
        "mqtt://h:99999",
        "mqtt://h:x",
        "mqtt://h/path",
        "mqtt://u:p@h",
    ],
)
def test_another_broker_url_is_a_configuration_error(url: str) -> None:
    with pytest.raises(ConfigurationError, match="expected mqtt://host:port"):
        BrokerAddress.parse(url)


async def test_publishes_made_at_once_arrive_in_the_order_they_were_made(start: Start) -> None:
    broker = await start(OPEN)
    async with MqttTransport(broker.url, "r") as receiver, MqttTransport(broker.url, "s") as sender:
        await receiver.connected(10)
        await receiver.subscribe("t")
        payloads = [str(number).encode() for number in range(2000)]
        await within(asyncio.gather(*(sender.publish("t", payload) for payload in payloads)))
        reader = receiver.messages()
        assert [(await within(anext(reader))).payload for _ in payloads] == payloads


async def test_publishes_go_on_after_kill_9_of_the_broker_and_all_arrive(start: Start) -> None:
    broker = await start(OPEN)
    wanted = {str(number).encode() for number in range(1500)}
    async with MqttTransport(broker.url, "r") as receiver, MqttTransport(broker.url, "s") as sender:
        await receiver.connected(10)
        await receiver.subscribe("t")
        received: set[bytes] = set()

        async def receive() -> None:
            async for message in receiver.messages():
                received.add(message.payload)

        reading = asyncio.create_task(receive())
        first = asyncio.gather(*(sender.publish("t", payload) for payload in sorted(wanted)[:800]))
        await until(lambda: len(received) > 50)
        generations = receiver.generation, sender.generation
        await broker.kill()
        waiting = asyncio.gather(*(sender.publish("t", payload) for payload in sorted(wanted)[800:]))
        await broker.start()
        await within(receiver.wait_generation(generations[0]))
        await within(sender.wait_generation(generations[1]))
        await within(first)
        await within(waiting)
        # What the dead broker had acknowledged is lost with it: services send again what has no receipt.
        await within(asyncio.gather(*(sender.publish("t", payload) for payload in wanted - received)))
        await until(lambda: received == wanted)
        reading.cancel()


async def test_while_the_broker_is_away_nothing_spins(start: Start) -> None:
    broker = await start(OPEN)
    async with MqttTransport(broker.url, "s") as sender:
        await sender.connected(10)
        await broker.kill()
        publishing = [asyncio.create_task(sender.publish("t", b"1")) for _ in range(600)]
        await asyncio.sleep(0.1)  # all of them have begun to wait
        gc.collect()
        process = psutil.Process()
        before = process.cpu_times()
        await asyncio.sleep(1.0)  # the length of the measurement, not a synchronisation
        used_seconds = process.cpu_times().user - before.user
        assert used_seconds < 0.5
        await broker.start()
        await within(asyncio.gather(*publishing))


@pytest.mark.system
async def test_a_slow_reader_holds_a_flood_back_and_gets_all_of_it(start: Start) -> None:
    broker = await start(OPEN + "max_inflight_messages 200\n")
    payloads = [number.to_bytes(4, "big") * 500 for number in range(20_000)]  # 40 MB
    async with MqttTransport(broker.url, "r") as receiver, MqttTransport(broker.url, "s") as sender:
        await receiver.connected(10)
        await receiver.subscribe("t")
        reader = receiver.messages()
        left, most = set(payloads), 0
        for begin in range(0, 20_000, 1000):
            await within(asyncio.gather(*(sender.publish("t", payload) for payload in payloads[begin : begin + 1000])))
            left.discard((await within(anext(reader))).payload)
            most = max(most, receiver._incoming.qsize())
        while left:
            left.discard((await within(anext(reader))).payload)
            most = max(most, receiver._incoming.qsize())
        assert 0 < most <= INCOMING_HIGH + 1


async def test_a_reader_that_publishes_cannot_be_flooded_either(start: Start) -> None:
    broker = await start(OPEN + "max_inflight_messages 200\n")
    payloads = [number.to_bytes(4, "big") * 50 for number in range(4_000)]
    async with MqttTransport(broker.url, "r") as receiver, MqttTransport(broker.url, "s") as sender:
        await receiver.connected(10)
        await receiver.subscribe("t")
        await within(asyncio.gather(*(sender.publish("t", payload) for payload in payloads)))
        reader = receiver.messages()
        left, most = set(payloads), 0
        while left:
            left.discard((await within(anext(reader))).payload)
            await within(receiver.publish("receipt", b"1"))
            most = max(most, receiver._incoming.qsize())
        assert most <= INCOMING_HIGH
        await until(lambda: not receiver._session.connection._owed)


async def test_a_broker_without_a_window_is_held_back_by_not_reading(start: Start) -> None:
    broker = await start(OPEN + "max_inflight_messages 0\n")
    payloads = [number.to_bytes(4, "big") * 200 for number in range(15_000)]
    async with MqttTransport(broker.url, "r") as receiver, MqttTransport(broker.url, "s") as sender:
        await receiver.connected(10)
        await receiver.subscribe("t")
        reader = receiver.messages()
        first = asyncio.gather(*(sender.publish("t", payload) for payload in payloads[:100]))
        left = set(payloads)
        left.discard((await within(anext(reader))).payload)
        await within(first)
        for begin in range(100, 15_000, 1000):
            await within(asyncio.gather(*(sender.publish("t", payload) for payload in payloads[begin : begin + 1000])))
        await until(lambda: receiver._session.connection._paused)
        assert receiver._incoming.qsize() <= INCOMING_HIGH + 1
        await within(receiver.publish("other", b"1"))  # its acknowledgement is behind all that, and comes
        while left:
            left.discard((await within(anext(reader))).payload)


async def test_messages_at_qos_0_cannot_fill_the_memory(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    broker = await start(OPEN)
    async with MqttTransport(broker.url, "r") as receiver, MqttTransport(broker.url, "s") as sender:
        await receiver.connected(10)
        await sender.connected(10)
        await receiver.subscribe("t")
        for number in range(8000):
            sender._session.connection._paho.publish("t", str(number).encode(), qos=0)
            if number % 100 == 0:
                await asyncio.sleep(0)
        await until(lambda: receiver._incoming.qsize() >= INCOMING_HIGH)
        await within(sender.publish("t", b"end"))
        reader = receiver.messages()
        while (await within(anext(reader))).payload != b"end":
            assert receiver._incoming.qsize() <= INCOMING_HIGH + 1
    assert "QoS 0" in caplog.text


async def test_a_renamed_agent_leaves_nothing_at_the_broker_under_its_old_name(start: Start) -> None:
    broker = await start(OPEN + "log_type all\nlog_dest stderr\n")
    async with MqttTransport(broker.url, "old-name") as agent, MqttTransport(broker.url, "s") as sender:
        await agent.connected(10)
        await agent.subscribe("t")
        await within(agent.rename("new-name"))
        await until(lambda: not agent._retiring)
        await within(sender.publish("t", b"1"))
        assert (await within(anext(agent.messages()))).payload == b"1"
    lines = (broker._file.parent / "log").read_text(encoding="utf-8").splitlines()
    old = [line for line in lines if " as old-name (" in line]
    assert "c0" in old[0]  # a kept session first
    assert "c1" in old[-1]  # cleaned away in the end
    assert any("unsubscribe" in line.lower() and "old-name" in line for line in lines)


async def test_publishes_begun_before_a_rename_leave_under_the_old_name(start: Start) -> None:
    acl = "pattern write %u/#\npattern read #\n"
    broker = await start(OPEN)
    await broker.kill()
    rules = broker._file.parent / "acl"
    rules.write_text(acl, encoding="ascii")
    with broker._file.open("a", encoding="utf-8") as file:
        file.write(f"acl_file {rules}\n")
    await broker.start()
    async with MqttTransport(broker.url, "old") as agent, MqttTransport(broker.url, "r") as receiver:
        await receiver.connected(10)
        await agent.connected(10)
        await receiver.subscribe("#")
        wanted = {f"{name} {number}".encode() for name in ("old", "new") for number in range(700)}
        before = asyncio.gather(*(agent.publish("old/t", f"old {number}".encode()) for number in range(700)))
        await asyncio.sleep(0)
        renaming = asyncio.create_task(agent.rename("new"))
        await asyncio.sleep(0)
        after = asyncio.gather(*(agent.publish("new/t", f"new {number}".encode()) for number in range(700)))
        await within(collect(receiver, wanted))
        await within(asyncio.gather(before, renaming, after))


async def test_no_broker_there_is_one_clear_line() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))  # bound, not listening: nobody else gets the port
        url = f"mqtt://127.0.0.1:{probe.getsockname()[1]}"
        async with MqttTransport(url, "a") as transport:
            with pytest.raises(ConfigurationError, match=f"^no broker answers at {url}: .*[Cc]onnection refused"):
                await transport.connected(3.0)


async def test_a_refusal_is_reported_as_one(start: Start) -> None:
    broker = await start("allow_anonymous false\n")
    async with MqttTransport(broker.url, "a") as transport:
        with pytest.raises(ConfigurationError, match=r"refuses a: .*Not authorized"):
            await transport.connected(2.0)


async def test_a_connection_that_is_waited_for_comes_with_the_broker(start: Start) -> None:
    broker = await start(OPEN)
    await broker.kill()
    async with MqttTransport(broker.url, "a") as transport:
        publishing = asyncio.create_task(transport.publish("t", b"1"))
        waiting = asyncio.create_task(transport.connected(DEADLINE_SECONDS))
        await until(lambda: transport._session.trouble != "no answer")
        await broker.start()
        await within(asyncio.gather(publishing, waiting))


@pytest.mark.parametrize("answer", ["_on_connect", "_on_subscribe", "_on_disconnect"])
async def test_leaving_at_the_moment_the_broker_answers_is_leaving(
    start: Start, monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    broker = await start(OPEN)
    leaving: list[asyncio.Task[None]] = []
    told: Callable[..., None] = getattr(aiomqtt.Client, answer)

    def tell_and_leave(client: aiomqtt.Client, *happened: object) -> None:
        told(client, *happened)
        if not leaving:  # in the turn of the loop in which `wait_for` of Python 3.11 forgets a cancellation
            leaving.append(asyncio.ensure_future(transport._session.close()))

    monkeypatch.setattr(aiomqtt.Client, answer, tell_and_leave)
    transport = MqttTransport(broker.url, "a")
    await transport.__aenter__()
    await transport.subscribe("t")
    if answer == "_on_disconnect":
        await within(transport.wait_generation(0))
        await transport.renew()
    await until(lambda: bool(leaving))
    await within(leaving[0])


async def test_an_end_that_comes_right_behind_the_answer_is_noticed() -> None:
    connections = 0

    async def welcome(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await reader.read(1)
        writer.write(b"\x20\x02\x00\x00")  # CONNACK
        if connections == 1:
            writer.close()
            return
        while await reader.read(4096):
            writer.write(b"\x40\x02\x00\x01")  # PUBACK of the first publish
        writer.close()  # Python 3.12 ends no server whose connections are half open

    async with await asyncio.start_server(welcome, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with MqttTransport(f"mqtt://127.0.0.1:{port}", "a") as transport:
            for _ in range(20):  # a loop that is late reads the answer and the end together
                time.sleep(0.02)  # noqa: ASYNC251
                await asyncio.sleep(0)
            await within(transport.publish("t", b"1"))


async def test_an_address_whose_backlog_was_held_back_is_read_again(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "INCOMING_HIGH", 40)
    monkeypatch.setattr(connection, "INCOMING_LOW", 5)
    broker = await start(OPEN + "max_inflight_messages 0\n")
    async with MqttTransport(broker.url, "now") as receiver, MqttTransport(broker.url, "sender") as sender:
        await receiver.subscribe("t/now", address="now")
        await receiver.subscribe("t/old", address="old")
        await within(receiver._sessions["old"].connected())
        await within(asyncio.gather(*(sender.publish("t/old", str(number).encode()) for number in range(300))))
        await until(lambda: receiver._incoming.qsize() > 40)
        await within(collect(receiver, {str(number).encode() for number in range(300)}))


async def test_logs_carry_no_payload_and_no_topic(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    broker = await start(OPEN)
    async with MqttTransport(broker.url, "a", will=Will("status/a", b"canary-will")) as transport:
        await transport.connected(10)
        await transport.subscribe("canary-topic")
        await within(transport.publish("canary-topic", b"canary-payload"))
        assert (await within(anext(transport.messages()))).payload == b"canary-payload"
        await broker.kill()
        await broker.start()
        await within(transport.wait_generation(1))
    assert "is connected to" in caplog.text
    assert "is away from" in caplog.text
    assert "canary" not in "".join(record.getMessage() for record in caplog.records if record.name.startswith("hush"))
    assert "canary-payload" not in caplog.text


def _certify(
    name: str, issuer: tuple[x509.Name, ec.EllipticCurvePrivateKey] | None
) -> tuple[bytes, bytes, x509.Name, object]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    signer = issuer[1] if issuer else key
    usage = {
        "digital_signature": issuer is not None, "content_commitment": False, "key_encipherment": False,
        "data_encipherment": False, "key_agreement": False, "key_cert_sign": issuer is None, "crl_sign": issuer is None,
        "encipher_only": False, "decipher_only": False,
    }  # fmt: skip
    # As Python's TLS insists on from 3.13 on: each certificate says whose key it is for, and by whose it is signed.
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer[0] if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(**usage), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
    )
    certificate = builder.sign(signer, hashes.SHA256())
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return certificate.public_bytes(serialization.Encoding.PEM), private, subject, key


@pytest.fixture
def authority(tmp_path: Path) -> Path:
    ca, _, name, ca_key = _certify("grid authority", None)
    (tmp_path / "ca.pem").write_bytes(ca)
    for role in ("broker", "agent"):
        certificate, key, _, _ = _certify(role, (name, ca_key))
        (tmp_path / f"{role}.pem").write_bytes(certificate)
        (tmp_path / f"{role}.key").write_bytes(key)
    other, _, _, _ = _certify("another authority", None)
    (tmp_path / "other.pem").write_bytes(other)
    return tmp_path


async def test_mutual_tls_carries_a_flood_through_a_paused_reader(start: Start, authority: Path) -> None:
    broker = await start(
        f"{OPEN}max_inflight_messages 0\ncafile {authority}/ca.pem\ncertfile {authority}/broker.pem\n"
        f"keyfile {authority}/broker.key\nrequire_certificate true\n"
    )
    url = broker.url.replace("mqtt:", "mqtts:")
    tls = TlsFiles(authority / "ca.pem", authority / "agent.pem", authority / "agent.key")
    payloads = [number.to_bytes(4, "big") * 100 for number in range(6000)]
    async with MqttTransport(url, "r", tls=tls) as receiver, MqttTransport(url, "s", tls=tls) as sender:
        await receiver.connected(10)
        await receiver.subscribe("t")
        for begin in range(0, 6000, 1000):
            await within(asyncio.gather(*(sender.publish("t", payload) for payload in payloads[begin : begin + 1000])))
        await until(lambda: receiver._session.connection._paused)
        await within(collect(receiver, set(payloads)))


async def test_a_broker_of_another_authority_is_not_spoken_to(start: Start, authority: Path) -> None:
    broker = await start(
        f"{OPEN}cafile {authority}/ca.pem\ncertfile {authority}/broker.pem\nkeyfile {authority}/broker.key\n"
    )
    tls = TlsFiles(authority / "other.pem", None, None)
    async with MqttTransport(broker.url.replace("mqtt:", "mqtts:"), "a", tls=tls) as transport:
        with pytest.raises(ConfigurationError, match="certificate verify failed"):
            await transport.connected(2.0)


def test_tls_files_that_are_not_there_are_a_configuration_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="TLS files"):
        TlsFiles(tmp_path / "absent.pem", None, None).context()
    bad = tmp_path / "bad.pem"
    bad.write_text("nothing")
    with pytest.raises(ConfigurationError, match="TLS files"):
        TlsFiles(bad, None, None).context()


async def test_a_refused_subscription_is_an_error_that_names_it_and_no_connection(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def refusing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """As much of a broker as it takes: welcome, then SUBACK 0x80 for everything but `open/#`."""
        try:
            while True:
                kind, length = await reader.readexactly(2)
                packet = await reader.readexactly(length)
                if kind >> 4 == 1:
                    writer.write(b"\x20\x02\x00\x00")
                elif kind >> 4 == 8:
                    filters = re.findall(rb"(?:open|closed)/#", packet)
                    answers = bytes(1 if name == b"open/#" else 0x80 for name in filters)
                    writer.write(bytes([0x90, 2 + len(answers)]) + packet[:2] + answers)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async with await asyncio.start_server(refusing, "127.0.0.1", 0) as server:
        url = f"mqtt://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with MqttTransport(url, "me") as transport:
            await transport.subscribe("open/#")
            await transport.connected(10)
            assert transport.reachable
            with caplog.at_level(logging.ERROR, logger="hushgrid.transport"):
                await transport.subscribe("closed/#")
                await until(lambda: not transport.reachable)
                with pytest.raises(ConfigurationError, match="refuse the subscription to closed/#"):
                    await transport.connected(2)
            assert "closed/#" in caplog.text
        async with MqttTransport(url, "other") as transport:
            await transport.subscribe("closed/#")
            with pytest.raises(ConfigurationError, match="refuse the subscription to closed/#"):
                await transport.connected(2)
