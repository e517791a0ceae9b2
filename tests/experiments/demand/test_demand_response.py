"""`hushgrid experiment demand-response`: its rows against other codes' values, on the village where its data is there."""

from __future__ import annotations

import json
import sys
from unittest.mock import patch

import pytest
from click.testing import CliRunner
from support import ROOT

from experiments.demand.command import demand_response
from experiments.demand.feeder_rows import coverage
from experiments.demand.homes import read_homes
from grid_operator.demand.feeder import Cap

QUICK = ("--runs", "2", "--meters", "20", "--stretches", "2")
#: V, Pr and the 99 % half width of points, by reading of Sigma and N.
POINTS = {
    ("variance", 1): (30.000, 0.999995, 14.108),
    ("variance", 2): (36.144, 0.999968, 15.486),
    ("variance", 4): (38.740, 0.999941, 16.032),
    ("variance", 8): (39.206, 0.999935, 16.128),
    ("variance", None): (39.219, 0.999934, 16.131),
    ("deviation", 1): (500.00, 0.7364, 57.60),
    ("deviation", 2): (581.92, 0.7000, 62.14),
    ("deviation", 4): (610.19, 0.6885, 63.63),
    ("deviation", 8): (614.88, 0.6866, 63.87),
    ("deviation", None): (615.01, 0.6866, 63.88),
}
#: rms above the cap of 48 kW, kW, at N = 1, 2, 4, 8, 16, 48, of another code with noise of scale 20 kW on the village.
SWEPT = (1.10, 1.01, 1.00, 0.95, 1.25, 1.56)


def played(folder, *arguments, figures=False):
    with patch.dict(sys.modules, {} if figures else {"matplotlib": None}):  # drawing takes time
        result = CliRunner().invoke(demand_response, [*arguments, "--out", str(folder)], env={"COLUMNS": "80"})
    assert result.exit_code == 0, result.output
    return result.output, json.loads((folder / "demand-response.json").read_text())


@pytest.fixture(scope="module")
def constructed(tmp_path_factory):
    """The command on constructed homes: what it printed, its JSON, its folder."""
    folder = tmp_path_factory.mktemp("constructed") / "out"
    return *played(folder, *QUICK, figures=True), folder


@pytest.fixture(scope="module")
def village(tmp_path_factory, shared_data):
    """The same on the village's measured homes."""
    data = ("--data", str(shared_data / "lcl2013_300h_year.parquet"))
    grid = ("--grid", str(shared_data / "grid_kerber_village57.json"))
    return played(tmp_path_factory.mktemp("village") / "out", *data, *grid, "--cap", "48")


def test_the_rows_are_those_of_two_other_codes(constructed):
    _, found, _ = constructed
    rows = {(row["sigma"], row["interval"]): row for row in found["rows"] if row["sampling"] == "point"}
    for place, expected in POINTS.items():
        row = rows[place]
        assert (row["variance"], row["probability"], row["half_width"]) == pytest.approx(expected, rel=1e-4)
        assert row["epsilon_per_day"] is None


def test_every_row_says_what_it_is_for(constructed):
    _, found, _ = constructed
    names = {
        "sigma",
        "sampling",
        "interval",
        "variance",
        "probability",
        "half_width",
        "rms_above_cap",
        "epsilon_per_day",
    }
    assert all(names <= set(row) for row in found["rows"])
    assert {row["sampling"] for row in found["rows"]} == {"point", "sum"}
    assert {row["epsilon_per_day"] for row in found["rows"]} >= {None, 33.12, 10.0, 1.0}


def test_lines_fit_files_are_there_and_the_seed_is_said(constructed):
    said, _, folder = constructed
    assert all(len(line) <= 80 or "/" in line for line in said.splitlines())
    assert "seed 1" in said
    assert "simulated noise" in said
    assert "constructed (not measured)" in said
    files = {path.name for path in folder.iterdir()}
    assert files >= {f"demand-response.{ending}" for ending in ("json", "csv", "png", "svg")}
    assert files >= {f"demand-response-feeder.{ending}" for ending in ("csv", "png", "svg")}


def test_the_same_seed_finds_the_same_and_one_reading_is_asked_for_alone(constructed, tmp_path):
    _, before, _ = constructed
    _, again = played(tmp_path / "again", *QUICK)
    assert again == before
    _, one = played(tmp_path / "one", *QUICK, "--sigma-is", "variance", "--seed", "2")
    assert {row["sigma"] for row in one["rows"]} == {"variance"}
    assert one["beside"] != before["beside"]


