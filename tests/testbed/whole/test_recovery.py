"""Recovery over real processes: what is lost is fetched, who is away is waited for by nobody, who lies is named."""

from __future__ import annotations

import json

import pytest

from hushgrid.conducted.loss import LossModel
from hushgrid.errors import ConfigurationError
from testbed.choices.parameters import Parameters
from testbed.verdict.prediction import included, predicted_rules

LOSSY = ("--width", "5", "--threshold", "3", "--loss", "0.1")


def results_of(run) -> list[dict]:
    files = sorted(run.directory.glob("consumer-*/results.jsonl"))
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


@pytest.mark.system
def test_repair_includes_exactly_the_readings_that_the_link_lets_through_in_the_end(testbed):
    run = testbed("--meters", "40", "--rounds", "8", *LOSSY, "--repair-attempts", "2", "--seed", "4")
    assert run.status == 0, run.err
    rules = {rule.name: rule for rule in predicted_rules(run.directory / "configurator")}
    model = LossModel(4, 0.1)
    left_out = 0
    for row in run.aggregates:
        cohort = rules[row["rule"]].cohort
        predicted = sum(
            len(included(model, list(rules.values()), r, repair_attempts=2) & cohort)
            for r in range(row["first_round"], row["last_round"] + 1)
        )
        assert row["included"] == predicted
        assert row["lost"] == row["expected"] - predicted
        assert (row["gaps"], row["inconsistent"], row["wrong_points"]) == (0, 0, [])
        left_out += row["expected"] - predicted
        assert row["status"] == "released"
    assert left_out > 0, "the seed leaves nobody out: the test would show nothing"
    assert run.summary["wrong"] == 0
    assert run.summary["repair_requests"] > 0


@pytest.mark.system
def test_two_ppns_killed_and_a_tenth_of_all_shares_lost_cost_no_window(testbed):
    run = testbed("--meters", "60", "--rounds", "12", *LOSSY, "--kill", "ppn-2@3", "--kill", "ppn-4@6")
    assert run.status == 0, run.err
    assert run.summary["released"] == run.summary["windows"] == 30
    assert run.summary["wrong"] == 0
    assert run.summary["coverage"] >= 0.999


@pytest.mark.system
def test_two_ppns_that_never_come_back_cost_no_window(testbed):
    stops = ("--stop", "ppn-2@2", "--stop", "ppn-5@3")
    run = testbed("--meters", "40", "--rounds", "6", *LOSSY, *stops, seconds=500)
    assert run.status == 0, run.err
    assert run.summary["released"] == run.summary["windows"] == 15
    assert run.summary["wrong"] == 0
    assert run.summary["messages_per_share"] <= 1.3
    assert min(len(row["points"]) for row in results_of(run)) == 3


@pytest.mark.system
@pytest.mark.timeout(900)
def test_a_thousand_meters_at_loss_a_tenth_and_two_ppns_killed(testbed, pytestconfig):
    rounds = 100 if pytestconfig.getoption("--long") else 20
    kills = ("--kill", f"ppn-2@{rounds // 5}", "--kill", f"ppn-4@{rounds // 2}")
    run = testbed("--meters", "1000", "--rounds", str(rounds), *LOSSY, *kills, "--seed", "3", seconds=800)
    assert run.status == 0, run.err
    assert run.summary["released"] == run.summary["windows"] == 5 * rounds // 2
    assert run.summary["wrong"] == 0
    assert run.summary["coverage"] >= 0.999
    assert run.summary["messages_per_share"] <= 1.3


@pytest.mark.system
def test_with_agreement_too_ppns_that_were_away_fetch_what_they_missed_of_a_long_window(testbed):
    paces = ("--window", "6", "--rounds", "6", "--round-seconds", "3.5", "--pause", "ppn-1@1-3", "--pause", "ppn-2@3-5")
    grid = ("--meters", "40", "--consumers", "1", "--ppns", "4", "--width", "4", "--threshold", "3")
    run = testbed(*grid, *paces, "--recovery", "agree", "--loss", "0.02", seconds=500)
    assert run.status == 0, run.err
    assert run.summary["released"] == run.summary["windows"]
    assert run.summary["wrong"] == 0
    assert {len(row["points"]) for row in results_of(run)} == {4}


@pytest.mark.system
def test_agreement_at_a_thousandth_releases_every_window_within_a_thousandth_of_the_prediction(testbed):
    run = testbed("--meters", "300", "--rounds", "12", "--loss", "0.001", "--recovery", "agree", "--seed", "2")
    assert run.status == 0, run.err
    assert run.summary["released"] == run.summary["windows"]
    rules = predicted_rules(run.directory / "configurator")
    rounds = sorted({r for row in run.aggregates for r in range(row["first_round"], row["last_round"] + 1)})
    by_round = {r: included(LossModel(2, 0.001), rules, r) for r in rounds}
    cohorts = {rule.name: rule.cohort for rule in rules}
    predicted = sum(
        len(by_round[r] & cohorts[row["rule"]])
        for row in run.aggregates
        for r in range(row["first_round"], row["last_round"] + 1)
    )
    expected = sum(row["expected"] for row in run.aggregates)
    assert predicted < expected
    assert abs(run.summary["coverage"] - predicted / expected) <= 0.001


