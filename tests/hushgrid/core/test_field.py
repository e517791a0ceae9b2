"""The prime field: primality against a sieve and against known pseudoprimes, wire form, and the no-wrap bound."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.builders import FIELD

from hushgrid.core.field import GUARD, MODULI, Field, check_modulus, choose_modulus, is_prime, required_modulus
from hushgrid.errors import ConfigurationError

cohorts = st.integers(1, 10**6)
windows = st.integers(1, 1000)
bounds = st.integers(1, 10**6)


def test_primality_agrees_with_a_sieve():
    limit = 20_000
    sieve = bytearray([1]) * limit
    sieve[:2] = b"\0\0"
    for n in range(2, 142):
        if sieve[n]:
            sieve[n * n :: n] = bytes(len(range(n * n, limit, n)))
    assert [n for n in range(-3, limit) if is_prime(n)] == [n for n in range(limit) if sieve[n]]


@pytest.mark.parametrize(
    "composite",
    [
        561,  # Carmichael
        3_215_031_751,  # strong pseudoprime to bases 2, 3, 5, 7
        341_550_071_728_321,  # ... to all primes up to 17
        3_825_123_056_546_413_051,  # ... up to 23
        318_665_857_834_031_151_167_461,  # ... up to 37
        3_317_044_064_679_887_385_961_981,  # ... up to 41: beyond the range in which those bases are proof
        (2**61 - 1) * (2**89 - 1),
        (2**55 - 55) ** 2,
    ],
)
def test_composites_that_fool_weaker_tests_are_told_apart(composite):
    assert not is_prime(composite)
    with pytest.raises(ConfigurationError, match="not prime"):
        Field(composite)


def test_the_moduli_are_prime_and_rise():
    assert all(is_prime(modulus) for modulus in MODULI)
    assert sorted(set(MODULI)) == list(MODULI)
    assert not any(is_prime(modulus + 2) for modulus in MODULI)


@pytest.mark.parametrize("modulus", [-7, 0, 1, 4, 2**64])
def test_a_modulus_that_is_not_prime_is_refused(modulus):
    with pytest.raises(ConfigurationError, match="not prime"):
        Field(modulus)


@given(st.sampled_from([5, 257, *MODULI]), st.data())
def test_an_element_has_one_wire_form(modulus, data):
    field = Field(modulus)
    element = data.draw(st.integers(0, modulus - 1))
    wire = field.to_bytes(element)
    assert len(wire) == field.element_bytes
    assert field.from_bytes(wire) == element


@pytest.mark.parametrize("modulus", [5, 257, *MODULI])
def test_a_wire_value_that_is_not_below_q_is_refused_and_never_reduced(modulus):
    field = Field(modulus)
    width = field.element_bytes
    assert field.from_bytes((modulus - 1).to_bytes(width, "big")) == modulus - 1
    for value in {modulus, modulus + 1, 256**width - 1}:
        with pytest.raises(ValueError, match="not below q"):
            field.from_bytes(value.to_bytes(width, "big"))
    for wire in (b"", bytes(width - 1), bytes(width + 1)):
        with pytest.raises(ValueError, match="length"):
            field.from_bytes(wire)


@given(st.sampled_from([5, 17, *MODULI]), st.data())
def test_an_inverse_multiplies_to_one(modulus, data):
    field = Field(modulus)
    element = data.draw(st.integers(1, modulus - 1))
    assert element * field.inverse(element) % modulus == 1


@pytest.mark.parametrize("zero", [0, FIELD.modulus, -FIELD.modulus])
def test_zero_has_no_inverse(zero):
    with pytest.raises(ValueError, match="not invertible"):
        FIELD.inverse(zero)


@given(cohorts, windows, bounds)
def test_q_must_exceed_twice_the_largest_aggregate_times_the_guard(cohort, window, bound):
    needed = required_modulus(cohort, window, bound)
    assert needed == 2 * cohort * window * bound * GUARD
    check_modulus(needed + 1, cohort, window, bound)
    for short in (needed, needed - 1, 2):
        with pytest.raises(ConfigurationError, match=str(needed)):
            check_modulus(short, cohort, window, bound)


@given(cohorts, windows, bounds)
def test_the_smallest_modulus_that_is_large_enough_is_chosen(cohort, window, bound):
    chosen = choose_modulus(cohort, window, bound)
    check_modulus(chosen, cohort, window, bound)
    for smaller in MODULI[: MODULI.index(chosen)]:
        with pytest.raises(ConfigurationError):
            check_modulus(smaller, cohort, window, bound)


def test_a_weight_counts_against_the_modulus_too():
    assert required_modulus(10, 2, 500, weight_bound=7) == 7 * required_modulus(10, 2, 500)


def test_a_plan_that_no_modulus_can_serve_is_refused():
    with pytest.raises(ConfigurationError, match="no modulus"):
        choose_modulus(10**15, 10**9, 10**15)
