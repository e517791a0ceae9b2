"""Sharing: correctness by property, secrecy by exhaustion (correctness tests cannot see it)."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hushgrid import kernels, shamir
from hushgrid.errors import RecoveryError
from hushgrid.field import MODULI, Field

FIELD = Field(MODULI[0])


def scripted(values):
    stream = iter(values)
    return lambda _below: next(stream)


def views_are_independent(split, q: int, width: int, threshold: int) -> bool:
    """For every secret the multiset of views of any t-1 points is the same: exhaustive over the randomness."""
    field, points = Field(q), list(range(1, width + 1))
    for seen in itertools.combinations(range(width), threshold - 1):
        tables = []
        for secret in range(q):
            table = Counter()
            for coefficients in itertools.product(range(q), repeat=threshold - 1):
                shares = split(secret, points, threshold, field, scripted((*coefficients, 0, 0)))
                table[tuple(shares[i] for i in seen)] += 1
            tables.append(table)
        if any(table != tables[0] for table in tables):
            return False
    return True


@pytest.mark.parametrize(("q", "width", "threshold"), [(5, 4, 2), (5, 4, 3), (5, 4, 4), (7, 5, 3)])
def test_any_t_minus_1_views_say_nothing(q, width, threshold):
    assert views_are_independent(shamir.split, q, width, threshold)


def test_the_exhaustive_check_catches_one_coefficient_too_few():
    def weak(secret, points, threshold, field, randbelow):
        return shamir.split(secret, points, threshold - 1, field, randbelow)

    assert not views_are_independent(weak, 5, 4, 3)
    # ... which recombines correctly all the same:
    shares = weak(3, [1, 2, 3, 4], 3, Field(5), scripted([2, 0, 0]))
    assert shamir.recombine(dict(zip([1, 2, 3, 4], shares, strict=True)), 3, Field(5)) == 3


@given(st.data())
def test_sum_of_shares_recombines_to_the_sum(data):
    width = data.draw(st.integers(1, 8))
    threshold = data.draw(st.integers(1, width))
    points = data.draw(st.lists(st.integers(1, 500), min_size=width, max_size=width, unique=True))
    secrets = data.draw(st.lists(st.integers(0, FIELD.modulus - 1), min_size=1, max_size=6))
    rows = [shamir.split(secret, points, threshold, FIELD) for secret in secrets]
    sums = {point: sum(row[i] for row in rows) % FIELD.modulus for i, point in enumerate(points)}
    chosen = data.draw(st.lists(st.sampled_from(points), min_size=threshold, unique=True))
    assert shamir.recombine({point: sums[point] for point in chosen}, threshold, FIELD) == sum(secrets) % FIELD.modulus


def test_one_wrong_share_among_more_than_t_is_noticed():
    shares = dict(zip([1, 2, 3, 4], shamir.split(99, [1, 2, 3, 4], 3, FIELD), strict=True))
    for point, share in shares.items():
        wrong = shares | {point: (share + 1) % FIELD.modulus}
        with pytest.raises(RecoveryError, match="one polynomial"):
            shamir.recombine(wrong, 3, FIELD)
    with pytest.raises(RecoveryError, match="2 shares, 3 needed"):
        shamir.recombine({1: 0, 2: 0}, 3, FIELD)


@pytest.mark.parametrize("points", [[0, 1, 2], [1, 1, 2], [FIELD.modulus, 1, 2], [2 * FIELD.modulus, 1, 2], [-1, 1, 2]])
def test_bad_points_are_refused(points):
    with pytest.raises(ValueError, match="point"):
        shamir.split(1, points, 2, FIELD)
    with pytest.raises(ValueError, match="point"):
        shamir.weights(points, FIELD)


@pytest.mark.parametrize("threshold", [0, 4])
def test_bad_thresholds_are_refused(threshold):
    with pytest.raises(ValueError, match="threshold"):
        shamir.split(1, [1, 2, 3], threshold, FIELD)


def test_shares_of_every_secret_are_uniform():
    field, trials = Field(17), 3400
    for secret in range(17):
        counts = Counter(shamir.split(secret, [1, 2], 2, field)[0] for _ in range(trials))
        chi_square = sum((counts[v] - trials / 17) ** 2 / (trials / 17) for v in range(17))
        assert chi_square < 60  # 16 degrees of freedom: beyond 60 once in a million
        assert max(counts) < 17


@given(st.sampled_from(MODULI[:2]), st.lists(st.integers(0, MODULI[0] - 1), max_size=20), st.integers(1, 5))
def test_array_kernels_agree_with_the_reference(modulus, secrets, threshold):
    field, points = Field(modulus), [1, 2, 3, 7, 500]
    elements = np.array(secrets, dtype=np.uint64)
    shares = kernels.split_array(elements, points, threshold, field)
    assert shares.shape == (5, len(secrets))
    for column, secret in enumerate(secrets):
        found = {point: int(shares[row, column]) for row, point in enumerate(points)}
        assert shamir.recombine(found, threshold, field) == secret
    assert kernels.recombine_array(shares[:threshold], points[:threshold], field) == secrets
    assert kernels.sum_elements(elements, field) == sum(secrets) % field.modulus
    masks = np.array([[i % 2 == 0 for i in range(len(secrets))], [True] * len(secrets)], dtype=np.bool_).reshape(
        2, len(secrets)
    )
    assert kernels.masked_sums(elements, masks, field) == [
        sum(secrets[::2]) % field.modulus,
        sum(secrets) % field.modulus,
    ]


@pytest.mark.parametrize("modulus", MODULI[:2])
def test_array_kernel_and_reference_give_the_same_shares_for_the_same_randomness(modulus):
    field, points = Field(modulus), [1, 2, 3, 4]
    fixed = bytes(range(7, 207)) * 2
    shares = kernels.split_array(np.array([11], dtype=np.uint64), points, 3, field, lambda n: fixed[:n])
    drawn = kernels.uniform(2, field, lambda n: fixed[:n]).tolist()
    assert shares[:, 0].tolist() == list(shamir.split(11, points, 3, field, scripted(drawn)))


def test_array_kernels_refuse_what_is_not_theirs():
    with pytest.raises(ValueError, match="uint64"):
        kernels.sum_elements(np.array([1.0]), FIELD)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="below q"):
        kernels.sum_elements(np.array([FIELD.modulus], dtype=np.uint64), FIELD)
    with pytest.raises(ValueError, match="shape"):
        kernels.recombine_array(np.zeros((2, 2), np.uint64), [1, 2, 3], FIELD)


def test_a_sum_of_many_large_elements_does_not_wrap():
    elements = np.full(100_000, FIELD.modulus - 1, dtype=np.uint64)
    assert kernels.sum_elements(elements, FIELD) == (-100_000) % FIELD.modulus
