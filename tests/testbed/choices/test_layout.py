"""Who asks for what: blocks only where no block and no difference of granted rules comes near the minimum."""

import itertools
import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hushgrid.core.cohorts import resolve_cohort
from hushgrid.errors import ConfigurationError
from testbed.choices.layout import LateRequest, coverage_floor, lay_out


def names(count):
    return [f"m{number:04}" for number in range(1, count + 1)]


def test_the_default_testbed_gives_the_first_consumer_all_and_the_others_a_third_each():
    wishes = lay_out(names(100), 3, (1, 2), 15)
    assert [(wish.consumer_id, wish.cohort, wish.window_rounds) for wish in wishes] == [
        ("consumer-1", "all", 1),
        ("consumer-2", ("m0001..m0033",), 2),
        ("consumer-3", ("m0034..m0066",), 1),
    ]


def test_blocks_need_room_for_themselves_and_for_the_rest():
    assert lay_out(names(57), 3, (1,), 15)[1].cohort == ("m0001..m0019",)
    assert [wish.cohort for wish in lay_out(names(56), 3, (1,), 15)] == ["all"] * 3


def test_the_coverage_floor_rises_where_all_meters_are_hardly_more_than_the_minimum():
    assert coverage_floor(19, 15) == Fraction(4, 5)
    assert [math.ceil(15 / coverage_floor(meters, 15)) for meters in (15, 16, 17, 18)] == [15, 16, 17, 18]
    assert coverage_floor(15, 15) == 1


def test_fewer_meters_than_the_minimum_are_one_clear_line():
    with pytest.raises(ConfigurationError, match="14 meters are fewer than the minimum of 15") as caught:
        lay_out(names(14), 3, (1,), 15)
    assert "\n" not in str(caught.value)
    assert [wish.cohort for wish in lay_out(names(15), 2, (1,), 15)] == ["all"] * 2


def test_blocks_follow_the_order_of_ids_whatever_order_the_meters_come_in():
    meters = ["a-10", "a-2", "B", "b", "a", "c", "d", "e"]
    assert lay_out(meters, 2, (1,), 1)[1].cohort == ("B..a-2",)
    assert lay_out(meters[::-1], 2, (1,), 1) == lay_out(meters, 2, (1,), 1)


@given(
    count=st.integers(1, 300),
    consumers=st.integers(1, 7),
    minimum=st.integers(1, 40),
    windows=st.lists(st.integers(1, 48), min_size=1, max_size=4),
)
def test_every_cohort_and_every_difference_keeps_the_minimum_and_a_margin(count, consumers, minimum, windows):
    meters = names(count)
    if count < minimum:
        with pytest.raises(ConfigurationError):
            lay_out(meters, consumers, windows, minimum)
        return
    wishes = lay_out(meters, consumers, windows, minimum)
    assert [wish.window_rounds for wish in wishes] == list(itertools.islice(itertools.cycle(windows), consumers))
    assert len({wish.consumer_id for wish in wishes}) == len({wish.name for wish in wishes}) == consumers
    everyone, *others = (set(resolve_cohort(wish.cohort, meters)) for wish in wishes)
    assert everyone == set(meters)
    if all(other == everyone for other in others):
        return
    needed = math.ceil(minimum / coverage_floor(count, minimum))
    for size in range(1, len(others) + 1):
        for blocks in itertools.combinations(others, size):
            union = set().union(*blocks)
            assert len(union) == sum(len(block) for block in blocks)
            assert len(union) >= needed
            assert len(everyone - union) >= needed


@pytest.mark.parametrize(
    ("written", "cohort"),
    [
        ("all", "all"),
        ("2", ("m0002",)),
        ("9..11", ("m0009..m0011",)),
        ("1..3,7,12..12", ("m0001..m0003", "m0007", "m0012")),
    ],
)
def test_a_late_request_names_meters_by_their_places(written, cohort):
    section = LateRequest("consumer-1", 1, "late", written, 2).section(names(12))
    assert (section.name, section.cohort, section.window_rounds) == ("late", cohort, 2)


@pytest.mark.parametrize(
    ("written", "said"),
    [(text, "is no position or range from 1 to 12") for text in ("", "0", "13", "1..13", "1..", "..3", "1..2..3", "1,", "x", "²", "-1")]
    + [("3..2", "the range m0003..m0002 runs backwards")],
)  # fmt: skip
def test_a_late_request_for_places_that_are_not_there_is_one_clear_line(written, said):
    with pytest.raises(ConfigurationError, match=said) as caught:
        LateRequest("consumer-1", 1, "late", written).section(names(12))
    assert str(caught.value).startswith(f"--ask {written}: ")
