"""PPNs divided among workers, in a whole testbed whose workers are killed while rounds run."""

from __future__ import annotations

import json
import subprocess
import sys

import psutil
import pytest

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]


def workers_of(testbed: psutil.Process) -> dict[str, psutil.Process]:
    """The workers that run now, by their journals."""
    found = {}
    for process in testbed.children(recursive=True):
        try:
            command = process.cmdline()
        except psutil.Error:
            continue
        if "ppn_node.shares.worker" in command:
            found[command[-2]] = process
    return found


def test_workers_are_killed_while_rounds_run_and_no_window_is_lost(tmp_path):
    report = tmp_path / "report.json"
    command = [
        sys.executable, "-m", "testbed.command", "testbed", "--meters", "60", "--rounds", "14", "--ppn-workers", "2",
        "--round-seconds", "1.5", "--keep", str(tmp_path / "run"), "--json", str(report),
    ]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    killed = []
    try:
        for line in process.stderr:
            if any(f"round {number} of" in line for number in (2, 4, 6, 8, 10)):
                running = workers_of(psutil.Process(process.pid))
                spared = sorted(running.keys() - set(killed))
                journal = spared[len(killed) * 3 % len(spared)]
                killed.append(journal)
                running[journal].kill()
        assert process.wait(timeout=600) == 0
    finally:
        process.kill()
        process.stderr.close()
    summary = json.loads(report.read_text())["summary"]
    assert summary["released"] == summary["windows"] == 14 + 7 + 14
    assert summary["wrong"] == summary["unrecovered"] == summary["withheld"] == 0
    assert len(set(killed)) == 5
    said = "".join(path.read_text() for path in (tmp_path / "run" / "log").glob("ppn-*.log"))
    assert said.count("ended with status -9 and is started again") == 5


def test_a_ppn_with_workers_that_is_killed_itself_goes_on_with_what_they_kept(testbed):
    options = [
        "--ppn-workers",
        "2",
        "--loss",
        "0.1",
        "--recovery",
        "repair",
        "--window",
        "1,2,3",
        "--epoch-rounds",
        "4",
    ]
    run = testbed("--meters", "60", "--rounds", "9", "--kill", "ppn-2@3", "--kill", "ppn-3@7", *options, seconds=200)
    assert run.status == 0, run.err
    assert run.summary["released"] == run.summary["windows"]
    assert run.summary["wrong"] == 0
    assert sorted(path.name for path in (run.directory / "ppn-1").glob("journal-worker-*.sqlite")) == [
        "journal-worker-1.sqlite",
        "journal-worker-2.sqlite",
    ]
