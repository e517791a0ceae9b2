"""`hushgrid experiment minppn`: the table, the file it writes and the figure."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from experiments.minppn.command import minppn
from experiments.minppn.table import PUBLISHED, influence_of_start, instances, measure


@pytest.mark.parametrize("start_ppns", [20, 30])
def test_the_greedy_averages_at_most_the_papers_maximum_and_thirteen_is_proven(start_ppns):
    for producers in (100, 1000, 10_000):
        row = measure(50, producers, alpha=8, count=10, seed=1, start_ppns=start_ppns, time_limit_seconds=30)
        assert row.greedy_average <= PUBLISHED[50, producers][1]
        assert row.exact_proven == 10
        assert row.exact_average == 13 <= row.greedy_average


def test_ten_consumers_need_four_ppns():
    row = measure(10, 1000, alpha=8, count=10, seed=1, start_ppns=20, time_limit_seconds=10)
    assert (row.greedy_average, row.exact_average, row.exact_proven) == (4, 4, 10)


@pytest.mark.parametrize(("alpha", "shown"), [("8", True), ("9", False)])
def test_the_papers_numbers_stand_only_beside_its_alpha(tmp_path, alpha, shown):
    arguments = ["--producers", "1000", "--consumers", "50", "--instances", "1", "--no-starts", "--alpha", alpha]
    result = CliRunner().invoke(minppn, [*arguments, "--out", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    assert ("13.7" in result.output) is shown
    assert ("as published" in (tmp_path / "out" / "minppn.svg").read_text(encoding="utf-8")) is shown


def test_a_figure_of_any_name_is_named(tmp_path):
    arguments = ["--producers", "100", "--consumers", "10", "--instances", "1", "--no-starts"]
    result = CliRunner().invoke(minppn, [*arguments, "--out", str(tmp_path / "[red]x[y]")])
    assert result.exit_code == 0, result.output
    assert "[red]x[y]/minppn.png" in result.output


NARROW = ("--producers", "10000000", "--consumers", "100", "--instances", "1", "--start-ppns", "50", "--no-starts")


def test_ten_million_producers_fit_on_the_bound_and_that_is_proven(tmp_path):
    result = CliRunner().invoke(minppn, [*NARROW, "--out", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    assert "not proven" not in result.output
    (row,) = json.loads((tmp_path / "out" / "minppn.json").read_text())["rows"]
    assert (row["exact_average"], row["bound_average"], row["proven"]) == (25, 25, True)
    assert (row["greedy_average"], row["gap_average_fraction"]) == (26, pytest.approx(0.04))


@pytest.mark.parametrize("columns", ["60", "80", "200"])
def test_where_nothing_is_proven_the_bound_and_the_gap_to_it_are_said_everywhere(tmp_path, columns):
    arguments = [*NARROW, "--time-limit", "0", "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(minppn, arguments, env={"COLUMNS": columns})
    assert result.exit_code == 0, result.output
    said = " ".join(result.output.split())
    assert "1 of 1 not proven. The best found is 26 PPNs, the bound 25: at most 4.0% too many" in said
    assert "0.0%" not in said
    (row,) = json.loads((tmp_path / "out" / "minppn.json").read_text())["rows"]
    assert (row["exact_average"], row["bound_average"], row["exact_proven"], row["proven"]) == (26, 25, 0, False)
    assert (row["exact_gap_max_fraction"], row["gap_max_fraction"]) == (pytest.approx(0.04), pytest.approx(0.04))
    assert "not proven" in (tmp_path / "out" / "minppn.svg").read_text(encoding="utf-8")


def test_instances_depend_on_the_seed_only():
    first, again, other = (
        [p.demands for p in instances(5, 100, alpha=8, count=2, seed=seed, ppns=9)] for seed in (1, 1, 2)
    )
    assert first == again != other


def test_the_order_of_receivers_decides_whether_the_start_matters():
    points = influence_of_start(50, 1000, alpha=8, count=5, seed=1, starts=(14, 100))
    averages = {(point.receiver, point.start_ppns): point.greedy_average for point in points}
    assert averages["listed", 100] > averages["listed", 14] + 1
    assert averages["least-loaded", 100] <= 14


def test_the_command_prints_writes_and_draws(tmp_path):
    report, figure = tmp_path / "out.json", tmp_path / "out" / "minppn"
    arguments = ["--producers", "100,200", "--consumers", "10", "--instances", "2", "--json", str(report)]
    result = CliRunner().invoke(minppn, [*arguments, "--out", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    assert "Table I" in result.output
    content = json.loads(report.read_text(encoding="utf-8"))
    assert [(row["consumers"], row["producers"]) for row in content["rows"]] == [(10, 100), (10, 200)]
    wanted = {"greedy_average", "greedy_max", "greedy_min", "greedy_seconds"}
    assert (wanted | {"exact_average", "exact_proven", "exact_seconds"}) <= set(content["rows"][0])
    assert figure.with_suffix(".png").stat().st_size > 10_000
    assert "<svg" in figure.with_suffix(".svg").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "arguments",
    [
        ["--producers", "x"],
        ["--consumers", "0"],
        ["--instances", "0"],
        ["--alpha", "0"],
        ["--alpha", "nan"],
        ["--alpha", "inf"],
        ["--time-limit", "nan"],
        ["--time-limit", "-1"],
        ["--producers", "10000000000000000000"],
        ["--consumers", "10001"],
    ],
)
def test_bad_arguments_exit_with_two(arguments, tmp_path):
    result = CliRunner().invoke(minppn, [*arguments, "--out", str(tmp_path / "f")])
    assert result.exit_code == 2
