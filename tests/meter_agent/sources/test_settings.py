"""What differs between installations: the line's settings, factors of registers, encrypted ports. Telegrams are constructed."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import pty
import termios
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import ROOT

from meter_agent.sources import SourceKind
from meter_agent.sources.devices.byte_stream import Heard, Line, Port
from meter_agent.sources.devices.diagnosis import diagnosis
from meter_agent.sources.devices.opening import open_device, port_of
from meter_agent.sources.devices.scaled import ScaledDevice, scaled
from meter_agent.sources.devices.telegram import TelegramReader, crc16, read_telegram
from meter_agent.sources.sample import Doubt, Sample, SampleRefusedError
from meter_agent.sources.sections import Parity, SourceSection

CASES = ROOT / "tests" / "meter_agent" / "meter_cases"
TELEGRAM = b"/CON5MADE UP\r\n\r\n1-0:1.8.0(000001.234*kWh)\r\n1-0:2.8.0(000000.005*kWh)\r\n!"
TELEGRAM += b"%04X\r\n" % crc16(TELEGRAM)
OLD = b"/CON5\2MADE UP\r\n\r\n1-0:1.8.1(00001.001*kWh)\r\n1-0:1.8.2(00001.001*kWh)\r\n0-0:96.14.0(0001)\r\n!\r\n"


def heard(content: bytes) -> Heard:
    said = Heard()
    said.add(content)
    return said


def with_parity(content: bytes, parity: Parity) -> bytes:
    """Bytes of 7 bits as a line of 8 bits shows them."""
    odd = parity is Parity.ODD
    return bytes(byte | ((byte.bit_count() % 2 == 1) ^ odd) << 7 for byte in content)


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({"kind": "p1"}, "115200 8N1"),
        ({"kind": "p1", "crc": "absent"}, "9600 7E1"),
        ({"kind": "p1", "crc": "absent", "data_bits": 8, "parity": "none"}, "9600 8N1"),
        ({"kind": "sml"}, "9600 8N1"),
        ({"kind": "han"}, "2400 8E1"),
        ({"kind": "han", "parity": "none"}, "2400 8N1"),
        ({"kind": "han", "parity": "odd", "baud_rate": 9600}, "9600 8O1"),
        ({"kind": "modbus", "modbus": {"profile": "sdm120"}}, "2400 8N1"),
        ({"kind": "modbus", "modbus": {"profile": "sdm630"}, "parity": "even"}, "9600 8E1"),
    ],
)
def test_a_line_is_set_as_is_usual_for_the_meter_unless_something_is_said(fields, line):
    port = port_of(open_device(SourceSection.model_validate({"port": "/dev/x", **fields})))
    assert port is not None
    assert str(port.line) == line


def test_a_parity_that_is_wrong_makes_a_byte_zero(monkeypatch):
    set_to: list[list] = []
    monkeypatch.setattr(termios, "tcsetattr", lambda _descriptor, _when, attributes: set_to.append(attributes))
    master, slave = pty.openpty()
    for line in (Line(9600, 7, Parity.EVEN), Line(9600, 8, Parity.ODD), Line(9600)):
        line.apply(slave)
    os.close(master)
    os.close(slave)
    marks = termios.PARMRK | termios.IGNPAR
    assert [attributes[0] & (termios.INPCK | marks) for attributes in set_to] == [termios.INPCK, termios.INPCK, 0]
    control = [attributes[2] & (termios.PARENB | termios.PARODD | termios.CSIZE) for attributes in set_to]
    assert control == [termios.PARENB | termios.CS7, termios.PARENB | termios.PARODD | termios.CS8, termios.CS8]


def test_a_number_with_a_zero_byte_in_it_is_refused_where_nothing_else_protects_it():
    for damaged in (b"1-0:1.8.2(0000\0.001", b"1-0:1.\0.2(00001.001", b"\xff-0:1.8.2(00001.001"):
        (cut,) = TelegramReader().feed(OLD.replace(b"1-0:1.8.2(00001.001", damaged))
        with pytest.raises(SampleRefusedError, match="a byte that is no text"):
            read_telegram(cut, crc_absent=True)


@given(st.sampled_from(Parity), st.integers(0, 20))
def test_seven_bits_read_as_eight_are_never_a_sample(parity, at):
    stream = with_parity(OLD, parity) if parity is not Parity.NONE else OLD[:at] + b"\xff" + OLD[at + 1 :]
    for cut in TelegramReader().feed(stream + OLD):
        with contextlib.suppress(SampleRefusedError):
            assert read_telegram(cut, crc_absent=True).import_watt_hours == 2002


# A factor


@given(st.integers(0, 10**9), st.integers(0, 10**9), st.decimals(Decimal("0.001"), Decimal(1000), places=3))
def test_a_factor_multiplies_both_registers_and_rounds_down(imported, exported, factor):
    said = scaled(Sample(imported, exported, "E1", 5.0, 10), factor)
    for before, after in ((imported, said.import_watt_hours), (exported, said.export_watt_hours)):
        assert after <= before * factor < after + 1
    assert (said.device_seconds, said.step_watt_hours >= 10 * factor) == (5.0, True)


def test_rounds_of_a_scaled_register_add_up_to_the_day():
    registers = [scaled(Sample(wh, 0), Decimal("0.1")).import_watt_hours for wh in range(0, 10_000, 37)]
    steps = [later - earlier for earlier, later in itertools.pairwise(registers)]
    assert sum(steps) == registers[-1] - registers[0] == 9990 // 10


def test_another_factor_is_another_register():
    assert scaled(Sample(5, 0, "E1"), Decimal(2)).device != scaled(Sample(5, 0, "E1"), Decimal(3)).device


async def test_what_a_factor_makes_too_large_for_any_meter_is_refused_and_the_next_sample_is_read():
    class Says:
        label = "says"

        async def samples(self):
            yield Sample(10**11, 0)
            yield SampleRefusedError(Doubt.CHECKSUM)
            yield Sample(5, 7)

    async with contextlib.aclosing(ScaledDevice(Says(), Decimal(40)).samples()) as said:
        found = [each.doubt if isinstance(each, SampleRefusedError) else each async for each in said]
    assert found == [Doubt.MALFORMED, Doubt.CHECKSUM, Sample(200, 280, "x 40")]


def test_a_factor_is_exact_and_of_registers_only():
    device = open_device(SourceSection(kind="han", port="/dev/x", factor=0.1))
    assert isinstance(device, ScaledDevice)
    assert device.label == "HAN at /dev/x, registers times 0.1"
    assert port_of(device).place == "/dev/x"
    for fields in ({"factor": 0}, {"factor": -1}, {"factor": "NaN"}, {"kind": "csv", "factor": 2}):
        with pytest.raises(ValueError, match="factor"):
            SourceSection.model_validate({"kind": "han", "port": "/dev/x", **fields})


def test_settings_that_are_no_part_of_a_kind_are_refused():
    with pytest.raises(ValueError, match=r"source\.crc"):
        SourceSection(kind="sml", port="/dev/x", crc="absent")
    with pytest.raises(ValueError, match=r"source\.csv"):
        SourceSection(kind="sml", port="/dev/x", csv={})


# Encrypted ports


def test_an_encrypted_port_is_named_so_however_its_bytes_arrive():
    content = (CASES / "p1_encrypted_shape.bin").read_bytes()
    for size in (1, 7, 4096):
        reader, doubts = TelegramReader(), []
        for at in range(0, len(content), size):
            for cut in reader.feed(content[at : at + size]):
                with pytest.raises(SampleRefusedError) as refusal:
                    read_telegram(cut, crc_absent=True)
                doubts.append(refusal.value.doubt)
        assert doubts == [Doubt.ENCRYPTED]


def test_a_telegram_after_an_encrypted_one_is_read():
    *_, cut = TelegramReader().feed((CASES / "p1_encrypted_shape.bin").read_bytes() + b"\r\n" + TELEGRAM)
    assert read_telegram(cut).import_watt_hours == 1234


# What bytes look like

SML = (CASES / "sml_tariffs_only.bin").read_bytes()
P1_8N1, P1_7E1 = Line(115_200), Line(9_600, 7, Parity.EVEN)


@pytest.mark.parametrize(
    ("kind", "line", "content", "says"),
    [
        ("p1", P1_8N1, b"", "not one byte"),
        ("p1", P1_8N1, SML, 'SML, of which nothing was believed: source.kind = "sml"'),
        ("sml", P1_8N1, TELEGRAM, 'a P1 telegram: source.kind = "p1"'),
        ("p1", P1_8N1, (CASES / "p1_encrypted_shape.bin").read_bytes(), "an encrypted port (AES-GCM)"),
        ("p1", P1_8N1, with_parity(OLD, Parity.EVEN), 'source.data_bits = 7, source.parity = "even" (now 115200 8N1)'),
        ("p1", P1_8N1, with_parity(OLD, Parity.ODD), 'source.parity = "odd"'),
        ("p1", None, with_parity(OLD, Parity.EVEN), "set the reader at the other end to 7E1"),
        ("p1", P1_7E1, bytes(range(256)), "another speed or parity (now 9600 7E1)"),
        ("p1", P1_8N1, b"\x00\xf1", "2 bytes were heard: too few"),
        ("p1", P1_8N1, b"/KAM MC\r\n\x026.8(00433.65*GJ)\r\n6.26(03052.95*m3)!\r\n\x03a", "a heat or gas meter"),
        ("p1", P1_8N1, TELEGRAM[:60], "a P1 telegram without its end"),
        ("p1", P1_8N1, b"\x68\xfa\xfa\x68" + bytes(range(100)), "M-Bus frames"),
        ("sml", P1_8N1, (CASES / "han_repeated_hour_1_at_1600.bin").read_bytes(), 'source.kind = "han"'),
    ],
)  # fmt: skip
def test_what_bytes_look_like_is_said(kind, line, content, says):
    text = diagnosis(SourceKind(kind), line, heard(content))
    assert says in text
    assert str(len(content)) in text or not content


@given(st.sampled_from(SourceKind), st.none() | st.just(P1_8N1), st.binary(max_size=5000))
def test_any_bytes_are_described_in_one_line(kind, line, content):
    said = heard(content)
    assert "\n" not in diagnosis(kind, line, said)
    assert len(said.newest) <= 4096
    assert said.bytes_seen == len(content)


# Places


async def test_a_place_that_is_not_there_is_known_at_once(tmp_path):
    server = await asyncio.start_server(lambda _r, writer: writer.close(), "127.0.0.1", 0)
    there = f"tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    assert await Port(there, P1_8N1).trouble(5) is None
    server.close()
    await server.wait_closed()
    (tmp_path / "file").write_bytes(b"")
    for place, says in (
        (there, "Connect call failed"),
        ("tcp://no-such-host.invalid:23", ""),
        ("/dev/no-such-port", "No such file"),
        (str(tmp_path / "file"), "no serial line"),
    ):
        trouble = await asyncio.wait_for(Port(place, P1_8N1).trouble(5), 8)
        assert trouble, place
        assert says in trouble
