"""Agents forked from a warm parent, and agents started as `python -m MODULE`: the same run either way."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from testbed.warm import MODULES, available

pytestmark = [
    pytest.mark.usefixtures("mosquitto"),
    pytest.mark.skipif(sys.platform != "linux", reason="warm on Linux only"),
]


def play(tmp_path: Path, rounds: int, at_round: int, look, **environment: str) -> dict:
    """A small run whose processes `look` sees when a round has been played; its report, of an exact run."""
    report = tmp_path / "report.json"
    command = [
        sys.executable, "-m", "testbed.command", "testbed", "--meters", "20", "--rounds", str(rounds),
        "--keep", str(tmp_path / "run"), "--json", str(report),
    ]  # fmt: skip
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env={**os.environ, **environment}
    )
    assert process.stderr is not None
    try:
        for line in process.stderr:
            if f"round {at_round} of" in line:
                look(psutil.Process(process.pid))
        assert process.wait(timeout=500) == 0
    finally:
        process.kill()
        process.stderr.close()
    content: dict = json.loads(report.read_text())
    assert content["summary"]["released"] == content["summary"]["windows"] > 0 == content["summary"]["wrong"]
    return content


def warm_parent(testbed: psutil.Process) -> psutil.Process | None:
    found = [child for child in testbed.children() if "testbed.warm" in child.cmdline()]
    return found[0] if found else None


@pytest.mark.system  # everybody is started again and catches up
def test_every_agent_is_a_process_of_its_own_and_the_death_of_their_parent_costs_no_window(tmp_path):
    assert available()
    forked: list[psutil.Process] = []

    def look(testbed: psutil.Process) -> None:
        parent = warm_parent(testbed)
        assert parent is not None
        forked.extend(parent.children())
        assert {child.name() for child in forked} >= {"configurator", "ppn-1", "ppn-5", "consumer-1", "fleet-1"}
        for child in forked:
            assert os.getsid(child.pid) == os.getpgid(child.pid) == child.pid
        parent.kill()

    report = play(tmp_path, 8, 3, look)
    assert len(forked) == 10
    assert not psutil.wait_procs(forked, timeout=200)[1]
    rows = [row for row in report["processes"] if row["role"] != "broker"]
    assert len({row["pid"] for row in rows} - {child.pid for child in forked}) == len(rows) == 10


@pytest.mark.system
def test_without_a_warm_parent_agents_are_started_as_a_person_starts_them(tmp_path):
    seen: list[str] = []

    def look(testbed: psutil.Process) -> None:
        assert warm_parent(testbed) is None
        seen.extend(child.cmdline()[2] for child in testbed.children() if child.cmdline()[1:2] == ["-m"])

    play(tmp_path, 3, 1, look, HUSHGRID_COLD_START="1")
    assert sorted(set(seen)) == sorted(set(MODULES) - {"testbed.agents.liar"})
