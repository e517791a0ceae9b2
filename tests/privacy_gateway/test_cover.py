"""A question is put together from disjoint recovered sums exactly where that can be done: against brute force."""

from __future__ import annotations

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from privacy_gateway.questions import cover as cover_module
from privacy_gateway.questions.cover import cover
from privacy_gateway.questions.declined import DeclineCode, Declined
from privacy_gateway.questions.recovered import RecoveredSum, RoundSpan


def summed(homes: str, first: int, until: int, rule: int = 1, missing: int = 0) -> RecoveredSum:
    """The sum of the readings `reading` over these homes and rounds."""
    pairs = len(homes) * (until - first)
    watt_hours = sum(reading(home, at) for home in homes for at in range(first, until))
    return RecoveredSum(
        rule, frozenset(homes), RoundSpan(first, until), watt_hours, pairs - missing, min(len(homes), pairs - missing)
    )


def reading(home: str, round_: int) -> int:
    return 7 ** (ord(home) - ord("a")) + 1000 * round_


@st.composite
def sums(draw: st.DrawFn) -> RecoveredSum:
    homes = draw(st.sets(st.sampled_from("abcd"), min_size=1))
    first = draw(st.integers(0, 2))
    return summed("".join(sorted(homes)), first, draw(st.integers(first + 1, 3)), draw(st.integers(1, 3)))


def by_brute_force(homes: frozenset[str], span: RoundSpan, given_: list[RecoveredSum]) -> bool:
    """Whether some of the sums partition the question's (home, round) pairs: all subsets."""
    wanted = sorted((home, at) for home in homes for at in range(span.first, span.until))
    cells = [
        sorted((home, at) for home in each.cohort for at in range(each.span.first, each.span.until)) for each in given_
    ]
    cells = [each for each in cells if set(each) <= set(wanted)]
    return any(
        sorted(itertools.chain.from_iterable(chosen)) == wanted
        for size in range(1, len(cells) + 1)
        for chosen in itertools.combinations(cells, size)
    )


@settings(max_examples=50)
@given(st.lists(sums(), max_size=9), st.sets(st.sampled_from("abcd"), min_size=1))
def test_a_cover_is_found_exactly_where_there_is_one_and_adds_up(given_, homes):
    span = RoundSpan(0, 3)
    found = cover(frozenset(homes), span, given_)
    assert isinstance(found, tuple) is by_brute_force(frozenset(homes), span, given_)
    if isinstance(found, tuple):
        pairs = sorted(
            (home, at) for each in found for home in each.cohort for at in range(each.span.first, each.span.until)
        )
        assert pairs == sorted((home, at) for home in homes for at in range(3))
        assert sum(each.watt_hours for each in found) == sum(reading(home, at) for home in homes for at in range(3))
    else:
        assert found.code is DeclineCode.NOT_SUMMED


@given(st.permutations([summed("ab", 0, 1), summed("cd", 0, 1), summed("abcd", 0, 1), summed("abcd", 1, 2, 2)]))
def test_the_order_in_which_sums_came_decides_nothing(given_):
    assert cover(frozenset("abcd"), RoundSpan(0, 2), given_) == (summed("abcd", 0, 1), summed("abcd", 1, 2, 2))


def test_of_equal_sums_the_most_complete_counts():
    whole, less = summed("ab", 0, 1, rule=9), summed("ab", 0, 1, rule=1, missing=1)
    assert cover(frozenset("ab"), RoundSpan(0, 1), [less, whole]) == (whole,)


def test_a_refusal_names_the_first_hole():
    found = cover(frozenset("abcd"), RoundSpan(0, 4), [summed("abcd", 0, 2), summed("ab", 2, 4)])
    assert isinstance(found, Declined)
    assert "rounds 2 to 3 of c, d:" in found.sentence
    nothing = cover(frozenset("abcd"), RoundSpan(0, 4), [])
    assert isinstance(nothing, Declined)
    assert "rounds 0 to 3 of a, b, c, d:" in nothing.sentence


def test_nothing_is_narrowed_to_what_happens_to_be_there():
    given_ = [summed("abcd", 0, 2), summed("abc", 2, 4)]
    assert isinstance(cover(frozenset("abcd"), RoundSpan(0, 4), given_), Declined)
    assert isinstance(cover(frozenset("abc"), RoundSpan(0, 4), given_), Declined)


def test_thousands_of_rounds_are_no_deeper_than_a_few():
    given_ = [summed("ab", at, at + 1) for at in range(5_000)]
    found = cover(frozenset("ab"), RoundSpan(0, 5_000), given_)
    assert isinstance(found, tuple)
    assert len(found) == 5_000


def test_a_search_that_is_too_long_says_so(monkeypatch):
    monkeypatch.setattr(cover_module, "MOST_STEPS_OF_SEARCH", 2)
    found = cover(frozenset("ab"), RoundSpan(0, 9), [summed("ab", at, at + 1) for at in range(9)])
    assert isinstance(found, Declined)
    assert found.code is DeclineCode.COVER_NOT_FOUND
