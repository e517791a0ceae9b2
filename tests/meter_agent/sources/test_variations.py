"""Other telegrams of the kinds that were once read wrong: what is written differently is read right, or refused, never left out."""

from __future__ import annotations

import pytest
from support.meter_frames import crc_x25, han_frame, han_register, sml_file, sml_register

from meter_agent.sources.devices.han_push import HanReader
from meter_agent.sources.devices.mqtt_topic import read_payload
from meter_agent.sources.devices.sml_head import SmlReader
from meter_agent.sources.devices.telegram import TelegramReader, crc16, read_telegram
from meter_agent.sources.sample import Doubt, Sample, SampleRefusedError
from meter_agent.sources.sections import TopicSection

IMPORT = bytes.fromhex("0100010800ff")
EXPORT = b"1-0:2.8.0(000009.000*kWh)"


def telegram(*lines: bytes) -> Sample | SampleRefusedError:
    content = b"/CON5MADE UP 1.8.0\r\n\r\n" + b"".join(line + b"\r\n" for line in lines) + b"!"
    (cut,) = TelegramReader().feed(content + b"%04X\r\n" % crc16(content))
    try:
        return read_telegram(cut)
    except SampleRefusedError as error:
        return error


@pytest.mark.parametrize(
    "line",
    [
        b" 1-0:1.8.0(000001.234*kWh)",
        b"1-0:1.8.0 (000001.234*kWh)",
        b"1-0:1.8.0(000001.234*kWh) ",
        b"1-0:01.08.00(000001.234*kWh)",
        b"1-0:1.8.0.255(000001.234*kWh)",
        b"2-0:1.8.0(000001.234*kWh)",
        b"1-0:1.8.0*01(000001.234*kWh)",
        b"1-0:1.8.0",
        b"1-0:1.8.0()",
        b"1-0:1.8.0(*kWh)",
        b"1-0:1.8.0(000001,234*kWh)",
        b"1-0:1.8.0(1 000.234*kWh)",
        b"1-0:1.8.0(1.000.234*kWh)",
        b"1-0:1.8.0(1.2E3*kWh)",
        b"1-0:1.8.0(-000001.234*kWh)",
        b"1-0:1.8.0(000001.234*MWh)",
        b"1-0:1.8.0(000001.234*kVAh)",
        b"1-0:1.8.0(000001.234)",
        b"1-0:1.8.0(240101120000W)(000001.234*kWh)",
        b"1-0:1.8.0(000001.234*kWh)1-0:1.8.1(1.0*kWh)",
        b"1-0:1.8.0(000001.234*kWh)\r1-0:1.7.0(1*kW)",
        b"1-0:1.8.0(9999999999999.000*kWh)",
        b"1-0:1.8.0(000001.234*kWh)\r\n1-1:1.8.0(000001.234*kWh)",
    ],
)
def test_a_register_that_is_written_otherwise_never_counts_as_none(line):
    said = telegram(line, EXPORT)
    assert isinstance(said, SampleRefusedError), said
    assert said.doubt is Doubt.MALFORMED


@pytest.mark.parametrize(
    ("lines", "imported"),
    [
        ([b"1-0:1.8.2(2.0*kWh)", b"0-0:1.0.0(240101120000W)", b"1-0:1.8.1(1.0*kWh)"], 3000),
        ([b"1-0:1.8.1(1.0*kWh)", b"1-0:1.8.63(2.0*kWh)"], 3000),
        ([b"1-0:1.8.0*255(1.5*kWh)", b"1-0:1.8.0*01(1.0*kWh)", b"1-0:1.8.0*02(0.5*kWh)"], 1500),
        ([b"1-0:1.8.0(1500*Wh)", b"6-0:1.8.0(7*kWh)", b"0-1:24.2.1(240101120000W)(00212.529*m3)"], 1500),
        ([b"1-0:99.1.0(240101000000W)(00)(60)(1)(1-0:1.8.0)(kWh)(00001.0)", b"1-0:1.8.0(1.5*kWh)"], 1500),
        ([b"1-0:21.8.0(7.0*kWh)", b"1-0:1.8.0(1.5*kWh)", b"1-0:11.8.0(7.0*kWh)"], 1500),
        ([b"1.8.0(001.5*kWh)"], 1500),
    ],
)
def test_what_only_looks_like_a_register_takes_nothing_away(lines, imported):
    export = b"2.8.0(9*kWh)" if lines[0].startswith(b"1.8") else EXPORT
    for order in (lines, lines[::-1]):
        said = telegram(*order, export)
        assert isinstance(said, Sample), said
        assert (said.import_watt_hours, said.export_watt_hours) == (imported, 9000)


# SML


