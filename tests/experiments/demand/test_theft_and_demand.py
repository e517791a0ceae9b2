"""`hushgrid experiment theft-and-demand`: the peak of the village against what is stolen, its detection and its money."""

from __future__ import annotations

import json
import math
import sys
from unittest.mock import patch

import numpy as np
import pytest
from click.testing import CliRunner
from support import ROOT

from experiments.demand.detection import FeederWatch
from experiments.demand.theft import Money
from experiments.demand.theft_command import theft_and_demand

QUICK = ("--runs", "5", "--meters", "20", "--days", "14", "--intervals", "1,48")
#: Peak in kW at 0, 1, 5, 10 and 20 % stolen, of another code: cap 48 kW, N = 1, the village.
PEAKS = (57.4, 57.8, 59.4, 61.4, 64.0)


def played(folder, *arguments, figures=False):
    with patch.dict(sys.modules, {} if figures else {"matplotlib": None}):  # drawing takes time
        result = CliRunner().invoke(theft_and_demand, [*arguments, "--out", str(folder)], env={"COLUMNS": "80"})
    assert result.exit_code == 0, result.output
    return result.output, json.loads((folder / "theft-and-demand.json").read_text())


@pytest.fixture(scope="module")
def village(tmp_path_factory, shared_data):
    """The command on the village's measured homes."""
    data = ("--data", str(shared_data / "lcl2013_300h_year.parquet"))
    grid = ("--grid", str(shared_data / "grid_kerber_village57.json"))
    return played(tmp_path_factory.mktemp("village") / "out", *data, *grid, "--cap", "48")


@pytest.mark.system
def test_the_peak_rises_with_what_is_stolen_as_in_another_code(village):
    _, found = village
    assert [row["stolen_fraction"] for row in found["peaks"]] == [0, 0.01, 0.05, 0.1, 0.2]
    assert [row["undetected_kw"] for row in found["peaks"]] == pytest.approx(PEAKS, abs=0.06)
    assert {round(row["uncontrolled_kw"], 1) for row in found["peaks"]} == {64.0}
    assert round(found["parameters"]["alpha_fitted"], 2) == 0.71


@pytest.mark.system
def test_detection_brings_the_peak_back_to_where_it_was_without_theft(village):
    _, found = village
    honest = found["peaks"][0]["undetected_kw"]
    for row in found["peaks"]:
        assert row["detected_kw"] == pytest.approx(honest, abs=0.1)
        assert row["device_kw"] == pytest.approx(honest)
    delays = [row["delay_rounds"] for row in found["peaks"][1:]]
    assert delays == sorted(delays, reverse=True)
    page = " ".join((ROOT / "docs" / "demand-response.md").read_text().split())
    assert f"It takes {delays[0]:.1f} rounds at 1 % and {delays[-1]:.1f} at 20 %" in page


@pytest.mark.system
def test_theft_response_and_interval_stand_in_one_table(village):
    said, found = village
    rows = found["profits"]
    assert [(row["interval"], row["stolen_fraction"]) for row in rows] == [
        (interval, stolen) for interval in (1, 4, 16, 48) for stolen in (0, 0.01, 0.05, 0.1, 0.2)
    ]
    honest = {row["interval"]: row for row in rows if row["stolen_fraction"] == 0}
    assert honest[1]["profit_controlled"] > honest[1]["profit_alone"]
    assert honest[1]["peak_kw"] < honest[4]["peak_kw"] < honest[48]["peak_kw"]
    scores = [row["own_auc"] for row in honest.values()]
    assert scores[0] == 1
    assert scores == sorted(scores, reverse=True)
    assert all(len(line) <= 80 or "/" in line for line in said.splitlines())
    assert "seed 1" in said
    assert "simulated" in said


@pytest.mark.system
def test_the_sentences_quote_what_the_tables_say(village):
    said, found = village
    text = " ".join(said.split())
    last = found["peaks"][-1]
    assert f"with 20% stolen only to {last['undetected_kw']:.1f} kW" in text
    assert f"With detection the peak at 20% stolen is {last['detected_kw']:.1f} kW" in text
    assert f"goes from 1.000 to {found['profits'][-1]['own_auc']:.3f}" in text
    page = " ".join((ROOT / "docs" / "demand-response.md").read_text().split())
    assert text[text.index("With 0% stolen") : text.index("seed 1;")].strip() in page
    for row in found["peaks"]:
        peaks = [row[name] for name in ("uncontrolled_kw", "undetected_kw", "detected_kw", "device_kw")]
        assert (
            f"| {row['stolen_fraction']:.0%} | ".replace("%", " %") + " | ".join(f"{kw:.1f}" for kw in peaks) + " |"
            in page
        )


@pytest.mark.system
def test_constructed_homes_files_and_seeds(tmp_path):
    said, found = played(tmp_path / "one", *QUICK, figures=True)
    _, again = played(tmp_path / "two", *QUICK)
    _, other = played(tmp_path / "three", *QUICK, "--seed", "2")
    assert found == again
    assert found["peaks"] != other["peaks"]
    assert "constructed (not measured)" in said
    names = {path.name for path in (tmp_path / "one").iterdir()}
    assert names == {f"theft-and-demand.{ending}" for ending in ("json", "csv", "png", "svg")} | {
        "theft-and-demand-profit.csv"
    }


