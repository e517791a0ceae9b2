"""Readings out of files and out of nothing: what is replayed, what is refused, what is constructed."""

import csv
import datetime as dt
import gzip
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import ROOT

from hushgrid.errors import ConfigurationError
from meter_agent.sources import Reading, Source, open_source
from meter_agent.sources.constructed import ConstructedHouseholds
from meter_agent.sources.files.replay import replay_csv

PROJECT = ROOT
SAMPLES = PROJECT / "tests" / "samples"
INTERVAL = 1800
MIDNIGHT = int(dt.datetime(2013, 6, 1, tzinfo=dt.UTC).timestamp()) // INTERVAL


def replayed(path, meters, first=MIDNIGHT, last=MIDNIGHT + 3, interval=INTERVAL):
    sources = replay_csv(path, meters, first, last, interval)
    return {meter: [source.reading(r).watt_hours for r in range(first, last + 1)] for meter, source in sources.items()}


def written(tmp_path, text):
    path = tmp_path / "readings.csv"
    path.write_text(text, encoding="utf-8")
    return path


def refusal(path, meters=("a",)):
    with pytest.raises(ConfigurationError) as caught:
        replay_csv(path, meters, None, None, INTERVAL)
    text = str(caught.value)
    assert "\n" not in text
    assert str(path) in text
    return text.removeprefix(str(path))


def test_the_publishers_labels_mark_the_end_and_its_kwh_round_half_even():
    assert replayed(SAMPLES / "constructed_published.csv", ["MADE0001", "MADE0002"]) == {
        "MADE0001": [100, 234, 236, None],
        "MADE0002": [0, 1201, None, 55],
    }


def test_the_wide_format_has_one_column_per_meter_and_feed_in_is_negative():
    assert replayed(SAMPLES / "constructed_wide.csv", ["MADE0003", "MADE0002"]) == {
        "MADE0003": [7, 8, 0, 9],
        "MADE0002": [-250, None, -240, -230],
    }


def test_the_long_format_may_be_in_any_order():
    assert replayed(SAMPLES / "constructed_long.csv", ["MADE0001", "MADE0002"]) == {
        "MADE0001": [100, 110, None, None],
        "MADE0002": [-250, None, None, -230],
    }


def test_a_packed_file_reads_like_a_plain_one_whatever_its_name(tmp_path):
    plain = SAMPLES / "constructed_wide.csv"
    packed = tmp_path / "readings.csv"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    assert replayed(packed, ["MADE0001"]) == replayed(plain, ["MADE0001"])


def test_a_byte_order_mark_and_windows_line_ends_do_not_matter(tmp_path):
    path = written(tmp_path, "\ufeffmeter,start_utc,wh\r\na,2013-06-01T00:00:00Z,5\r\n\r\n")
    assert replayed(path, ["a"], last=MIDNIGHT) == {"a": [5]}


def test_only_the_rounds_asked_for_are_kept_in_memory():
    source = replay_csv(SAMPLES / "constructed_wide.csv", ["MADE0001"], MIDNIGHT + 1, MIDNIGHT + 2, INTERVAL)[
        "MADE0001"
    ]
    assert source.watt_hours == {MIDNIGHT + 1: 110, MIDNIGHT + 2: 120}


def test_a_round_outside_the_opened_span_is_refused_and_a_round_outside_the_file_is_a_gap():
    path = SAMPLES / "constructed_wide.csv"
    bounded = replay_csv(path, ["MADE0001"], MIDNIGHT, MIDNIGHT + 3, INTERVAL)["MADE0001"]
    with pytest.raises(LookupError):
        bounded.reading(MIDNIGHT + 4)
    with pytest.raises(LookupError):
        bounded.reading(MIDNIGHT - 1)
    unbounded = replay_csv(path, ["MADE0001"], None, None, INTERVAL)["MADE0001"]
    assert unbounded.reading(MIDNIGHT + 4) == Reading(MIDNIGHT + 4, None)


