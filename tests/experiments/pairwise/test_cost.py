"""The cost of one reading, in one run."""

from __future__ import annotations

import json

from click.testing import CliRunner

from experiments.pairwise.cost import run_cost
from experiments.pairwise.cost_command import pairwise_cost_command


def test_messages_and_bytes_follow_from_the_protocol():
    rows = {row.mechanism: row for row in run_cost([10])}
    assert rows["shares"].messages == 8  # w = 4 shares, each with its receipt
    # One frame and its receipt; four neighbours are each told once a period, and answer.
    assert rows["pairwise"].messages == round(2 + 2 * 4 / 48, 3)
    assert rows["pairwise, self-masks"].messages == round(4 + 2 * 6 / 48, 3)
    assert rows["both"].messages == round(8 + 2 * 4 / 48, 3)
    assert rows["pairwise"].bytes < rows["pairwise, self-masks"].bytes < rows["shares"].bytes < rows["both"].bytes
    assert all(row.meter_microseconds > 0 and row.receiver_microseconds > 0 for row in rows.values())


def test_the_command_writes_its_rows(tmp_path):
    report = tmp_path / "out.json"
    done = CliRunner().invoke(
        pairwise_cost_command, ["--meters", "8", "--json", str(report), "--out", str(tmp_path / "out")]
    )
    assert done.exit_code == 0, done.output
    assert len(json.loads(report.read_text())["rows"]) == 4
