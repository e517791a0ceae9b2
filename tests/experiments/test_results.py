"""Every experiment: out/NAME/ and no former run written over, computed without matplotlib, tables that fit every terminal."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from dataclasses import fields

import click
import numpy as np
import pytest
from click.testing import CliRunner
from support import ROOT

from experiments.command import _EXPERIMENTS, experiment
from experiments.pairwise import attack
from experiments.pairwise.attack import AttackOutcome, Swept
from experiments.pairwise.noise import IsolatedError, Leakage
from experiments.pairwise.table import AttackRow
from experiments.results import ResultFolder
from experiments.scaling import costs
from experiments.scaling.units import Units
from hushgrid.errors import ConfigurationError
from hushgrid.wire.model import Variant

SMALL = {
    "demand-response": ("--runs", "2", "--meters", "5", "--days", "1", "--intervals", "1,48", "--stretches", "2"),
    "figure4": ("--meters", "100,1000", "--loss", "1e-3..1e-2", "--instances", "1"),
    "gateway-figures": (),
    "loss-rate": ("--meters", "20,1000", "--loss", "1e-3..1e-1", "--rounds", "20"),
    "minppn": ("--producers", "100", "--instances", "1", "--no-starts"),
    "pairwise-attack": (),
    "pairwise-cost": ("--meters", "8"),
    "pricing": ("--feeders", "1", "--draws", "2"),
    "scaling": (),
    "theft-and-demand": ("--runs", "2", "--meters", "5", "--days", "2", "--intervals", "1,48"),
    "theft-game": (
        "--theft-fraction",
        "0.1,0.2",
        "--slots",
        "24",
        "--windows",
        "100",
        "--limits",
        "1",
        "--attack",
        "tilt,flat",
        "--density",
        "gamma",
    ),
    "theft-ranking": (
        "--homes",
        "12",
        "--history-days",
        "70",
        "--days",
        "7",
        "--groups",
        "1",
        "--epsilon",
        "none",
        "--theft-fraction",
        "0.3",
        "--windows",
        "100",
    ),
}
FIGURES = {name for name in SMALL if name not in {"gateway-figures", "pairwise-cost", "scaling"}}


@pytest.fixture(autouse=True)
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes long is measured elsewhere: here it is about what becomes of it."""
    rows = [AttackRow("seed-unknown-graph", Variant.PUBLISHED, 4, 639_960, 0.0278, 12.288)]
    leakage = [Leakage(Variant.HARDENED, degree, 1, -0.0008, 0.0014, 0.0, 0.501, 0.0) for degree in (1, 2)]
    isolated = [IsolatedError("calibrated", 0.5, 1000, 1.0, 13.0421, 91.9491)]
    day = np.arange(1, 13)
    shown = (day, day * 1.5, day * 1.0)
    outcome = AttackOutcome(rows, leakage, isolated, [Swept(500, 96, 4, 1.0, 8.9)], shown, 86.2)
    monkeypatch.setattr(attack, "run_attacks", lambda **_: outcome)

    async def measured(_meters: int, _messages: int) -> Units:
        return Units(**{field.name: 1234.5 for field in fields(Units)})

    monkeypatch.setattr(costs, "measure", measured)


def run(name: str, *arguments: str, columns: str | None = None) -> click.testing.Result:
    environment = {"COLUMNS": columns}
    return CliRunner().invoke(experiment, [name, *SMALL[name], *arguments], env=environment)


def test_every_experiment_is_tried_here():
    assert set(SMALL) == set(_EXPERIMENTS) - {"state-estimation"}, "that one reads real homes: tests/experiments/grid"


