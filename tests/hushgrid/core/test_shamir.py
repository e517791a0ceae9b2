"""Sharing: correctness by property, secrecy by exhaustion (correctness tests cannot see it)."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.builders import FIELD

from hushgrid.core import shamir
from hushgrid.core.field import MODULI, Field
from hushgrid.errors import RecoveryError

Split = Callable[..., Sequence[int]]
elements = st.integers(0, FIELD.modulus - 1)


def scripted(values) -> Callable[[int], int]:
    stream: Iterator[int] = iter(values)
    return lambda _below: next(stream)


def views_are_independent(split: Split, q: int, points: Sequence[int], threshold: int) -> bool:
    """For every secret the multiset of views of any t-1 points is the same: exhaustive over the randomness.

    Two zeros follow the coefficients, for a `split` that draws more than it should.
    """
    field = Field(q)
    for seen in itertools.combinations(range(len(points)), threshold - 1):
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


@pytest.mark.parametrize(
    ("q", "width", "threshold"), [(5, 4, 1), (5, 4, 2), (5, 4, 3), (5, 4, 4), (7, 6, 2), (7, 6, 3), (7, 5, 4)]
)
def test_any_t_minus_1_views_say_nothing(q, width, threshold):
    assert views_are_independent(shamir.split, q, range(1, width + 1), threshold)


@pytest.mark.parametrize("points", [(2, 4, 6), (6, 1, 3), (5, 4, 3)])
def test_any_t_minus_1_views_say_nothing_whatever_the_points(points):
    assert views_are_independent(shamir.split, 7, points, 3)


def one_coefficient_too_few(secret, points, threshold, field, randbelow):
    return shamir.split(secret, points, threshold - 1, field, randbelow)


def never_zero(secret, points, threshold, field, randbelow):
    return shamir.split(secret, points, threshold, field, lambda q: 1 + randbelow(q) % (q - 1))


def one_coefficient_twice(secret, points, threshold, field, randbelow):
    drawn = randbelow(field.modulus)
    return shamir.split(secret, points, threshold, field, lambda _q: drawn)


def half_the_range(secret, points, threshold, field, randbelow):
    return shamir.split(secret, points, threshold, field, lambda q: randbelow(q) // 2)


@pytest.mark.parametrize("weak", [one_coefficient_too_few, never_zero, one_coefficient_twice, half_the_range])
@pytest.mark.parametrize("q", [5, 7])
def test_the_exhaustive_check_catches_a_split_that_recombines_correctly_and_leaks(weak, q):
    points, field = [1, 2, 3, 4], Field(q)
    assert not views_are_independent(weak, q, points, 3)
    shares = weak(3, points, 3, field, scripted([2, 1, 0]))
    assert shamir.recombine(dict(zip(points, shares, strict=True)), 3, field) == 3


def test_the_exhaustive_check_catches_a_point_at_the_secret():
    def unchecked(secret, points, threshold, field, randbelow):
        coefficients = (secret, *(randbelow(field.modulus) for _ in range(threshold - 1)))
        return [shamir.evaluate(coefficients, point, field) for point in points]

    assert views_are_independent(unchecked, 5, [1, 2, 3], 2)
    assert not views_are_independent(unchecked, 5, [1, 2, 5], 2)  # 5 is 0 modulo q


def test_t_views_say_everything():
    """The control: the same tables, with one PPN more, tell the secrets apart."""
    field, points = Field(5), [1, 2, 3]
    for secret in range(5):
        for coefficients in itertools.product(range(5), repeat=2):
            shares = shamir.split(secret, points, 3, field, scripted(coefficients))
            assert shamir.recombine(dict(zip(points, shares, strict=True)), 3, field) == secret


@pytest.mark.parametrize("threshold", [1, 2, 5])
def test_every_secret_takes_t_minus_1_fresh_draws_below_q(threshold):
    asked: list[int] = []

    def randbelow(below: int) -> int:
        asked.append(below)
        return below - 1

    shamir.split(9, range(1, 6), threshold, FIELD, randbelow)
    assert asked == [FIELD.modulus] * (threshold - 1)


def test_the_same_secret_is_never_shared_alike():
    assert len({shamir.split(1, [1, 2, 3], 2, FIELD) for _ in range(200)}) == 200


def test_shares_of_every_secret_are_uniform_at_every_point():
    field, trials, drawn = Field(17), 3400, random.Random(17)
    for secret in range(17):
        rows = [shamir.split(secret, [1, 2, 16], 2, field, drawn.randrange) for _ in range(trials)]
        for column in zip(*rows, strict=True):
            counts = Counter(column)
            chi_square = sum((counts[v] - trials / 17) ** 2 / (trials / 17) for v in range(17))
            assert chi_square < 65  # 16 degrees of freedom: beyond 65 once in ten million
            assert 0 <= min(counts) <= max(counts) < 17


@given(st.sampled_from(MODULI), st.data())
def test_sum_of_shares_recombines_to_the_sum(modulus, data):
    field = Field(modulus)
    width = data.draw(st.integers(1, 8))
    threshold = data.draw(st.integers(1, width))
    points = data.draw(st.lists(st.integers(1, 500), min_size=width, max_size=width, unique=True))
    secrets = data.draw(st.lists(st.integers(0, modulus - 1), min_size=1, max_size=6))
    rows = [shamir.split(secret, points, threshold, field) for secret in secrets]
    assert all(0 <= share < modulus for row in rows for share in row)
    sums = {point: sum(row[i] for row in rows) % modulus for i, point in enumerate(points)}
    chosen = data.draw(st.lists(st.sampled_from(points), min_size=threshold, unique=True))
    assert shamir.recombine({point: sums[point] for point in chosen}, threshold, field) == sum(secrets) % modulus


@given(st.lists(elements, min_size=1, max_size=5), st.lists(st.integers(1, 50), min_size=6, max_size=6, unique=True))
def test_the_polynomial_through_enough_shares_is_the_polynomial(coefficients, points):
    base = {point: shamir.evaluate(coefficients, point, FIELD) for point in points[: len(coefficients)]}
    for at in (0, points[-1], 51, *base):
        assert shamir.interpolate(base, FIELD, at=at) == shamir.evaluate(coefficients, at, FIELD)


@given(elements, st.data())
def test_one_wrong_share_among_more_than_t_is_noticed(secret, data):
    shares = dict(zip([1, 2, 3, 4], shamir.split(secret, [1, 2, 3, 4], 3, FIELD), strict=True))
    wrong = shares | {data.draw(st.sampled_from([1, 2, 3, 4])): data.draw(elements)}
    if wrong == shares:
        return
    with pytest.raises(RecoveryError, match="one polynomial") as refusal:
        shamir.recombine(wrong, 3, FIELD)
    assert not any(str(share) in str(refusal.value) for share in wrong.values() if share > 9)


def test_too_few_shares_give_no_number():
    with pytest.raises(RecoveryError, match="2 shares, 3 needed"):
        shamir.recombine({1: 0, 2: 0}, 3, FIELD)
    with pytest.raises(RecoveryError, match="0 shares, 1 needed"):
        shamir.recombine({}, 1, FIELD)


@pytest.mark.parametrize(
    "points",
    [[0, 1, 2], [1, 1, 2], [FIELD.modulus, 1, 2], [2 * FIELD.modulus, 1, 2], [FIELD.modulus + 1, 1, 2], [-1, 1, 2]],
    ids=["zero", "twice", "q", "2q", "q+1", "negative"],
)
def test_bad_points_are_refused(points):
    with pytest.raises(ValueError, match="point"):
        shamir.split(1, points, 2, FIELD)
    with pytest.raises(ValueError, match="point"):
        shamir.weights(points, FIELD)
    if len(set(points)) == len(points):
        with pytest.raises(ValueError, match="point"):
            shamir.recombine(dict.fromkeys(points, 7), 3, FIELD)


@pytest.mark.parametrize("threshold", [-1, 0, 4])
def test_bad_thresholds_are_refused(threshold):
    with pytest.raises(ValueError, match="threshold"):
        shamir.split(1, [1, 2, 3], threshold, FIELD)


def test_no_points_are_no_sharing():
    with pytest.raises(ValueError, match="threshold"):
        shamir.split(1, [], 1, FIELD)


@pytest.mark.parametrize("secret", [-1, FIELD.modulus, 2 * FIELD.modulus])
def test_a_secret_outside_the_field_is_refused(secret):
    with pytest.raises(ValueError, match="not an element"):
        shamir.split(secret, [1, 2, 3], 2, FIELD)
