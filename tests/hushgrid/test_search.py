"""The least number for which something holds, beside looking at all of them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hushgrid.search import least


@given(st.integers(-50, 50), st.integers(1, 100), st.data())
def test_it_is_the_first_of_all_for_which_the_test_holds(below, length, data):
    above = below + length
    first = data.draw(st.integers(below + 1, above))
    asked = []

    def holds(number: int) -> bool:
        asked.append(number)
        return number >= first

    assert least(holds, below, above) == first
    assert all(below < number < above for number in asked)
    assert len(asked) <= length.bit_length()


def test_numbers_beyond_a_machine_word_are_numbers():
    assert least(lambda number: number * number > 10**60, 0, 10**60) == 10**30 + 1
