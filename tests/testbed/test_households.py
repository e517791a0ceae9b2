"""The truth of a run: which households, which rounds, which gaps, and the slices the meters replay."""

import datetime as dt

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import ROOT

from hushgrid.core.schedule import round_at
from hushgrid.errors import ConfigurationError
from meter_agent.sources import open_source
from meter_agent.sources.constructed import ConstructedHouseholds
from testbed.households import Truth, constructed_truth, read_truth, write_slices

SAMPLES = ROOT / "tests" / "samples"
JUNE = dt.datetime(2013, 6, 1, tzinfo=dt.UTC)
MIDNIGHT = round_at(JUNE.timestamp(), 1800)


def table(truth):
    return {meter: list(truth.values[meter]) for meter in truth.meters}


def refusal(path, meters=1, rounds=1, start=None):
    with pytest.raises(ConfigurationError) as caught:
        read_truth(path, meters, rounds, start)
    text = str(caught.value)
    assert "\n" not in text
    return text


def parquet(path, rows, *, wh=None, start=None, meter_id=None):
    meters, starts, watt_hours = ([row[at] for row in rows] for at in range(3))
    pq.write_table(
        pa.table(
            {
                "meter_id": pa.array(meters, meter_id or pa.string()),
                "start_utc": pa.array(starts, start or pa.timestamp("ms", tz="UTC")),
                "wh": pa.array(watt_hours, wh or pa.int32()),
                "flag": pa.array([0] * len(rows), pa.uint8()),
            }
        ),
        path,
    )
    return path


def half_hour(number):
    return JUNE + dt.timedelta(minutes=30 * number)


def test_the_default_start_is_the_files_first_round_and_fewer_meters_are_the_first_in_order():
    truth = read_truth(SAMPLES / "constructed_wide.csv", 2, 3, None)
    assert (truth.meters, truth.first_round, truth.last_round) == (("MADE0001", "MADE0002"), MIDNIGHT, MIDNIGHT + 2)
    assert table(truth) == {"MADE0001": [100, 110, 120], "MADE0002": [-250, None, -240]}
    assert truth.gaps() == [("MADE0002", MIDNIGHT + 1)]


@pytest.mark.parametrize("name", ["constructed_published.csv", "constructed_long.csv", "constructed_wide.csv"])
def test_every_csv_format_states_or_shows_its_interval(name):
    truth = read_truth(SAMPLES / name, 1, 2, JUNE)
    assert truth.interval_seconds == 1800
    assert truth.watt_hours("MADE0001", MIDNIGHT) == 100


def test_a_plain_file_may_have_another_interval_and_missing_intervals(tmp_path):
    path = tmp_path / "quarters.csv"
    starts = [f"2013-06-01T{minutes // 60:02}:{minutes % 60:02}:00Z" for minutes in (0, 15, 30, 75, 90)]
    path.write_text("meter,start_utc,wh\n" + "".join(f"a,{start},1\n" for start in starts))
    truth = read_truth(path, 1, 7, None)
    assert truth.interval_seconds == 900
    assert truth.values["a"] == [1, 1, 1, None, None, 1, 1]


def test_a_stray_row_does_not_pass_for_the_interval(tmp_path):
    path = tmp_path / "stray.csv"
    starts = ["00:00:00", "00:30:00", "00:30:07", "01:00:00", "01:30:00", "02:00:00"]
    path.write_text("meter,start_utc,wh\n" + "".join(f"a,2013-06-01T{start}Z,1\n" for start in starts))
    assert "line 4, column start_utc: the time is not on the grid of 1800 s" in refusal(path)


def test_more_meters_than_the_file_has_repeat_its_households_under_distinct_identities():
    truth = read_truth(SAMPLES / "constructed_wide.csv", 7, 4, None)
    assert len(set(truth.meters)) == 7
    assert list(truth.meters) == sorted(
        ["MADE0001", "MADE0001-2", "MADE0001-3", "MADE0002", "MADE0002-2", "MADE0003", "MADE0003-2"]
    )
    assert truth.values["MADE0001-3"] == truth.values["MADE0001"] == [100, 110, 120, 130]
    assert "3 households repeated under 7 identities" in truth.label


def test_an_identity_is_never_another_households_own(tmp_path):
    path = tmp_path / "taken.csv"
    path.write_text("start_utc,a,a-2\n2013-06-01T00:00:00Z,1,5\n2013-06-01T00:30:00Z,2,6\n")
    truth = read_truth(path, 5, 2, None)
    assert table(truth) == {"a": [1, 2], "a-2": [5, 6], "a-2-2": [5, 6], "a-3": [1, 2], "a-2-3": [5, 6]}