def test_intervals_and_budgets_are_taken_once(tmp_path):
    _, found = played(tmp_path / "out", *QUICK, "--intervals", "8,1,8", "--epsilon-per-day", "5,5")
    noisy = [(row["interval"], row["budget"]) for row in found["rows"] if row["epsilon_per_day"] is not None]
    assert noisy == [(1, "day"), (8, "day"), (1, "window"), (8, "window")]


def test_noise_by_nodes_leaves_no_more_control_than_one_curators(constructed, tmp_path):
    _, before, _ = constructed
    _, nodes = played(tmp_path / "out", *QUICK, "--nodes", "5,4,3")
    noisy = [
        [row["variance"] for row in found["rows"] if row["epsilon_per_day"] is not None] for found in (before, nodes)
    ]
    assert all(more >= one for one, more in zip(*noisy, strict=True))
    assert sum(noisy[1]) > sum(noisy[0])


@pytest.mark.system
def test_the_village_sweep_is_near_that_of_another_code_and_its_best_interval_lies_inside(village):
    _, found = village
    rows = [row for row in found["rows"] if row.get("budget") == "day" and row["epsilon_per_day"] == 33.12]
    assert [row["interval"] for row in rows] == [1, 2, 4, 8, 16, 48]
    assert {round(row["noise_scale_kw"], 9) for row in rows} == {20.0}
    swept = [row["rms_above_cap"] for row in rows]
    assert swept == pytest.approx(SWEPT, abs=0.15)
    assert min(swept) < min(swept[0], swept[-1]) - 0.1
    assert swept.index(min(swept)) in {2, 3}


@pytest.mark.system
def test_the_page_says_what_the_command_says(village):
    _, found = village
    page = (ROOT / "docs" / "demand-response.md").read_text()
    budgets = [("day", 33.12), ("day", 10.0), ("day", 1.0), ("window", None)]
    noisy = [row for row in found["rows"] if row["epsilon_per_day"] is not None]
    for interval in (1, 2, 4, 8, 16, 48):
        here = [row for row in noisy if row["interval"] == interval]
        rows = [
            next(row for row in here if row["budget"] == budget and epsilon in {None, row["epsilon_per_day"]})
            for budget, epsilon in budgets
        ]
        assert f"| {interval} | " + " | ".join(f"{row['rms_above_cap']:.2f}" for row in rows) + " |" in page
    for row in found["proxy"]:
        if row["interval"] in {1, 4, 16, 48}:
            scores = (row["own_auc"], row["feeder_auc"], row["noisy_auc"])
            assert f"| {row['interval']} | " + " | ".join(f"{score:.3f}" for score in scores) + " |" in page
    points = [row for row in found["rows"] if row["sampling"] == "point"]
    for interval in (1, 2, 4, 8, None):
        two = [row for row in points if row["interval"] == interval]
        cells = [
            f"{row['variance']:.3f}, {row['probability']:.6f}, ±{row['half_width']:.3f}".replace("±", "") for row in two
        ]
        assert f"| {'never' if interval is None else interval} | " + " | ".join(cells) + " |" in page
    for row in found["drift"][:1]:
        assert f"{row['negative_fraction']:.2%}".replace("%", " %") in page
        assert f"one load reaches {row['largest']:.1f}" in page


@pytest.mark.system
def test_at_a_budget_per_window_the_shortest_window_is_best(village):
    _, found = village
    swept = [row["rms_above_cap"] for row in found["rows"] if row.get("budget") == "window"]
    assert swept == sorted(swept)


@pytest.mark.system
def test_at_epsilon_1_a_day_57_homes_leave_no_control(village):
    _, found = village
    (none,) = [row["rms_above_cap"] for row in found["beside"] if row["what"] == "no control"]
    left = [row["rms_above_cap"] for row in found["rows"] if row["epsilon_per_day"] == 1.0]
    assert left == pytest.approx([none] * len(left), rel=0.01)


@pytest.mark.system
def test_control_beside_none_and_beside_one_device_at_the_feeder(village):
    _, found = village
    by = {(row["what"], row["interval"]): row for row in found["beside"]}
    none, device = by["no control", None], by["feeder device, no meters", 1]
    assert none["peak_kw"] == pytest.approx(64.0, abs=0.1)
    for sampling in ("points", "sums"):
        assert by[f"exact {sampling}", 1]["peak_kw"] == pytest.approx(device["peak_kw"])
        assert device["rms_above_cap"] <= by[f"exact {sampling}", 16]["rms_above_cap"] < none["rms_above_cap"]


