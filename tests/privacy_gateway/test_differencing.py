"""No combination of answers touches too few homes: against brute force, by hand, and with homes that are missing."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.brute_force import rank, singled_out

from privacy_gateway.deciding.laid_out import CoveredRow
from privacy_gateway.differencing.disclosed import DisclosedRow, SmallGroup
from privacy_gateway.differencing.groups import small_group
from privacy_gateway.questions.recovered import RecoveredSum, RoundSpan, SumLoss

HOMES, ROUNDS = 5, 4
NAMES = [f"h{at}" for at in range(HOMES)]


def row(homes: str, first: int, until: int, *losses: SumLoss) -> DisclosedRow:
    """Homes by their digits: "014"."""
    return DisclosedRow(frozenset(f"h{digit}" for digit in homes), RoundSpan(first, until), frozenset(losses))


def by_definition(rows: list[DisclosedRow], minimum: int) -> bool:
    """All groups, all (home, round) columns."""
    matrix = [
        [int(home in each.homes and each.span.first <= at < each.span.until) for home in NAMES for at in range(ROUNDS)]
        for each in rows
    ]
    holders = [at for at in range(HOMES) for _ in range(ROUNDS)]
    return singled_out(matrix, holders, [None] * len(rows), HOMES, minimum) is not None


@st.composite
def rectangles(draw: st.DrawFn) -> DisclosedRow:
    homes = draw(st.sets(st.sampled_from("01234"), min_size=1))
    first = draw(st.integers(0, ROUNDS - 1))
    return row("".join(sorted(homes)), first, draw(st.integers(first + 1, ROUNDS)))


@settings(max_examples=35)
@given(st.lists(rectangles(), min_size=1, max_size=7), st.integers(2, 4))
def test_answers_one_by_one_are_what_the_definition_says(rows, minimum):
    answered: list[DisclosedRow] = []
    for asked in rows:
        found = small_group([asked], answered, minimum)
        assert (found is not None) is by_definition([*answered, asked], minimum)
        if found is None:
            answered.append(asked)
        else:
            assert found.proven
            assert len(found.homes) < minimum


@settings(max_examples=20)
@given(st.lists(rectangles(), min_size=2, max_size=3), st.lists(rectangles(), max_size=3), st.integers(2, 3))
def test_rows_of_one_question_are_judged_together(new, before, minimum):
    if before and by_definition(before, minimum):
        return
    assert (small_group(new, before, minimum) is not None) is by_definition([*before, *new], minimum)


def test_everybody_but_one_is_refused_and_the_home_is_named():
    found = small_group([row("0123", 0, 2)], [row("01234", 0, 2)], 3)
    assert found == SmallGroup(("h4",), 3, proven=True)


def test_what_is_singled_out_in_a_round_only_is_no_combination_of_whole_answers():
    """[0, 2) of all five less [1, 3) of four of them is nothing of one home."""
    assert small_group([row("0123", 1, 3)], [row("01234", 0, 2)], 3) is None
    # With the four's [0, 1) and [1, 2) as well there is: their two answers add up to [0, 2).
    before = [row("01234", 0, 2), row("0123", 1, 2)]
    assert small_group([row("0123", 0, 1)], before, 3) is not None


def test_three_answers_that_are_harmless_two_by_two():
    cohorts = ["01", "12", "02"]
    rows = [row(cohort, 0, 1) for cohort in cohorts]
    for one, other in itertools.combinations(rows, 2):
        assert small_group([one], [other], 2) is None
    assert small_group([rows[2]], rows[:2], 2) == SmallGroup(small_group([rows[2]], rows[:2], 2).homes, 2, proven=True)


def test_what_is_known_already_and_what_meets_nothing_is_harmless():
    assert small_group([row("0", 0, 1)], [row("0", 0, 1)], 3) is None
    assert small_group([row("012", 0, 1)], [row("012", 1, 2), row("34", 0, 1)], 3) is None


def test_homes_that_are_missing_do_not_count():
    """Five homes of a rule, one without any reading in it: a group of three may be one of two."""
    loss = SumLoss(rule=1, span=RoundSpan(0, 1), homes=5, missing_pairs=1, absent_homes=1)
    assert small_group([row("01", 0, 1)], [row("01234", 0, 1)], 3) is not None
    assert small_group([row("012", 0, 1)], [], 3) is None
    assert small_group([row("012", 0, 1, loss)], [], 3) == SmallGroup(("h0", "h1", "h2"), 4, proven=True)


def test_a_home_that_may_be_away_in_a_part_of_a_window_counts_as_missing_there():
    loss = SumLoss(rule=1, span=RoundSpan(0, 4), homes=5, missing_pairs=3, absent_homes=0)
    assert [loss.absent_in(RoundSpan(0, until)) for until in (1, 2, 3, 4)] == [3, 1, 1, 0]


def test_a_search_that_gives_up_refuses():
    before = [row("01234", 0, 2)]
    found = small_group([row("0123", 1, 3)], before, 3, node_limit=0)
    assert found == SmallGroup((), 3, proven=False)


@pytest.mark.parametrize("minimum", [100, 101])
def test_large_cohorts_are_judged_by_their_smallest_difference(minimum):
    everybody, without = (frozenset(f"m{at}" for at in range(first, 600)) for first in (0, 100))
    before = [DisclosedRow(everybody, RoundSpan(day, day + 1)) for day in range(20)]
    new = [DisclosedRow(without, RoundSpan(day, day + 1)) for day in range(20)]
    assert (small_group(new, before, minimum) is None) is (minimum == 100)


def test_brute_force_can_tell():
    assert rank([[1, 1], [1, 1]]) == 1
    assert by_definition([row("01234", 0, 1), row("0123", 0, 1)], 2)


@st.composite
def losing_sums(draw: st.DrawFn) -> tuple[list[list[bool]], list[RecoveredSum]]:
    """Who was included in which round (nobody tells the gateway), and sums of rules over that, as a consumer has them."""
    included = [[draw(st.integers(0, 5)) > 0 for _ in range(ROUNDS)] for _ in range(HOMES)]
    sums = []
    for rule in range(draw(st.integers(1, 5))):
        told = draw(rectangles())
        pairs = [(home, at) for home in range(HOMES) for at in range(told.span.first, told.span.until)]
        inside = [(home, at) for home, at in pairs if NAMES[home] in told.homes and included[home][at]]
        sums.append(RecoveredSum(rule, told.homes, told.span, 0, len(inside), len({home for home, _ in inside})))
    return included, sums


@settings(max_examples=35)
@given(losing_sums(), st.integers(1, 3))
def test_whatever_is_missing_no_combination_is_about_too_few_homes_that_are_really_in_it(grid, minimum):
    included, sums = grid
    answered: list[DisclosedRow] = []
    for each in sums:
        whole = CoveredRow(each.span, (each,))
        really = [
            sum(NAMES[home] in each.cohort and included[home][at] for home in range(HOMES)) for at in range(ROUNDS)
        ]
        assert whole.fewest_homes <= len({
            home for home in range(HOMES) if NAMES[home] in each.cohort and any(included[home][each.span.first : each.span.until])
        })  # fmt: skip
        if each.span.rounds == 1:
            assert whole.fewest_homes == really[each.span.first]
        asked = whole.disclosed(each.cohort)
        if whole.fewest_homes >= minimum and small_group([asked], answered, minimum) is None:
            answered.append(asked)
    matrix = [
        [
            int(NAMES[home] in each.homes and each.span.first <= at < each.span.until and included[home][at])
            for home in range(HOMES)
            for at in range(ROUNDS)
        ]
        for each in answered
    ]
    holders = [at for at in range(HOMES) for _ in range(ROUNDS)]
    assert singled_out(matrix, holders, [None] * len(matrix), HOMES, minimum) is None


def test_a_row_of_several_sums_counts_the_homes_of_its_emptiest_part():
    """Two windows of the first two homes beside one long one of the other three; one home is away in the second window."""
    long = RecoveredSum(1, frozenset({"h2", "h3", "h4"}), RoundSpan(0, 4), 0, included=12, contributors=3)
    first = RecoveredSum(2, frozenset({"h0", "h1"}), RoundSpan(0, 2), 0, included=4, contributors=2)
    second = RecoveredSum(2, frozenset({"h0", "h1"}), RoundSpan(2, 4), 0, included=2, contributors=1)
    covered = CoveredRow(RoundSpan(0, 4), (first, long, second))
    assert (covered.fewest_homes, covered.included, covered.expected) == (4, 18, 20)
    # Of four rounds the long one lacks five pairs: up to two homes may be away in both rounds of a half.
    thin = RecoveredSum(1, long.cohort, long.span, 0, included=7, contributors=3)
    assert CoveredRow(RoundSpan(0, 4), (first, thin, second)).fewest_homes == 2
