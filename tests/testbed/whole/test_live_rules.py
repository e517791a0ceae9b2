"""Rules that come and go, and PPNs that do, while meters run: nothing is lost, and nobody is singled out."""

from __future__ import annotations

import pytest


def plans_by_version(run):
    return {plan["version"]: plan for plan in run.report["plans"]}


@pytest.mark.system
def test_everybody_but_one_is_refused_with_its_reason_and_something_safe_is_granted(testbed):
    run = testbed(
        "--meters", "60", "--consumers", "2", "--rounds", "8",
        "--ask", "consumer-2@1=1..59", "--ask", "consumer-2@1=1..30/2",
    )  # fmt: skip
    assert run.status == 0, run.err
    refused, granted = run.report["requests"]
    assert refused["state"] == "refused"
    assert "singles out meter (m0060); 19 are needed" in refused["reason"]
    assert refused["because_of"] == ["consumer-1/sum-1"]
    assert granted["state"] == "granted"
    text = " ".join(run.out.split())
    assert "asked-1: refused: together with the rules granted it singles out meter (m0060)" in text
    assert "[because of consumer-1/sum-1]" in text
    new = [row for row in run.aggregates if row["rule"] == "asked-2"]
    assert len(new) == 2
    assert all(row["status"] == "released" and row["watt_hours"] == row["truth_watt_hours"] for row in new)
    assert not [row for row in run.aggregates if row["rule"] == "asked-1"]


@pytest.mark.system
def test_meters_that_no_rule_covers_any_more_hold_nothing_up(testbed):
    """Their last rule is given up: they have nothing to state, and no round waits for them."""
    run = testbed(
        "--meters", "40", "--rounds", "6", "--consumers", "2", "--withdraw", "consumer-1@2=sum-1", "--seed", "3"
    )
    assert run.status == 0, run.err + run.out
    assert run.summary["wrong"] == 0
    assert run.summary["released"] == run.summary["windows"]


@pytest.mark.system
def test_rules_come_and_go_through_killed_processes_without_losing_a_round(testbed):
    run = testbed(
        "--meters", "120", "--consumers", "3", "--ppns", "6", "--rounds", "18", "--window", "1,4,3",
        "--ask", "consumer-1@2=21..60/2", "--withdraw", "consumer-2@5=sum-2", "--ask", "consumer-2@9=all/6",
        "--withdraw", "consumer-1@11=asked-1", "--kill", "configurator@2", "--kill", "configurator@5", "--kill", "consumer-2@9",
        "--kill", "fleet-1@9", "--kill", "ppn-2@11",
    )  # fmt: skip
    assert run.status == 0, run.err
    assert [request["state"] for request in run.report["requests"]] == ["granted", "withdrawn", "granted", "withdrawn"]
    assert run.summary["released"] == run.summary["windows"]
    assert run.summary["wrong"] == 0
    first = min(row["first_round"] for row in run.aggregates)
    assert [row["first_round"] - first for row in run.aggregates if row["rule"] == "sum-1"] == list(range(18))
    late = [row["first_round"] - first for row in run.aggregates if row["rule"] == "asked-1"]
    assert late == list(range(min(late), max(late) + 1, 2)), "the windows of a rule have no hole"
    gone = [row["last_round"] - first for row in run.aggregates if row["rule"] == "sum-2"]
    assert max(gone) < 17, "what was given up ends with the windows that had begun"


@pytest.mark.system
def test_a_ppn_that_is_gone_is_planned_around_and_no_window_is_lost(testbed):
    run = testbed(
        "--meters", "60", "--consumers", "2", "--ppns", "5", "--rounds", "12", "--window", "1,6",
        "--stop", "ppn-1@3", "--away-seconds", "1",
    )  # fmt: skip
    assert run.status == 0, run.err
    assert run.summary["released"] == run.summary["windows"] == 12 + 2
    before, *_, after = (plans_by_version(run)[version]["rules"] for version in sorted(plans_by_version(run)))
    assert all("ppn-1" in rule["ppns"] for rule in before)
    assert all("ppn-1" not in rule["ppns"] and len(rule["ppns"]) == 4 for rule in after)
    log = (run.directory / "log" / "configurator.log").read_text()
    assert "ppn-1 is away: its rules are placed elsewhere" in log
    assert "2 shares of rules move (90 sums a round)" in log


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--ask", "consumer-2=1..9"], "is not CONSUMER@ROUND=COHORT"),
        (["--ask", "consumer-9@2=1..9"], "no such consumer"),
        (["--withdraw", "consumer-1@2"], "is not CONSUMER@ROUND=RULE"),
        (["--away-seconds", "0"], "not positive"),
        (["--ask", "consumer-1@1=1..99", "--meters", "20"], "no position or range from 1 to 20"),
    ],
)
def test_bad_requests_are_one_clear_line_and_status_2(testbed, options, said):
    run = testbed(*options, seconds=500)
    assert run.status == 2
    assert said in run.err
    assert "Traceback" not in run.err


@pytest.mark.system
def test_losses_that_shrink_a_difference_withhold_one_of_the_two_sums(testbed):
    run = testbed(
        "--meters", "40", "--consumers", "1", "--window", "1", "--rounds", "32", "--loss", "0.03", "--recovery", "agree",
        "--seed", "13", "--ask", "consumer-1@1=1..21",
    )  # fmt: skip
    assert run.status == 0, run.err
    by_round = {}
    for row in run.aggregates:
        by_round.setdefault(row["first_round"], {})[row["rule"]] = row
    pairs = [rows for rows in by_round.values() if len(rows) == 2]
    assert len(pairs) >= 25
    disclosing = 0
    for rows in pairs:
        everybody, most = rows["sum-1"], rows["asked-1"]
        left = everybody["included"] - most["included"]
        if 0 < left < 15 and everybody["status"] == "released":
            assert most["status"] == "withheld", rows
            disclosing += most["reason"] == "would disclose too small a group together with earlier releases"
        if everybody["status"] == most["status"] == "released":
            assert left >= 15
    assert disclosing, "the seed loses nothing that matters: the test would show nothing"
