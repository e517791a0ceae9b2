"""When a PPN asks again: after a quiet pause, at most so many times, never while answers come in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ppn_node.repair import CATCH_UP_ATTEMPTS, Repairs, RepairStep, Turn

WAIT, OVER = RepairStep(Turn.WAIT), RepairStep(Turn.OVER)


def ask(attempt: int) -> RepairStep:
    return RepairStep(Turn.ASK, attempt)


def test_a_round_is_asked_for_after_each_quiet_pause_and_given_up_after_the_last():
    repairs = Repairs(2.0)
    repairs.begin(7, 100.0, after=0, most=2)
    steps = [(now, repairs.step(7, now)) for now in (101.9, 102.0, 103.0, 104.0, 105.9, 106.0)]
    assert steps == [
        (101.9, WAIT),
        (102.0, ask(1)),
        (103.0, WAIT),
        (104.0, ask(2)),
        (105.9, WAIT),
        (106.0, OVER),
    ]


def test_no_attempts_is_one_quiet_pause():
    repairs = Repairs(2.0)
    repairs.begin(7, 0.0, after=0, most=0)
    assert repairs.step(7, 1.0) == WAIT
    assert repairs.step(7, 2.0) == OVER


def test_arriving_shares_put_the_next_request_off():
    repairs = Repairs(2.0)
    repairs.begin(7, 0.0, after=0, most=1)
    repairs.heard(7, 1.5)
    assert repairs.step(7, 2.5) == WAIT
    assert repairs.next_step(7) == 3.5
    assert repairs.step(7, 3.5) == ask(1)


def test_after_the_decision_requests_are_numbered_on():
    repairs = Repairs(1.0)
    repairs.begin(7, 0.0, after=5, most=5)
    assert repairs.step(7, 1.0) == ask(6)


@pytest.mark.parametrize("repair_attempts", [0, 2, 9])
def test_a_ppn_that_was_away_asks_for_included_shares_whatever_the_recovery(repair_attempts):
    repairs = Repairs(1.0)
    repairs.catch_up(7, 0.0, repair_attempts)
    asked = []
    for now in range(1, 99):
        step = repairs.step(7, float(now))
        if step == OVER:
            break
        asked.append(step.attempt)
    count = max(repair_attempts, CATCH_UP_ATTEMPTS)
    assert asked == list(range(repair_attempts + 1, repair_attempts + 1 + count))


def test_a_round_that_is_not_waited_for_is_not_begun_by_a_share():
    repairs = Repairs(1.0)
    repairs.heard(7, 0.0)
    repairs.end(7)
    assert 7 not in repairs
    assert list(repairs) == []


@given(st.integers(0, 6), st.lists(st.floats(0.01, 3.0), max_size=60), st.sets(st.integers(0, 59)))
def test_requests_are_numbered_one_by_one_and_never_more_than_allowed(most, waits, heard):
    repairs, now, asked = Repairs(1.0), 0.0, []
    repairs.begin(7, now, after=0, most=most)
    for at, wait in enumerate(waits):
        now += wait
        if at in heard:
            repairs.heard(7, now)
        step = repairs.step(7, now)
        if step == OVER:
            break
        if step != WAIT:
            asked.append(step.attempt)
    assert asked == list(range(1, len(asked) + 1))
    assert len(asked) <= most