def test_measured_homes_stay_in_the_99_percent_band(shared_data, request, read_once):
    homes = read_once(shared_data / "lcl2013_300h_year.parquet", shared_data / "grid_kerber_village57.json", 57, 1)
    stretches = 40 if request.config.getoption("--long") else 12
    for row in coverage(homes, Cap(48.0), (1, 4, 8), stretches, 1):
        assert row.stretches == stretches
        assert row.inside_fraction >= 0.90
        assert 0.6 < row.alpha < 0.8


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--intervals", "5"), "does not divide the day"),
        (("--cap", "10", "--flexible-fraction", "0.1"), "must run"),
        (("--sigma", "-10,20"), "negative"),
        (("--alpha", "1.0,0.2"), "unstable"),
        (("--alpha", "nan,0.2"), "not a list of numbers"),
        (("--alpha", "0.5"), "each load"),
        (("--beta", "0,1"), "beta 0"),
        (("--cap", "0"), "above 0"),
        (("--days", "400"), "not all inside"),
        (("--nodes", "5,2,3"), "t <= n_min <= c"),
        (("--nodes", "5"), "three whole numbers"),
        (("--epsilon-per-day", "0"), "above 0"),
        (("--miss", "1"), "between 0 and 1"),
        (("--grid", __file__), "--data FILE"),
    ],
)
def test_what_cannot_be_is_one_line_and_status_2(tmp_path, arguments, said):
    result = CliRunner().invoke(demand_response, [*QUICK, *arguments, "--out", str(tmp_path / "out")])
    assert result.exit_code == 2
    assert said in result.stderr.splitlines()[-1]
    assert "Traceback" not in result.output
    assert (result.stdout, (tmp_path / "out").exists()) == ("", False)


@pytest.mark.parametrize(
    "text", ["", "[]", '{"loads": [{"bus": 3}]}', '{"loads": []}', '{"loads": [{"lcl_meter": 3}]}']
)
def test_a_grid_without_meters_is_refused(tmp_path, text):
    grid = tmp_path / "grid.json"
    grid.write_text(text)
    arguments = ["--data", str(grid), "--grid", str(grid), "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(demand_response, arguments)
    assert result.exit_code == 2
    assert "meter" in result.stderr


def write_wide(path, days, gap=None):
    """A wide CSV of two constructed homes from 23:00 on; gap: the reading that is empty."""
    lines = ["start_utc,a,b"]
    for at in range(days * 48 + 2):
        moment = at - 2
        day, of_day = divmod(moment, 48)
        a = "" if moment == gap else str(100 + of_day)
        lines.append(f"2013-03-{4 + day:02d}T{of_day // 2:02d}:{of_day % 2 * 30:02d}:00Z,{a},200")
    path.write_text("\n".join(lines) + "\n")


def test_a_gap_is_the_nearest_days_reading_counted_and_never_zero(tmp_path):
    write_wide(tmp_path / "whole.csv", 9)
    write_wide(tmp_path / "gap.csv", 9, gap=3 * 48 + 20)
    whole, gap = (read_homes(tmp_path / name, None, 2, 1) for name in ("whole.csv", "gap.csv"))
    assert (whole.estimated, gap.estimated, whole.days, whole.rounds_per_day) == (0, 1, 9, 48)
    assert whole.first_round % 48 == 0
    assert gap.flow_kw == pytest.approx(whole.flow_kw)
    assert whole.flow_kw[0] == pytest.approx((100 + 200) * 2 / 1000)


def test_an_hour_that_a_home_never_states_is_refused(tmp_path):
    path = tmp_path / "never.csv"
    lines = ["start_utc,a,b"]
    for at in range(9 * 48):
        day, of_day = divmod(at, 48)
        a = "" if of_day == 7 else "100"
        lines.append(f"2013-03-{4 + day:02d}T{of_day // 2:02d}:{of_day % 2 * 30:02d}:00Z,{a},200")
    path.write_text("\n".join(lines) + "\n")
    result = CliRunner().invoke(demand_response, ["--data", str(path), "--meters", "2", "--out", str(tmp_path / "out")])
    assert result.exit_code == 2
    assert "meter a has no reading of round 7 on any day" in result.stderr
