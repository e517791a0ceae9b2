"""What portals export: constructed twins of public formats, and days with 23 and 25 hours."""

from __future__ import annotations

import contextlib
import datetime as dt
from dataclasses import replace
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from support import ROOT

from hushgrid.errors import ConfigurationError
from meter_agent.sources.files.exports import Layout, read_export
from meter_agent.sources.files.meanings import Label, Quantity
from meter_agent.sources.files.portals import LAYOUTS, recognised
from testbed.command import main as hushgrid

CASES = ROOT / "tests" / "meter_agent" / "meter_cases"

#: file -> what is in it: meter -> {UTC start: Wh}.
TWINS = {
    "n3rgy": (
        "timestamp (UTC),energyConsumption (kWh)\n2024-01-01 00:00,0.123\n2024-01-01 00:30,0.0\n2024-01-01 01:00,\n",
        {"home": {"2024-01-01T00:00": 123, "2024-01-01T00:30": 0, "2024-01-01T01:00": None}},
    ),
    "datadis": (
        (
            "cups;fecha;hora;consumo_kWh;metodoObtencion\n"
            "ES0000;2024/01/01;23:00;0,512;Real\nES0000;2024/01/01;24:00;0,25;Real\nES0000;2024/01/02;01:00;1;Real\n"
        ),
        {"ES0000": {"2024-01-01T21:00": 512, "2024-01-01T22:00": 250, "2024-01-01T23:00": 1000}},
    ),
    "fluvius": (
        (
            "Van (datum);Van (tijdstip);Tot (datum);Tot (tijdstip);EAN-code;Register;Volume;Eenheid\n"
            "01-07-2024;00:00:00;01-07-2024;00:15:00;541;Afname Nacht;0,050;kWh\n"
            "01-07-2024;00:00:00;01-07-2024;00:15:00;541;Injectie Nacht;0,020;kWh\n"
            "01-07-2024;00:15:00;01-07-2024;00:30:00;541;Afname Nacht;0,010;kWh\n"
            "01-07-2024;00:15:00;01-07-2024;00:30:00;541;Injectie Nacht;0,110;kWh\n"
            "01-07-2024;00:15:00;01-07-2024;00:30:00;541;Gasvolume;5;m3\n"
        ),
        {"541": {"2024-06-30T22:00": 30, "2024-06-30T22:15": -100}},
    ),
    "eloverblik": (
        (
            "MålepunktsID;Fra_dato;Til_dato;Mængde;Måleenhed;Kvalitet;Type\n"
            "5713;01-01-2024 00:00:00;01-01-2024 01:00:00;0,44;KWH;Målt;Tidsserie\n"
            "5713;01-01-2024 01:00:00;01-01-2024 02:00:00;0,5;KWH;Målt;Tidsserie\n"
        ),
        {"5713": {"2023-12-31T23:00": 440, "2024-01-01T00:00": 500}},
    ),
    "fingrid": (
        (
            "MeteringPointGSRN;Product Type;Resolution;Unit Type;Reading Type;Start Time;Quantity;Quality\n"
            "643;8716867000030;PT1H;kWh;BN01;2024-01-01T22:00:00Z;1,250000;OK\n"
            "643;8716867000030;PT1H;kWh;BN01;2024-01-01T23:00:00Z;0,750000;OK\n"
        ),
        {"643": {"2024-01-01T22:00": 1250, "2024-01-01T23:00": 750}},
    ),
    "wiener": (
        "Datum;Zeit von;Zeit bis;Verbrauch [kWh]\n01.01.2024;00:00:00;00:15:00;0,1\n01.01.2024;00:15:00;00:30:00;0,2\n",
        {"home": {"2023-12-31T23:00": 100, "2023-12-31T23:15": 200}},
    ),
    "enedis": (
        (
            "Identifiant PRM;Type de donnees\n123;Puissance\nHorodate;Valeur\n"
            "2024-01-01T00:30:00+01:00;400\n2024-01-01T01:00:00+01:00;1001\n"
        ),
        {"home": {"2023-12-31T23:00": 200, "2023-12-31T23:30": 500}},
    ),
    "pge": (
        (
            "Name,A. Person\nAddress,\n\nTYPE,DATE,START TIME,END TIME,USAGE (kWh),COST,NOTES\n"
            "Electric usage,2024-01-01,00:00,00:59,0.51,$0.10,\nElectric usage,2024-01-01,01:00,01:59,0.49,$0.10,\n"
        ),
        {"home": {"2024-01-01T08:00": 510, "2024-01-01T09:00": 490}},
    ),
}


