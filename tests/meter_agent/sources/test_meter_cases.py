"""Telegrams and registers of the kinds that were once read wrong without a word (constructed; see meter_cases/)."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import ROOT

from meter_agent.sources.devices.han_push import HanReader
from meter_agent.sources.devices.sml_head import SmlReader
from meter_agent.sources.devices.telegram import TelegramReader, read_telegram
from meter_agent.sources.obis import Direction, NamedRegisters
from meter_agent.sources.register import Limits, Register
from meter_agent.sources.sample import Doubt, Sample, SampleRefusedError

CASES = ROOT / "tests" / "meter_agent" / "meter_cases"
LIMITS = Limits(interval_seconds=3600, tolerance_seconds=30, largest_watts=25_000, exchange_seconds=600)
START = 1_765_724_400  # 2025-12-14 15:00Z


def telegram(name: str) -> Sample:
    (cut,) = TelegramReader().feed((CASES / name).read_bytes())
    return read_telegram(cut)


def sml(name: str) -> Sample | SampleRefusedError:
    (found,) = SmlReader().feed((CASES / name).read_bytes())
    return found


@pytest.mark.parametrize(
    ("name", "imported", "exported"),
    [
        ("p1_import_wh_export_kwh.txt", 1_234_567, 58_001),
        ("p1_wh.txt", 1_234_567, 58),
        ("p1_swiss_1-1.txt", 45_600, 1_000),
        ("p1_lower_case_crc.txt", 300_003, 30_000),
        ("p1_cr_cr_lf.txt", 300_003, 30_000),
    ],
)
def test_units_channels_and_line_ends_of_other_countries_are_read(name, imported, exported):
    sample = telegram(name)
    assert (sample.import_watt_hours, sample.export_watt_hours) == (imported, exported)


def test_a_tariff_that_is_there_and_says_nothing_refuses_the_telegram():
    with pytest.raises(SampleRefusedError, match=r"register 1\.8\.2 is there") as refusal:
        telegram("p1_one_tariff_unreadable.txt")
    assert refusal.value.doubt is Doubt.MALFORMED


def test_an_sml_meter_of_tariffs_only_is_read():
    sample = sml("sml_tariffs_only.bin")
    assert (sample.import_watt_hours, sample.export_watt_hours) == (14_800_125, 0)


def test_an_sml_entry_without_a_value_is_refused_and_the_next_file_is_read():
    reader = SmlReader()
    stream = (CASES / "sml_value_missing.bin").read_bytes() + (CASES / "sml_tariffs_only.bin").read_bytes()
    refused, read = reader.feed(stream)
    assert isinstance(refused, SampleRefusedError)
    assert read.import_watt_hours == 14_800_125


def test_a_total_counts_and_not_its_tariffs():
    registers = NamedRegisters()
    for tariff, watt_hours in ((0, 30), (1, 10), (2, 19)):
        registers.add(Direction.IMPORT, tariff, Decimal(watt_hours))
    assert registers.sample("").import_watt_hours == 30


def test_a_total_that_says_nothing_is_not_made_up_from_tariffs():
    registers = NamedRegisters()
    registers.add(Direction.IMPORT, 0, None)
    registers.add(Direction.IMPORT, 1, Decimal(10))
    with pytest.raises(SampleRefusedError):
        registers.sample("")


@given(
    st.dictionaries(
        st.tuples(st.sampled_from(list(Direction)), st.integers(0, 9)),
        st.none() | st.integers(0, 10**9).map(Decimal) | st.just(Decimal("NaN")) | st.just(Decimal("9.7e36")),
        max_size=8,
    )
)
def test_zero_is_said_of_a_direction_that_is_not_named_and_of_no_other(found):
    registers = NamedRegisters()
    for (direction, tariff), watt_hours in found.items():
        registers.add(direction, tariff, watt_hours)
    try:
        sample = registers.sample("")
    except SampleRefusedError:
        assert not found or any(w is None or not w.is_finite() or w >= 10**12 for w in found.values())
        return
    for direction, said in ((Direction.IMPORT, sample.import_watt_hours), (Direction.EXPORT, sample.export_watt_hours)):
        own = {tariff: wh for (which, tariff), wh in found.items() if which is direction}
        assert said == (own[0] if 0 in own else sum(own.values(), Decimal(0)))


def test_two_channels_name_two_meters():
    registers = NamedRegisters()
    registers.add(Direction.IMPORT, 0, Decimal(1), "0")
    with pytest.raises(SampleRefusedError, match="two channels"):
        registers.add(Direction.IMPORT, 1, Decimal(1), "1")


def test_a_number_that_no_meter_reaches_is_no_sample():
    with pytest.raises(SampleRefusedError) as refusal:
        Sample(10**40, 0)
    assert refusal.value.doubt is Doubt.MALFORMED


def test_the_step_of_a_telegram_is_its_last_digit():
    assert telegram("p1_wh.txt").step_watt_hours == 1
    assert telegram("p1_import_wh_export_kwh.txt").step_watt_hours == 1


def played(step: int, every: int, watts: int = 400, hours: int = 24) -> tuple[list[int | None], int]:
    """What a coarse register gives over some hours of steady use: rounds of 900 s, and how many samples were refused."""
    register, rounds, refused = Register(Limits(900, 30.0, 25_000, 600.0)), {}, 0
    start = 1_700_000_000 // 900 * 900
    for second in range(1, hours * 3600 + 60, every):
        told = (5_000_300 + watts * second // 3600) // step * step
        try:
            crossing = register.take(Sample(told, 0, "E1"), start + second)
        except SampleRefusedError:
            refused += 1
            continue
        if crossing is not None and crossing.closed is not None:
            rounds[crossing.closed] = crossing.watt_hours
    return list(rounds.values()), refused


@pytest.mark.parametrize("step", [1, 10, 100, 200, 250, 500, 1000])
def test_a_coarse_register_loses_no_energy(step):
    rounds, refused = played(step, 2)
    assert refused == 0
    assert None not in rounds
    assert 0 <= 9600 - sum(rounds) <= step


def test_a_register_that_tells_single_watt_hours_and_moves_seldom_is_learned_from_its_first_move():
    """A plug: 237 Wh at a time. What it first shows is a leap for one that has not been seen to move."""
    register, start = Register(Limits(900, 30.0, 3_600, 600.0)), 1_700_000_000 // 900 * 900
    stated, value = [], 5_001
    for second in range(0, 24 * 3600, 10):
        if second % 1500 == 700:
            value += 237
        try:
            crossing = register.take(Sample(value, 0, ""), start + second)
        except SampleRefusedError:
            continue
        if crossing is not None and crossing.closed is not None:
            stated.append(crossing.watt_hours)
    assert sum(wh for wh in stated if wh is not None) >= 237 * (24 * 3600 // 1500 - 2)
    assert sum(wh is None for wh in stated) <= 2


def test_a_meter_that_repeats_its_last_list_gives_gaps_and_no_zero():
    """16:00:11, 17:00:11 ... 20:00:11; the third repeats the second, its own time included."""
    register, closed, doubts = Register(LIMITS), {}, []
    reader = HanReader()
    for at, name in enumerate(sorted(CASES.glob("han_repeated_hour_*.bin"))):
        (sample,) = reader.feed(name.read_bytes())
        try:
            crossing = register.take(sample, START + 3600 * (1 + at) + 11)
        except SampleRefusedError as error:
            doubts.append(error.doubt)
            continue
        if crossing is not None and crossing.closed is not None:
            closed[crossing.closed - START // 3600] = crossing.watt_hours
    assert doubts == [Doubt.REPEATED]
    assert closed == {1: 1770, 2: None, 4: 1170}
