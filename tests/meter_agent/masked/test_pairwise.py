"""Masks of pairs: they cancel in rows and columns, and each opens one reading's noise and no more."""

import itertools
import math
import random
from collections import Counter
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hushgrid.core import pairwise_published
from hushgrid.core.field import MODULI, Field
from hushgrid.core.pairwise import DrawnNoise, Pair, Scope, SelfMask, keyed_element, mask_reading
from hushgrid.core.pairwise_published import (
    HashedPair,
    UnsafeNoiseWarning,
    fresh_pair,
    hashed_pair,
    public_hash,
    settle,
)
from hushgrid.core.schedule import Window
from hushgrid.core.sealing import Agreement
from hushgrid.core.shamir import recombine
from hushgrid.errors import ConfigurationError, MessageError, RecoveryError, RefusedError
from meter_agent.masked import isolated
from meter_agent.masked.carry import Carry
from meter_agent.masked.disclosure import Opening, Openings, share_self_mask

FIELD = Field(MODULI[0])
SCOPE = Scope("grid", 3, 7, b"graph")
PERIOD = Window(8, 8)


def both_sides(scope: Scope = SCOPE, field: Field = FIELD) -> tuple[Pair, Pair]:
    one, other = Agreement.generate(), Agreement.generate()
    return Pair.derive(one, other.public, scope, field), Pair.derive(other, one.public, scope, field)


def test_both_sides_of_a_pair_hold_one_secret_and_opposite_signs() -> None:
    one, other = both_sides()
    assert one.secret == other.secret
    assert {one.sign, other.sign} == {1, -1}


def test_a_pair_cancels_in_every_round_and_over_the_period() -> None:
    one, other = both_sides()
    for round_number in PERIOD:
        assert (one.term(round_number, PERIOD) + other.term(round_number, PERIOD)) % FIELD.modulus == 0
    assert sum(one.term(round_number, PERIOD) for round_number in PERIOD) % FIELD.modulus == 0


@pytest.mark.parametrize(
    "scope",
    [
        Scope("grip", 3, 7, b"graph"),
        Scope("grid", 4, 7, b"graph"),
        Scope("grid", 3, 8, b"graph"),
        Scope("grid", 3, 7, b"new"),
    ],
)
def test_every_field_of_the_scope_changes_the_key(scope: Scope) -> None:
    one, other = Agreement.generate(), Agreement.generate()
    assert Pair.derive(one, other.public, SCOPE, FIELD).secret != Pair.derive(one, other.public, scope, FIELD).secret


def test_the_first_mask_of_a_known_key_is_pinned() -> None:
    low, high = Agreement.from_bytes(bytes(range(32))), Agreement.from_bytes(bytes(range(32, 64)))
    pair = Pair.derive(low, high.public, SCOPE, FIELD)
    assert (pair.sign, pair.mask(8)) == (-1, 35396663903193092)


def test_two_slots_of_one_reading_have_masks_of_their_own() -> None:
    pair = Pair.derive(Agreement.generate(), Agreement.generate().public, SCOPE, FIELD)
    own = SelfMask.derive(bytes(32), SCOPE, FIELD)
    assert len({pair.mask(8), pair.mask(8, 1), pair.mask(9), pair.mask(9, 1)}) == 4
    assert own.value(8) != own.value(8, 1)


def test_a_meter_is_no_pair_with_itself_nor_with_a_key_of_low_order() -> None:
    own = Agreement.generate()
    with pytest.raises(ValueError, match="itself"):
        Pair.derive(own, own.public, SCOPE, FIELD)
    with pytest.raises(MessageError):
        Pair.derive(own, bytes(32), SCOPE, FIELD)


def test_a_round_outside_the_period_is_refused() -> None:
    one, _ = both_sides()
    for outside in (7, 16):
        with pytest.raises(ValueError, match="outside the period"):
            one.term(outside, PERIOD)


def test_a_reading_without_noise_never_leaves_the_meter() -> None:
    with pytest.raises(ConfigurationError, match="no neighbour"):
        mask_reading(120, 8, PERIOD, [], bound_watt_hours=5000, field=FIELD)


def test_the_same_reading_is_masked_to_the_same_value_again() -> None:
    one, _ = both_sides()
    first, again = (mask_reading(120, 9, PERIOD, [one], bound_watt_hours=5000, field=FIELD) for _ in range(2))
    assert first == again


def test_masks_spread_evenly_over_a_small_field() -> None:
    tiny = Field(17)
    counts = Counter(keyed_element(bytes(32), b"mask", round_number, 0, tiny) for round_number in range(17_000))
    chi_square = sum((counts[value] - 1000) ** 2 / 1000 for value in range(17))
    assert chi_square < 45  # 16 degrees of freedom: exceeded with probability 2e-4, and the hash is fixed