@pytest.mark.parametrize("name", SMALL)
def test_results_go_into_out_name_and_a_second_run_is_refused_before_it_computes(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = run(name)
    assert done.exit_code == 0, done.output
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    written = {path.name: path.read_bytes() for path in (tmp_path / "out" / name).iterdir()}
    assert {f"{name}.json", f"{name}.csv"} <= set(written)
    assert ({f"{name}.png", f"{name}.svg"} <= set(written)) is (name in FIGURES)
    assert isinstance(json.loads(written[f"{name}.json"]), dict)
    for file in written:
        assert f"out/{name}/{file}" in " ".join(done.output.split())

    again = run(name)
    assert (again.exit_code, again.output) == (
        2, f"hushgrid: out/{name} holds a former run, and nothing is written over: --out names another folder\n",
    )  # fmt: skip
    assert {path.name: path.read_bytes() for path in (tmp_path / "out" / name).iterdir()} == written
    monkeypatch.setitem(sys.modules, "matplotlib", None)  # drawing takes time
    elsewhere = run(name, "--out", "deep/er", "--json", "one.json")
    assert elsewhere.exit_code == 0, elsewhere.output
    assert (tmp_path / "one.json").read_bytes() == (tmp_path / "deep" / "er" / f"{name}.json").read_bytes()
    report = run(name, "--out", "third", "--json", "one.json")
    assert (report.exit_code, (tmp_path / "third").exists()) == (2, False)
    assert "one.json is there already" in report.output


@pytest.mark.parametrize("name", SMALL)
def test_without_matplotlib_everything_else_is_there_and_a_line_says_how_figures_are_got(name, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    done = run(name, "--out", str(tmp_path / "out"))
    assert done.exit_code == 0, done.output
    assert {path.suffix for path in (tmp_path / "out").iterdir()} <= {".json", ".csv", ".md"}
    line = "no figures: matplotlib is not installed; in hushgrid's checkout: .venv/bin/pip install -e '.[figures]'"
    assert (line in done.output.splitlines()) is (name in FIGURES)


def test_no_experiment_loads_matplotlib_before_it_draws():
    program = (
        "import sys; sys.modules['matplotlib'] = None\n"
        "from testbed.command import main\n"
        "main(['experiment', 'minppn', '--producers', '100', '--consumers', '10', '--instances', '1', '--help'])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    modules = [module for module, _ in _EXPERIMENTS.values()]
    program = f"import sys, importlib\nsys.modules['matplotlib'] = None\nfor m in {modules}: importlib.import_module(m)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr


def numbers_of(text: str) -> list[str]:
    """Every cell that is a number, in any order."""
    return sorted(word for word in text.split() if word.strip("+-").replace(",", "").replace(".", "").isdigit())


@pytest.mark.parametrize("columns", ["60", "80", "200"])
@pytest.mark.parametrize("name", [name for name in SMALL if name != "pairwise-cost"])
def test_tables_fit_the_terminal_and_lose_no_number(name, columns, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)  # drawing takes time
    folded = run(name, "--out", str(tmp_path / "out-one"), columns=columns)
    whole = run(name, "--out", str(tmp_path / "out-two"))
    assert folded.exit_code == whole.exit_code == 0, folded.output
    tables = [line for line in folded.output.splitlines() if str(tmp_path) not in line]
    assert max(map(len, tables)) <= int(columns)
    assert not any(mark in folded.output for mark in ("…", "..."))
    if name == "minppn":  # its times are measured anew
        return
    missing = set(numbers_of(whole.output)) - set(numbers_of(folded.output))
    assert not missing


def test_a_folder_that_cannot_be_is_refused(tmp_path):
    (tmp_path / "file").touch()
    for out in (tmp_path / "file", tmp_path / "file" / "in" / "it"):
        with pytest.raises(ConfigurationError, match="--out"):
            ResultFolder("any", out)
    (tmp_path / "empty").mkdir()
    ResultFolder("any", tmp_path / "empty").json({"a": math.pi})
    assert os.listdir(tmp_path / "empty") == ["any.json"]  # noqa: PTH208
    with pytest.raises(ConfigurationError, match="holds a former run"):
        ResultFolder("any", tmp_path / "empty")