@pytest.mark.parametrize("name", ["a b", "a..b", "x" * 65, "-a", "ü"])
def test_a_name_that_cannot_be_a_meters_id_is_refused_at_start(tmp_path, name):
    path = tmp_path / "names.csv"
    path.write_text(f"start_utc,{name}\n2013-06-01T00:00:00Z,1\n2013-06-01T00:30:00Z,2\n", encoding="utf-8")
    assert "cannot be a meter's id" in refusal(path)


@pytest.mark.parametrize(
    ("rounds", "start"),
    [(5, None), (4, half_hour(1)), (1, half_hour(-1)), (1, half_hour(4)), (1, JUNE.replace(year=2020))],
)
def test_a_run_that_is_not_inside_the_file_names_the_files_span(rounds, start):
    text = refusal(SAMPLES / "constructed_wide.csv", 1, rounds, start)
    assert "2013-06-01T00:00Z to 2013-06-01T01:30Z" in text


def test_a_start_off_the_grid_is_refused():
    assert "not the beginning of an interval" in refusal(
        SAMPLES / "constructed_wide.csv", start=JUNE + dt.timedelta(minutes=7)
    )


def test_a_round_outside_the_run_has_no_truth():
    with pytest.raises(IndexError):
        constructed_truth(1, 2).watt_hours("m0001", 0)


def test_a_file_with_too_little_in_it_is_refused(tmp_path):
    path = tmp_path / "short.csv"
    path.write_text("start_utc,a\n2013-06-01T00:00:00Z,1\n")
    assert "fewer than two intervals" in refusal(path)


def test_constructed_truth_is_what_the_constructed_source_gives_and_says_so():
    truth = constructed_truth(30, 6, start=JUNE, seed=5)
    assert truth.meters[0] == "m0001"
    assert truth.meters[-1] == "m0030"
    assert truth.label.startswith("constructed")
    assert truth.gaps() == []
    assert truth.watt_hours("m0007", MIDNIGHT + 3) == ConstructedHouseholds(5, 1800).watt_hours("m0007", MIDNIGHT + 3)


def test_parquet_is_read_like_the_other_formats(tmp_path):
    rows = [("b", half_hour(0), 5), ("b", half_hour(1), None), ("a", half_hour(1), -2), ("a", half_hour(2), 3)]
    for zone in ("UTC", None):
        path = parquet(tmp_path / "long.parquet", rows, start=pa.timestamp("ms", tz=zone))
        truth = read_truth(path, 2, 3, None)
        assert (truth.first_round, truth.interval_seconds) == (MIDNIGHT, 1800)
        assert table(truth) == {"a": [None, -2, 3], "b": [5, None, None]}


@pytest.mark.parametrize("names", [pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())])
def test_parquet_of_todays_pandas_and_polars_is_read(tmp_path, names):
    rows = [("a", half_hour(n), wh) for n, wh in enumerate((250.0, None, 0.0))]
    truth = read_truth(parquet(tmp_path / "new.parquet", rows, meter_id=names, wh=pa.float64()), 1, 3, None)
    assert table(truth) == {"a": [250, None, 0]}


@pytest.mark.parametrize(
    ("start", "wh"),
    [
        (pa.timestamp("ms", tz="Europe/Berlin"), None),
        (pa.timestamp("ns"), pa.float16()),
        (pa.timestamp("s", tz="+02:00"), pa.decimal128(10, 2)),
        (pa.timestamp("us", tz="UTC"), pa.dictionary(pa.int8(), pa.int64())),
    ],
)
def test_parquet_of_other_writers_is_read(tmp_path, start, wh):
    rows = [("a", half_hour(n), value) for n, value in enumerate((250, None, -3))]
    assert table(read_truth(parquet(tmp_path / "x.parquet", rows, start=start, wh=wh), 1, 3, None)) == {
        "a": [250, None, -3]
    }


@pytest.mark.parametrize("sentinel", [2**64 - 1, 2**63 - 1, 10**12])
def test_a_number_that_no_meter_counts_is_refused_and_not_taken_for_energy(tmp_path, sentinel):
    rows = [("a", half_hour(n), wh) for n, wh in enumerate((1, sentinel, 2))]
    said = refusal(parquet(tmp_path / "bad.parquet", rows, wh=pa.uint64()), rounds=3)
    assert f"meter a, 2013-06-01T00:30Z: {sentinel} Wh is more than a meter counts in its life" in said


@pytest.mark.parametrize("wh", [float("inf"), 1.5])
def test_a_float_that_is_no_whole_number_is_refused(tmp_path, wh):
    rows = [("a", half_hour(n), each) for n, each in enumerate((1.0, wh, 2.0))]
    assert "wh does not hold whole numbers" in refusal(parquet(tmp_path / "bad.parquet", rows, wh=pa.float64()))


@pytest.mark.parametrize("name", ["long_two_steps.csv"])
def test_a_meter_of_another_step_refuses_the_file_and_is_named(name):
    said = refusal(ROOT / "tests" / "meter_agent" / "meter_cases" / name)
    assert "meter b has readings every 3600 s, the grid's rounds last 1800 s" in said


