"""Which windows leave, on the actual contributors and over windows of different lengths (P17, P18)."""

from __future__ import annotations

import dataclasses

import numpy as np

from configurator.audit.policy import Policy
from configurator.rounds.releases import withheld_windows
from configurator.values import RuleWindow
from hushgrid.core.bitmap import Bitmap
from hushgrid.core.minimum import WithheldReason
from hushgrid.core.recovery import Recovery
from hushgrid.core.schedule import Window
from hushgrid.plan.head import Head
from hushgrid.plan.parts import Rule
from hushgrid.statements.rounds import Contributors

METERS = 40
HEAD = Head.model_construct(
    meters=METERS, recovery=Recovery.AGREE, minimum_contributors=5, coverage_floor_fraction=0.5, threshold=3
)
POLICY = Policy(minimum_contributors=5, coverage_floor_fraction=0.5)


def window(number, members, first=0, k=1, consumer="c"):
    rule = Rule(
        number=number, name=f"r{number}", consumer=consumer, window_rounds=k, minimum_contributors=5, points=(1, 2, 3),
        from_round=0,
    )  # fmt: skip
    return RuleWindow(rule, Bitmap.of(METERS, members), Window(first, k))


def coverage(*included):
    return {
        r: Contributors(Bitmap.of(METERS, members), Bitmap(METERS), Bitmap(METERS))
        for r, members in enumerate(included)
    }


def reasons(ending, included, released=(), policy=POLICY, meters=METERS):
    found = withheld_windows(HEAD, ending, released, included, policy, meters)
    return {entry.rule: entry.reason for entry in found}


ALL, MOST = window(1, range(40)), window(2, range(30))


def test_a_difference_that_losses_shrink_holds_back_the_later_of_two():
    assert reasons([ALL, MOST], coverage(range(40))) == {}
    lossy = coverage(range(34))
    assert reasons([ALL, MOST], lossy) == {2: WithheldReason.WOULD_DISCLOSE}
    assert reasons([MOST, ALL], lossy) == {1: WithheldReason.WOULD_DISCLOSE}
    assert reasons([MOST], lossy, released=[ALL]) == {2: WithheldReason.WOULD_DISCLOSE}
    assert reasons([ALL, MOST], coverage(range(30))) == {}, "the same sum twice discloses nothing"


def test_what_is_withheld_for_its_own_numbers_discloses_nothing_and_withholds_nobody():
    few = window(2, range(8))
    assert reasons([ALL, few], coverage([*range(4), *range(8, 40)])) == {2: WithheldReason.BELOW_MINIMUM}
    assert reasons([ALL], coverage(range(19))) == {1: WithheldReason.BELOW_COVERAGE}


def test_a_long_window_is_judged_beside_what_left_within_it():
    long = window(3, range(30), k=2)
    included = coverage(range(40), range(33))
    assert reasons([long], included, released=[window(1, range(40), 0)]) == {}
    assert reasons([long], included, released=[window(1, range(40), 1)]) == {3: WithheldReason.WOULD_DISCLOSE}


def test_a_consumers_own_meters_do_not_count_and_meters_may_enrol_later():
    own = np.zeros(METERS + 3, dtype=np.bool_)
    own[:10] = True
    policy = dataclasses.replace(POLICY, owned={"c": own})
    mine = window(1, range(14))
    assert reasons([mine], coverage(range(40)), policy=policy, meters=METERS + 3) == {1: WithheldReason.BELOW_MINIMUM}
    assert reasons([window(1, range(15))], coverage(range(40)), policy=policy, meters=METERS + 3) == {}


def test_minima_of_customer_classes_hold_on_the_contributors():
    minima = np.full(METERS, 5)
    minima[30:] = 8
    policy = dataclasses.replace(POLICY, minimum_by_meter=minima)
    assert reasons([ALL, MOST], coverage(range(38)), policy=policy) == {}
    assert reasons([ALL, MOST], coverage(range(37)), policy=policy) == {2: WithheldReason.WOULD_DISCLOSE}
