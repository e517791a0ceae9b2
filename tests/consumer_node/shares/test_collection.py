"""A window's result at a consumer: what stands, what is waited for, and what no lying PPN can change."""

from __future__ import annotations

from dataclasses import replace

import pytest

from consumer_node.shares.collection import Aggregate, Outcome, conclude
from hushgrid.core import shamir
from hushgrid.core.field import MODULI, Field
from hushgrid.core.minimum import WithheldReason
from hushgrid.core.schedule import Window
from hushgrid.plan.head import Head
from hushgrid.plan.parts import Rule
from hushgrid.wire.aggregates import AggregateStatus, AggregateText

FIELD = Field(MODULI[0])
THRESHOLD, POINTS = 3, (1, 2, 3, 4, 5, 6)
SUM, WINDOW = 1234, Window(10, 1)
HEAD = Head.model_construct(threshold=THRESHOLD, modulus=FIELD.modulus, slots=1, reading_bound_watt_hours=1000)
RULE = Rule(number=1, name="r", consumer="c", window_rounds=1, minimum_contributors=2, points=POINTS, from_round=10)


def texts(points: tuple[int, ...] = POINTS, **changes: object) -> dict[int, AggregateText]:
    """Honest answers at these points, all but for the changes."""
    coefficients = (SUM, 77, 5)
    return {
        point: replace(
            AggregateText(
                status=AggregateStatus.RELEASED,
                reason=WithheldReason.NONE,
                window_rounds=1,
                expected=10,
                included=7,
                gaps=0,
                lost=2,
                inconsistent=1,
                meters=7,
                repaired=1,
                digest=b"d" * 32,
                elements=(shamir.evaluate(coefficients, point, FIELD),),
            ),
            **changes,
        )
        for point in points
    }


def wrong(text: AggregateText, by: int = 1) -> AggregateText:
    return replace(text, elements=((text.elements[0] + by) % FIELD.modulus,))


def withheld(reason: WithheldReason = WithheldReason.BELOW_MINIMUM, **changes: object) -> dict[str, object]:
    return {"status": AggregateStatus.WITHHELD, "reason": reason, "digest": bytes(32), "elements": (0,), **changes}


def concluded(answers: dict[int, AggregateText], *, waited: bool = False, floor: float = 0.0) -> Aggregate:
    found = conclude(HEAD, RULE, WINDOW, answers, waited=waited, coverage_floor_fraction=floor)
    assert found is not None
    return found


def counts(found: Aggregate) -> tuple[int, ...]:
    return (found.expected, found.included, found.gaps, found.lost, found.inconsistent, found.meters)


HONEST = (10, 7, 0, 2, 1, 7)


def test_everybody_agrees_and_the_sum_stands_at_once():
    found = concluded(texts())
    assert (found.outcome, found.watt_hours, found.points) == (Outcome.RELEASED, SUM, POINTS)
    assert (found.wrong_points, found.detects, found.repaired) == ((), 2, 6)
    assert counts(found) == HONEST


def test_exactly_t_points_stand_when_the_patience_is_over_and_show_that_nothing_was_checked():
    answers = texts((2, 4, 6))
    assert conclude(HEAD, RULE, WINDOW, answers, waited=False) is None
    found = concluded(answers, waited=True)
    assert (found.watt_hours, found.points, found.detects) == (SUM, (2, 4, 6), 0)


def test_fewer_than_t_points_are_waited_for_whatever_the_patience():
    assert conclude(HEAD, RULE, WINDOW, texts((1, 2)), waited=True) is None


@pytest.mark.parametrize("liar", POINTS)
def test_what_a_lying_ppn_counts_changes_nothing_and_its_point_is_wrong(liar):
    answers = texts()
    answers[liar] = replace(answers[liar], gaps=1, lost=1, meters=999, repaired=10**6)
    answers = {liar: answers[liar], **answers}
    found = concluded(answers)
    assert (found.outcome, found.watt_hours, found.wrong_points) == (Outcome.RELEASED, SUM, (liar,))
    assert counts(found) == HONEST
    assert found.repaired == 5