async def test_every_source_answers_the_same_read():
    sources: list[Source] = [
        open_source(
            kind,
            SAMPLES / "constructed_wide.csv",
            ["MADE0001"],
            first_round=MIDNIGHT,
            last_round=MIDNIGHT,
            interval_seconds=INTERVAL,
            seed=1,
        )["MADE0001"]
        for kind in ("csv", "constructed")
    ]
    assert [(await source.read(MIDNIGHT)).round for source in sources] == [MIDNIGHT, MIDNIGHT]
    assert [source.label for source in sources] == ["replay of constructed_wide.csv", "constructed"]


@pytest.mark.parametrize(("kind", "says"), [("p2", "csv, constructed"), ("csv", "needs a path")])
def test_a_source_that_cannot_be_opened_says_why(kind, says):
    with pytest.raises(ConfigurationError, match=says):
        open_source(kind, None, ["a"], first_round=None, last_round=None, interval_seconds=INTERVAL, seed=1)


LONG = "meter,start_utc,wh\n"
PUBLISHED = "LCLid,stdorToU,DateTime,KWH/hh (per half hour) \n"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", ", line 1: the file has no header"),
        ("when,what\n1,2\n", ", line 1: no known header"),
        ("meter,start_utc\na,2013-06-01T00:00:00Z\n", ", line 1, column wh: the column is missing"),
        ("start_utc\n2013-06-01T00:00:00Z\n", ", line 1: there is no column of a meter"),
        ("start_utc,a,a\n", ", line 1, column a: the column occurs twice"),
        ("start_utc,a,,b\n", ", line 1: column 3 has no name"),
        ("LCLid,stdorToU,KWH/hh (per half hour) \n", ", line 1, column DateTime: the column is missing"),
        (LONG + "a,2013-06-01T00:00:00Z\n", ", line 2: 2 columns where the header has 3"),
        (LONG + "a,2013-06-01T00:00:00Z,1.5\n", ", line 2, column wh: not a whole number of Wh"),
        (LONG + "a,2013-06-01T00:00:00Z,1_000\n", ", line 2, column wh: not a whole number of Wh"),
        (LONG + "a,2013-06-01T00:00:00Z,٣\n", ", line 2, column wh: not a whole number of Wh"),
        ("start_utc,b,a\n2013-06-01T00:00:00Z,1,nan\n", ", line 2, column a: not a whole number of Wh"),
        (PUBLISHED + "a,Std,2013-06-01 00:30:00,NaN\n", "not a number of kWh"),
        (PUBLISHED + "a,Std,2013-06-01 00:30:00,1e400\n", "not a number of kWh"),
        (PUBLISHED + "a,Std,2013-06-01 00:30:00,\n", "not a number of kWh"),
        (
            PUBLISHED + "a,Std,2013-06-01 00:31:00, 0.1 \n",
            ", line 2, column DateTime: the time is not on the half hour",
        ),
        (
            PUBLISHED + "a,Std,2013-06-01 00:30:00.5, 0.1 \n",
            ", line 2, column DateTime: the time is not on the half hour",
        ),
        (PUBLISHED + "a,Std,2013-06-01 00:30:00+01:00, 0.1 \n", ", line 2, column DateTime: the time is not UTC"),
        (LONG + "a,2013-06-01T00:00:00,1\n", ", line 2, column start_utc: the time does not say that it is UTC"),
        (LONG + "a,2013-06-01T00:00:00+01:00,1\n", ", line 2, column start_utc: the time is not UTC"),
        (LONG + "a,yesterday,1\n", ", line 2, column start_utc: not a time"),
        (LONG + "a,2013-06-01T00:00:00.5Z,1\n", ", line 2, column start_utc: the time has a part of a second"),
        (LONG + "a,2013-06-01T00:10:00Z,1\n", ", line 2, column start_utc: the time is not on the grid of 1800 s"),
        (LONG + ",2013-06-01T00:00:00Z,1\n", ", line 2, column meter: no meter is named"),
        (LONG + "b,2013-06-01T00:00:00Z,1\n", ": meter a is not in the file"),
        ("start_utc,b\n2013-06-01T00:00:00Z,1\n", ": meter a is not in the file"),
        (
            LONG + "a,2013-06-01T00:00:00Z,1\na,2013-06-01T00:00:00Z,2\n",
            ", line 3, column wh: meter a has another value",
        ),
        (
            LONG + "a,2013-06-01T00:00:00Z,0\na,2013-06-01T00:00:00Z,\n",
            ", line 3, column wh: meter a has another value",
        ),
    ],
)
def test_a_file_that_cannot_be_used_is_named_with_line_and_column(tmp_path, text, says):
    assert says in refusal(written(tmp_path, text))


