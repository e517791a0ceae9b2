"""`hushgrid experiment state-estimation`: on real homes intervals keep their promise, and nothing that cannot be used is used."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from experiments.command import experiment
from experiments.grid.homes import lived_in
from experiments.grid.offers import LivedIn, groups, measure
from grid_operator.estimation.equations import MeasurementModel
from grid_operator.estimation.least_squares import estimate
from grid_operator.estimation.measurements import GridQuantity, measured, of_each_load


@pytest.fixture(scope="module")
def lived(shared_data: Path) -> LivedIn:
    """The village over 14 days of February 2013: 672 half hours."""
    files = (shared_data / "grid_kerber_village57.json", None, shared_data / "lcl2013_300h_year.parquet")
    return lived_in(*files, first_day=35, days=14, factor=1.0)


@pytest.mark.parametrize("feeders", [False, True])
def test_intervals_of_voltages_cover_what_they_say_on_real_homes(lived: LivedIn, feeders: bool):
    """Devices with Gaussian errors; what is assumed of homes, and how far they stray, is from others, in the 28 days before."""
    feeder, truth, rng = lived.feeder, lived.truth, np.random.default_rng(5)
    slots = len(lived.watts)
    assert slots >= 600
    rows = []
    busbar = int(np.flatnonzero(feeder.up == 0)[0])
    branches = [0, *np.flatnonzero(feeder.up == busbar)] if feeders else [0]
    for branch in map(int, branches):
        node, name = max(int(feeder.up[branch]), 0), feeder.branches[branch]
        for quantity, place, values, sigma in (
            (GridQuantity.VOLTAGE_PER_UNIT, feeder.names[node], truth.voltage_per_unit[:, node], 5e-4),
            (GridQuantity.BRANCH_WATTS, name, truth.sent_watts[:, branch], 100.0),
            (GridQuantity.BRANCH_VARS, name, truth.sent_vars[:, branch], 100.0),
        ):
            rows.append(measured(feeder, quantity, place, values + rng.normal(0, sigma, slots), sigma))
    for quantity, scale in ((GridQuantity.LOAD_WATTS, 1.0), (GridQuantity.LOAD_VARS, np.tan(np.arccos(0.95)))):
        values, sigmas = scale * lived.assumed_watts, scale * lived.assumed_sigma
        rows += of_each_load(lived.meters, quantity, values, sigmas, pseudo=True)
    found = estimate(MeasurementModel(feeder, lived.nodes, rows))
    apart = np.abs(found.flow.voltage_per_unit - truth.voltage_per_unit)
    covered = (apart < 1.959964 * found.voltage_sigma).mean()
    assert 0.90 < covered < 0.98


def test_groups_reach_the_minimum_and_hold_every_home_once(lived: LivedIn):
    listed = groups(lived.feeder, lived.nodes)
    assert sorted(home for group in listed for home in group) == list(range(57))
    assert len(listed) == 3
    assert min(map(len, listed)) >= 15


@pytest.mark.system
def test_more_is_known_from_more_and_noise_is_what_it_costs(lived: LivedIn):
    none, exact = (measure(lived, mode, None, 6, 1.0, 1) for mode in ("none", "exact"))
    group, loud = (measure(lived, "group", epsilon, 6, 1.0, 1) for epsilon in (None, 0.01))
    assert exact.voltage_error_per_unit < group.voltage_error_per_unit <= none.voltage_error_per_unit
    assert exact.loading_error_fraction < 0.001 < none.loading_error_fraction
    assert loud.voltage_error_per_unit == pytest.approx(none.voltage_error_per_unit, rel=1e-3)
    paper = measure(lived, "paper", 0.25, 6, 1.0, 1)
    assert paper.guaranteed_epsilon == pytest.approx(57 * 0.25)
    assert paper.loading_error_fraction < none.loading_error_fraction


def test_the_command_writes_the_rows_that_it_shows(shared_data: Path, tmp_path: Path):
    report = tmp_path / "rows.json"
    arguments = [
        "state-estimation", "--grid", shared_data / "grid_kerber_village57.json", "--homes", shared_data / "lcl2013_300h_year.parquet",
        "--days", 1, "--epsilon", 10, "--load-factor", 1, "--out", tmp_path / "out", "--json", report,
    ]  # fmt: skip
    done = CliRunner().invoke(experiment, list(map(str, arguments)))
    assert done.exit_code == 0, done.output
    content = json.loads(report.read_text())
    assert [(row["mode"], row["epsilon"], row["devices"]) for row in content["rows"]] == [
        (mode, epsilon, count)
        for count in (0, 6)
        for mode, epsilon in (("none", None), ("individual", 10), ("group", 10), ("group", None), ("exact", None))
    ]
    assert {"voltage_error_per_unit", "loading_error_fraction", "coverage_95", "load_factor"} < content["rows"][
        0
    ].keys()
    assert content["parameters"]["noise"] == "simulated, seeded"
    assert sorted(path.suffix for path in (tmp_path / "out").iterdir()) == [".csv", ".json", ".png", ".svg"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--grid", "none.json"], "none.json: No such file or directory"),
        (["--homes", "none.parquet"], "none.parquet"),
        (["--modes", "paper"], "mode paper needs --unsafe-published"),
        (["--modes", "some"], "is not a list of none, individual"),
        (["--epsilon", "0"], "is not a list of numbers above 0"),
        (["--epsilon", "nan"], "is not a list of numbers above 0"),
        (["--devices", "-1"], "is not a list of whole numbers"),
        (["--first-day", "360", "--days", "20"], "20 days from day 360: only days 28 to 345"),
    ],
)
def test_what_cannot_be_used_is_one_line(shared_data: Path, tmp_path: Path, arguments: list[str], said: str):
    whole = [
        "state-estimation", "--grid", shared_data / "grid_kerber_village57.json", "--homes", shared_data / "lcl2013_300h_year.parquet",
        "--out", tmp_path / "out", *arguments,
    ]  # fmt: skip
    done = CliRunner().invoke(experiment, list(map(str, whole)))
    assert done.exit_code == 2
    assert said in done.output
    assert "Traceback" not in done.output
    assert not (tmp_path / "out").exists()