def test_one_liar_of_eight_is_named_and_every_sum_is_right(testbed):
    run = testbed(
        "--meters", "20", "--rounds", "4", "--ppns", "8", "--width", "8", "--threshold", "5", "--liar", "ppn-3"
    )
    assert run.status == 0, run.err
    assert run.summary["released"] == run.summary["windows"]
    assert run.summary["wrong"] == 0
    points = {tuple(row["wrong_points"]) for row in results_of(run)}
    assert len(points) == 1
    assert len(points.pop()) == 1
    assert [finding for finding in run.report["findings"] if finding.startswith("ppn-3 ")] == run.report["findings"]
    assert any("undecided" in finding for finding in run.report["findings"])  # one bad meter would look the same


@pytest.mark.system
def test_a_liar_towards_one_consumer_is_blamed_by_what_the_others_recover(testbed):
    liar = ("--ppns", "8", "--width", "8", "--threshold", "5", "--liar", "ppn-3:consumer-1")
    run = testbed("--meters", "20", "--rounds", "6", *liar)
    assert run.status == 0, run.err
    assert run.summary["released"] == run.summary["windows"]
    assert any("ppn-3" in finding and "is at fault: it released" in finding for finding in run.report["findings"])


@pytest.mark.system
def test_the_liar_of_the_readme_is_corrected_and_named_because_the_widest_sum_clears_its_meters(testbed):
    run = testbed("--ppns", "8", "--width", "8", "--threshold", "5", "--liar", "ppn-3:consumer-2")
    assert run.status == 0, run.err
    assert run.summary["released"] == run.summary["windows"] == 20
    (finding,) = run.report["findings"]
    assert finding.startswith("ppn-3 ")
    assert finding.endswith("is at fault: it released wrong sums of shares that were right elsewhere")
    assert run.report["notes"] == ["1 liar among 8 PPNs of a rule, threshold 5: wrong shares are corrected"]
    assert run.report["unrecovered"] == []


@pytest.mark.system
@pytest.mark.parametrize(
    "options",
    [
        ("--ppns", "8", "--width", "8", "--threshold", "5", "--liar", "ppn-3", "--liar", "ppn-6"),
        ("--ppns", "5", "--width", "5", "--threshold", "4", "--liar", "ppn-3"),
        ("--ppns", "5", "--width", "4", "--threshold", "3", "--liar", "ppn-3"),
    ],
    ids=["two of eight", "one of five, t = 4", "one of four, t = 3"],
)
def test_more_liars_than_can_be_corrected_are_refused_and_nothing_is_wrong(testbed, options):
    run = testbed("--meters", "20", "--rounds", "2", "--consumers", "1", *options)
    assert run.status == 1
    (short,) = run.report["unrecovered"]
    assert (short["consumer"], short["rule"], short["count"], short["excuse"]) == ("consumer-1", "sum-1", 2, "")
    assert "are wrong" in short["reason"]
    assert "not recovered: 2 windows of consumer-1's sum-1" in run.out
    assert "Every released sum" not in run.out
    (note,) = run.report["notes"]
    assert "noticed, and no sum is given; they are corrected from --width" in note
    assert run.summary["released"] == 0
    assert run.summary["wrong"] == 0
    assert run.summary["unrecovered"] == run.summary["windows"]
    assert run.summary["coverage"] is None
    assert run.report["findings"]
    for finding in run.report["findings"]:
        assert finding.startswith("consumer-1's ")
        assert finding.endswith("lie on no one polynomial; more are wrong than can be corrected")


def test_a_liar_that_is_no_ppn_is_refused(testbed):
    for option in (("--liar", "ppn-9"), ("--stop", "ppn-9@1")):
        run = testbed(*option, seconds=500)
        assert run.status == 2
        assert f"{option[0]} ppn-9: there is no such PPN" in run.err


@pytest.mark.parametrize(
    ("liars", "said"),
    [
        (("ppn-1:consumer-9",), "--liar ppn-1:consumer-9: there is no such consumer"),
        (("ppn-1:",), "--liar ppn-1:: there is no such consumer"),
        (("ppn-1", "ppn-1:consumer-2"), "--liar: one PPN is named twice"),
    ],
)
def test_a_liar_to_nobody_and_one_named_twice_are_refused(liars, said):
    with pytest.raises(ConfigurationError, match=said):
        Parameters.of(liars=liars).check()
