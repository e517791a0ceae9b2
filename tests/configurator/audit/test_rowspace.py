"""Exact ranks and the smallest group, against plain rational elimination."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from configurator.audit.bases import disjoint_bases, lightest_of_few
from configurator.audit.modular import Echelon, covering_primes, inverse, rank
from configurator.audit.rowspace import smallest_group


def rational_rank(rows):
    left = [[Fraction(int(value)) for value in row] for row in rows]
    found = 0
    for column in range(len(left[0]) if left else 0):
        pivot = next((at for at in range(found, len(left)) if left[at][column]), None)
        if pivot is None:
            continue
        left[found], left[pivot] = left[pivot], left[found]
        for at in range(found + 1, len(left)):
            factor = left[at][column] / left[found][column]
            left[at] = [a - factor * b for a, b in zip(left[at], left[found], strict=True)]
        found += 1
    return found


def has_group(signatures, weights, minimum, critical):
    """Some combination vanishes outside a set of classes lighter than the minimum and touches a critical one of them."""
    classes = range(len(weights))
    for size in range(1, len(weights) + 1):
        for group in itertools.combinations(classes, size):
            if weights[list(group)].sum() < minimum:
                outside = [at for at in classes if at not in group]
                touched = [at for at in group if critical[at]]
                if rational_rank(signatures[outside + touched]) > rational_rank(signatures[outside]):
                    return True
    return False


@st.composite
def matrices(draw):
    classes, rules = draw(st.integers(1, 7)), draw(st.integers(1, 5))
    bits = draw(st.lists(st.lists(st.booleans(), min_size=rules, max_size=rules), min_size=classes, max_size=classes))
    weights = draw(st.lists(st.integers(1, 3), min_size=classes, max_size=classes))
    critical = draw(st.lists(st.booleans(), min_size=classes, max_size=classes))
    return np.array(bits), np.array(weights), np.array(critical)


@settings(max_examples=300, deadline=None)
@given(matrices(), st.integers(1, 7))
def test_the_smallest_group_is_found_exactly_when_there_is_one(drawn, minimum):
    signatures, weights, critical = drawn
    found = smallest_group(signatures, weights, minimum, critical=critical)
    assert (found is not None) == has_group(signatures, weights, minimum, critical)
    if found is not None:
        assert found.proven
        assert weights[list(found.classes)].sum() < minimum


@settings(max_examples=200, deadline=None)
@given(matrices())
def test_ranks_are_the_rational_ones(drawn):
    assert rank(drawn[0]) == rational_rank(drawn[0])


def test_the_covering_primes_exceed_every_minor():
    for dimension in (1, 7, 100, 300):
        squared = math.prod(covering_primes(dimension)) ** 2
        assert squared * 4**dimension > (dimension + 1) ** (dimension + 1)


def test_a_matrix_that_is_singular_modulo_a_prime_only_keeps_its_rank(monkeypatch):
    three = np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0], [0, 0, 0]], dtype=np.bool_)  # determinant 2
    monkeypatch.setattr("configurator.audit.modular.covering_primes", lambda _: (2, 3))
    assert rank(three) == 3


def test_a_search_that_gives_up_says_leaks_but_unproven():
    rng = np.random.default_rng(1)
    signatures = rng.random((60, 24)) < 0.5
    found = smallest_group(signatures, np.ones(60, dtype=np.int64), 19, node_limit=3)
    assert found is not None
    assert not found.proven


def test_a_hundred_thousand_different_meters_under_a_hundred_rules():
    rng = np.random.default_rng(2)
    signatures = rng.random((100_000, 100)) < 0.5
    weights = np.ones(100_000, dtype=np.int64)
    assert smallest_group(signatures, weights, 19) is None
    signatures[:, 99] = signatures[:, 98]
    signatures[5, 99] ^= True
    found = smallest_group(signatures, weights, 19)
    assert found is not None
    assert (found.classes, found.rules, found.proven) == ((5,), (98, 99), True)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 3), st.integers(1, 9), st.booleans())
def test_few_bases_decide_exactly_when_they_decide(seed, rules, limit, heavy):
    rng = np.random.default_rng(seed)
    signatures = rng.random((int(rng.integers(rules, 12)), rules)) < 0.6
    weights = rng.integers(1, 3 if heavy else 2, len(signatures))
    if rank(signatures) < rules:
        return
    prime = covering_primes(rules)[0]
    base = Echelon(rules, prime)
    light = np.arange(len(signatures), dtype=np.int64)
    bases = disjoint_bases(base, signatures, light, weights, limit + 1)
    found = lightest_of_few(bases, light[:0], signatures, weights, limit, prime)
    if found is not None:
        everything = np.ones(len(weights), dtype=np.bool_)
        assert found == has_group(signatures, weights, limit + 1, everything)


def test_an_inverse_is_one_modulo_the_prime():
    matrix = np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]])
    assert (matrix @ inverse(matrix, 2**31 - 1) % (2**31 - 1) == np.eye(3)).all()
    with pytest.raises(ValueError, match="singular"):
        inverse(matrix, 2)


def test_more_rules_than_a_nineteenth_of_the_meters_can_be_proven_safe():
    rng = np.random.default_rng(3)
    assert smallest_group(rng.random((400, 50)) < 0.5, np.ones(400, dtype=np.int64), 19) is None
