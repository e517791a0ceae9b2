"""Who is in the sums of a round, which windows are withheld, and where a rule is placed."""

from __future__ import annotations

import pytest

from configurator.rounds.contributors import Roster, contributors, too_few
from hushgrid.core.bitmap import Bitmap
from hushgrid.core.minimum import WithheldReason
from hushgrid.core.recovery import Recovery
from hushgrid.core.schedule import Window
from hushgrid.errors import MessageError
from hushgrid.plan.head import Head
from hushgrid.plan.parts import Rule
from hushgrid.statements.rounds import Contributors, RosterPage

METERS = 6


def head(recovery: Recovery = Recovery.AGREE, minimum: int = 1, floor: float = 0.0) -> Head:
    return Head.model_construct(
        meters=METERS, recovery=recovery, minimum_contributors=minimum, coverage_floor_fraction=floor
    )


def roster(readings: set[int], gaps: frozenset[int] = frozenset(), tags: dict[int, bytes] | None = None) -> Roster:
    found = dict.fromkeys(readings | gaps, b"tag0") | (tags or {})
    return Roster(Bitmap.of(METERS, readings), Bitmap.of(METERS, gaps), found)


def bits(*numbers: int) -> Bitmap:
    return Bitmap.of(METERS, numbers)


def rule(number: int, k: int, minimum: int = 1, points: tuple[int, ...] = (1, 2, 3)) -> Rule:
    return Rule(
        number=number,
        name=f"r{number}",
        consumer="c",
        window_rounds=k,
        minimum_contributors=minimum,
        points=points,
        from_round=0,
    )


EVERY = {point: bits(*range(METERS)) for point in (1, 2, 3)}


def test_a_pair_that_one_punctual_ppn_lacks_is_out_everywhere():
    coverage = contributors(head(), EVERY, {1: roster({0, 1, 2}), 2: roster({0, 1}), 3: roster({0, 1, 2, 3})})
    assert set(coverage.included) == {0, 1}


def test_a_ppn_that_is_away_is_left_out_of_the_decision_and_not_its_meters():
    coverage = contributors(head(), EVERY, {1: roster({0, 1, 2}), 3: roster({0, 1, 2})})
    assert set(coverage.included) == {0, 1, 2}


def test_only_the_ppns_in_charge_of_a_meter_matter():
    charges = {1: bits(0, 1), 2: bits(1, 2), 3: bits(2)}
    coverage = contributors(head(), charges, {1: roster({0, 1}), 2: roster({1, 2}), 3: roster(set())})
    assert set(coverage.included) == {0, 1}


def test_a_gap_is_told_from_a_loss_and_different_sharings_are_found():
    rosters = {
        1: roster({0, 2}, frozenset({1})),
        2: roster({0, 2}, tags={2: b"tagX"}),
        3: roster({0, 2}, frozenset({1})),
    }
    coverage = contributors(head(), EVERY, rosters)
    assert set(coverage.included) == {0}
    assert set(coverage.gaps) == {1}
    assert set(coverage.inconsistent) == {2}


def test_without_recovery_nobody_is_left_out_for_loss():
    rosters = {1: roster({0}), 2: roster(set(), frozenset({5})), 3: roster({0, 1})}
    coverage = contributors(head(Recovery.NONE), EVERY, rosters)
    assert set(coverage.included) == {0, 1, 2, 3, 4}
    assert set(coverage.gaps) == {5}


def test_a_window_is_withheld_for_its_smallest_round_and_for_its_coverage():
    full, few = contributors(head(), EVERY, dict.fromkeys((1, 2, 3), roster(set(range(6))))), None
    few = contributors(head(), EVERY, dict.fromkeys((1, 2, 3), roster({0, 1, 2})))
    coverage = {0: few, 1: full}
    cohort, window = bits(*range(6)), Window(0, 2)

    def reason(minimum: int, floor: float = 0.0, round_: int | None = None) -> WithheldReason:
        asked = window if round_ is None else Window(round_, 1)
        return too_few(head(floor=floor), rule(1, asked.rounds, minimum=minimum), cohort, asked, coverage)

    assert reason(4, round_=1) is WithheldReason.NONE
    assert reason(4) is WithheldReason.BELOW_MINIMUM
    assert reason(4, floor=0.8) is WithheldReason.BELOW_MINIMUM
    assert reason(1, floor=0.8) is WithheldReason.BELOW_COVERAGE
    assert reason(1, floor=0.75) is WithheldReason.NONE


def test_pages_give_the_decision_back():
    coverage = contributors(head(), EVERY, {1: roster({0, 1}), 2: roster({0, 1}), 3: roster({0}, frozenset({4}))})
    assert Contributors.from_pages(coverage.to_pages()) == coverage


def test_a_roster_of_another_length_is_refused():
    page = RosterPage(
        round=1, version=1, point=1, page=0, pages=1, size=3, readings=b"\x01", gaps=b"\x00", tags=b"sharing0"
    )
    assert Roster.of([page], 3).tags == {0: b"sharing0"}
    with pytest.raises(MessageError):
        Roster.of([page], 4)
    with pytest.raises(MessageError):
        Roster.of([page.model_copy(update={"tags": b""})], 3)
