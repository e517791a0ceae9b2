"""A wrong point is a PPN's fault only when every share it had to add is known to be right."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from configurator.rounds.blame import Evidence, Faults
from hushgrid.core.bitmap import Bitmap
from hushgrid.plan.head import Head, PpnEntry
from hushgrid.plan.parts import Rule
from hushgrid.statements.rounds import Observation


def pairs(meters, rounds=(10,)) -> dict[int, Bitmap]:
    return {r: Bitmap.of(8, meters) for r in rounds}


def test_a_wrong_point_alone_blames_nobody():
    evidence = Evidence()
    evidence.observe(1, 10, pairs(range(5)), right=[1, 2, 3], wrong=[4])
    (finding,) = evidence.findings()
    assert (finding.point, finding.rule, finding.first_round, finding.suspects) == (4, 1, 10, 5)
    assert not finding.blames_the_ppn


def test_a_ppn_is_blamed_when_every_share_was_right_in_other_windows_at_its_point():
    evidence = Evidence()
    evidence.observe(1, 10, pairs(range(5)), right=[1, 2, 3], wrong=[4])
    evidence.observe(2, 10, pairs([0, 1, 2]), right=[1, 2, 3, 4], wrong=[])
    assert evidence.findings()[0].suspects == 2
    evidence.observe(3, 10, pairs([3, 4, 5]), right=[4], wrong=[])
    assert evidence.findings()[0].blames_the_ppn


def test_shares_at_another_point_or_of_another_round_clear_nothing():
    evidence = Evidence()
    evidence.observe(1, 10, pairs(range(5), (10, 11)), right=[], wrong=[4])
    evidence.observe(2, 10, pairs(range(5)), right=[3], wrong=[])
    assert evidence.findings()[0].suspects == 5
    evidence.observe(3, 10, pairs(range(5)), right=[4], wrong=[])
    assert evidence.findings()[0].suspects == 5  # round 11 is not cleared
    evidence.observe(3, 11, pairs(range(5), (11,)), right=[4], wrong=[])
    assert evidence.findings()[0].blames_the_ppn


def test_what_is_over_is_forgotten():
    evidence = Evidence()
    evidence.observe(1, 10, pairs(range(5), (10, 11)), right=[3], wrong=[4])
    evidence.forget(11)
    assert len(evidence.findings()) == 1
    evidence.forget(12)
    assert evidence.findings() == []
    assert not evidence._cleared


def test_shares_that_fit_no_polynomial_are_told_of_and_blame_nobody():
    rule = Rule(
        number=1, name="sum-1", consumer="c-1", window_rounds=2, minimum_contributors=2, points=(1, 2, 3), from_round=0
    )
    ppns = tuple(PpnEntry.model_construct(id=f"ppn-{point}", point=point) for point in (1, 2, 3))
    faults, head = Faults(), Head.model_construct(ppns=ppns)
    said = Observation(rule=1, first_round=10, right=(), wrong=(), misfit=(3, 1))
    for _ in range(2):
        faults.observe(head, rule, said, pairs(range(5), (10, 11)))
    assert faults.texts == (
        "c-1's sum-1, rounds 10 to 11: the shares of ppn-1, ppn-3 lie on no one polynomial; more are wrong than can be corrected",
    )
    faults.observe(
        head, rule, Observation(rule=1, first_round=200, right=(1, 2, 3), wrong=()), pairs(range(5), (200, 201))
    )
    assert faults.texts == ()


@given(
    st.sets(st.integers(0, 5), min_size=1),
    st.sets(st.sampled_from(list(itertools.combinations(range(6), 3))), max_size=6),
)
def test_an_honest_ppn_with_one_bad_meter_is_never_blamed(everybody, others):
    """Every window that contains the bad meter's pair is wrong, every other one right: the bad meter is never cleared."""
    bad = min(everybody)
    evidence = Evidence()
    for rule, cohort in enumerate([tuple(everybody), *others]):
        spoiled = bad in cohort
        evidence.observe(rule, 10, pairs(cohort), right=[] if spoiled else [4], wrong=[4] if spoiled else [])
    assert not any(finding.blames_the_ppn for finding in evidence.findings())