def test_shares_and_intervals_are_taken_once_and_in_their_order_and_a_sentence_needs_two(tmp_path):
    said, found = played(tmp_path / "out", *QUICK, "--stolen", "0.2,0.05,0.2", "--intervals", "48,48")
    assert [row["stolen_fraction"] for row in found["peaks"]] == [0.05, 0.2]
    assert [(row["interval"], row["stolen_fraction"]) for row in found["profits"]] == [(48, 0.05), (48, 0.2)]
    assert "With 5% stolen control brings" in said
    assert "From N = 48" not in said


def test_profit_is_revenue_and_fines_less_supply_and_effort():
    money = Money(tariff=0.25, rate=0.1, peak_rate=8.0, fine_factor=2.0, effort=100.0)
    flow = np.array([[10.0], [30.0], [20.0]])
    assert money.cost_of_supply(flow, 0.5) == pytest.approx(0.1 * 30 + 8 * 30)
    revenue = 0.25 * 0.9 * 30 + 0.5 * 2 * 0.25 * 0.1 * 30
    assert money.profit(flow, 0.5, np.full(3, 0.1), 0.5, 0.02) == pytest.approx(revenue - 243 - 2)
    with pytest.raises(ValueError, match="negative"):
        Money(tariff=-1.0)


@pytest.mark.parametrize(("interval", "least_kw"), [(4, 20.0), (16, 20.0), (4, -5.0)])
def test_honest_stretches_alarm_as_often_as_was_asked_for(interval, least_kw):
    """Also where the feeder feeds back at times."""
    flow = least_kw + 10 + 10 * np.sin(2 * np.pi * np.arange(14 * 48) / 48)
    seen = FeederWatch(flow, interval, 48, 0.1, 5).watch(np.zeros(len(flow)), 1000)
    # The limit is itself a quantile, of 4,000 draws from 1,000 runs.
    parts = 1 / 1000 + 1 / 1000 + 1 / 4000
    assert abs(seen.alarm_fraction - 0.1) <= 4.9 * math.sqrt(0.1 * 0.9 * parts)


def test_what_is_missing_is_found_once_there_is_an_alarm():
    rounds, begun = 14 * 48, 100
    balance = FeederWatch(np.full(rounds, 30.0), 4, 48, 0.01, 1)
    seen = balance.watch(np.where(np.arange(rounds) >= begun, 0.1, 0.0), 200)
    assert seen.alarm_fraction == 1
    assert 0 < seen.mean_delay_rounds(begun) < 12
    assert seen.found[-1] == pytest.approx(np.full(200, 0.1), abs=0.01)
    for run in range(3):
        alarm = int(seen.alarm[run])
        assert begun <= alarm
        assert not seen.found[: alarm - 3, run].any()
        assert seen.found[alarm, run] > 0
    assert balance.watch(np.zeros(rounds), 2).mean_delay_rounds(rounds) is None
    with pytest.raises(ValueError, match="feeds back all the time"):
        FeederWatch(np.full(rounds, -1.0), 48, 48, 0.1, 1)
    with pytest.raises(ValueError, match="too few for a rate of"):
        FeederWatch(np.full(rounds, 30.0), 48, 48, 0.0001, 1)


@pytest.mark.system
def test_a_theft_that_begins_on_the_day_of_the_peak_is_found_in_time_also_when_it_is_small(tmp_path, shared_data):
    data = ("--data", str(shared_data / "lcl2013_300h_year.parquet"))
    grid = ("--grid", str(shared_data / "grid_kerber_village57.json"))
    late = ("--theft-day", "40", "--stolen", "0,0.01,0.2", "--intervals", "1")
    _, found = played(tmp_path / "out", *data, *grid, "--cap", "48", *late)
    honest, small, large = found["peaks"]
    assert small["undetected_kw"] > honest["undetected_kw"] + 0.3
    for row in (small, large):
        assert row["detected_kw"] == pytest.approx(honest["undetected_kw"], abs=0.1)
    page = " ".join((ROOT / "docs" / "demand-response.md").read_text().split())
    assert f"the peak is {small['detected_kw']:.1f} kW at 1 % stolen and {large['detected_kw']:.1f} kW at 20 %" in page


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--intervals", "5"), "does not divide the day"),
        (("--stolen", "1"), "nothing to control"),
        (("--stolen", "1.5"), "not a list of fractions"),
        (("--cap", "3", "--flexible-fraction", "0"), "must run"),
        (("--false-alarm", "0"), "not in the range"),
        (("--false-alarm", "0.0001"), "1000 honest stretches are too few for a rate of 0.0001"),
        (("--tariff", "-1"), "not in the range"),
        (("--first-day", "69"), "not all inside"),
        (("--theft-day", "27"), "the days are 28 to 41"),
        (("--theft-day", "42"), "the days are 28 to 41"),
    ],
)
def test_what_cannot_be_is_one_line_and_status_2(tmp_path, arguments, said):
    result = CliRunner().invoke(theft_and_demand, [*QUICK, *arguments, "--out", str(tmp_path / "out")])
    assert result.exit_code == 2
    assert said in result.stderr.splitlines()[-1]
    assert (result.stdout, (tmp_path / "out").exists()) == ("", False)
