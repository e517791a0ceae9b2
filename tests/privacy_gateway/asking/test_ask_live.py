"""`hushgrid ask` at a gateway that runs: the answer it prints is the gateway's, and its refusals are."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner
from support.gateway.processes import add_client, running, write_config

from privacy_gateway.asking.command import ask

pytestmark = pytest.mark.system


def test_a_person_asks_asks_again_and_is_refused(tmp_path):
    config = write_config(tmp_path)
    (tmp_path / "secret").write_text(add_client(config, "control-room", "Purpose=operations"))
    with running(config) as gateway:

        def asked(*words: str):
            given = [
                "--gateway", gateway.address, "--client", "control-room", "--secret-file", str(tmp_path / "secret"),
                "--epsilon", "0.5", *words,
            ]  # fmt: skip
            return CliRunner().invoke(ask, given, env={"COLUMNS": "80"})

        day = ("--purpose", "operations", "--rounds", "0..23")
        first = asked("sum", *day)
        assert first.exit_code == 0, first.output
        lines = first.stdout.splitlines()
        assert lines[0] == "sum of 12 homes, rounds 0 to 23, for operations"
        assert lines[3:] == [
            "288 of 288 readings are in it",
            "charged epsilon 0.5 to each home; an epsilon of 1.5 is left to all of them",
        ]
        assert lines[2].startswith("+-")
        again = asked("sum", *day).stdout.splitlines()
        assert again[:4] == lines[:4]
        assert again[4].startswith("answered before (epsilon 0.5 to each home then): free now")
        said = json.loads(asked("sum", *day, "--json").stdout)
        assert lines[1] == f"{said['values'][0]:,} Wh"
        curve = asked("load-curve", *day, "--cohort", "m00..m05", "--step", "12")
        assert curve.exit_code == 0, curve.output
        assert "0 to 11" in curve.stdout
        few = asked("sum", *day, "--cohort", "m00..m10")
        assert (few.exit_code, few.stdout) == (1, "")
        assert few.stderr.startswith("hushgrid: refused, differencing: ")
        other = asked("sum", "--purpose", "research", "--rounds", "0")
        assert other.stderr.startswith("hushgrid: refused, not-admitted: This client may not ask for research")
