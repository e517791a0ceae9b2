"""Signed quantities in Z_q: exact at the bound, refused beyond it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.builders import FIELD

from hushgrid.core.encoding import lift, lift_vector, lower, with_terms
from hushgrid.core.field import MODULI, Field, required_modulus
from hushgrid.errors import RecoveryError

elements = st.integers(0, FIELD.modulus - 1)


@given(st.lists(st.integers(-100_000, 100_000), max_size=50))
def test_sums_of_signed_readings_are_exact(readings):
    total = sum(lift(reading, 100_000, FIELD) for reading in readings) % FIELD.modulus
    assert lower(total, 100_000 * len(readings), FIELD) == sum(readings)


@pytest.mark.parametrize("sign", [1, -1])
def test_the_largest_aggregate_a_modulus_allows_is_exact(sign):
    contributors, bound = 1000, 8000
    assert required_modulus(contributors, 2, bound) < FIELD.modulus
    total = sum(lift(sign * bound, bound, FIELD) for _ in range(2 * contributors)) % FIELD.modulus
    assert lower(total, 2 * contributors * bound, FIELD) == sign * 2 * contributors * bound


@pytest.mark.parametrize("sign", [1, -1])
def test_the_bound_itself_is_allowed_and_one_more_is_not(sign):
    assert lower(lift(sign * 500, 500, FIELD), 500, FIELD) == sign * 500
    with pytest.raises(ValueError, match="bound"):
        lift(sign * 501, 500, FIELD)
    with pytest.raises(RecoveryError, match="exceeds"):
        lower(sign * 501 % FIELD.modulus, 500, FIELD)


@pytest.mark.parametrize("modulus", [5, 7, 17])
def test_every_element_stands_for_one_number_in_the_centred_range(modulus):
    field, half = Field(modulus), modulus // 2
    assert [lower(lift(x, half, field), half, field) for x in range(-half, half + 1)] == list(range(-half, half + 1))
    assert sorted(lift(x, half, field) for x in range(-half, half + 1)) == list(range(modulus))


@given(elements)
def test_an_element_is_lowered_exactly_or_refused(element):
    bound = 10**9
    expected = element if element <= FIELD.modulus // 2 else element - FIELD.modulus
    if abs(expected) <= bound:
        assert lower(element, bound, FIELD) == expected
    else:
        with pytest.raises(RecoveryError):
            lower(element, bound, FIELD)


def test_few_random_elements_look_like_an_aggregate():
    """The guard of 2**20: what is plausible is a fraction below 2**-20 of the field, for every plan that is approved."""
    for modulus in MODULI:
        largest = modulus // (2 * 2**20)  # the largest aggregate that required_modulus lets pass
        assert (2 * largest + 1) / modulus <= 2**-20 + 1 / modulus


@pytest.mark.parametrize("refuse", [lambda: lift(987_654, 500, FIELD), lambda: lower(987_654, 500, FIELD)])
def test_a_refusal_does_not_say_the_value(refuse):
    with pytest.raises((ValueError, RecoveryError)) as refusal:
        refuse()
    assert "987" not in str(refusal.value)


@given(st.lists(st.integers(-500, 500), max_size=5))
def test_every_slot_is_lifted_by_itself(slots):
    assert lift_vector(slots, 500, FIELD) == tuple(slot % FIELD.modulus for slot in slots)


@given(st.lists(elements, min_size=1, max_size=4), st.data())
def test_terms_are_added_inside_the_field_and_taken_away_again(lifted, data):
    width = len(lifted)
    term = data.draw(st.lists(elements, min_size=width, max_size=width))
    masked = with_terms(lifted, [term], FIELD)
    assert all(0 <= value < FIELD.modulus for value in masked)
    assert with_terms(masked, [[-value for value in term]], FIELD) == tuple(lifted)


def test_terms_are_added_slot_by_slot():
    assert with_terms((5, FIELD.modulus - 1), [(1, 2), (3, 4)], FIELD) == (9, 5)
    assert with_terms((5,), [], FIELD) == (5,)


@pytest.mark.parametrize("term", [(), (1,), (1, 2, 3)])
def test_a_term_of_another_length_is_refused(term):
    with pytest.raises(ValueError, match="zip"):
        with_terms((1, 2), [term], FIELD)