def test_in_a_tiny_field_a_masked_table_tells_rows_and_columns_and_nothing_else() -> None:
    """Exhaustive: three meters in a ring, two rounds, q = 5. Equal bills and columns give equal distributions."""

    def views(readings: tuple[tuple[int, int], ...]) -> Counter[tuple[int, ...]]:
        seen: Counter[tuple[int, ...]] = Counter()
        for a, b, c in itertools.product(range(5), repeat=3):  # masks of the pairs (0,1), (1,2), (0,2) in round 0
            noise = (a + c, b - a, -b - c)
            seen[tuple(x % 5 for (d, e), s in zip(readings, noise, strict=True) for x in (d + s, e - s))] += 1
        return seen

    assert views(((1, 2), (3, 0), (0, 4))) == views(((2, 1), (1, 2), (1, 3)))  # bills 3, 3, 4; columns 4, 6
    assert views(((1, 2), (3, 0), (0, 4))) != views(((2, 2), (1, 2), (1, 3)))


@given(st.lists(st.lists(st.integers(-5000, 5000), min_size=8, max_size=8), min_size=3, max_size=6), st.booleans())
def test_rows_and_columns_come_out_exact_in_every_variant(table: list[list[int]], published: bool) -> None:
    noises: list[list[Pair | HashedPair]] = [[] for _ in table]
    for low, high in itertools.combinations(range(len(table)), 2):
        if published:
            with pytest.warns(UnsafeNoiseWarning):
                sides: tuple[Pair | HashedPair, Pair | HashedPair] = hashed_pair(5000, unsafe=True)
        else:
            sides = both_sides()
        noises[low].append(sides[0])
        noises[high].append(sides[1])
    masked = [
        [
            mask_reading(d, r, PERIOD, noises[i], bound_watt_hours=5000, field=FIELD)
            for r, d in zip(PERIOD, row, strict=True)
        ]
        for i, row in enumerate(table)
    ]
    q = FIELD.modulus
    assert [sum(row) % q for row in masked] == [sum(row) % q for row in table]
    assert [sum(c) % q for c in zip(*masked, strict=True)] == [sum(c) % q for c in zip(*table, strict=True)]


# The published noise


def test_the_published_noise_refuses_without_the_unsafe_flag() -> None:
    with pytest.raises(ConfigurationError, match="unsafe"):
        hashed_pair(5000, unsafe=False)
    with pytest.raises(ConfigurationError, match="unsafe"):
        HashedPair(17, 1, 5000)
    with pytest.raises(ConfigurationError, match="unsafe"):
        fresh_pair(PERIOD, 5000, unsafe=False)
    with pytest.raises(ConfigurationError, match="unsafe"):
        pairwise_published.draw_isolated(PERIOD, 5000, unsafe=False)


def test_the_published_noise_warns_when_it_is_asked_for() -> None:
    with pytest.warns(UnsafeNoiseWarning):
        fresh_pair(PERIOD, 5000, unsafe=True)


@pytest.mark.filterwarnings("ignore::hushgrid.core.pairwise_published.UnsafeNoiseWarning")
def test_the_hash_variant_follows_figure_2_with_the_signs_the_misprint_lost() -> None:
    one, other = HashedPair(1234, 1, 5000, unsafe=True), HashedPair(1234, -1, 5000, unsafe=True)
    assert one.term(8, PERIOD) == 1234
    assert one.term(9, PERIOD) == -public_hash(1234, 2, 5000)
    assert one.term(10, PERIOD) == public_hash(1234, 3, 5000)
    assert all(one.term(r, PERIOD) == -other.term(r, PERIOD) for r in PERIOD)
    assert sum(one.term(r, PERIOD) for r in PERIOD) == 0


def test_the_settled_noise_is_uniform_over_plus_minus_half_the_span() -> None:
    counts = Counter(
        amount * sign for a, b in itertools.product(range(-2, 3), repeat=2) for amount, sign in [settle(a, b)]
    )
    # 25 pairs of draws onto 5 values; exactly uniform but for ties, which go to -max
    assert {value: counts[value] for value in range(-2, 3)} == {-2: 5, -1: 5, 0: 5, 1: 5, 2: 5}


# The isolated meter


def test_the_papers_fallback_amounts_to_an_epsilon_of_100_for_5_kwh() -> None:
    assert pairwise_published.published_epsilon(5000) == pytest.approx(100)