def test_a_refusal_never_shows_the_value(tmp_path):
    assert "4711" not in refusal(written(tmp_path, LONG + "a,2013-06-01T00:00:00Z,4711.0\n"))


def test_a_file_that_cannot_be_read_is_one_line(tmp_path):
    assert "No such file" in refusal(tmp_path / "absent.csv")
    assert "Is a directory" in refusal(tmp_path)
    broken = tmp_path / "broken.csv.gz"
    broken.write_bytes(gzip.compress(b"start_utc,a\n" + b"2013-06-01T00:00:00Z,1\n" * 2000)[:-30])
    assert "cannot be read" in refusal(broken)
    binary = tmp_path / "binary.csv"
    binary.write_bytes(b"start_utc,a\n\xff\xfe,1\n")
    assert "not text in UTF-8" in refusal(binary)


def test_several_unknown_meters_are_counted_in_one_line():
    assert "meter NOBODY1 (and 1 more)" in refusal(SAMPLES / "constructed_wide.csv", ["NOBODY2", "NOBODY1"])


def test_a_known_meter_without_a_row_in_the_span_has_gaps():
    assert replayed(SAMPLES / "constructed_long.csv", ["MADE0001"], MIDNIGHT + 2, MIDNIGHT + 3) == {
        "MADE0001": [None, None]
    }


def test_half_hours_do_not_serve_a_grid_of_other_rounds():
    with pytest.raises(ConfigurationError, match="half hours"):
        replay_csv(SAMPLES / "constructed_published.csv", ["MADE0001"], None, None, 900)
    with pytest.raises(ConfigurationError, match="line 3, column start_utc: the time is not on the grid of 3600 s"):
        replay_csv(SAMPLES / "constructed_wide.csv", ["MADE0001"], None, None, 3600)


TABLES = st.dictionaries(
    st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,8}", fullmatch=True).filter(
        lambda name: name not in {"wh", "meter", "start_utc"}
    ),
    st.lists(st.none() | st.integers(-(10**9), 10**9), min_size=4, max_size=4),
    min_size=1,
    max_size=4,
)


def start_text(round_number):
    return dt.datetime.fromtimestamp(round_number * INTERVAL, tz=dt.UTC).isoformat().replace("+00:00", "Z")


@given(TABLES)
def test_all_three_formats_give_back_what_was_written(tmp_path_factory, table):
    path = tmp_path_factory.mktemp("formats")
    rounds = range(MIDNIGHT, MIDNIGHT + 4)
    with (path / "wide").open("w", newline="") as wide:
        out = csv.writer(wide)
        out.writerow(["start_utc", *table])
        out.writerows(
            [start_text(r), *("" if row[r - MIDNIGHT] is None else row[r - MIDNIGHT] for row in table.values())]
            for r in rounds
        )
    with (path / "long").open("w", newline="") as long:
        out = csv.writer(long)
        out.writerow(["meter", "start_utc", "wh"])
        out.writerows(
            [m, start_text(r), "" if row[r - MIDNIGHT] is None else row[r - MIDNIGHT]]
            for m, row in table.items()
            for r in rounds
        )
    with (path / "published").open("w", newline="") as published:
        out = csv.writer(published)
        out.writerow(["LCLid", "stdorToU", "DateTime", "KWH/hh (per half hour) "])
        for m, row in table.items():
            for r in rounds:
                wh = row[r - MIDNIGHT]
                label = start_text(r + 1).replace("T", " ").replace("Z", ".0000000")
                out.writerow(
                    [
                        m,
                        "Std",
                        label,
                        "Null" if wh is None else f"{'-' * (wh < 0)}{abs(wh) // 1000}.{abs(wh) % 1000:03}",
                    ]
                )
    for name in ("wide", "long", "published"):
        assert replayed(path / name, list(table)) == table


