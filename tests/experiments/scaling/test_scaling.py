"""The scaling projections: docs/scaling.md says what its own unit costs come to, and costs grow with the number of meters only."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
from support import ROOT

from experiments.scaling.connections import connection_costs
from experiments.scaling.projection import (
    amount,
    between_marks,
    limits,
    load,
    number,
    page,
    ppn_core_seconds,
    rounded,
)
from experiments.scaling.units import PACKED, UNIT_NAMES, WIDTH, Units

PAGE = ROOT / "docs" / "scaling.md"
ONES = Units(**{field.name: 1.0 for field in fields(Units)})


def units_of(text: str) -> Units:
    """The measured units out of a page."""
    names = {name: key for key, name in UNIT_NAMES.items()}
    found = {}
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if len(cells) == 2 and cells[0] in names:
            found[names[cells[0]]] = float(cells[1].replace(",", ""))
    return Units(**found)


def test_the_page_shows_exactly_what_its_unit_costs_come_to():
    _, tables, _ = between_marks(PAGE.read_text(encoding="utf-8"))
    assert page(units_of(tables)) == tables


def test_units_are_read_back_from_a_page():
    units = rounded(replace(ONES, open_microseconds=12_345.678, journal_bytes=0.123_456))
    assert units_of(page(units)) == units
    assert units.open_microseconds == 12_300


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (0.123456, "0.123"), (999.4, "999"), (1234, "1,230"), (123_456_789, "123,000,000")]
)
def test_numbers_have_three_figures(value, text):
    assert number(value) == text


@pytest.mark.parametrize(("value", "text"), [(999, "999 B"), (1_234_000, "1.23 MB"), (5.6e13, "56 TB")])
def test_bytes_have_decimal_units(value, text):
    assert amount(value) == text


def test_a_million_meters_at_unit_costs_are_what_a_person_computes():
    found = load(ONES, 900_000)
    assert found["readings per second"] == "1,000"
    assert found["messages per second, one meter each (envelopes and receipts)"] == "8,000"
    assert found["messages per second, 250 meters each"] == "32"
    assert found["one PPN: CPU seconds per round, in its workers"] == number(0.9 * 5)
    assert found["one PPN: written to disk per round"] == "900 kB"
    assert found["bytes per second into the broker, one meter each"] == "8 kB"


def test_ten_times_the_meters_cost_ten_times_as_much():
    assert ppn_core_seconds(ONES, 10**7) == pytest.approx(10 * ppn_core_seconds(ONES, 10**6))


def test_limits_are_told_fewest_first_and_move_with_their_own_cost_only():
    before = dict(limits(ONES))
    assert list(before.values()) == sorted(before.values())
    after = dict(limits(replace(ONES, nats_packed=2.0)))
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"a core for one NATS node, 250 meters per message"}
    assert before["a core for one NATS node, 250 meters per message"] == 450 * PACKED / (2 * WIDTH)


def test_connections_cost_what_a_person_computes():
    units = replace(ONES, connection_bytes=20_000.0, handshake_microseconds=1_800.0)
    found = load(units, 1_000_000)
    assert found["brokers: memory of idle TLS connections, one meter each"] == "20 GB"
    assert found["brokers: memory of idle TLS connections, 250 meters each"] == "80 MB"
    assert found["brokers: CPU seconds when all connect anew, one meter each"] == "1,800"
    carried = dict(limits(units))
    assert carried["16 GB of memory for a broker's TLS connections, one meter each"] == 400_000
    assert carried["one Mosquitto, all connecting anew within a round, one meter each"] == 250_000


@pytest.mark.system
async def test_a_broker_with_doors_holds_every_connection_that_is_counted(tmp_path, mosquitto):
    assert mosquitto
    found = await connection_costs(tmp_path / "doors", connections=40)
    assert found.keys() == {"connection_bytes", "handshake_microseconds"}
    assert 0 < found["handshake_microseconds"] < 1e6