@pytest.mark.parametrize("epsilon", [Fraction(0), Fraction(-1), Fraction(5), Fraction(100)])
def test_an_isolated_meter_without_a_sound_epsilon_publishes_nothing(epsilon: Fraction) -> None:
    with pytest.raises(ConfigurationError):
        isolated.draw_isolated(PERIOD, 5000, epsilon)


def test_the_calibrated_scale_bounds_every_likelihood_ratio_by_exp_epsilon() -> None:
    scale = float(isolated.laplace_scale(5000, Fraction(1)))

    def log_chance(x: int) -> float:
        return -abs(x) / scale

    worst = max(log_chance(x) - log_chance(x - shift) for x in range(-9000, 9000, 250) for shift in (1, 777, 5000))
    assert worst == pytest.approx(1)


def test_discrete_laplace_is_sampled_with_its_exact_probabilities() -> None:
    rng = random.Random(5)
    scale, draws = Fraction(5, 2), 40_000
    counts = Counter(isolated.discrete_laplace(scale, rng.randrange) for _ in range(draws))
    ratio = math.exp(-1 / float(scale))
    for value in range(-8, 9):
        expected = draws * (1 - ratio) / (1 + ratio) * ratio ** abs(value)
        assert abs(counts[value] - expected) < 4.5 * math.sqrt(expected)


def test_an_isolated_meters_bill_is_exact() -> None:
    noise = isolated.draw_isolated(PERIOD, 5000, Fraction(1))
    assert sum(noise.term(r, PERIOD) for r in PERIOD) == 0
    assert isinstance(noise, DrawnNoise)
    with pytest.raises(ValueError, match="another period"):
        noise.term(16, Window(16, 8))


# Self-masks and disclosure


def test_asking_for_both_the_pair_masks_and_the_self_mask_is_refused_in_either_order_and_after_a_restart() -> None:
    for first, second in itertools.permutations(Opening):
        holder = Openings()
        assert holder.ask("m1", 5, first)
        assert not holder.ask("m1", 5, first)
        restarted = Openings.restored(holder)
        for asked in (holder, restarted):
            with pytest.raises(RefusedError, match="stays shut for ever"):
                asked.ask("m1", 5, second)
        assert restarted.ask("m1", 6, second)
        assert restarted.ask("m2", 5, second)


def test_a_neighbour_that_helped_open_the_self_mask_keeps_its_pair_mask() -> None:
    holder = Openings()
    holder.ask("m1", 9, Opening.SELF)
    with pytest.raises(RefusedError):
        holder.ask("m1", 9, Opening.PAIRS)
    assert holder.ask("m1", 10, Opening.PAIRS)


def test_a_self_mask_opens_with_the_threshold_and_not_below() -> None:
    value = SelfMask.derive(bytes(32), SCOPE, FIELD).value(9)
    shares = dict(enumerate(share_self_mask(value, 5, 3, 2, FIELD), start=1))
    assert recombine({point: shares[point] for point in (1, 3, 5)}, 3, FIELD) == value
    with pytest.raises(RecoveryError):
        recombine({1: shares[1], 2: shares[2]}, 3, FIELD)
    for bad in (2, 6):
        with pytest.raises(ConfigurationError):
            share_self_mask(value, 5, bad, 2, FIELD)


# Carrying


@given(st.lists(st.tuples(st.integers(-3000, 3000), st.booleans()), max_size=30))
def test_whatever_is_left_out_the_included_rounds_and_what_is_pending_add_up(rounds: list[tuple[int, bool]]) -> None:
    carry, counted = Carry(3000), 0
    for number, (watt_hours, left_out) in enumerate(rounds):
        put, carry = carry.prepare(number, watt_hours)
        assert abs(put) <= 3000
        assert carry.prepare(number, 1)[0] == put
        if left_out:
            carry = carry.exclude(number).exclude(number)
        else:
            counted += put
    assert counted + carry.pending_watt_hours == sum(watt_hours for watt_hours, _ in rounds)


def test_what_is_left_out_is_pending_once_and_a_round_never_prepared_cannot_be_left_out() -> None:
    put, carry = Carry(5000).prepare(1, 700)
    carry = carry.exclude(1)
    assert (put, carry.pending_watt_hours) == (700, 700)
    assert carry.prepare(2, 50)[0] == 750
    with pytest.raises(KeyError):
        carry.exclude(2)


def test_secrets_do_not_print() -> None:
    one, _ = both_sides()
    shown = repr(one) + repr(SelfMask.derive(bytes(32), SCOPE, FIELD)) + repr(Carry(5000).prepare(1, 4321)[1])
    assert one.secret.hex() not in shown
    assert "4321" not in shown