def test_constructed_households_depend_on_seed_meter_and_round_alone():
    one, again, other = (ConstructedHouseholds(seed, INTERVAL) for seed in (1, 1, 2))
    rounds = range(MIDNIGHT, MIDNIGHT + 48)
    forwards = [one.watt_hours("m0001", r) for r in rounds]
    assert [again.watt_hours("m0001", r) for r in reversed(rounds)] == forwards[::-1]
    assert [other.watt_hours("m0001", r) for r in rounds] != forwards
    assert [one.watt_hours("m0002", r) for r in rounds] != forwards
    assert one.household("m0001").reading(MIDNIGHT) == Reading(MIDNIGHT, forwards[0])


def test_constructed_values_are_the_same_on_every_machine():
    households = ConstructedHouseholds(1, INTERVAL)
    assert [households.watt_hours("m0001", MIDNIGHT + r) for r in (0, 13, 24, 37)] == [98, 178, 130, 414]


def test_a_fifth_of_constructed_households_feeds_in_at_midday_in_summer_and_winter():
    households = ConstructedHouseholds(7, INTERVAL)
    meters = [f"m{number:04}" for number in range(1, 501)]
    roofs = [meter for meter in meters if households.feeds_in(meter)]
    assert 70 <= len(roofs) <= 130
    for midday in (MIDNIGHT + 24, MIDNIGHT + 24 + 183 * 48):
        assert sum(households.watt_hours(meter, midday) < 0 for meter in roofs) > 0.8 * len(roofs)
        assert all(households.watt_hours(meter, midday) >= 0 for meter in set(meters) - set(roofs))


def test_constructed_households_use_more_in_the_evening_than_at_night():
    households = ConstructedHouseholds(3, INTERVAL)
    meters = [f"m{number:04}" for number in range(1, 201)]
    night, evening = (sum(households.watt_hours(meter, MIDNIGHT + r) for meter in meters) for r in (6, 38))
    assert evening > 2 * night > 0


def test_shorter_rounds_hold_less_energy():
    half_hours, minutes = ConstructedHouseholds(1, 1800), ConstructedHouseholds(1, 60)
    assert abs(minutes.watt_hours("m0001", MIDNIGHT * 30)) < abs(half_hours.watt_hours("m0001", MIDNIGHT))


def test_a_meters_sources_import_no_heavy_package():
    program = (
        "import sys, meter_agent.sources; print([n for n in ('numpy', 'pydantic', 'cryptography') if n in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", program], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_the_real_readings_have_their_two_gaps_on_the_first_of_april(shared_data):
    first = int(dt.datetime(2013, 4, 1, tzinfo=dt.UTC).timestamp()) // INTERVAL
    readings = replayed(shared_data / "lcl2013_40h_4w_wide.csv.gz", ["MAC003021"], first, first + 47)["MAC003021"]
    assert [at for at, watt_hours in enumerate(readings) if watt_hours is None] == [39, 40]


def test_hours_on_a_grid_of_half_hours_are_refused_and_named():
    with pytest.raises(ConfigurationError, match="meter m1 has readings every 3600 s, the grid's rounds last 1800 s"):
        replay_csv(ROOT / "tests" / "meter_agent" / "meter_cases" / "wide_hourly.csv", ["m1"], None, None, 1800)
