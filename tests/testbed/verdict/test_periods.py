"""A run beside billing periods: what is before the first whole one, and in the one it ends inside."""

from __future__ import annotations

from hushgrid.core.schedule import Window
from testbed.verdict.periods import BillingSpan


def test_a_run_of_whole_periods_leaves_nothing_to_say():
    billing = BillingSpan(8, 15, 4)
    assert (list(billing.before), list(billing.unfinished)) == ([], [])
    assert billing.periods == [Window(8, 4), Window(12, 4)]
    assert billing.notes(bills=True) == []


def test_a_run_that_starts_and_ends_inside_a_period_says_which_rounds_have_no_bill():
    billing = BillingSpan(7, 13, 4)
    assert (list(billing.before), billing.periods, list(billing.unfinished)) == ([7], [Window(8, 4)], [12, 13])
    before, after = billing.notes(bills=True)
    assert "rounds 7 to 7 are before the first whole period" in before
    assert "bills run from round 8" in before
    assert "rounds 12 to 13 are in a period that the run ends inside, up to round 15" in after
    assert billing.notes(bills=False) == [before]


def test_a_run_shorter_than_its_way_to_the_first_period_is_wholly_before_it():
    billing = BillingSpan(5, 6, 4)
    assert (list(billing.before), billing.periods, list(billing.unfinished)) == ([5, 6], [], [])
    assert "bills run from round 8" in billing.reason


def test_a_run_shorter_than_a_period_ends_inside_its_first():
    billing = BillingSpan(8, 10, 4)
    assert (list(billing.before), billing.periods, list(billing.unfinished)) == ([], [], [8, 9, 10])
