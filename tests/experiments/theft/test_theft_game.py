"""`hushgrid experiment theft-game`: its rows, its golden values, its files, and what it refuses in one line."""

from __future__ import annotations

import csv
import json

import pytest
from click.testing import CliRunner

from experiments.theft.game import theft_game

QUICK = ("--windows", "200", "--slots", "96", "--limits", "3", "--theft-fraction", "0.1,0.2")
KEYS = {
    "density",
    "attack",
    "theft_fraction",
    "slots",
    "mu",
    "kl_per_slot",
    "false_alarm",
    "detection",
    "shape_detection",
}


def played(folder, *arguments):
    result = CliRunner().invoke(theft_game, [*arguments, "--out", str(folder)], env={"COLUMNS": "100"})
    assert result.exit_code == 0, result.output
    return result.output, json.loads((folder / "theft-game.json").read_text())


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    return played(tmp_path_factory.mktemp("game") / "out", *QUICK, "--density", "gamma,normal")


def test_every_row_has_what_was_asked_for(found):
    _, content = found
    rows = content["rows"]
    assert all(set(row) >= KEYS for row in rows)
    assert {(row["density"], row["attack"], row["theft_fraction"]) for row in rows} == {
        (density, attack, fraction)
        for density in ("gamma", "normal")
        for attack in ("tilt", "zeroing", "subtract", "cap", "flat")
        for fraction in (0.1, 0.2)
    }
    assert all(
        0 <= row["detection"] <= 1 and 0 <= row["shape_detection"] <= 1 and row["kl_per_slot"] > 0 for row in rows
    )
    assert all(abs(row["stolen_fraction"] - row["theft_fraction"]) < 0.03 for row in rows)


def test_its_golden_values(found):
    said, content = found
    tilt = next(row for row in content["rows"] if row["attack"] == "tilt")
    assert (tilt["mu"], tilt["kl_per_slot"]) == (pytest.approx(0.444444, rel=1e-4), pytest.approx(0.010721, rel=1e-4))
    assert tilt["detection"] == pytest.approx(0.1777, rel=1e-3)
    effort = content["efforts"][0]
    assert [effort[key] for key in ("tau", "false_alarm", "detection", "utility")] == [
        pytest.approx(value, rel=1e-4) for value in (0.510826, 0.146303, 0.653508, 1229.01)
    ]
    assert content["corner"][0]["slope_at_zero"] == pytest.approx(1.234568, rel=1e-4)
    assert [row["never_caught_below"] for row in content["floors"][:3]] == [
        pytest.approx(v, abs=5e-4) for v in (0.16, 0.062, 0.03)
    ]
    running = content["sequential"][0]
    assert running["delay_mean_slots"] == pytest.approx(207.2, rel=5e-3)
    assert running["false_alarm_mean_slots"] == pytest.approx(1740, rel=5e-3)
    assert running["delay_played_slots"] == pytest.approx(207.2, rel=0.05)
    for number in ("0.510826", "1,229.01", "1.23457", "16.0%", "207.2", "458", "1,740"):
        assert number in said
    assert content["profit"][2]["profit"] > content["profit"][1]["profit"]


@pytest.mark.system
def test_files_and_seeds(found, tmp_path):
    _, content = found
    small = (*QUICK, "--density", "gamma", "--attack", "tilt,scale,night-zero", "--json", str(tmp_path / "one.json"))
    _, one = played(tmp_path / "one", *small)
    assert {path.name for path in (tmp_path / "one").iterdir()} == {
        f"theft-game.{end}" for end in ("json", "csv", "png", "svg")
    }
    assert json.loads((tmp_path / "one.json").read_text()) == one
    with (tmp_path / "one" / "theft-game.csv").open() as lines:
        rows = list(csv.DictReader(lines))
    assert [float(row["detection"]) for row in rows] == [row["detection"] for row in one["rows"]]
    _, other = played(
        tmp_path / "two", *QUICK, "--density", "gamma", "--attack", "tilt,scale,night-zero", "--seed", "2"
    )
    assert one["rows"] != other["rows"]
    assert one["rows"][0] == next(row for row in content["rows"] if row["attack"] == "tilt"), (
        "what others play changes nothing"
    )


@pytest.mark.system
def test_the_default_is_whole_and_says_what_is_constructed(tmp_path, pytestconfig):
    long = pytestconfig.getoption("--long")
    said, content = played(tmp_path / "out", *(() if long else QUICK[:4]))
    assert len(content["rows"]) == 3 * 5 * 6 * (2 if long else 1)
    assert "28 days of m0001, constructed (not measured)" in " ".join(said.split())


@pytest.mark.system
def test_the_history_of_a_measured_home(shared_data, tmp_path):
    data = ("--data", str(shared_data / "lcl2013_40h_4w_wide.csv.gz"), "--meter", "3")
    said, content = played(tmp_path / "out", *QUICK, "--density", "empirical", *data)
    assert "lcl2013_40h_4w_wide.csv.gz" in said
    assert "constructed" not in content["parameters"]["empirical"]


@pytest.mark.system
def test_small_thefts_are_not_played_for_hours(tmp_path):
    said, content = played(
        tmp_path / "out", *QUICK[:4], "--theft-fraction", "0.01", "--density", "gamma", "--limits", "5"
    )
    assert [row["delay_played_slots"] for row in content["sequential"]] == [None]
    assert content["sequential"][0]["delay_mean_slots"] > 20_000
    assert "-" in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--theft-fraction", "1"), "between 0 and 1"),
        (("--theft-fraction", "1.5"), "not a list of fractions"),
        (("--theft-fraction", "0"), "between 0 and 1"),
        (("--theft-fraction", "nan"), "not a list of fractions"),
        (("--theft-fraction", "1e-9"), "too small to be told from rounding"),
        (("--attack", "steal"), "not a list of tilt"),
        (("--attack", "night-zero", "--theft-fraction", "0.5", "--density", "gamma"), "a night of 6 h holds less"),
        (("--density", "cauchy"), "not a list of gamma"),
        (("--slots", "0"), "whole numbers above 0"),
        (("--slots", "20000"), "more than 10,000"),
        (("--windows", "9"), "too few"),
        (("--limits", "40", "--density", "gamma"), "above 25"),
        (("--limits", "3", "--theft-fraction", "0.001", "--density", "gamma"), "too small for a limit of 3"),
        (("--limits", "0"), "numbers above 0"),
        (("--false-alarm", "nan"), "--false-alarm"),
        (("--fine", "0"), "--fine"),
        (("--cost", "inf"), "a finite"),
        (("--data", "/nowhere.csv"), "nowhere.csv"),
    ],
)
def test_what_cannot_be_is_one_line_and_status_2(tmp_path, arguments, said):
    result = CliRunner().invoke(theft_game, [*QUICK, *arguments, "--out", str(tmp_path / "out")])
    assert result.exit_code == 2, result.output
    assert said in result.stderr.splitlines()[-1]
    assert (result.stdout, (tmp_path / "out").exists()) == ("", False)