def sml(*registers: bytes) -> Sample | SampleRefusedError:
    (said,) = SmlReader().feed(sml_file(list(registers)))
    return said


def obis(name: str) -> bytes:
    return bytes(int(part) for part in name.split("."))


@pytest.mark.parametrize(
    "register",
    [
        sml_register(obis("1.0.1.8.0.96"), 30, -1, 55),
        sml_register(IMPORT, 27, 0, 55),
        sml_register(IMPORT, 31, 0, 55),
        sml_register(obis("1.0.1.8.128.255"), 30, 0, 10**13),
    ],
)
def test_an_sml_register_that_is_not_understood_never_counts_as_none(register):
    said = sml(register, sml_register(obis("1.0.2.8.0.255"), 30, -1, 99))
    assert isinstance(said, SampleRefusedError)


def test_registers_of_the_past_are_passed_over_where_there_is_one_of_now():
    said = sml(sml_register(obis("1.0.1.8.0.96"), 30, -1, 55), sml_register(IMPORT, 30, -1, 12_340))
    assert isinstance(said, Sample)
    assert said.import_watt_hours == 1234


def test_an_sml_file_whose_inner_checksum_is_wrong_is_refused_and_the_next_one_read():
    good = sml_file([sml_register(IMPORT, 30, -1, 12_340)])
    at = good.index((12_340).to_bytes(8, "big"))
    bad = good[: at + 7] + bytes([good[at + 7] ^ 1]) + good[at + 8 : -2]
    refused, read = SmlReader().feed(bad + crc_x25(bad).to_bytes(2, "little") + good)
    assert refused.doubt is Doubt.CHECKSUM
    assert read.import_watt_hours == 1234


# HAN


def test_a_han_list_of_tariffs_is_read_as_their_sum_beside_an_export_total():
    (said,) = HanReader().feed(
        han_frame([
            han_register("1.0.1.8.1.255", 1000, 0, 30),
            han_register("1.0.1.8.2.255", 234, 0, 30),
            han_register("1.0.2.8.0.255", 77, 0, 30),
        ])
    )  # fmt: skip
    assert isinstance(said, Sample)
    assert (said.import_watt_hours, said.export_watt_hours) == (1234, 77)


def test_an_encrypted_han_frame_is_named_so():
    ciphered = b"\xdb\x08KAM12345\x81\x90\x30\x00\x00\x00\x01" + bytes(range(120))
    information = b"\xe6\xe7\x00" + ciphered
    header = (0xA000 | (2 + 4 + 2 + len(information) + 2)).to_bytes(2, "big") + b"\x41\x08\x83\x13"
    body = header + crc_x25(header).to_bytes(2, "little") + information
    (said,) = HanReader().feed(b"\x7e" + body + crc_x25(body).to_bytes(2, "little") + b"\x7e")
    assert isinstance(said, SampleRefusedError)
    assert said.doubt is Doubt.ENCRYPTED


# Topics


def topic(payload: bytes, key: str = "t") -> int | Doubt:
    try:
        return read_payload(payload, TopicSection(url="mqtt://h:1", topic="t", import_key=key)).import_watt_hours
    except SampleRefusedError as error:
        return error.doubt


@pytest.mark.parametrize(
    ("payload", "key", "said"),
    [
        (b'{"t": "12.5"}', "t", 12_500),
        (b'{"t": 1.25E1}', "t", 12_500),
        (b'{"a": [{"t": 1}, {"t": 2}]}', "a.1.t", 2000),
        (b'{"sensor.energy": {"total": 2}}', "sensor.energy.total", 2000),
        (b'{"sensor": {"energy": {"total": 2}}}', "sensor.energy.total", 2000),
        (b'{"a.b": 1, "a": {"b": 2}}', "a.b", Doubt.MALFORMED),
        (b'{"t": 1, "t": 2}', "t", Doubt.MALFORMED),
        (b'{"a": [1]}', "a.1", Doubt.NO_REGISTER),
        (b'{"t": "12,5"}', "t", Doubt.MALFORMED),
        (b'{"t": "1_000"}', "t", Doubt.MALFORMED),
        (b'{"t": "12.5 kWh"}', "t", Doubt.MALFORMED),
        (b'{"t": "unavailable"}', "t", Doubt.MALFORMED),
        (b'{"t": true}', "t", Doubt.MALFORMED),
        (b'{"t": null}', "t", Doubt.MALFORMED),
        (b'{"t": 1e999999999}', "t", Doubt.MALFORMED),
        (b'{"t": 1e40}', "t", Doubt.MALFORMED),
        ("12.5".encode("utf-16"), "", 12_500),
    ],
)  # fmt: skip
def test_payloads_of_other_programs_are_read_or_refused(payload, key, said):
    assert topic(payload, key) == said
