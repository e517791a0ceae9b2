"""What a run did not recover: said with the reason, and held against it unless it was to be expected."""

from __future__ import annotations

import dataclasses

import pytest

from hushgrid.core.recovery import Recovery
from hushgrid.core.schedule import Window
from hushgrid.wire.model import Mechanism
from testbed.choices.parameters import Parameters
from testbed.run.conducting import Conducted
from testbed.run.play import Run
from testbed.verdict.losses import Comparison
from testbed.verdict.sums import BillRow, Verdict, WindowRow
from testbed.verdict.unrecovered import notes, shortfalls

MISFIT = "the shares at points [1, 2, 3, 4] do not lie on one polynomial of degree 2, and more than 0 of them are wrong"
TOO_FEW = "2 of 3 usable aggregate shares"
OUTCOME = Conducted({}, (), (), 0, 1.0, "")


def window(first, status="unrecovered", reason=TOO_FEW, rounds=1, detects=0, rule="sum-1"):
    return WindowRow(
        "consumer-1", rule, first, first + rounds - 1, 20, 20, status, reason, 7 if status == "released" else None, 7, (),
        {"detects": detects},
    )  # fmt: skip


def bill(reason="", watt_hours=None, status="unrecovered"):
    return BillRow("consumer-1", "m0001", 0, Window(100, 4), status, reason, watt_hours, 7, ())


def missed(*rounds):
    return Comparison(frozenset(("m0001", "ppn-1", r) for r in rounds), frozenset(), frozenset())


def run_of(*rows, losses=None, outcome=OUTCOME, bills=(), plans=(), **options):
    return Run(Parameters.of(**options), "", [], Verdict(rows, bills, plans=plans), outcome, 1.0, [], losses)


def test_a_run_that_recovers_everything_succeeds():
    run = run_of(window(100, "released", ""), window(101, "withheld", "coverage below the floor"))
    assert run.succeeded
    assert not run.shortfalls


@pytest.mark.parametrize("reason", [MISFIT, TOO_FEW, "no result"])
@pytest.mark.parametrize("recovery", [Recovery.REPAIR, Recovery.AGREE])
def test_a_window_that_should_have_been_exact_and_was_not_fails_the_run(recovery, reason):
    run = run_of(window(100, "released", ""), window(101, reason=reason), losses=missed(101), recovery=recovery)
    assert not run.succeeded
    (short,) = run.shortfalls
    assert short.describe() == f"not recovered: 1 window of consumer-1's sum-1: {reason}"
    assert run.as_json()["unrecovered"] == [
        {"consumer": "consumer-1", "rule": "sum-1", "what": "windows", "count": 1, "reason": reason, "excuse": ""}
    ]


def test_without_recovery_a_missing_share_spoils_its_own_windows_and_no_others():
    spoiled = run_of(window(100), window(102, rounds=2), losses=missed(100, 103), recovery=Recovery.NONE)
    assert spoiled.succeeded
    assert [short.count for short in spoiled.shortfalls] == [2]
    assert "as expected: a missing share spoils" in spoiled.shortfalls[0].describe()
    for row, losses in ((window(101), missed(100)), (window(100), missed()), (window(100), None)):
        assert not run_of(row, losses=losses, recovery=Recovery.NONE).succeeded


def test_a_lie_is_no_loss_even_where_a_share_is_missing():
    assert not run_of(window(100, reason=MISFIT, detects=1), losses=missed(100), recovery=Recovery.NONE).succeeded


def test_shortfalls_are_told_by_rule_and_reason():
    rows = [window(100, reason=MISFIT), window(101, reason=MISFIT), window(102), window(103, rule="sum-2")]
    found = shortfalls(Verdict(tuple(rows)), Parameters(), None)
    assert [(short.rule, short.count) for short in found] == [("sum-1", 1), ("sum-1", 2), ("sum-2", 1)]


def test_masked_readings_before_the_first_whole_period_and_below_a_floor_are_no_failure():
    masked = {"mechanism": Mechanism.PAIRWISE, "period": 4}
    early = [window(first, reason="waits for 20 masked readings") for first in (102, 103)]
    floors = window(104, reason="only 14 meters have a reading, the minimum is 15")
    bills = (bill("only 3 of 4 rounds are in the bill"), bill(status="released", watt_hours=7))
    assert run_of(*early, floors, bills=bills, **masked).succeeded
    late = window(105, reason="waits for 1 masked readings")
    assert not run_of(*early, late, **masked).succeeded
    assert not run_of(floors, bills=(bill("waits for 2 masked readings"),), **masked).succeeded
    shares = Parameters()
    assert all(short.due for short in shortfalls(Verdict(tuple(early)), shares, None))


def test_a_liar_that_nobody_asked_and_a_request_that_came_too_late_are_said():
    plan = {"rules": [{"consumer": "consumer-1", "ppns": ["ppn-1", "ppn-2"]}]}
    outcome = dataclasses.replace(OUTCOME, unsaid=("--ask consumer-1@8=all/1: the run ended before it could be said",))
    run = run_of(window(100, "released", ""), outcome=outcome, plans=(plan,), liars=("ppn-1", "ppn-3"))
    assert run.notes[1:] == ["ppn-3 had nothing to lie about: it served none of these rules", *outcome.unsaid]
    assert run.as_json()["notes"] == run.notes
    assert not notes(Verdict(()), Parameters())
