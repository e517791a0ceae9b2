"""`hushgrid experiment theft-ranking`: its rows, what it says of a suspicion, its files, and what it refuses in one line."""

from __future__ import annotations

import json

import numpy as np
import pytest
from click.testing import CliRunner

from experiments.theft.homes import constructed_homes, grouped
from experiments.theft.ranking import theft_ranking
from hushgrid.errors import ConfigurationError

QUICK = (
    "--homes", "24", "--history-days", "84", "--days", "14", "--groups", "1,2", "--epsilon", "none,5", "--theft-fraction", "0.3",
    "--windows", "100", "--minimum", "12",
)  # fmt: skip


def played(folder, *arguments):
    result = CliRunner().invoke(theft_ranking, [*arguments, "--out", str(folder)], env={"COLUMNS": "120"})
    assert result.exit_code == 0, result.output
    return result.output, json.loads((folder / "theft-ranking.json").read_text())


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    return (*played(folder := tmp_path_factory.mktemp("ranking") / "out", *QUICK), folder)


@pytest.mark.system
def test_every_row_says_hit_rates_and_what_the_supplier_knows(found):
    said, content, _ = found
    rows = content["rows"]
    assert {(row["method"], row["groups"], row["epsilon"]) for row in rows} == {
        (method, groups, epsilon)
        for method in ("naive", "llr-normal", "llr")
        for groups in (1, 2)
        for epsilon in (None, 5)
    }
    for row in rows:
        assert 0 <= row["top1"] <= row["top3"] <= 1
        assert (row["days"], row["period_days"], row["sums_per_home"], row["windows"]) == (14, 7, 6, 100)
    assert "14 d: 6 sums of 7 d" in " ".join(said.split())
    assert "constructed homes (not measured)" in said


@pytest.mark.system
def test_noise_takes_from_the_ranking(found):
    _, content, _ = found
    top = {(row["groups"], row["epsilon"]): row["top3"] for row in content["rows"] if row["method"] == "llr"}
    assert top[1, None] > top[1, 5]


@pytest.mark.system
def test_a_suspicion_says_inspect_and_shows_a_probability_only_where_claims_are_right(found):
    said, content, _ = found
    assert len(content["example"]) == 3
    assert all("inspect" in line and "no finding of guilt" in line for line in content["example"])
    shown = {row["groups"]: row["shown"] for row in content["calibration"]}
    assert any("probability" in line for line in content["example"]) is shown[2]
    for row in content["calibration"]:
        assert row["windows"] >= 400
        if row["shown"]:
            assert row["right"] >= 0.85 * row["claims"]
    assert "May a probability stand beside a rank?" in said


@pytest.mark.system
def test_files(found):
    _, content, folder = found
    parts = ("", "-comparisons", "-calibration", "-balance")
    assert {path.name for path in folder.iterdir()} == {f"theft-ranking{part}.csv" for part in parts} | {
        f"theft-ranking.{end}" for end in ("json", "png", "svg")
    }
    assert len(content["balance"]) == 2


def test_groups_are_whole_feeders_and_reach_the_minimum():
    homes = constructed_homes(24, 7, 1)
    assert [len(group) for group in grouped(homes, None, 2, 12)] == [12, 12]
    parts = grouped(homes, "1+2/3+4+5+6", 2, 1)
    assert [len(group) for group in parts] == [8, 16]
    assert {homes.feeders[home] for home in parts[0]} == {1, 2}
    for partition, said in (("1/2", "each once"), ("1+x/2", "numbers"), ("1+1/2+3+4+5+6", "each once")):
        with pytest.raises(ConfigurationError, match=said):
            grouped(homes, partition, 2, 1)
    with pytest.raises(ConfigurationError, match="below the minimum of 13"):
        grouped(homes, None, 2, 13)


def test_constructed_homes_are_seeded_and_feed_nothing_in():
    one, again, other = (constructed_homes(5, 28, seed).watt_hours for seed in (1, 1, 2))
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)
    assert one.min() >= 0
    assert one.shape == (5, 28 * 48)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--theft-fraction", "1.0"), "between 0 and 1"),
        (("--theft-fraction", "2"), "not a list of fractions"),
        (("--days", "10"), "not whole periods"),
        (("--days", "0"), "whole numbers above 0"),
        (("--days", "84"), "a window takes"),
        (("--groups", "3"), "below the minimum of 12"),
        (("--epsilon", "0"), "numbers above 0, or none"),
        (("--epsilon", "nan"), "numbers above 0, or none"),
        (("--bound-kw", "nan"), "--bound-kw"),
        (("--bound-kw", "inf"), "finite"),
        (("--windows", "5"), "too few"),
        (("--history-days", "10"), "--history-days"),
        (("--grid", "grid.json"), "--data FILE is missing"),
        (("--partition", "1/9"), "the feeders are 1, 2, 3, 4, 5, 6"),
        (("--partition", "1/2/3"), "no number of --groups"),
        (("--data", "/nowhere.csv"), "nowhere.csv"),
    ],
)
def test_what_cannot_be_is_one_line_and_status_2(tmp_path, arguments, said):
    result = CliRunner().invoke(theft_ranking, [*QUICK, *arguments, "--out", str(tmp_path / "out")])
    assert result.exit_code == 2, result.output
    assert said in result.stderr.splitlines()[-1]
    assert (result.stdout, (tmp_path / "out").exists()) == ("", False)


def test_a_grid_that_is_none_is_one_line(tmp_path, shared_data):
    data = ("--data", str(shared_data / "lcl2013_40h_4w_wide.csv.gz"))
    for text, said in (("{", "no feeder"), ('{"lines": [], "trafos": [], "loads": []}', "loads"), ("[1]", "no feeder")):
        (tmp_path / "grid.json").write_text(text)
        result = CliRunner().invoke(
            theft_ranking, [*QUICK, *data, "--grid", str(tmp_path / "grid.json"), "--out", str(tmp_path / "out")]
        )
        assert result.exit_code == 2
        assert said in result.stderr.splitlines()[-1]
        assert len(result.stderr.splitlines()) == 1
