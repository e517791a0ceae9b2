"""Decoding against brute force over small fields: everything within the radius is corrected, nothing beyond it is steered."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hushgrid.core import shamir
from hushgrid.core.decoding import Radius, TooFewSharesError, WrongSharesError, decode
from hushgrid.core.field import MODULI, Field
from hushgrid.errors import RecoveryError


def nearest_by_brute_force(values: dict[int, int], threshold: int, field: Field, errors: int) -> set[tuple[int, ...]]:
    """Every polynomial of degree below t, by trying all of them, that misses at most `errors` of the values."""
    return {
        coefficients
        for coefficients in itertools.product(range(field.modulus), repeat=threshold)
        if sum(shamir.evaluate(coefficients, x, field) != y for x, y in values.items()) <= errors
    }


@st.composite
def words(draw):
    """Any word at all: (field, threshold, {point: value})."""
    field = Field(draw(st.sampled_from([5, 7, 11])))
    points = draw(st.lists(st.integers(1, field.modulus - 1), min_size=1, max_size=8, unique=True))
    threshold = draw(st.integers(1, min(3, len(points))))
    if draw(st.booleans()):  # near a code word, where decoders differ
        coefficients = draw(st.lists(st.integers(0, field.modulus - 1), min_size=threshold, max_size=threshold))
        values = {x: shamir.evaluate(coefficients, x, field) for x in points}
        for point in draw(st.lists(st.sampled_from(points), max_size=3)):
            values[point] = draw(st.integers(0, field.modulus - 1))
    else:
        values = {x: draw(st.integers(0, field.modulus - 1)) for x in points}
    return field, threshold, values


@given(words(), st.data())
def test_it_gives_exactly_what_brute_force_finds_within_the_radius(word, draw):
    field, threshold, values = word
    corrects = draw.draw(st.none() | st.integers(0, (len(values) - threshold) // 2))
    radius = Radius.of(len(values), threshold, corrects)
    near = nearest_by_brute_force(values, threshold, field, radius.corrects)
    assert len(near) <= 1
    shares = {x: (y,) for x, y in values.items()}
    if not near:
        with pytest.raises(WrongSharesError):
            decode(shares, threshold, field, corrects=corrects)
        return
    decoded = decode(shares, threshold, field, corrects=corrects)
    (found,) = near
    assert decoded.secrets == (found[0],)
    assert decoded.coefficients[0] == found[: len(decoded.coefficients[0])]
    assert not any(found[len(decoded.coefficients[0]) :])
    assert decoded.wrong == tuple(sorted(x for x, y in values.items() if shamir.evaluate(found, x, field) != y))
    assert decoded.radius == radius


@given(st.sampled_from(MODULI), st.integers(1, 9), st.integers(0, 7), st.integers(1, 3), st.integers(0), st.data())
def test_up_to_f_liars_are_corrected_or_noticed_and_never_believed(modulus, threshold, spare, slots, seed, draw):
    field, rng = Field(modulus), random.Random(seed)
    points = rng.sample(range(1, 200), threshold + spare)
    secrets = [rng.randrange(modulus) for _ in range(slots)]
    columns = [shamir.split(secret, points, threshold, field, rng.randrange) for secret in secrets]
    shares = {point: list(column) for point, column in zip(points, zip(*columns, strict=True), strict=True)}
    radius = Radius.of(len(points), threshold)
    liars = draw.draw(st.lists(st.sampled_from(points), max_size=radius.detects, unique=True))
    # The most cunning lie there is: all liars move to one other polynomial, each in a slot of its own choice.
    for slot in range(slots):
        other = [secrets[slot] + 1, *(rng.randrange(modulus) for _ in range(threshold - 1))]
        for liar in liars:
            if slot == 0 or rng.random() < 0.5:
                shares[liar][slot] = shamir.evaluate(other, liar, field)
    lied = {p for p, column in zip(points, zip(*columns, strict=True), strict=True) if tuple(shares[p]) != column}
    if len(lied) <= radius.corrects:
        decoded = decode(shares, threshold, field)
        assert decoded.secrets == tuple(secrets)
        assert decoded.wrong == tuple(sorted(lied))
    else:
        with pytest.raises(WrongSharesError, match="do not lie on one polynomial"):
            decode(shares, threshold, field)


def shares_of(secret, width, threshold, field, seed=1):
    rng = random.Random(seed)
    points = range(1, width + 1)
    return {x: (y,) for x, y in zip(points, shamir.split(secret, points, threshold, field, rng.randrange), strict=True)}


def test_eight_shares_of_threshold_five_correct_one_liar_and_name_it():
    field = Field(MODULI[0])
    for liar in range(1, 9):
        shares = shares_of(123, 8, 5, field) | {liar: (7,)}
        decoded = decode(shares, 5, field)
        assert (decoded.secrets, decoded.wrong) == ((123,), (liar,))
        assert (decoded.radius.corrects, decoded.radius.detects) == (1, 2)


def test_eight_shares_of_threshold_five_refuse_two_colluding_liars_wherever_they_aim():
    """Exhaustive at q = 11: any two liars, any lies."""
    field, threshold = Field(11), 5
    honest = shares_of(4, 8, threshold, field)
    for first, second in itertools.combinations(honest, 2):
        for lies in itertools.product(range(11), repeat=2):
            if (lies[0],) == honest[first] or (lies[1],) == honest[second]:
                continue
            with pytest.raises(WrongSharesError):
                decode(honest | {first: (lies[0],), second: (lies[1],)}, threshold, field)


def test_correcting_as_much_as_one_can_lets_two_liars_steer_and_the_default_does_not():
    """n = 7, t = 5: e = 1 is within the code, but two liars reach the neighbourhood of another word; e = 0 notices them."""
    field, threshold = Field(11), 5
    honest = shares_of(4, 7, threshold, field)
    outcomes = set()
    for lies in itertools.product(range(11), repeat=2):
        shares = honest | {1: (lies[0],), 2: (lies[1],)}
        if shares[1] == honest[1] or shares[2] == honest[2]:
            continue
        try:
            outcomes.add(decode(shares, threshold, field, corrects=1).secrets[0])
        except WrongSharesError:
            outcomes.add(None)
        with pytest.raises(WrongSharesError):
            decode(shares, threshold, field)
    assert outcomes > {None}
    assert outcomes - {None, 4}


def test_five_shares_of_threshold_four_refuse_one_liar():
    field = Field(MODULI[0])
    for liar in range(1, 6):
        with pytest.raises(WrongSharesError, match="more than 0 of them are wrong"):
            decode(shares_of(123, 5, 4, field) | {liar: (7,)}, 4, field)


def test_a_point_that_is_wrong_in_one_slot_only_is_wrong():
    field = Field(MODULI[0])
    first, second = shares_of(10, 8, 5, field, seed=1), shares_of(20, 8, 5, field, seed=2)
    shares = {x: (*first[x], *second[x]) for x in first}
    shares[3] = (shares[3][0], 1)
    decoded = decode(shares, 5, field)
    assert (decoded.secrets, decoded.wrong) == ((10, 20), (3,))
    shares[4] = (1, shares[4][1])  # one wrong point in each slot, two in all
    with pytest.raises(WrongSharesError):
        decode(shares, 5, field)


def test_fewer_than_t_shares_say_so():
    field = Field(MODULI[0])
    shares = dict(list(shares_of(1, 5, 3, field).items())[:2])
    with pytest.raises(TooFewSharesError, match="2 shares, 3 needed"):
        decode(shares, 3, field)
    with pytest.raises(RecoveryError):
        decode({}, 1, field)


def test_exactly_t_shares_give_a_number_that_says_nothing_was_checked():
    field = Field(MODULI[0])
    shares = shares_of(77, 3, 3, field)
    decoded = decode(shares, 3, field)
    assert decoded.secrets == (77,)
    assert decoded.radius.detects == 0
    assert decode(shares | {2: (5,)}, 3, field).secrets != (77,)  # which is why w > t


@pytest.mark.parametrize(
    ("shares", "complaint"),
    [
        ({0: (1,), 1: (1,)}, "outside"),
        ({1: (1,), 2: (1, 2)}, "slots"),
        ({1: (7,), 2: (1,)}, "element"),
        ({1: (-1,), 2: (1,)}, "element"),
    ],
)
def test_what_is_no_word_is_refused(shares, complaint):
    with pytest.raises(ValueError, match=complaint):
        decode(shares, 1, Field(7))


@pytest.mark.parametrize(
    ("received", "threshold", "corrects", "detects"),
    [(4, 4, 0, 0), (5, 4, 0, 1), (5, 3, 0, 2), (8, 5, 1, 2), (9, 5, 1, 3), (10, 5, 2, 3), (20, 5, 7, 8)],
)
def test_the_radius_corrects_fewer_than_it_detects(received, threshold, corrects, detects):
    radius = Radius.of(received, threshold)
    assert (radius.corrects, radius.detects) == (corrects, detects)


@pytest.mark.parametrize(
    ("received", "threshold", "corrects"), [(5, 4, 1), (8, 5, 2), (8, 5, -1), (3, 4, 0), (3, 0, 0)]
)
def test_a_radius_beyond_the_code_is_refused(received, threshold, corrects):
    with pytest.raises(ValueError, match=r"cannot be corrected|fewer shares"):
        Radius.of(received, threshold, corrects)
