"""Round boundaries of many billing periods, and windows of any length."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from configurator.audit.policy import Request
from configurator.audit.windows import MOST_KINDS, boundary_kinds, fits, prime_powers, singles_out
from hushgrid.errors import RefusedError

LENGTHS = st.integers(1, 400)


def every_kind(periods):
    """All kinds, by enumeration: of every period one prime power that does not divide the boundary, or none."""
    choices = [(None, *prime_powers(period)) for period in set(periods)]
    return {frozenset(picks) - {None} for picks in itertools.product(*choices)}


def effects(kinds, lengths):
    return {tuple(fits(length, kind) for length in lengths) for kind in kinds}


@given(st.lists(LENGTHS, max_size=5), st.lists(LENGTHS, max_size=5))
def test_the_kinds_tell_apart_what_enumeration_does(periods, windows):
    kinds = boundary_kinds(periods, windows)
    lengths = sorted({*periods, *windows})
    assert kinds[0] == ()
    assert {frozenset(kind) for kind in kinds} <= every_kind(periods)
    assert effects(kinds, lengths) == effects(every_kind(periods), lengths)
    assert len(effects(kinds, lengths)) == len(kinds)


def test_a_day_that_is_no_boundary_of_some_of_twenty_periods_is_found():
    periods = [60 * n for n in range(1, 21)]
    kinds = boundary_kinds(periods, [1, 96])
    assert len(kinds) <= 1500
    for boundary in range(0, 60 * 400, 60):
        open_periods = {period for period in periods if boundary % period == 0}
        assert any(open_periods == {p for p in periods if fits(p, kind)} for kind in kinds)


def test_too_many_kinds_are_refused():
    primes = [7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83]
    with pytest.raises(RefusedError, match=f"more than {MOST_KINDS} kinds"):
        boundary_kinds([60 * prime for prime in primes], [])


@pytest.mark.parametrize("unit", [1, 4 * 10**18, 10**40])
def test_the_length_of_a_round_changes_nothing(unit):
    everyone, one = np.array([True, True, True]), np.array([True, False, False])
    rules = [
        Request("all", "a", everyone, 2 * unit, until_round=6 * unit),
        Request("others", "a", ~one, unit, until_round=6 * unit),
    ]
    assert singles_out(rules, [rule.cohort for rule in rules], [False, False], 0)
    rules = rules[:1]
    assert not singles_out(rules, [rule.cohort for rule in rules], [False], 0)
