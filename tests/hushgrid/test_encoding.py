"""Signed quantities in Z_q: exact at the bound, refused beyond it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hushgrid.encoding import lift, lower, with_terms
from hushgrid.errors import ConfigurationError, RecoveryError
from hushgrid.field import GUARD, MODULI, Field, check_modulus, choose_modulus, is_prime, required_modulus

FIELD = Field(MODULI[0])


@given(st.lists(st.integers(-100_000, 100_000), max_size=50))
def test_sums_of_signed_readings_are_exact(readings):
    total = sum(lift(reading, 100_000, FIELD) for reading in readings) % FIELD.modulus
    assert lower(total, 100_000 * len(readings), FIELD) == sum(readings)


@pytest.mark.parametrize("sign", [1, -1])
def test_the_bound_itself_is_allowed_and_one_more_is_not(sign):
    assert lower(lift(sign * 500, 500, FIELD), 500, FIELD) == sign * 500
    with pytest.raises(ValueError, match="bound"):
        lift(sign * 501, 500, FIELD)
    with pytest.raises(RecoveryError, match="exceeds"):
        lower(sign * 501 % FIELD.modulus, 500, FIELD)


def test_terms_are_added_inside_the_field():
    assert with_terms((5, FIELD.modulus - 1), [(1, 2), (3, 4)], FIELD) == (9, 5)
    assert with_terms((5,), [], FIELD) == (5,)


def test_a_modulus_an_aggregate_could_wrap_around_is_refused():
    needed = required_modulus(1000, 2, 100_000)
    assert needed == 2 * 1000 * 2 * 100_000 * GUARD
    with pytest.raises(ConfigurationError, match=str(needed)):
        check_modulus(needed, 1000, 2, 100_000)
    check_modulus(needed + 1, 1000, 2, 100_000)
    assert choose_modulus(1000, 2, 100_000) == MODULI[0]
    assert choose_modulus(1_000_000, 96, 100_000) > MODULI[1]
    with pytest.raises(ConfigurationError, match="no modulus"):
        choose_modulus(10**15, 10**9, 10**15)


def test_the_moduli_are_prime_and_composites_are_told_apart():
    assert all(is_prime(modulus) for modulus in MODULI)
    assert not any(is_prime(modulus + 2) for modulus in MODULI)
    small = [n for n in range(200) if is_prime(n)]
    assert small == [n for n in range(2, 200) if all(n % d for d in range(2, n))]
    assert not is_prime(3_215_031_751)  # the strong pseudoprime to 2, 3, 5 and 7
    with pytest.raises(ConfigurationError, match="not prime"):
        Field(2**61 + 1)
