"""Every kind of device: what it says is a sample, damage is refused, and nothing it says is logged. Telegrams are constructed."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pty
import struct
import tty

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.meter_frames import han_frame, han_register, han_text, sml_file, sml_register

from hushgrid.errors import ConfigurationError
from meter_agent.sources import LIVE_KINDS, SourceKind
from meter_agent.sources.devices import han_push, modbus, pulses, sml_head
from meter_agent.sources.devices.byte_stream import Line, Port
from meter_agent.sources.devices.mqtt_topic import TopicDevice, read_payload
from meter_agent.sources.devices.opening import open_device
from meter_agent.sources.sample import Doubt, Sample, SampleRefusedError
from meter_agent.sources.sections import ModbusProfile, ModbusSection, PulsesSection, SourceSection, TopicSection
from testbed.brokers.broker import start_broker

LINE = Line(115_200)


IMPORT, EXPORT, POWER = (bytes.fromhex(f"0100{name}ff") for name in ("010800", "020800", "100700"))
SML = sml_file([
    sml_register(IMPORT, 30, -1, 12_345_678),
    sml_register(EXPORT, 30, -1, 99),
    sml_register(POWER, 27, 0, 5),
])  # fmt: skip


def test_an_sml_file_is_read_and_its_tenths_are_floored():
    (sample,) = sml_head.SmlReader().feed(SML)
    assert (sample.import_watt_hours, sample.export_watt_hours) == (1_234_567, 9)
    assert sample.device.startswith("1 MYP00")


def test_any_damaged_byte_of_an_sml_file_is_noticed():
    for at in range(8, len(SML) - 8):
        damaged = SML[:at] + bytes([SML[at] ^ 0x10]) + SML[at + 1 :]
        found = list(sml_head.SmlReader().feed(damaged))
        assert all(isinstance(one, SampleRefusedError) for one in found), at


def test_an_sml_file_without_energy_is_no_electricity_meter_s():
    (refused,) = sml_head.SmlReader().feed(sml_file([sml_register(POWER, 27, 0, 5)]))
    assert refused.doubt is Doubt.NO_REGISTER


@given(st.lists(st.integers(1, 90), max_size=40), st.binary(max_size=60))
def test_an_sml_stream_is_cut_the_same_however_its_bytes_arrive(sizes, noise):
    stream, reader, found = noise.replace(b"\x1b", b"") + SML + SML, sml_head.SmlReader(), []
    for size in sizes:
        found += reader.feed(stream[:size])
        stream = stream[size:]
    found += reader.feed(stream)
    assert [s.import_watt_hours for s in found if isinstance(s, Sample)] == [1_234_567, 1_234_567]


HAN = han_frame([
    han_text("0.0.96.1.0.255", "7359992890941742"),
    han_register("1.0.1.7.0.255", 1234, 0, 27),
    han_register("1.0.1.8.0.255", 123_456, 1, 30),
    han_register("1.0.2.8.0.255", 77, 1, 30),
])  # fmt: skip


def test_a_han_push_with_registers_is_a_sample_and_one_with_power_only_says_nothing():
    reader = han_push.HanReader()
    assert list(reader.feed(han_frame([han_register("1.0.1.7.0.255", 1234, 0, 27)]))) == []
    assert list(reader.feed(HAN)) == [Sample(1_234_560, 770, "7359992890941742")]


def test_a_damaged_han_push_is_never_a_sample_and_its_content_is_not_logged(caplog):
    caplog.set_level("DEBUG")
    for at in range(12, len(HAN) - 1):
        damaged = HAN[:at] + bytes([HAN[at] ^ 0x10]) + HAN[at + 1 :]
        found = list(han_push.HanReader().feed(damaged + HAN))
        samples = [one for one in found if isinstance(one, Sample)]
        assert set(samples) <= {Sample(1_234_560, 770, "7359992890941742")}, at
        assert len(samples) <= 1, at
    assert caplog.text == ""


# Modbus, against pymodbus's own server and on a serial line.


def crc_modbus(content: bytes) -> int:
    crc = 0xFFFF
    for byte in content:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0xA001 if crc & 1 else 0)
    return crc


async def modbus_server(imported: float, exported: float):
    from pymodbus.datastore import ModbusDeviceContext, ModbusSequentialDataBlock, ModbusServerContext  # noqa: PLC0415
    from pymodbus.server import ModbusTcpServer  # noqa: PLC0415

    registers = list(struct.unpack(">4H", struct.pack(">ff", imported, exported)))
    block = ModbusSequentialDataBlock(73, registers)
    context = ModbusServerContext(devices={7: ModbusDeviceContext(ir=block)}, single=False)
    server = ModbusTcpServer(context, address=("127.0.0.1", 0))
    await server.listen()
    return server, server.transport.sockets[0].getsockname()[1]


async def first(device) -> Sample | SampleRefusedError:
    async with asyncio.timeout(300), contextlib.aclosing(device.samples()) as said:
        async for sample in said:
            return sample
    raise AssertionError


@pytest.mark.parametrize("profile", ModbusProfile)
async def test_a_modbus_meter_s_registers_are_read_together(profile):
    server, port = await modbus_server(4426.875, 12.5)
    try:
        device = modbus.ModbusDevice(Port(f"tcp://127.0.0.1:{port}", LINE), ModbusSection(profile=profile, unit=7))
        assert await first(device) == Sample(4_426_875, 12_500)
    finally:
        await server.shutdown()


async def test_a_modbus_meter_answers_on_a_serial_line():
    """A line of RS-485 is a pseudo-terminal here; the answer is written down from the Modbus RTU standard."""
    master, slave = pty.openpty()
    tty.setraw(slave)
    os.set_blocking(master, False)
    asked: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
    answer = struct.pack(">BBBff", 7, 4, 8, 4426.875, 12.5)
    answer += crc_modbus(answer).to_bytes(2, "little")

    def meter() -> None:
        request = os.read(master, 64)
        if not asked.done():
            asked.set_result(request)
        os.write(master, answer)

    asyncio.get_running_loop().add_reader(master, meter)
    try:
        section = ModbusSection(profile=ModbusProfile.SDM120, unit=7)
        assert await first(modbus.ModbusDevice(Port(os.ttyname(slave), Line(2400)), section)) == Sample(
            4_426_875, 12_500
        )
        assert (await asked)[:6] == struct.pack(">BBHH", 7, 4, 72, 4)
    finally:
        asyncio.get_running_loop().remove_reader(master)
        os.close(master)
        os.close(slave)


async def test_a_modbus_meter_that_answers_no_number_or_not_at_all_gives_no_sample():
    server, port = await modbus_server(float("nan"), 0.0)
    section = ModbusSection(profile=ModbusProfile.SDM120, unit=7)
    place = Port(f"tcp://127.0.0.1:{port}", LINE)
    try:
        refused = await first(modbus.ModbusDevice(place, section))
        assert isinstance(refused, SampleRefusedError)
        assert refused.doubt is Doubt.MALFORMED
    finally:
        await server.shutdown()
    refused = await first(modbus.ModbusDevice(place, section))
    assert isinstance(refused, SampleRefusedError)


# Pulses, on gpiozero's pins of a machine that has none.


async def test_pulses_are_counted_and_every_start_is_a_new_register(monkeypatch):
    from gpiozero import Device  # noqa: PLC0415
    from gpiozero.pins.mock import MockFactory  # noqa: PLC0415

    factory = MockFactory()
    monkeypatch.setattr(Device, "pin_factory", factory)
    monkeypatch.setattr(pulses, "_TICK_SECONDS", 0.001)
    device = pulses.PulsesDevice(PulsesSection(pin=17, pulses_per_kwh=800))
    async with contextlib.aclosing(device.samples()) as said:
        before = await anext(said)
        for _ in range(5):
            factory.pin(17).drive_low()
            factory.pin(17).drive_high()
        after = await anext(said)
    assert after.import_watt_hours - before.import_watt_hours == 5 * 1000 // 800
    assert before.import_watt_hours > 0
    assert pulses.PulsesDevice(PulsesSection(pin=17)).sample().device != before.device


async def test_a_machine_without_pins_says_so_in_one_line(monkeypatch):
    from gpiozero import Device  # noqa: PLC0415

    monkeypatch.setattr(Device, "pin_factory", None)
    monkeypatch.setenv("GPIOZERO_PIN_FACTORY", "no-such-factory")
    with pytest.raises(ConfigurationError, match=r"source\.pulses\.pin 17"):
        await first(pulses.PulsesDevice(PulsesSection(pin=17)))


# A topic: payloads as the three programs write them, and a real broker.

TASMOTA = b'{"Time":"2026-11-21T08:00:00","ENERGY":{"TotalStartTime":"x","Total":1581.123,"Yesterday":0.5,"Power":22}}'


def topic_section(**fields) -> TopicSection:
    return TopicSection(**{"url": "mqtt://localhost:1", "topic": "t", **fields})


@pytest.mark.parametrize(
    ("payload", "fields", "watt_hours"),
    [
        (TASMOTA, {"import_key": "ENERGY.Total"}, (1_581_123, 0)),
        (b'{"energy": 12.3459, "power": 5, "linkquality": 80}', {"import_key": "energy"}, (12_345, 0)),
        (b"4426.825", {}, (4_426_825, 0)),
        (b"4426825.9", {"unit": "Wh"}, (4_426_825, 0)),
        (b'{"i": 5, "e": 7}', {"import_key": "i", "export_key": "e"}, (5000, 7000)),
    ],
)
def test_payloads_are_read(payload, fields, watt_hours):
    sample = read_payload(payload, topic_section(**fields))
    assert (sample.import_watt_hours, sample.export_watt_hours) == watt_hours


@given(st.one_of(st.binary(max_size=50), st.recursive(st.none() | st.booleans() | st.text() | st.floats(), st.lists).map(
    lambda content: json.dumps(content).encode())))  # fmt: skip
def test_any_other_payload_is_refused_or_a_number(payload):
    with contextlib.suppress(SampleRefusedError):
        assert isinstance(read_payload(payload, topic_section()), Sample)


@pytest.mark.parametrize(
    "payload", [b"unavailable", b"null", b"true", b'"5"', b"NaN", b"Infinity", b"1e999", b"[" * 9999]
)
def test_what_home_automation_says_when_it_knows_nothing_is_refused(payload):
    with pytest.raises(SampleRefusedError):
        read_payload(payload, topic_section())


@pytest.mark.usefixtures("mosquitto")
async def test_a_topic_is_followed_and_what_was_retained_from_before_is_passed_over(tmp_path, supervisor):
    import aiomqtt  # noqa: PLC0415

    broker = await start_broker("mosquitto", supervisor, tmp_path)
    host, port = broker.url.removeprefix("mqtt://").split(":")
    device = TopicDevice(topic_section(url=broker.url, topic="tele/plug/SENSOR", import_key="ENERGY.Total"))
    async with aiomqtt.Client(host, int(port)) as plug, contextlib.aclosing(device.samples()) as said:
        await plug.publish("tele/plug/SENSOR", TASMOTA.replace(b"1581", b"1000"), qos=1, retain=True)
        waiting = asyncio.create_task(anext(said))
        while not waiting.done():
            await plug.publish("tele/plug/SENSOR", TASMOTA, qos=1)
            await asyncio.sleep(0.05)
        assert waiting.result() == Sample(1_581_123, 0)


# Ports


async def test_a_serial_line_is_opened_raw_and_again_after_it_ended(caplog, monkeypatch):
    monkeypatch.setattr("meter_agent.sources.devices.byte_stream._RETRY_FIRST_SECONDS", 0.01)
    master, slave = pty.openpty()
    tty.setraw(slave)
    link = os.ttyname(slave)
    async with contextlib.aclosing(Port(link, LINE).for_ever()) as pieces:
        assert await anext(pieces) is None
        waiting = asyncio.ensure_future(anext(pieces))
        await asyncio.sleep(0.05)
        os.write(master, b"\x11\x13\r\n\x03/")  # nothing of a raw line is eaten or changed
        assert await asyncio.wait_for(waiting, 5) == b"\x11\x13\r\n\x03/"
        os.close(slave)
        os.close(master)
        assert await asyncio.wait_for(anext(pieces), 5) is None
        waiting = asyncio.ensure_future(anext(pieces))
        await asyncio.sleep(0.05)
        waiting.cancel()
    assert link in caplog.text


@pytest.mark.parametrize("place", ["ttyUSB0", "tcp://host", "tcp://:5", "tcp://h:0", "tcp://h:99999", "http://h:1", ""])
def test_a_place_that_is_no_port_is_refused(place):
    with pytest.raises(ConfigurationError, match=r"source\.port"):
        Port(place, LINE)


async def test_a_file_that_is_no_terminal_is_said_to_be_none(tmp_path):
    file = tmp_path / "file"
    file.write_bytes(b"x")
    with pytest.raises(OSError, match="ioctl"):
        await anext(Port(str(file), LINE).once())


# Configuration


def test_every_kind_of_device_opens_from_its_section():
    sections = {
        SourceKind.P1: {"port": "/dev/ttyUSB0"},
        SourceKind.SML: {"port": "tcp://head:1"},
        SourceKind.HAN: {"port": "/dev/ttyUSB0"},
        SourceKind.MODBUS: {"port": "/dev/ttyUSB0", "modbus": {"profile": "sdm630"}},
        SourceKind.PULSES: {"pulses": {"pin": 17}},
        SourceKind.TOPIC: {"topic": {"url": "mqtt://h:1", "topic": "t"}},
    }
    assert set(sections) == LIVE_KINDS
    for kind, fields in sections.items():
        assert open_device(SourceSection(kind=kind, **fields)).label
        for name in fields:
            with pytest.raises(ValueError, match=f"needs source.{name}"):
                SourceSection(kind=kind, **{other: value for other, value in fields.items() if other != name})


def test_a_kind_whose_library_is_missing_names_the_extra(monkeypatch):
    import sys  # noqa: PLC0415

    monkeypatch.delitem(sys.modules, "meter_agent.sources.devices.sml_head", raising=False)
    monkeypatch.setitem(sys.modules, "sml", None)
    with pytest.raises(ConfigurationError, match=r"\.\[meters\]"):
        open_device(SourceSection(kind=SourceKind.SML, port="/dev/x"))
