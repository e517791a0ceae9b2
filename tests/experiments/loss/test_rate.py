"""`hushgrid experiment loss-rate` and `figure4`: the simulation against the formula, the files, and refusals."""

from __future__ import annotations

import csv
import itertools
import json
import math

import numpy as np
import pytest
from click.testing import CliRunner

from experiments.loss.figure4 import _fewest, figure4
from experiments.loss.formula import Point
from experiments.loss.rate import loss_rate
from experiments.loss.row import formula_row
from experiments.loss.simulated import simulate
from hushgrid.core.recovery import Recovery

KEYS = (
    "mode", "recovery", "meters", "loss", "width", "threshold", "window", "rounds", "recovered", "success", "coverage",
    "messages_per_reading", "wrong",
)  # fmt: skip


@pytest.mark.parametrize(
    ("meters", "loss", "width", "threshold", "window"),
    [(100, 1e-3, 4, 4, 1), (100, 3e-3, 5, 4, 1), (50, 4e-3, 7, 3, 4), (300, 1e-3, 9, 4, 2), (1000, 1e-4, 4, 4, 1)],
)
def test_without_recovery_the_simulation_agrees_with_eq_13(meters, loss, width, threshold, window):
    row = simulate(Point(Recovery.NONE, meters, loss, width, threshold, window), 2000, seed=3)
    assert 0.05 < row.success_formula < 0.95
    assert row.windows == 2000 // window
    assert abs(row.deviations) < 4
    assert row.wrong == 0


@pytest.mark.parametrize("recovery", [Recovery.AGREE, Recovery.REPAIR])
@pytest.mark.parametrize(("meters", "loss", "window"), [(200, 0.001, 1), (200, 0.01, 2), (60, 0.04, 1), (100, 0.07, 1)])
def test_with_recovery_the_simulation_agrees_with_its_formula(recovery, meters, loss, window):
    row = simulate(Point(recovery, meters, loss, 4, 3, window), 1000, seed=1)
    wanted = formula_row(Point(recovery, meters, loss, 4, 3, window))
    assert row.wrong == 0
    assert abs(row.deviations) < 4
    error = math.sqrt(wanted.coverage * (1 - wanted.coverage) / (meters * 1000)) + 1e-9
    assert abs(row.coverage - wanted.coverage) < 5 * error
    assert row.messages_per_reading == pytest.approx(wanted.messages_per_reading, rel=0.01)


def test_a_hundred_thousand_meters_take_a_second():
    row = simulate(Point(Recovery.REPAIR, 100_000, 0.1, 5, 3, 1), 3, seed=1)
    assert (row.recovered, row.wrong) == (3, 0)
    assert row.coverage > 0.9995
    assert row.messages_per_reading < 5 * 1.3


def test_equal_arguments_give_equal_rows():
    point = Point(Recovery.NONE, 100, 1e-3, 4, 4, 1)
    first, again, other = (simulate(point, 200, seed).recovered for seed in (1, 1, 2))
    assert first == again != other


def test_the_command_prints_writes_and_draws(tmp_path):
    report, stem = tmp_path / "out.json", tmp_path / "out" / "loss-rate"
    arguments = [
        "--meters",
        "40,80",
        "--loss",
        "1e-3..1e-2",
        "--rounds",
        "50",
        "--json",
        str(report),
        "--out",
        str(stem.parent),
    ]
    result = CliRunner().invoke(loss_rate, arguments)
    assert result.exit_code == 0, result.output
    assert "Windows recovered under loss" in result.output
    rows = json.loads(report.read_text(encoding="utf-8"))["rows"]
    assert len(rows) == 2 * 3 * 2 * 2
    assert set(KEYS) <= set(rows[0])
    assert {row["loss"] for row in rows} == {0.001, 0.01}
    assert not any(row["wrong"] for row in rows)
    with stem.with_suffix(".csv").open(encoding="utf-8", newline="") as file:
        assert len(list(csv.DictReader(file))) == len(rows)
    assert stem.with_suffix(".png").stat().st_size > 10_000
    assert "<svg" in stem.with_suffix(".svg").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "arguments",
    [
        ["--meters", "x"],
        ["--loss", "2"],
        ["--loss", "1e-1..1e-3"],
        ["--recovery", "hope"],
        ["--mode", "guess"],
        ["--rounds", "0"],
        ["--threshold", "5"],
        ["--width", "8"],
        ["--meters", "10"],
        ["--window", "99", "--rounds", "10"],
        ["--json", "/nonexistent/directory/out.json"],
    ],
)
def test_what_cannot_be_played_is_refused_in_a_line(arguments, tmp_path):
    result = CliRunner().invoke(loss_rate, [*arguments, "--out", str(tmp_path / "f")])
    assert result.exit_code == 2
    assert "Traceback" not in result.output
    assert not list(tmp_path.iterdir())


def test_figure_4_gives_widths_ppns_and_nulls(tmp_path):
    report, stem = tmp_path / "out.json", tmp_path / "out" / "figure4"
    arguments = [
        "--meters",
        "100,1000",
        "--loss",
        "1e-3..1e-2",
        "--instances",
        "2",
        "--json",
        str(report),
        "--out",
        str(stem.parent),
    ]
    result = CliRunner().invoke(figure4, arguments)
    assert result.exit_code == 0, result.output
    rows = json.loads(report.read_text(encoding="utf-8"))["rows"]
    widths = {(row["meters"], row["window"], row["loss"]): row["width"] for row in rows}
    assert widths[100, 1, 0.001] == 7
    assert widths[100, 4, 0.01] == 111
    assert widths[1000, 4, 0.001] == 94
    assert widths[1000, 4, 0.01] is None
    for row in rows:
        assert (row["ppns"] is None) == (row["width"] is None)
        assert row["ppns"] is None or row["ppns_repair"] <= row["ppns"]
        assert row["width_repair"] == 4
    assert {path.suffix for path in stem.parent.iterdir()} == {".json", ".csv", ".png", ".svg"}


@pytest.mark.parametrize("alpha", ["nan", "8,inf", "0.5", "1e300"])
def test_figure_4_refuses_what_is_no_capacity(tmp_path, alpha):
    result = CliRunner().invoke(figure4, ["--alpha", alpha, "--out", str(tmp_path / "out")])
    assert result.exit_code == 2
    assert "is not a list of numbers from 1 to 1000000" in " ".join(result.output.split())


def test_the_fewest_ppns_are_enough_and_never_below_the_bound():
    for seed, width in itertools.product(range(5), (4, 7, 30)):
        sizes = np.random.default_rng(seed).binomial(100, 0.5, 20)
        found = _fewest(sizes, width, 800)
        bound = max(width, -(-width * int(sizes.sum()) // 800))
        assert bound <= found <= 1.2 * bound + 1


def test_figure4_draws_what_there_is_where_one_point_has_no_width(tmp_path):
    where = ["--json", str(tmp_path / "f.json"), "--out", str(tmp_path / "out")]
    small = ["--meters", "100", "--loss", "1e-3,0.5", "--alpha", "8", "--window", "1", "--instances", "2"]
    result = CliRunner().invoke(figure4, [*small, *where])
    assert result.exit_code == 0, result.output
    good, lost = json.loads((tmp_path / "f.json").read_text())["rows"]
    assert good["ppns_repair"] < good["ppns"]
    assert [lost[name] for name in ("width", "ppns", "width_repair", "ppns_repair", "coverage_repair")] == [None] * 5
    assert (tmp_path / "out" / "figure4.png").stat().st_size > 0