def written(tmp_path, text):
    path = tmp_path / "export.csv"
    path.write_text(text, encoding="utf-8")
    return path


def readings(path, layout=None, meter="home"):
    return {
        each.meter: {f"{dt.datetime.fromtimestamp(at, dt.UTC):%Y-%m-%dT%H:%M}": wh for at, wh in each.starts.items()}
        for each in read_export(path, layout or recognised(path), meter)
    }


@pytest.mark.parametrize("name", sorted(TWINS))
def test_a_known_portal_is_read(tmp_path, name):
    text, expected = TWINS[name]
    assert readings(written(tmp_path, text)) == expected


def test_the_two_files_that_people_hold_are_read():
    assert readings(CASES / "lcl_kaggle_shape.csv") == {
        "MAC900001": {"2013-03-11T00:00": 143, "2013-03-11T00:30": None}
    }
    assert readings(CASES / "octopus_shape.csv") == {
        "home": {"2024-03-31T00:00": 123, "2024-03-31T00:30": 201, "2024-03-31T01:00": 311}
    }


def test_every_known_portal_has_a_twin_here():
    assert len(LAYOUTS) == len(TWINS) + 2 == 10


BERLIN = Layout("", ("when",), "kWh", zone="Europe/Berlin", formats=("%d.%m.%Y %H:%M",), delimiter=";")


def local_day(day, zone, step_minutes=60):
    """All local times of a day as a clock on the wall shows them, in order."""
    at = dt.datetime.combine(day, dt.time(), ZoneInfo(zone)).astimezone(dt.UTC)
    while (shown := at.astimezone(ZoneInfo(zone))).date() == day:
        yield at, shown
        at += dt.timedelta(minutes=step_minutes)


@pytest.mark.parametrize("step", [15, 30, 60])
@pytest.mark.parametrize(("day", "hours"), [((2024, 3, 31), 23), ((2024, 10, 27), 25), ((2024, 7, 1), 24)])
def test_days_of_23_and_25_hours_are_exact(tmp_path, day, hours, step):
    rows = list(local_day(dt.date(*day), "Europe/Berlin", step))
    lines = [f"{shown:%d.%m.%Y %H:%M};0.{at:03}" for at, (_, shown) in enumerate(rows)]
    found = readings(written(tmp_path, "\n".join(["when;kWh", *lines])), BERLIN)["home"]
    assert found == {f"{utc:%Y-%m-%dT%H:%M}": at for at, (utc, _) in enumerate(rows)}
    assert len(found) == hours * 60 // step


def test_a_time_that_no_clock_showed_is_refused(tmp_path):
    path = written(tmp_path, "when;kWh\n31.03.2024 01:30;1\n31.03.2024 02:30;1\n")
    with pytest.raises(ConfigurationError, match="line 3, column when: no clock in Europe/Berlin showed that time"):
        read_export(path, BERLIN, "home")


def test_registers_are_floored_before_they_are_subtracted_and_a_missing_one_makes_gaps(tmp_path):
    text = "when,kWh\n" + "".join(
        f"2024-01-01T0{hour}:00Z,{said}\n" for hour, said in enumerate(("1.0009", "1.0019", "", "1.5", "1.4", "1.6"))
    )
    layout = Layout("", ("when",), "kWh", quantity=Quantity.REGISTER)
    assert list(readings(written(tmp_path, text), layout)["home"].values()) == [1, None, None, None, 200]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("2024-01-01T00:00Z,one", "line 2, column kWh: not a number"),
        ("2024-01-01T00:00Z,1_0", "column kWh: not a number"),
        ("2024-01-01T00:00Z,NaN1", "column kWh: not a number"),
        ("2024-01-01T00:00Z,Infinity", "column kWh: not a number of energy"),
        ("2024-01-01T00:00Z,1e40", "column kWh: not a number of energy"),
        ("yesterday,1", "column when: not a time of the form that is expected"),
        ("2024-01-01T00:00Z", "line 2, column kWh: the row ends before it"),
    ],
)
def test_what_is_not_understood_is_refused_and_named(tmp_path, line, says):
    with pytest.raises(ConfigurationError, match=says):
        read_export(written(tmp_path, f"when,kWh\n{line}\n"), Layout("", ("when",), "kWh"), "home")