@pytest.mark.parametrize(
    ("rows", "types", "says"),
    [
        ([("a", half_hour(0), 1.5)], {"wh": pa.float64()}, "wh does not hold whole numbers"),
        ([("a", 1, 1)], {"start": pa.int64()}, "start_utc does not hold times"),
        ([(1, half_hour(0), 1)], {"meter_id": pa.int64()}, "meter_id does not hold names"),
        ([("a", half_hour(0), 1)], {}, "fewer than two intervals"),
        ([], {}, "fewer than two intervals"),
        (
            [("a", half_hour(n), 1) for n in (0, 1, 1.1, 2, 3)],
            {},
            "2013-06-01T00:33:00Z: the time is not on the grid of 1800 s",
        ),
        (
            [("a", half_hour(n), 1) for n in (0, 1, 2)] + [("a", half_hour(1), 2)],
            {},
            "two values for 2013-06-01T00:30Z",
        ),
        ([("a", half_hour(n), 1) for n in (0, 1, 1.0001)], {}, "cannot be read as parquet"),
        ([(None, half_hour(n), 1) for n in (0, 1)], {}, "cannot be a meter's id"),
    ],
)
def test_a_parquet_file_that_cannot_be_used_says_why(tmp_path, rows, types, says):
    assert says in refusal(parquet(tmp_path / "bad.parquet", rows, **types), rounds=2)


def test_what_is_no_parquet_or_lacks_a_column_is_one_line(tmp_path):
    path = tmp_path / "not.parquet"
    assert str(path) in refusal(path)
    path.write_text("meter_id,start_utc,wh\n")
    assert "cannot be read as parquet" in refusal(path)
    pq.write_table(pa.table({"meter_id": ["a"], "start_utc": [JUNE]}), path)
    assert "the column wh is missing" in refusal(path)
    twice = pa.Table.from_arrays(
        [pa.array(["a"]), pa.array([JUNE]), pa.array([1]), pa.array([2])], ["meter_id", "start_utc", "wh", "wh"]
    )
    pq.write_table(twice, path)
    assert "the column wh occurs twice" in refusal(path)


VALUES = st.none() | st.integers(-(10**6), 10**6)


@given(rows=st.lists(st.lists(VALUES, min_size=3, max_size=3), min_size=2, max_size=6))
def test_the_meters_replay_from_their_slices_exactly_the_truth(tmp_path_factory, rows):
    names = tuple(f"m{number:04}" for number in range(1, len(rows) + 1))
    truth = Truth(names, MIDNIGHT, 3, 1800, "constructed", dict(zip(names, rows, strict=True)))
    groups = {"fleet-1": names[::2], "fleet-2": names[1::2]}
    paths = write_slices(truth, groups, tmp_path_factory.mktemp("run") / "slices")
    for group, meters in groups.items():
        sources = open_source(
            "csv", paths[group], meters, first_round=MIDNIGHT, last_round=MIDNIGHT + 2, interval_seconds=1800, seed=0
        )
        for meter in meters:
            assert [sources[meter].reading(MIDNIGHT + at).watt_hours for at in range(3)] == truth.values[meter]


def test_the_forty_homes_have_exactly_the_two_known_gaps_on_the_first_of_april(shared_data):
    first = dt.datetime(2013, 4, 1, tzinfo=dt.UTC)
    truth = read_truth(shared_data / "lcl2013_40h_4w_wide.csv.gz", 40, 48, first)
    gaps = [round_at(first.replace(hour=hour, minute=minute).timestamp(), 1800) for hour, minute in ((19, 30), (20, 0))]
    assert truth.gaps() == [("MAC003021", gap) for gap in gaps]


def test_the_year_of_three_hundred_homes_serves_a_thousand_meters(shared_data):
    truth = read_truth(shared_data / "lcl2013_300h_year.parquet", 1000, 24, None)
    assert len(set(truth.meters)) == 1000
    assert truth.first_round == round_at(dt.datetime(2012, 12, 31, 23, 30, tzinfo=dt.UTC).timestamp(), 1800)
    assert truth.values["MAC000004-4"] == truth.values["MAC000004"]
    assert {meter.partition("-")[0] for meter, _ in truth.gaps()} == {"MAC000175"}


def test_both_shared_files_agree_on_the_same_home(shared_data):
    first = dt.datetime(2013, 4, 1, tzinfo=dt.UTC)
    wide = read_truth(shared_data / "lcl2013_40h_4w_wide.csv.gz", 40, 48, first)
    long = read_truth(shared_data / "lcl2013_300h_year.parquet", 300, 48, first)
    both = set(wide.meters) & set(long.meters)
    assert both
    assert all(wide.values[meter] == long.values[meter] for meter in both)
