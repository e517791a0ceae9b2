"""`hushgrid experiment loss-rate --mode live`: real processes over a broker come to eq. 13 and to exactly what the link's function says."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from experiments.loss.rate import loss_rate


def rows_of(arguments, tmp_path):
    report = tmp_path / "out.json"
    result = CliRunner().invoke(loss_rate, [*arguments, "--json", str(report), "--out", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    return json.loads(report.read_text(encoding="utf-8"))["rows"]


@pytest.mark.system
@pytest.mark.timeout(900)
def test_without_recovery_six_points_agree_with_eq_13_and_exactly_with_the_prediction(tmp_path):
    options = ["--mode", "live", "--recovery", "none", "--meters", "20,40", "--loss", "0.003,0.01,0.02"]
    rows = rows_of([*options, "--width", "4", "--threshold", "3", "--rounds", "24", "--seed", "11"], tmp_path)
    assert len(rows) == 6
    assert any(0 < row["recovered"] < 24 for row in rows)
    for row in rows:
        assert row["as_predicted"], row
        assert row["wrong"] == 0
        p = row["success_formula"]
        assert abs(row["success"] - p) <= 3 * (p * (1 - p) / 24) ** 0.5 + 1e-9, row


@pytest.mark.system
@pytest.mark.timeout(900)
def test_with_recovery_live_coverage_is_exactly_the_predicted_one(tmp_path):
    options = ["--mode", "live", "--recovery", "agree,repair", "--meters", "40", "--loss", "0.03", "--window", "2"]
    rows = rows_of([*options, "--width", "4", "--threshold", "3", "--rounds", "8"], tmp_path)
    assert [row["recovery"] for row in rows] == ["agree", "repair"]
    for row in rows:
        assert row["as_predicted"], row
        assert row["recovered"] == row["predicted"] == 4
        assert row["wrong"] == 0
    assert rows[0]["coverage"] < rows[1]["coverage"]
    assert rows[0]["messages_per_reading"] == 4 < rows[1]["messages_per_reading"] < 4 * 1.3