def test_a_point_beside_a_decimal_comma_is_no_guess(tmp_path):
    layout, path = replace(BERLIN, decimal_comma=True), written(tmp_path, "when;kWh\n01.01.2024 00:00;1.234\n")
    with pytest.raises(ConfigurationError, match="a point in a number with a decimal comma"):
        read_export(path, layout, "home")


def test_two_values_of_one_interval_are_refused(tmp_path):
    text = "when,kWh\n2024-01-01T00:00Z,1\n2024-01-01T01:00Z,1\n2024-01-01T00:00Z,2\n"
    with pytest.raises(ConfigurationError, match="line 4: meter home has another value for the same time further up"):
        read_export(written(tmp_path, text), Layout("", ("when",), "kWh"), "home")


@given(st.text(max_size=200))
def test_whatever_a_file_holds_it_is_read_or_refused(tmp_path_factory, text):
    path = tmp_path_factory.mktemp("export") / "any.csv"
    path.write_text(f"when,kWh\n{text}", encoding="utf-8", errors="replace")
    with contextlib.suppress(ConfigurationError):
        read_export(path, Layout("", ("when",), "kWh", label=Label.END), "home")


@given(st.lists(st.none() | st.decimals(Decimal(-50), Decimal(50), places=4), min_size=2, max_size=30))
def test_kilowatt_hours_become_watt_hours_exactly(tmp_path_factory, values):
    path = tmp_path_factory.mktemp("export") / "kwh.csv"
    starts = [dt.datetime(2024, 1, 1, tzinfo=dt.UTC) + dt.timedelta(minutes=30 * at) for at in range(len(values))]
    rows = [f"{start:%Y-%m-%dT%H:%MZ},{'' if kwh is None else kwh}" for start, kwh in zip(starts, values, strict=True)]
    path.write_text("\n".join(["when,kWh", *rows]))
    found = readings(path, Layout("", ("when",), "kWh"))["home"]
    for start, kwh in zip(starts, values, strict=True):
        said = found[f"{start:%Y-%m-%dT%H:%M}"]
        assert said is None if kwh is None else abs(said - kwh * 1000) <= Decimal("0.5")


def test_the_command_writes_what_the_testbed_reads(tmp_path):
    path = written(tmp_path, TWINS["wiener"][0])
    done = CliRunner().invoke(hushgrid, ["convert", str(path), "--name", "m1"])
    assert done.exit_code == 0, done.output
    assert "read as Wiener Netze, Austria" in done.output
    assert "m1: 2023-12-31T23:00Z to 2023-12-31T23:30Z, every 900 s, 2 readings, 0 gaps, 300 Wh" in done.output
    target = tmp_path / "export.csv.long.csv"
    assert target.read_text().splitlines() == [
        "meter,start_utc,wh", "m1,2023-12-31T23:00:00Z,100", "m1,2023-12-31T23:15:00Z,200"
    ]  # fmt: skip
    again = CliRunner().invoke(hushgrid, ["convert", str(path)])
    assert again.exit_code == 2
    assert "is there already" in again.output


def test_any_table_can_be_described(tmp_path):
    path = written(
        tmp_path, "Zeit|Bezug|Lieferung\n27.10.2024 02:00|100|0\n27.10.2024 02:30|0|50\n27.10.2024 02:00|7|0\n"
    )
    options = ["--time", "Zeit", "--energy", "Bezug", "--feed-in", "Lieferung", "--unit", "Wh", "--zone", "Europe/Berlin",
               "--format", "%d.%m.%Y %H:%M", "--delimiter", "|", "--output", str(tmp_path / "out.csv")]  # fmt: skip
    done = CliRunner().invoke(hushgrid, ["convert", str(path), *options])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "out.csv").read_text().splitlines()[1:] == [
        "export,2024-10-27T00:00:00Z,100", "export,2024-10-27T00:30:00Z,-50", "export,2024-10-27T01:00:00Z,7"
    ]  # fmt: skip


def test_an_unknown_table_names_what_is_known(tmp_path):
    done = CliRunner().invoke(hushgrid, ["convert", str(written(tmp_path, "a,b\n1,2\n"))])
    assert done.exit_code == 2
    assert "the columns of no known portal (Octopus Energy, Great Britain;" in done.output
    assert "Traceback" not in done.output
