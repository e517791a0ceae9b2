"""Other files of the kinds that were once read wrong: read right, or refused with the line, the column and the reason."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hushgrid.errors import ConfigurationError
from hushgrid.shell.membership import Member
from hushgrid.wire.role import Role
from meter_agent.config import MeterConfig
from meter_agent.service import MeterStation
from meter_agent.sources import open_source
from meter_agent.sources.files.exports import Layout, read_export
from meter_agent.sources.files.meanings import Quantity
from meter_agent.sources.files.portals import described, recognised
from meter_agent.sources.files.replay import replay_csv
from meter_agent.sources.files.steps import longer_step
from meter_agent.sources.files.tables import open_table, read_table, usual_step
from meter_agent.sources.sections import SourceSection

ISO = Layout("", ("when",), "kWh")
VIENNA = Layout("", ("when",), "kWh", zone="Europe/Vienna", formats=("%d.%m.%Y %H:%M",), delimiter=";")


def written(tmp_path, text, encoding="utf-8"):
    path = tmp_path / "export.csv"
    path.write_bytes(text.encode(encoding))
    return path


def values(path, layout):
    (found,) = read_export(path, layout, "home")
    return [found.starts[start] for start in sorted(found.starts)]


def hours(*cells: str, begin: int = 0) -> str:
    return "when,kWh\n" + "".join(f"2024-01-01T{begin + at:02}:00Z,{cell}\n" for at, cell in enumerate(cells))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_what_spreadsheets_put_before_a_table_is_no_part_of_it(tmp_path, encoding):
    assert values(written(tmp_path, hours("1", "2"), encoding), ISO) == [1000, 2000]


def test_another_encoding_is_refused_or_named(tmp_path):
    path = written(tmp_path, "when,Z\u00e4hler\n2024-01-01T00:00Z,1\n2024-01-01T01:00Z,2\n", "cp1252")
    layout = replace(ISO, energy="Z\u00e4hler")
    with pytest.raises(ConfigurationError, match="not text in UTF-8"):
        values(path, layout)
    assert values(path, replace(layout, encoding="cp1252")) == [1000, 2000]
    for encoding in ("no-such", "hex"):
        with pytest.raises(ConfigurationError, match="cannot be read"):
            values(path, replace(layout, encoding=encoding))
    with pytest.raises(ConfigurationError, match="one character"):
        values(path, replace(layout, delimiter="::"))


@pytest.mark.parametrize(
    ("cell", "says"),
    [
        ('"1,234"', "not a number"),
        ('"1.234,5"', "not a number"),
        ("1 234", "not a number"),
        ("1'234", "not a number"),
        ("1.2.3", "not a number"),
        ("0x10", "not a number"),
        ("1.5 kWh", "not a number"),
        ("\u0661", "not a number"),
        ("500000", "in which unit is it"),
        ("-500000", "in which unit is it"),
        ("1e9", "in which unit is it|not a number of energy"),
        ("1e999999999", "not a number of energy"),
    ],
)  # fmt: skip
def test_a_number_that_is_not_understood_is_refused(tmp_path, cell, says):
    with pytest.raises(ConfigurationError, match=says):
        values(written(tmp_path, hours("1", "2", cell)), replace(ISO, most_watts=100_000))


@pytest.mark.parametrize(("cell", "watt_hours"), [("1.2E-1", 120), ("+1", 1000), ("-0.5", -500), ("1e0", 1000)])
def test_numbers_as_programs_write_them_are_read(tmp_path, cell, watt_hours):
    assert values(written(tmp_path, hours("1", "2", cell)), ISO)[-1] == watt_hours


@pytest.mark.parametrize(
    ("name", "unit", "right"),
    [
        ("kWh", "kWh", True),
        ("Use (kWh)", "kWh", True),
        ("Use (Wh)", "kWh", False),
        ("Use [Wh]", "Wh", True),
        ("Power [kW]", "kWh", False),
        ("energy(kWh/hh)", "kWh", True),
        ("Use (what)", "kWh", True),
    ],
)
def test_a_unit_that_a_column_names_is_heeded(tmp_path, name, unit, right):
    path = written(tmp_path, hours("1", "2").replace("kWh", name))
    layout = replace(ISO, energy=name, unit=unit)
    if right:
        assert len(values(path, layout)) == 2
    else:
        with pytest.raises(ConfigurationError, match="another unit"):
            values(path, layout)


def test_each_row_s_own_unit_counts(tmp_path):
    text = "when,use,unit\n2024-01-01T00:00Z,1.5,KWH\n2024-01-01T01:00Z,250,Wh\n2024-01-01T02:00Z,5,m3\n"
    layout = Layout("", ("when",), "use", unit_column="unit")
    with pytest.raises(ConfigurationError, match="line 4, column unit: not a unit"):
        values(written(tmp_path, text), layout)
    assert values(written(tmp_path, text.rpartition("2024")[0]), layout) == [1500, 250]


FLUVIUS = (
    "Van (datum);Van (tijdstip);Tot (datum);Tot (tijdstip);EAN-code;Register;Volume;Eenheid\n"
    "01-07-2024;00:00:00;01-07-2024;00:15:00;541;Afname Nacht;0,050;kWh\n"
    "01-07-2024;00:15:00;01-07-2024;00:30:00;541;Afname Nacht;0,010;kWh\n"
    "01-07-2024;00:15:00;01-07-2024;00:30:00;541;Injectie Nacht;0,030;kWh\n"
)


def test_rows_that_add_up_are_counted_once_when_they_come_twice(tmp_path):
    twice = FLUVIUS + "".join(FLUVIUS.splitlines(keepends=True)[1:])
    path = written(tmp_path, twice)
    assert values(path, recognised(path)) == [50, -20]
    path = written(tmp_path, FLUVIUS + "01-07-2024;00:15:00;x;x;541;Afname Nacht;0,011;kWh\n")
    with pytest.raises(ConfigurationError, match="line 5: meter 541 has another value"):
        values(path, recognised(path))


def test_a_unit_of_a_known_portal_is_heeded(tmp_path):
    path = written(tmp_path, FLUVIUS.replace("0,050;kWh", "50;Wh"))
    assert values(path, recognised(path)) == [50, -20]


# Times


def test_rows_that_come_twice_in_the_hour_that_occurs_twice_are_no_second_hour(tmp_path):
    shown = ["01:45", "02:00", "02:15", "02:30", "02:45", "02:00", "02:15", "02:30", "02:45", "03:00"]
    rows = [f"27.10.2024 {at};0.0{n:02}" for n, at in enumerate(shown)]
    once = values(written(tmp_path, "when;kWh\n" + "\n".join(rows)), VIENNA)
    twice = values(written(tmp_path, "when;kWh\n" + "\n".join(row for row in rows for _ in range(2))), VIENNA)
    assert once == twice == list(range(10))


def test_an_hour_that_occurs_twice_needs_both_its_rows(tmp_path):
    rows = [f"27.10.2024 {hour:02}:00;{n}" for n, hour in enumerate((0, 1, 2, 2, 3, 4))]
    assert values(written(tmp_path, "when;kWh\n" + "\n".join(rows)), VIENNA) == [n * 1000 for n in range(6)]


@pytest.mark.parametrize("text", ["01.01.2024 24:15", "01.01.2024 25:00", "32.01.2024 00:00", "31.12.9999 24:00"])
def test_a_time_that_is_none_is_refused(tmp_path, text):
    with pytest.raises(ConfigurationError, match="line 2, column when: not a time"):
        values(written(tmp_path, f"when;kWh\n{text};1\n01.01.2024 00:00;1\n"), VIENNA)


@pytest.mark.parametrize("text", ["0001-01-01T00:00+14:00", "9999-12-31T23:59-14:00", "1900-01-01T00:00Z"])
def test_a_time_in_which_no_meter_counts_is_refused(tmp_path, text):
    with pytest.raises(ConfigurationError, match="line 2, column when: a time in which no meter counts"):
        values(written(tmp_path, f"when,kWh\n{text},1000\n"), replace(ISO, step_seconds=1800))
    with pytest.raises(ConfigurationError, match="line 2, column start_utc: a time in which no meter counts"):
        replay_csv(written(tmp_path, f"meter,start_utc,wh\nm1,{text},1000\n"), ["m1"], None, None, 1800)


def test_a_form_without_a_year_is_refused():
    with pytest.raises(ConfigurationError, match="without a year"):
        replace(VIENNA, formats=("%d.%m. %H:%M",))


# Registers


def test_a_register_that_leaps_as_another_meter_s_does_is_a_gap(tmp_path):
    layout = replace(ISO, quantity=Quantity.REGISTER)
    text = hours("10", "11", "90000", "90001", "5", "6")
    assert values(written(tmp_path, text), layout) == [1000, None, 1000, None, 1000]


# Steps


def test_a_while_of_longer_steps_is_found():
    half_hours = list(range(100))
    assert longer_step(half_hours) is None
    assert longer_step([*half_hours, *range(100, 140, 2)]) == 2
    assert longer_step([*half_hours[:50], *half_hours[60:]]) is None
    assert longer_step(sorted({*half_hours} - {3, 9, 27, 81})) is None
    assert longer_step([]) is None


def test_a_file_that_is_hourly_for_a_day_is_refused(tmp_path):
    halves = [f"m1,2024-01-01T{hour:02}:{minute:02}:00Z,5\n" for hour in range(24) for minute in (0, 30)]
    hourly = [f"m1,2024-01-02T{hour:02}:00:00Z,10\n" for hour in range(24)]
    path = written(tmp_path, "meter,start_utc,wh\n" + "".join(halves + hourly))
    with pytest.raises(ConfigurationError, match="meter m1 has readings every 3600 s"):
        replay_csv(path, ["m1"], None, None, 1800)
    path = written(tmp_path, "when,kWh\n" + "".join(row[3:].replace(",", ",0.0") for row in halves + hourly))
    with pytest.raises(ConfigurationError, match="rows every 3600 s beside its step of 1800 s"):
        values(path, ISO)


@pytest.mark.parametrize("cell", ["9" * 13, "9" * 16, "1e3", "1.0", "1,000"])
def test_no_whole_number_that_a_meter_can_have_counted_is_refused_in_our_own_format(tmp_path, cell):
    path = written(tmp_path, f'meter,start_utc,wh\nm1,2024-01-01T00:00:00Z,"{cell}"\n')
    with pytest.raises(ConfigurationError, match="line 2, column wh"):
        replay_csv(path, ["m1"], None, None, 1800)


@pytest.mark.parametrize("cell", ["1e20", "1e999999999", "9e9", "1,5", "NaN", "Infinity", "null"])
def test_a_published_number_that_no_meter_counts_is_refused(tmp_path, cell):
    text = f'LCLid,stdorToU,DateTime,KWH/hh (per half hour)\nM,Std,2013-01-01 00:30:00,"{cell}"\n'
    path = written(tmp_path, text)
    with pytest.raises(ConfigurationError, match="line 2"):
        replay_csv(path, ["M"], None, None, 1800)


# A meter's own csv source, described


def test_a_described_table_gives_a_meter_its_rounds(tmp_path):
    path = written(tmp_path, "when,kWh\n2024-01-01T00:00Z,0.5\n2024-01-01T00:30Z,\n2024-01-01T01:00Z,1\n")
    said = {"time": ("when",), "energy": "kWh"}
    assert open_table(path, said) == "the columns named"
    assert usual_step(path, said, "m1") == 1800
    replay = read_table(path, said, ["m1"], None, None, 1800)["m1"]
    first = 1_704_067_200 // 1800
    assert [replay.reading(first + at).watt_hours for at in range(-1, 4)] == [None, 500, None, 1000, None]
    with pytest.raises(ConfigurationError, match="readings every 1800 s, the grid's rounds last 3600 s"):
        read_table(path, said, ["m1"], None, None, 3600)
    with pytest.raises(ConfigurationError, match="no column names the meter, and there are 2"):
        read_table(path, said, ["m1", "m2"], None, None, 1800)
    late = written(tmp_path, "when,kWh\n2024-01-01T00:10Z,0.5\n2024-01-01T00:40Z,1\n")
    with pytest.raises(ConfigurationError, match="not on the grid of 1800 s"):
        read_table(late, said, ["m1"], None, None, 1800)


def test_a_known_portal_s_table_needs_no_description(tmp_path):
    path = written(tmp_path, FLUVIUS)
    assert open_table(path, {}) == "Fluvius, Belgium"
    assert list(read_table(path, {}, ["541"], None, None, 900)["541"].watt_hours.values()) == [50, -20]
    with pytest.raises(ConfigurationError, match="meter m1 is not in the file"):
        read_table(path, {}, ["m1"], None, None, 900)


def test_a_meter_s_configuration_describes_its_table(tmp_path):
    path = written(tmp_path, "when;use\n01.01.2024 01:00;0,5\n01.01.2024 01:30;1\n")
    table = {
        "time": ["when"],
        "energy": "use",
        "zone": "Europe/Vienna",
        "formats": ["%d.%m.%Y %H:%M"],
        "delimiter": ";",
    }
    section = SourceSection.model_validate({"kind": "csv", "path": path, "csv": table | {"decimal_comma": True}})
    opened = open_source(
        section.kind, section.path, ["m1"], first_round=None, last_round=None, interval_seconds=1800, seed=1,
        said=section.described,
    )  # fmt: skip
    assert [opened["m1"].reading(1_704_067_200 // 1800 + at).watt_hours for at in range(3)] == [500, 1000, None]
    config = MeterConfig.model_validate({
        "agent": {"id": "m1", "state_directory": tmp_path / "state"}, "configurator": {"identity": "0" * 64},
        "source": section,
    })  # fmt: skip
    for mechanism in MeterStation(config, [Member("m1", Role.METER, None)], None).mechanisms:
        mechanism.close()
    with pytest.raises(ConfigurationError, match="no known header"):
        open_table(path, SourceSection(kind="csv", path=path).described)


def test_half_a_description_is_refused(tmp_path):
    with pytest.raises(ConfigurationError, match="belong together"):
        described(written(tmp_path, FLUVIUS), {"energy": "Volume"})
