"""Invariant 5 stands in one place, in exact numbers: whoever asks gets the same answer."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from configurator.audit.cohorts import Census as Meters
from configurator.audit.policy import Policy, Request
from configurator.audit.union import Granted
from configurator.audit.withholding import Release, withhold
from configurator.rounds.contributors import too_few
from hushgrid.core.bitmap import Bitmap
from hushgrid.core.minimum import WithheldReason, as_written, covers, reason_to_withhold, spare_rounds
from hushgrid.core.schedule import Window
from hushgrid.plan.head import Head
from hushgrid.plan.minimum import below_floor
from hushgrid.plan.parts import Rule
from hushgrid.statements.rounds import Contributors
from hushgrid.wire.model import Mechanism


def everybody_says(floor: float, included: int, meters: int, minimum: int = 1) -> set[WithheldReason]:
    """The configurator before it decides, the audit of losses, a PPN before it adds."""
    head = Head.model_construct(meters=meters, minimum_contributors=minimum, coverage_floor_fraction=floor)
    rule = Rule(
        number=1, name="r", consumer="c", window_rounds=1, minimum_contributors=minimum, points=(1,), from_round=0
    )
    cohort = Bitmap.full(meters)
    coverage = {0: Contributors(Bitmap.of(meters, range(included)), Bitmap(meters), Bitmap(meters))}
    known = Meters.of(range(meters))
    asked = Request(name="r", consumer="c", cohort=known.everyone(), window_rounds=1)
    there = {0: np.arange(meters) < included}
    policy = Policy(minimum_contributors=minimum, coverage_floor_fraction=floor)
    held = withhold([Release("r", 0)], [], there, Granted(known, (asked,)), policy)
    objection = held.get(Release("r", 0))
    return {
        too_few(head, rule, cohort, Window(0, 1), coverage),
        WithheldReason.NONE if objection is None else objection.reason,
        below_floor(head, rule, fewest=included, included=included, expected=meters),
    }


@pytest.mark.parametrize("floor", [0.55, 0.07, 0.14, 0.28, 0.29, 0.57, 0.58])
def test_a_floor_that_binary_fractions_miss_is_met_by_exactly_that_part(floor):
    included = round(100 * floor)
    assert floor * 100 != included or included / 100 == floor
    assert everybody_says(floor, included, 100) == {WithheldReason.NONE}
    assert everybody_says(floor, included - 1, 100) == {WithheldReason.BELOW_COVERAGE}


def test_fifty_five_of_a_hundred_meet_a_floor_of_0_55():
    assert 0.55 * 100 > 55  # what the comparison was, in two of three places
    assert everybody_says(0.55, 55, 100) == {WithheldReason.NONE}


@given(st.integers(1, 100), st.integers(1, 120), st.data(), st.integers(1, 20))
def test_there_is_one_answer(percent, meters, data, minimum):
    included = data.draw(st.integers(0, meters))
    assert len(everybody_says(percent / 100, included, meters, minimum)) == 1


def test_too_few_meters_come_before_too_small_a_part():
    counts = {"fewest": 3, "included": 3, "expected": 10, "floor": Fraction(1, 2)}
    assert reason_to_withhold(**counts, minimum=4) is WithheldReason.BELOW_MINIMUM
    assert reason_to_withhold(**counts, minimum=3) is WithheldReason.BELOW_COVERAGE


def test_masked_shares_leave_whole_or_not_at_all():
    head = Head.model_construct(minimum_contributors=1, coverage_floor_fraction=0.5)
    rule = Rule(
        number=1, name="r", consumer="c", window_rounds=1, minimum_contributors=1, points=(1,), from_round=0,
        mechanism=Mechanism.BOTH,
    )  # fmt: skip
    assert below_floor(head, rule, fewest=9, included=9, expected=10) is WithheldReason.INCOMPLETE
    assert below_floor(head, rule, fewest=10, included=10, expected=10) is WithheldReason.NONE


def test_a_floor_is_read_as_it_was_written():
    assert as_written(0.55) == Fraction(11, 20)
    assert as_written(Fraction(1, 3)) == Fraction(1, 3)
    assert covers(55, 100, as_written(0.55))


def test_a_meter_may_miss_what_the_floor_leaves_of_a_period():
    assert spare_rounds(100, as_written(0.55)) == 45  # in binary fractions: 44
    assert spare_rounds(10, Fraction(1)) == spare_rounds(10, Fraction(0)) == 0
