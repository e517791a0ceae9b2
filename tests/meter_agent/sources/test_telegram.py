"""P1 telegrams: real ones, damaged ones, and streams of both."""

from __future__ import annotations

import contextlib
import json
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meter_agent.sources.devices.telegram import TelegramReader, crc16, read_telegram
from meter_agent.sources.sample import Doubt, SampleRefusedError, whole_watt_hours

WITHOUT_CRC = {
    "TELEGRAM_V2_2",
    "TELEGRAM_V3",
    "TELEGRAM_ESY5Q3DB1024_V304",
    "TELEGRAM_ESY5Q3DA1004_V304",
}
CONSTRUCTED = b"/CON5MADE UP\r\n\r\n1-0:1.8.0(000001.234*kWh)\r\n1-0:2.8.0(000000.005*kWh)\r\n"


def complete(content: bytes) -> bytes:
    return content + b"!%04X\r\n" % crc16(content + b"!")


@pytest.fixture(scope="session")
def telegrams(shared_data: Path) -> dict[str, dict]:
    content = json.loads((shared_data / "telegrams" / "dsmr_p1.json").read_text(encoding="utf-8"))
    return {telegram["name"]: telegram for telegram in content["telegrams"]}


def raw(telegram: dict) -> bytes:
    return telegram["raw"].encode("latin-1")


def expected_watt_hours(telegram: dict) -> tuple[int, int]:
    """What the oracle in the file says: the total register, else the tariffs' sum."""
    values = telegram["expected"]

    def one(total: str, tariffs: str) -> int:
        if total in values:
            return whole_watt_hours(Decimal(values[total]["value"]))
        found = [Decimal(entry["value"]) for name, entry in values.items() if name.startswith(tariffs)]
        return whole_watt_hours(sum(found, Decimal(0)))

    return (
        one("ELECTRICITY_IMPORTED_TOTAL", "ELECTRICITY_USED_TARIFF"),
        one("ELECTRICITY_EXPORTED_TOTAL", "ELECTRICITY_DELIVERED_TARIFF"),
    )


def doubt(telegram: bytes, *, crc_absent: bool = False) -> Doubt:
    with pytest.raises(SampleRefusedError) as refusal:
        read_telegram(telegram, crc_absent=crc_absent)
    return refusal.value.doubt


def test_the_crc_is_crc_16_arc():
    assert crc16(b"123456789") == 0xBB3D


def test_every_real_telegram_is_read_as_the_oracle_reads_it_or_refused_for_its_reason(telegrams):
    outcomes = {}
    for name, telegram in telegrams.items():
        (cut,) = TelegramReader().feed(raw(telegram))
        try:
            sample = read_telegram(cut)
        except SampleRefusedError as error:
            outcomes[name] = error.doubt
        else:
            outcomes[name] = None
            assert (sample.import_watt_hours, sample.export_watt_hours) == expected_watt_hours(telegram), name
            assert sample.device
    refused = {name: because for name, because in outcomes.items() if because is not None}
    assert refused == {
        **dict.fromkeys(WITHOUT_CRC, Doubt.NO_CHECKSUM),
        "TELEGRAM_UNPADDED_CRC": Doubt.NO_REGISTER,  # a heat meter's
        "TELEGRAM_V4_2_CORRUPTED": Doubt.CHECKSUM,
        "TELEGRAM_V5_CORRUPTED": Doubt.CHECKSUM,
    }
    assert len(outcomes) - len(refused) == 7


def test_telegrams_without_a_crc_are_read_when_the_configuration_says_so(telegrams):
    for name in WITHOUT_CRC:
        (cut,) = TelegramReader().feed(raw(telegrams[name]))
        sample = read_telegram(cut, crc_absent=True)
        assert (sample.import_watt_hours, sample.export_watt_hours) == expected_watt_hours(telegrams[name]), name


def test_a_telegram_with_a_wrong_crc_is_refused_even_where_an_absent_one_is_believed(telegrams):
    for name in ("TELEGRAM_V4_2_CORRUPTED", "TELEGRAM_V5_CORRUPTED"):
        assert doubt(raw(telegrams[name]), crc_absent=True) is Doubt.CHECKSUM


def test_any_single_damaged_byte_of_a_real_telegram_is_noticed(telegrams):
    telegram = raw(telegrams["TELEGRAM_V5"])
    intact = read_telegram(telegram)
    end = telegram.rindex(b"!")
    for at in range(end):
        damaged = telegram[:at] + bytes([telegram[at] ^ 0x01]) + telegram[at + 1 :]
        assert doubt(damaged) in {Doubt.CHECKSUM, Doubt.MALFORMED}, at
    assert read_telegram(telegram) == intact


@given(st.lists(st.integers(1, 200), max_size=60), st.binary(max_size=80))
def test_a_stream_is_cut_the_same_however_its_bytes_arrive(sizes, noise):
    noise = noise.replace(b"/", b"").replace(b"!", b"")
    stream = noise + b"\r\n" + complete(CONSTRUCTED) + complete(CONSTRUCTED.replace(b"1.234", b"1.300"))
    reader, found = TelegramReader(), []
    for size in sizes:
        found += reader.feed(stream[:size])
        stream = stream[size:]
    found += reader.feed(stream)
    assert [read_telegram(telegram).import_watt_hours for telegram in found] == [1234, 1300]


def test_a_telegram_that_was_cut_short_does_not_spoil_the_next_one():
    stream = complete(CONSTRUCTED)[:40] + b"\r\n" + complete(CONSTRUCTED)
    (telegram,) = TelegramReader().feed(stream)
    assert read_telegram(telegram).import_watt_hours == 1234


@given(st.binary(max_size=3000))
def test_whatever_bytes_come_they_are_a_sample_or_refused(noise):
    for telegram in TelegramReader().feed(noise + b"\n/A\n!\r\n"):
        with contextlib.suppress(SampleRefusedError):
            read_telegram(telegram, crc_absent=True)


def test_noise_without_end_is_not_kept():
    reader = TelegramReader()
    for _ in range(100):
        assert reader.feed(b"x" * 1000) == []
    assert reader.feed(b"\n" + complete(CONSTRUCTED)) != []
    assert len(reader._buffer) < 20_000


def test_a_register_that_occurs_twice_is_refused():
    assert doubt(complete(CONSTRUCTED + b"1-0:1.8.0(000009.234*kWh)\r\n")) is Doubt.MALFORMED
