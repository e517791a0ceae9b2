"""Containers that are killed, paused and cut off in mid-run: sums are exact or absent."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.system, pytest.mark.machine, pytest.mark.timeout(3600)]


@pytest.fixture
def run(images, tmp_path: Path):
    """`hushgrid testbed --runtime docker --secure` with these options; its report."""

    def play(*options: str) -> dict[str, Any]:
        report = tmp_path / "report.json"
        command = [
            sys.executable, "-m", "testbed.command", "testbed", "--runtime", "docker", "--secure", "--meters", "20",
            "--keep", str(tmp_path / "run"), "--json", str(report), *options,
        ]  # fmt: skip
        environment = {**os.environ, "IMAGES": images}
        done = subprocess.run(command, capture_output=True, text=True, timeout=1500, check=False, env=environment)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
        content: dict[str, Any] = json.loads(report.read_text())
        return content

    return play


def exact_and_whole(report: dict[str, Any]) -> bool:
    return report["summary"]["released"] == report["summary"]["windows"] > 0 == report["summary"]["wrong"]


def points_by_round(report: dict[str, Any], directory: Path) -> dict[int, int]:
    """How many PPNs' points the first consumer's result of each round rests on, by round counted from 1."""
    rows = [json.loads(line) for line in (directory / "consumer-1" / "results.jsonl").read_text().splitlines()]
    first = min(row["first_round"] for row in report["aggregates"])
    return {row["first_round"] - first + 1: len(row["points"]) for row in rows}


def test_any_ppn_may_be_cut_off_and_everything_is_released(run, tmp_path):
    """w - t = 1 at a time, each of the five in turn; what they missed they catch up with."""
    cuts = [option for number in range(1, 6) for option in ("--cut", f"ppn-{number}@{2 * number - 1}-{2 * number}")]
    report = run("--rounds", "11", *cuts)
    assert exact_and_whole(report)
    assert points_by_round(report, tmp_path / "run")[11] == 4


def test_while_a_ppn_is_cut_off_the_others_suffice_and_healed_it_is_full_width_again(run, tmp_path):
    """Away for longer than decisions and consumers wait for it."""
    report = run("--rounds", "14", "--cut", "ppn-1@2-11")
    assert exact_and_whole(report)
    points = points_by_round(report, tmp_path / "run")
    assert points[3] == 3, "the cut was not felt: the test shows nothing"
    assert points[14] == 4


def test_ppns_are_killed_and_paused_and_every_window_is_released(run):
    report = run(
        "--rounds", "10", "--kill", "ppn-1@2", "--pause", "ppn-2@3-5", "--kill", "configurator@6", "--stop", "ppn-3@7"
    )
    assert exact_and_whole(report)


def test_at_full_width_two_ppns_may_be_killed_and_two_others_cut_off_at_once(run, tmp_path):
    """w - t = 2: what was killed and what was cut off is back in the end, and sums rest on all five points again.

    How many rounds that takes depends on the machine: a consumer does not wait for a point that is late.
    """
    kills = ("--kill", "ppn-1@2", "--kill", "ppn-2@2")
    cuts = ("--cut", "ppn-3@4-13", "--cut", "ppn-4@4-13")
    report = run("--width", "5", "--threshold", "3", "--rounds", "24", *kills, *cuts)
    assert exact_and_whole(report)
    points = points_by_round(report, tmp_path / "run")
    assert points[5] == 3, "the cut was not felt: the test shows nothing"
    assert 5 in {points[round_number] for round_number in range(14, 25)}