@pytest.mark.parametrize("field", ["expected", "included", "gaps", "lost", "inconsistent", "meters"])
def test_t_honest_ppns_release_beside_others_that_each_count_otherwise(field):
    answers = texts()
    for by, liar in enumerate((1, 2, 3), start=1):
        answers[liar] = replace(answers[liar], **{field: getattr(answers[liar], field) + by})
    found = concluded(answers)
    assert (found.outcome, found.watt_hours, found.points) == (Outcome.RELEASED, SUM, (4, 5, 6))
    assert counts(found) == HONEST


def test_repairs_at_a_wrong_point_are_not_counted():
    answers = texts()
    answers[3] = wrong(replace(answers[3], repaired=10**6))
    found = concluded(answers)
    assert (found.watt_hours, found.wrong_points, found.repaired) == (SUM, (3,), 5)


def test_shares_of_different_contributor_sets_are_never_combined():
    answers = texts((1, 2, 3, 4)) | texts((5, 6), digest=b"e" * 32)
    found = concluded(answers)
    assert (found.points, found.wrong_points) == ((1, 2, 3, 4), (5, 6))
    mixed = texts((1, 2)) | texts((3, 4), digest=b"e" * 32) | texts((5, 6), digest=b"f" * 32)
    found = concluded(mixed)
    assert (found.outcome, found.watt_hours) == (Outcome.UNRECOVERED, None)
    assert found.reason == "2 of 3 usable aggregate shares"


def test_more_wrong_points_than_can_be_corrected_give_no_number_and_say_which_answered():
    answers = texts()
    for liar in (1, 4):
        answers[liar] = wrong(answers[liar], liar)
    found = concluded(answers)
    assert (found.outcome, found.watt_hours) == (Outcome.UNRECOVERED, None)
    assert (found.points, found.wrong_points, found.misfit_points) == ((), (), POINTS)
    assert found.detects == 2


def test_a_sum_that_no_readings_have_is_not_given_and_names_no_misfit():
    answers = {point: wrong(text, 10**9) for point, text in texts().items()}
    found = concluded(answers)
    assert (found.outcome, found.watt_hours, found.misfit_points) == (Outcome.UNRECOVERED, None, ())


def test_unusable_answers_leave_the_counts_that_most_ppns_give():
    unusable = {"status": AggregateStatus.UNUSABLE, "digest": bytes(32), "elements": (0,)}
    answers = texts((1,), **unusable, gaps=9, lost=0, meters=1) | texts((2, 3, 4, 5), **unusable) | texts((6,))
    found = concluded(answers)
    assert (found.outcome, found.reason) == (Outcome.UNRECOVERED, "1 of 3 usable aggregate shares")
    assert counts(found) == HONEST


def test_no_answer_that_stands_is_no_counts():
    assert conclude(HEAD, RULE, WINDOW, {}, waited=True) is None


def test_t_ppns_that_withhold_are_enough_and_the_reason_is_what_they_agree_on():
    liar = texts((1,), **withheld(WithheldReason.WOULD_DISCLOSE, gaps=2, lost=0))
    assert conclude(HEAD, RULE, WINDOW, liar | texts((2, 3), **withheld()), waited=True) is None
    answers = liar | texts((2, 3, 4), **withheld())
    assert conclude(HEAD, RULE, WINDOW, answers, waited=False) is None
    found = concluded(answers, waited=True)
    assert (found.outcome, found.reason) == (Outcome.WITHHELD, "fewer contributors than the minimum")
    assert counts(found) == HONEST


def test_fewer_than_t_ppns_cannot_withhold():
    found = concluded(texts((1, 2, 3, 4)) | texts((5, 6), **withheld()))
    assert (found.outcome, found.watt_hours, found.wrong_points) == (Outcome.RELEASED, SUM, ())


@pytest.mark.parametrize(("floor", "outcome"), [(0.7, Outcome.RELEASED), (0.71, Outcome.WITHHELD)])
def test_below_this_consumers_own_floor_no_number_is_given(floor, outcome):
    found = concluded(texts(), floor=floor)
    assert found.outcome is outcome
    assert (found.watt_hours is None) == (outcome is Outcome.WITHHELD)
    assert found.reason == ("coverage below this consumer's own floor" if outcome is Outcome.WITHHELD else "")
    assert counts(found) == HONEST
