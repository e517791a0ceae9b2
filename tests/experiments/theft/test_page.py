"""docs/theft.md says what its commands print."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner
from support import ROOT

from experiments.theft.game import theft_game
from experiments.theft.ranking import theft_ranking

PAGE = (ROOT / "docs" / "theft.md").read_text(encoding="utf-8")
PROSE = " ".join(PAGE.split())


def content_of(command, folder, *arguments):
    result = CliRunner().invoke(command, [*arguments, "--out", str(folder)])
    assert result.exit_code == 0, result.output
    return json.loads(next(folder.glob("theft-*.json")).read_text())


def row_of(*cells: str) -> str:
    """A line of a table, as the page has it."""
    return f"| {' | '.join(cells)} |"


@pytest.fixture(scope="module")
def game(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page") / "out"
    few = ("--density", "gamma", "--attack", "tilt", "--theft-fraction", "0.02,0.05,0.1,0.2", "--windows", "100")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("experiments.theft.game_rows._LONGEST_PLAYED", 0)  # what is played is not on the page
        patched.setattr("experiments.theft.game._draw", lambda *_: [])
        return content_of(theft_game, folder, *few)


def test_the_game_against_one_home(game):
    for fraction in (0.02, 0.05, 0.1, 0.2):
        day, week = (row for row in game["rows"] if row["theft_fraction"] == fraction)
        assert (day["slots"], week["slots"]) == (96, 672)
        found = [f"{100 * row['detection']:.3g} %" for row in (day, week)]
        assert row_of(f"{100 * fraction:g} %", f"{day['mu']:.4g}", f"{day['kl_per_slot']:.4f}", *found) in PAGE
    floors = [f"{100 * row['never_caught_below']:.1f} %" for row in game["floors"]]
    assert "never caught below {} in a day, {} in a week, {} in a month".format(*floors) in PROSE


def test_how_many_false_alarms_to_pay_for(game):
    best = next(row for row in game["efforts"] if row["theft_fraction"] == 0.1)
    assert f"probability is {best['false_alarm']:.6f} at 10 % theft and finds {100 * best['detection']:.1f} %" in PROSE
    assert f"worth {best['utility']:,.2f}." in PROSE
    assert f"it begins at {game['corner'][0]['slope_at_zero']:.6g}" in PROSE


def test_what_runs_is_a_cusum(game):
    rows = game["sequential"]
    for row in rows:
        cells = f"{row['delay_mean_slots']:.1f}", f"{row['delay_95_slots']:,}", f"{row['false_alarm_mean_slots']:,.0f}"
        assert row_of(f"{row['limit']:g}", *cells) in PAGE
    quoted = [f"{row['limit_by_kl_slots']:.1f}" for row in rows]
    assert "often quoted, is {}, {} and {}".format(*quoted) in PROSE


@pytest.mark.system
def test_the_tables_of_balance_meters_and_rankings(tmp_path, shared_data):
    files = (
        "--data",
        str(shared_data / "lcl2013_300h_year.parquet"),
        "--grid",
        str(shared_data / "grid_kerber_village57.json"),
    )
    page = ("--partition", "3/4+5/1+2+6", "--days", "14", "--windows", "1000")
    content = content_of(theft_ranking, tmp_path / "out", *files, *page)
    cells = {
        (
            row["groups"],
            row["theft_fraction"],
            row["method"],
        ): f"{row['median_rank']:g}, {row['top1']:.2f}, {row['top3']:.2f}"
        for row in content["rows"]
        if row["epsilon"] is None
    }
    for row in content["comparisons"]:
        if row["epsilon"] is None:
            key = row["groups"], row["theft_fraction"]
            ratio = f"{row['top3_ratio']:.2f} ({row['low']:.2f}-{row['high']:.2f})"
            ranks = [cells[*key, method] for method in ("naive", "llr-normal", "llr")]
            assert row_of(str(key[0]), f"{100 * key[1]:.0f} %", *ranks, ratio) in PAGE
    for row in content["balance"]:
        parts = [f"{100 * row[name]:.2f} %" for name in ("theft_fraction", "missing_share")]
        assert row_of(
            str(row["groups"]), parts[0].replace(".00", ""), parts[1], f"{100 * row['false_alarms']:.1f} %",
            *(f"{100 * row[name]:.0f} %" for name in ("fixed_false_alarms", "found", "before_95")), f"{row['estimate']:.2f}",
        ) in PAGE  # fmt: skip
    for row in content["calibration"]:
        claims = (
            f"{row['softmax_claims']} of {row['windows']:,}",
            str(row["softmax_right"]),
            str(row["claims"]),
            str(row["right"]),
        )
        assert row_of(str(row["groups"]), f"{row['temperature']:.2f}", *claims, "yes" if row["shown"] else "no") in PAGE
    private = {row["epsilon"]: row["top3"] for row in content["rows"]
               if (row["groups"], row["theft_fraction"], row["method"]) == (1, 0.2, "llr")}  # fmt: skip
    assert (
        f"among three in {private[None]:.2f} of windows with exact sums, in {private[10]:.2f} at epsilon 10 and in {private[1]:.2f}"
        in PROSE
    )
