"""Array kernels: tied to the integer reference share by share, and as secret as it is."""

from __future__ import annotations

import itertools
import random
import struct
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.builders import FIELD

from hushgrid.core import kernels, shamir
from hushgrid.core.field import MODULI, Field

#: Small, fast, slow only for its size, the largest below 2**64.
FIELDS = [Field(q) for q in (5, 17, MODULI[0], MODULI[1], 2**64 - 59)]
fields = st.sampled_from(FIELDS)


def array(values) -> kernels.Elements:
    return np.array(list(values), dtype=np.uint64)


def replayed(values):
    """Randomness that yields these 64-bit words, then zeros."""
    words = list(values)

    def token_bytes(count: int) -> bytes:
        taken, words[:] = words[: count // 8], words[count // 8 :]
        return struct.pack(f"={len(taken)}Q", *taken).ljust(count, b"\0")

    return token_bytes


@given(fields, st.data())
def test_the_same_randomness_gives_the_same_shares_as_the_reference(field, data):
    elements = st.integers(0, field.modulus - 1)
    largest = min(field.modulus - 1, 600)
    points = data.draw(st.lists(st.integers(1, largest), min_size=1, max_size=4, unique=True))
    threshold = data.draw(st.integers(1, len(points)))
    secrets = data.draw(st.lists(elements, max_size=5))
    drawn = [data.draw(elements) for _ in range(len(secrets) * (threshold - 1))]
    shares = kernels.split_array(array(secrets), points, threshold, field, replayed(drawn))
    assert shares.shape == (len(points), len(secrets))
    assert shares.dtype == np.uint64
    for column, secret in enumerate(secrets):
        own = iter(drawn[column :: len(secrets)])
        expected = shamir.split(secret, points, threshold, field, lambda _q, own=own: next(own))
        assert shares[:, column].tolist() == list(expected)


@given(fields, st.data())
def test_what_was_split_recombines_from_any_t_points(field, data):
    points = [1, 2, 3, 4] if field.modulus == 5 else [1, 2, 3, 7, 16]
    threshold = data.draw(st.integers(1, len(points)))
    secrets = data.draw(st.lists(st.integers(0, field.modulus - 1), max_size=12))
    shares = kernels.split_array(array(secrets), points, threshold, field)
    assert not len(secrets) or int(shares.max()) < field.modulus
    chosen = data.draw(st.lists(st.integers(0, len(points) - 1), min_size=threshold, unique=True))
    rows = {points[row]: shares[row].tolist() for row in chosen}
    for column, secret in enumerate(secrets):
        assert shamir.recombine({point: row[column] for point, row in rows.items()}, threshold, field) == secret


@pytest.mark.parametrize(("q", "width", "threshold"), [(5, 4, 2), (5, 4, 3), (5, 4, 4), (7, 6, 3)])
def test_any_t_minus_1_views_say_nothing(q, width, threshold):
    """Exhaustive: one reading for every choice of coefficients, for every secret."""
    choices = list(itertools.product(range(q), repeat=threshold - 1))
    words = [choice[power] for power in range(threshold - 1) for choice in choices]
    for seen in itertools.combinations(range(width), threshold - 1):
        tables = []
        for secret in range(q):
            secrets = np.full(len(choices), secret, dtype=np.uint64)
            shares = kernels.split_array(secrets, range(1, width + 1), threshold, Field(q), replayed(words))
            tables.append(Counter(map(tuple, shares[list(seen)].T.tolist())))
        assert all(table == tables[0] for table in tables)
        assert sum(tables[0].values()) == q ** (threshold - 1)


@pytest.mark.parametrize("field", FIELDS, ids=lambda field: str(field.modulus))
def test_the_largest_values_do_not_wrap(field):
    """q - 1 everywhere, at the last point of the fast path and the first beyond it."""
    edge = 2**64 // field.modulus  # fits(field, [edge - 1]) holds, fits(field, [edge]) does not
    tops = [point for point in (edge - 1, edge, edge + 1) if 1 <= point < field.modulus]
    for point in {*tops[:3], 1, 2, 3, field.modulus - 1} if field.modulus > 5 else {1, 2, 3, 4}:
        top = field.modulus - 1
        points = sorted({point, 1, 2} if point > 2 else {1, 2, 3})
        shares = kernels.split_array(array([top, 0, 1]), points, 3, field, replayed([top] * 6))
        expected = [shamir.split(s, points, 3, field, lambda q: q - 1) for s in (top, 0, 1)]
        assert shares.T.tolist() == [list(row) for row in expected]


def test_the_first_modulus_is_fast_up_to_point_511():
    assert kernels.fits(FIELD, [1, 511])
    assert not kernels.fits(FIELD, [1, 512])
    assert FIELD.modulus * 512 < 2**64 < (FIELD.modulus - 1) * 512 + (FIELD.modulus - 1)  # a product fits, plus one not
    assert not kernels.fits(Field(2**61 - 1), [8])


@pytest.mark.parametrize("q", [5, 17, 2**55 - 55])
def test_drawn_elements_are_uniform_and_never_reduced(q):
    drawn = kernels.uniform(34_000, Field(q), random.Random(q).randbytes)
    assert drawn.shape == (34_000,)
    assert int(drawn.max()) < q
    classes = min(q, 17)
    edges = [i * q // classes for i in range(classes + 1)]
    counts = np.histogram(drawn, bins=np.array([*edges[:-1], q], dtype=np.float64))[0]
    expected = [len(drawn) * (edges[i + 1] - edges[i]) / q for i in range(classes)]
    assert sum((count - e) ** 2 / e for count, e in zip(counts.tolist(), expected, strict=True)) < 65


@given(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=40), st.sampled_from(FIELDS[:2]))
def test_a_word_is_kept_when_its_low_bits_are_below_q_and_dropped_otherwise(words, field):
    mask = (1 << field.modulus.bit_length()) - 1
    kept = [word & mask for word in words if word & mask < field.modulus]
    assert kernels.uniform(len(kept), field, replayed(words)).tolist() == kept


@pytest.mark.parametrize("secret", range(17))
def test_shares_of_every_secret_are_uniform(secret):
    drawn = random.Random(secret).randbytes
    shares = kernels.split_array(np.full(6800, secret, dtype=np.uint64), [1, 16], 2, Field(17), drawn)
    for row in shares:
        counts = np.bincount(row.astype(np.int64), minlength=17)
        assert float(((counts - 400) ** 2 / 400).sum()) < 65  # 16 degrees of freedom: beyond once in ten million


def test_two_splits_of_the_same_readings_have_nothing_in_common():
    readings = array([1] * 500)
    first, second = (kernels.split_array(readings, [1, 2, 3], 2, FIELD) for _ in range(2))
    assert not (first == second).any()
    assert len(set(first[0].tolist())) == 500


@given(fields, st.data())
def test_sums_are_exact_modulo_q(field, data):
    values = data.draw(st.lists(st.integers(0, field.modulus - 1), max_size=60))
    assert kernels.sum_elements(array(values), field) == sum(values) % field.modulus
    count = data.draw(st.integers(0, 4))
    width = len(values)
    rules = [data.draw(st.lists(st.booleans(), min_size=width, max_size=width)) for _ in range(count)]
    masks = np.array(rules, dtype=np.bool_).reshape(count, len(values))
    expected = [
        sum(value for value, member in zip(values, rule, strict=True) if member) % field.modulus for rule in rules
    ]
    assert [kernels.sum_elements(array(values)[mask], field) for mask in masks] == expected


@pytest.mark.parametrize("field", FIELDS, ids=lambda field: str(field.modulus))
def test_a_sum_of_many_large_elements_does_not_wrap(field):
    count = 3_000_000
    elements = np.full(count, field.modulus - 1, dtype=np.uint64)
    assert kernels.sum_elements(elements, field) == -count % field.modulus


def test_the_sum_of_shares_recombines_to_the_sum_of_readings():
    readings = array(range(0, 5_000_000, 50_000))
    shares = kernels.split_array(readings, [1, 2, 3, 4], 3, FIELD)
    sums = {point: kernels.sum_elements(row, FIELD) for point, row in zip([1, 2, 3, 4], shares, strict=True)}
    assert shamir.recombine(sums, 3, FIELD) == sum(range(0, 5_000_000, 50_000))


GOOD = np.zeros(3, np.uint64)
BAD_ELEMENTS = {
    "a list": [1, 2, 3],
    "floats": np.array([1.0]),
    "signed": np.array([1]),
    "big endian": np.array([1], dtype=">u8") if np.little_endian else np.array([1], dtype="<u8"),
    "a matrix": np.zeros((2, 2), np.uint64),
    "a scalar": np.uint64(1),
    "objects": np.array([1], dtype=object),
    "q": array([0, FIELD.modulus]),
}


@pytest.mark.parametrize("elements", BAD_ELEMENTS.values(), ids=BAD_ELEMENTS)
def test_elements_of_another_shape_dtype_or_range_are_refused(elements):
    for refused in (
        lambda: kernels.split_array(elements, [1, 2], 2, FIELD),
        lambda: kernels.sum_elements(elements, FIELD),
    ):
        with pytest.raises(ValueError, match=r"uint64|below q"):
            refused()


@pytest.mark.parametrize("points", [[0, 1], [1, 1], [FIELD.modulus, 1], [2 * FIELD.modulus, 1], [-1, 1]])
def test_bad_points_are_refused(points):
    with pytest.raises(ValueError, match="point"):
        kernels.split_array(GOOD, points, 2, FIELD)


@pytest.mark.parametrize("threshold", [0, 3])
def test_bad_thresholds_are_refused(threshold):
    with pytest.raises(ValueError, match="threshold"):
        kernels.split_array(GOOD, [1, 2], threshold, FIELD)


def test_a_field_beyond_64_bits_is_refused_and_not_reduced():
    with pytest.raises(ValueError, match="64 bits"):
        kernels.split_array(GOOD, [1, 2], 2, Field(2**89 - 1))
    with pytest.raises(ValueError, match="64 bits"):
        kernels.uniform(1, Field(2**127 - 1))


def test_no_readings_are_no_trouble():
    nothing = array([])
    for threshold in (1, 2):
        assert kernels.split_array(nothing, [1, 2], threshold, FIELD).shape == (2, 0)
        assert kernels.split_array(nothing, [1, 2], threshold, FIELDS[-1]).shape == (2, 0)
    assert kernels.sum_elements(nothing, FIELD) == 0
