"""The lossy link: a pure function, and the fractions it claims."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hushgrid.conducted.envelopes import pass_envelope
from hushgrid.conducted.loss import SHARE, Bursts, Link, LinkPartition, LossModel
from hushgrid.wire.shares import Envelope

ROUNDS = range(20_000)


def within(found: int, count: int, fraction: float, spread: float = 1.0) -> bool:
    """Whether a count is within five standard errors of its expectation; spread: variance beside independent draws."""
    return abs(found - count * fraction) <= 5 * math.sqrt(spread * count * fraction * (1 - fraction)) + 1


def arrivals(model: LossModel, *message) -> tuple[float, ...]:
    """When the copies of a message arrive; empty when it is lost."""
    return () if model.drops(*message) else model.delays(*message)


@pytest.mark.parametrize("loss", [0.0, 0.001, 0.1, 0.9, 1.0])
def test_independent_loss_has_its_fraction(loss):
    model = LossModel(3, loss)
    assert within(sum(model.drops(SHARE, "m", "p", r) for r in ROUNDS), len(ROUNDS), loss)


def test_attempts_kinds_parties_and_seeds_are_independent():
    base = LossModel(3, 0.5)
    others = [
        [base.drops("repair", "m", "p", r) for r in ROUNDS],
        [base.drops(SHARE, "m2", "p", r) for r in ROUNDS],
        [base.drops(SHARE, "m", "p2", r) for r in ROUNDS],
        [base.drops(SHARE, "m", "p", r, 1) for r in ROUNDS],
        [LossModel(4, 0.5).drops(SHARE, "m", "p", r) for r in ROUNDS],
    ]
    first = [base.drops(SHARE, "m", "p", r) for r in ROUNDS]
    for one, other in itertools.combinations([first, *others], 2):
        assert within(sum(a == b for a, b in zip(one, other, strict=True)), len(ROUNDS), 0.5)


@pytest.mark.parametrize(("enter", "leave"), [(0.01, 0.2), (0.3, 0.3), (0.8, 0.7), (1.0, 0.5), (0.05, 1.0)])
def test_bursts_are_a_stationary_markov_chain(enter, leave):
    model = LossModel(1, 0.0, Bursts(enter, leave))
    bad = [model.drops(SHARE, "m", "p", r) for r in ROUNDS]
    assert bad == [model.is_bad("m", "p", r) for r in ROUNDS]
    # Variance of a two-state chain's occupancy: (1 + rho) / (1 - rho) times that of independent draws, rho = 1 - enter - leave.
    assert within(sum(bad), len(bad), enter / (enter + leave), (2 - enter - leave) / (enter + leave))
    after_good = [b for a, b in itertools.pairwise(bad) if not a]
    after_bad = [b for a, b in itertools.pairwise(bad) if a]
    assert within(sum(after_good), len(after_good), enter)
    assert within(sum(after_bad), len(after_bad), 1 - leave)


def test_a_burst_is_of_both_directions_and_all_attempts_and_not_of_other_parties():
    model = LossModel(1, 0.0, Bursts(0.2, 0.2))
    for r in range(200):
        assert model.drops(SHARE, "m", "p", r) == model.drops("repair", "p", "m", r, 3)
    assert any(model.drops(SHARE, "m", "p", r) != model.drops(SHARE, "m2", "p", r) for r in range(200))


def test_outside_a_burst_loss_is_independent():
    model = LossModel(1, 0.1, Bursts(0.1, 0.3, 0.8))
    bad = [r for r in ROUNDS if model.is_bad("m", "p", r)]
    good = [r for r in ROUNDS if not model.is_bad("m", "p", r)]
    assert within(sum(model.drops(SHARE, "m", "p", r) for r in bad), len(bad), 0.8)
    assert within(sum(model.drops(SHARE, "m", "p", r) for r in good), len(good), 0.1)


def test_a_partition_separates_the_named_parties_both_ways_and_for_its_rounds_only():
    model = LossModel(1, 0.0, None, (LinkPartition("ppn-1", "m1", 5, 8), LinkPartition("ppn-2", "*", 6, 7)))
    assert [r for r in range(12) if model.drops(SHARE, "m1", "ppn-1", r)] == [5, 6, 7]
    assert [r for r in range(12) if model.drops("repair", "ppn-1", "m1", r)] == [5, 6, 7]
    assert [r for r in range(12) if model.drops(SHARE, "m2", "ppn-2", r)] == [6]
    assert not any(model.drops(SHARE, "m2", "ppn-1", r) for r in range(12))


def test_delays_are_bounded_and_some_messages_are_overtaken_or_come_twice():
    model = LossModel(1, 0.2, delay_most_seconds=2, reorder_fraction=0.1, reorder_seconds=10, duplicate_fraction=0.3)
    fates = [arrivals(model, SHARE, "m", "p", r) for r in ROUNDS]
    arrived = [fate for fate in fates if fate]
    assert within(len(fates) - len(arrived), len(fates), 0.2)
    assert within(sum(len(fate) == 2 for fate in arrived), len(arrived), 0.3)
    held_back = [fate for fate in arrived if fate[0] >= 10]
    assert within(len(held_back), len(arrived), 0.1)
    assert all(0 <= fate[0] % 10 < 2 for fate in arrived)
    assert any(r + one[0] > r + 1 + other[0] for r, (one, other) in enumerate(itertools.pairwise(arrived)))


@given(st.integers(0, 2**40), st.integers(0, 5), st.booleans())
def test_a_message_has_one_fate(round_number, attempt, bursty):
    def model() -> LossModel:
        return LossModel(9, 0.3, Bursts(0.2, 0.4) if bursty else None, (), 1.0, 0.2, 5.0, 0.2)

    message = (SHARE, "m", "p", round_number, attempt)
    assert arrivals(model(), *message) == arrivals(model(), *message)
    assert model().drops(*message) == model().drops(*message)


def test_a_link_changes_with_the_round_of_the_message():
    link = Link(LossModel(1, 0.0)).changed(((20, LossModel(1, 0.0)), (10, LossModel(1, 1.0))))
    assert [r for r in range(30) if link.drops(SHARE, "m", "p", r)] == list(range(10, 20))
    assert link.at(9) == LossModel(1, 0.0)


def test_an_envelope_loses_single_shares_and_keeps_the_bytes_of_the_others():
    shares = {at: (100 + at, bytes([at])) for at in range(64)}
    envelope = Envelope(1, 5, 2, 0, 64, 0, shares)
    ids = {number: f"m{number}" for number, _ in shares.values()}
    model = LossModel(2, 0.3)
    passed, lost = pass_envelope(envelope, model, ids, "ppn-2")
    assert lost == {at for at in shares if model.drops(SHARE, f"m{100 + at}", "ppn-2", 5)}
    assert passed is not None
    assert passed.shares == {at: share for at, share in shares.items() if at not in lost}
    assert pass_envelope(envelope, LossModel(2, 1.0), ids, "ppn-2") == (None, frozenset(shares))


@pytest.mark.parametrize(
    "bad",
    [
        lambda: LossModel(1, 1.1),
        lambda: LossModel(1, 0, reorder_fraction=-0.1),
        lambda: LossModel(1, 0, delay_most_seconds=-1),
        lambda: Bursts(0.1, 0),
        lambda: Bursts(2, 0.5),
        lambda: Bursts(1, 1),
        lambda: Bursts(1e-6, 1e-6),
        lambda: Bursts(0.9999, 0.9999),
    ],
)
def test_what_no_link_can_do_is_refused(bad):
    with pytest.raises(ValueError, match=r"outside|never|decides"):
        bad()


@pytest.mark.parametrize("bursts", [Bursts(0, 1e-9), Bursts(1e-3, 1e-3), Bursts(0.999, 0.999), Bursts(1, 0.01)])
def test_a_draw_decides_as_often_as_is_stated(bursts):
    assert LossModel(1, 0.0, bursts).is_bad("m", "p", 7) in (False, True)
    enter, stay = bursts.enter_fraction, 1 - bursts.leave_fraction
    draws = [at / 10_000 for at in range(10_000)]
    decided = sum(drawn < min(enter, stay) or drawn >= max(enter, stay) for drawn in draws) / len(draws)
    assert decided == pytest.approx(bursts.decided_fraction, abs=2e-4)
