"""Power flow and state estimation against pandapower and power-grid-model, which have a Python of their own (`make oracles`)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import ROOT

from grid_operator.estimation.equations import MeasurementModel
from grid_operator.estimation.least_squares import estimate
from grid_operator.estimation.measurements import GridQuantity, measured, of_each_load
from grid_operator.network.feeder import feeder_of
from grid_operator.network.files import read_network
from grid_operator.network.model import Network
from grid_operator.network.power_flow import Equations, PowerFlow, power_flow

PYTHON = ROOT / ".venv-oracles" / "bin" / "python"
pytestmark = pytest.mark.system


def asked(*arguments: object) -> Any:
    """What the oracles answer."""
    command = [str(PYTHON), "-W", "ignore", str(ROOT / "tests" / "grid_operator" / "oracles.py"), *map(str, arguments)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=os.environ | {"PYTHONPATH": str(ROOT)}
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def village_file(shared_data: Path, absent) -> Path:
    if not PYTHON.exists():
        absent("pandapower has no environment here: make oracles")
    return shared_data / "grid_kerber_village57.json"


@pytest.fixture(scope="module")
def compared(village_file: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    folder = tmp_path_factory.mktemp("nets")
    return folder, asked("flows", village_file, folder)


def nominal(network: Network, equations: Equations = Equations.SOUND) -> PowerFlow:
    feeder = feeder_of(network)
    nodes = [feeder.node(load.node) for load in network.loads]
    p, q = [load.watts for load in network.loads], [load.vars for load in network.loads]
    return power_flow(feeder, feeder.at_nodes(nodes, p), feeder.at_nodes(nodes, q), equations=equations)


NETS = ("village", "cigre-lv", "kerber-landnetz", "kerber-vorstadtnetz", "simbench-rural", "simbench-semiurban")


@pytest.mark.parametrize("name", NETS)
def test_distflow_is_what_pandapower_says(compared, name: str):
    folder, answers = compared
    found, answer = nominal(read_network(folder / name)), answers[name]
    apart = [abs(found.voltage_per_unit[0, found.feeder.node(bus)] - volts) for bus, volts in answer["volts"].items()]
    assert len(apart) > 10
    assert max(apart) < 1e-10
    assert [found.slack_watts[0] / 1e6, found.slack_vars[0] / 1e6] == pytest.approx(answer["slack"], abs=1e-10)
    lost = {line: value for line, value in answer["lost"].items() if line in found.feeder.branches}
    assert len(lost) > 5
    for line, value in lost.items():
        assert found.loss_watts[0, found.feeder.branch(line)] / 1e6 == pytest.approx(value, abs=1e-10), line


def test_the_villages_json_and_its_tables_are_one_grid(compared, village):
    again = nominal(read_network(compared[0] / "village"))
    ours = nominal(village)
    for node in village.nodes:
        one, other = (
            ours.voltage_per_unit[0, ours.feeder.node(node.name)],
            again.voltage_per_unit[0, again.feeder.node(node.name)],
        )
        assert abs(one - other) < 1e-12


def test_distflow_is_what_power_grid_model_says_of_the_villages_cables(compared, village):
    low = Network("low", village.nodes[1:], village.lines, (), "1", village.loads)
    found = nominal(low)
    said = compared[1]["power-grid-model"]
    assert len(said) == 115
    assert max(abs(found.voltage_per_unit[0, found.feeder.node(bus)] - volts) for bus, volts in said.items()) < 1e-10


def test_the_printed_equations_err_on_cigre_by_what_was_measured(compared):
    """2.4e-3 by eq. 2; nothing by eq. 1.b, as the grid has no capacitance."""
    network = read_network(compared[0] / "cigre-lv")
    apart = [
        np.abs(nominal(network, equations).voltage_per_unit - nominal(network).voltage_per_unit).max()
        for equations in (Equations.PRINTED_VOLTAGE, Equations.PRINTED_CHARGING)
    ]
    assert apart[0] == pytest.approx(2.4e-3, abs=5e-5)
    assert apart[1] == 0


def test_nets_that_have_no_place_here_are_refused_by_what_is_in_them(village_file: Path):
    said = asked("refused", village_file, "-")
    expected = (
        "gen 0: generator that holds a voltage: only balanced", "asymmetric_load 0: unbalanced load: only balanced",
        "several slacks: 2 external grids", "no external grid feeds the net", "load 0: const_z_p_percent: only loads of constant power",
        "line 0: a line with g_us_per_km", "switch 0: a switch with an impedance",
    )  # fmt: skip
    assert len(said) == len(expected)
    for text, begin in zip(said, expected, strict=True):
        assert text.startswith(f"refused: {begin}")


def test_least_squares_are_what_pandapower_says(village_file: Path, village, tmp_path: Path):
    feeder = feeder_of(village)
    rng = np.random.default_rng(3)
    nodes = np.array([feeder.node(load.node) for load in village.loads])
    p, q = rng.uniform(500, 6_000, (1, 57)), rng.uniform(0, 2_000, (1, 57))
    truth = power_flow(feeder, feeder.at_nodes(nodes, p), feeder.at_nodes(nodes, q))
    rows, listed = [], []
    for place in ("0", "9", "60"):
        volts = truth.voltage_per_unit[:, feeder.node(place)] + rng.normal(0, 2e-3, 1)
        rows.append(measured(feeder, GridQuantity.VOLTAGE_PER_UNIT, place, volts, 2e-3))
        listed.append(["v", "bus", int(place), volts[0], 2e-3, None])
    for line in village.lines[::23]:
        at = feeder.branch(f"line {line.name}")
        from_above = feeder.names[feeder.up[at]] == line.upper
        assert from_above
        for quantity, kind, sent in (
            (GridQuantity.BRANCH_WATTS, "p", truth.sent_watts), (GridQuantity.BRANCH_VARS, "q", truth.sent_vars),
        ):  # fmt: skip
            read = sent[:, at] + rng.normal(0, 200.0, 1)
            rows.append(measured(feeder, quantity, f"line {line.name}", read, 200.0))
            listed.append([kind, "line", int(line.name), read[0] / 1e6, 200.0 / 1e6, "from"])
    for quantity, kind, power, sigma in (
        (GridQuantity.LOAD_WATTS, "p", p, 800.0), (GridQuantity.LOAD_VARS, "q", q, 300.0),
    ):  # fmt: skip
        read = power + rng.normal(0, sigma, power.shape)
        rows += of_each_load([load.name for load in village.loads], quantity, read, sigma)
        listed += [
            [kind, "bus", int(load.node), v / 1e6, sigma / 1e6, None]
            for load, v in zip(village.loads, read[0], strict=True)
        ]
    loaded = {load.node for load in village.loads}
    empty = [int(node.name) for node in village.nodes if node.name not in loaded and node.name != "0"]
    file = tmp_path / "asked.json"
    file.write_text(json.dumps({"measurements": listed, "empty": empty}))
    answer = asked("estimate", village_file, file)
    assert answer["success"]
    found = estimate(MeasurementModel(feeder, nodes, rows))
    apart = [abs(found.flow.voltage_per_unit[0, feeder.node(bus)] - volts) for bus, volts in answer["volts"].items()]
    assert np.abs(found.flow.voltage_per_unit - truth.voltage_per_unit).max() > 1e-4  # the estimate is not the truth
    assert max(apart) < 1e-8


def test_a_day_of_the_benchmark_is_played(village_file: Path, tmp_path: Path):
    report = tmp_path / "report.json"
    command = [sys.executable, str(ROOT / "benchmarks" / "power_flow.py"), "--days", "1", "--json", str(report)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=os.environ | {"PYTHONPATH": str(ROOT)}
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "116 nodes, 57 homes" in done.stdout
    found = json.loads(report.read_text())
    assert found["slots"] == {"flow": 48, "estimation": 48}
    assert found["ratio"] > 0
    assert village_file.exists()
