"""Payments, to the cent."""

from __future__ import annotations

import random
from fractions import Fraction

import pytest

from grid_operator.market.errors import MarketError
from grid_operator.market.settlement import cents, settle


def test_only_what_was_delivered_is_paid_and_cents_are_rounded_half_to_even():
    found = settle(42_037, 48, {"m2": 48, "m1": 24, "m3": 0, "m4": 1})
    assert [(p.home, p.cents) for p in found.payments] == [("m1", 21_018), ("m2", 42_037), ("m3", 0), ("m4", 876)]
    assert str(found.payments[0]) == "m1: 24 of 48 slots, 21018 cents, rounded half to even from 21018.5000"
    assert str(found.payments[1]) == "m2: 48 of 48 slots, 42037 cents"
    assert settle(3, 2, {"m": 1}).cents == 2
    assert settle(5, 2, {"m": 1}).cents == 2
    assert found.rounding_cents == Fraction(-1, 2) + (876 - Fraction(42_037, 48))


def test_a_settlement_is_the_sum_of_what_homes_get():
    rng = random.Random(7)
    for _ in range(200):
        slots = rng.randrange(1, 500)
        found = settle(rng.randrange(100_000), slots, {f"m{n}": rng.randrange(slots + 1) for n in range(30)})
        assert found.cents == sum(payment.cents for payment in found.payments)
        assert abs(found.rounding_cents) <= Fraction(30, 2)


@pytest.mark.parametrize(("said", "meant"), [("420.37", 42_037), ("0.10", 10), (3, 300), ("1e2", 10_000)])
def test_money_is_exact(said, meant):
    assert cents(said) == meant


@pytest.mark.parametrize("said", ["", "many", "0.001", "-1", "nan", "inf", None])
def test_what_is_no_money_is_refused(said):
    with pytest.raises(MarketError):
        cents(said)


@pytest.mark.parametrize(
    ("compensation", "slots", "delivered"), [(1, 0, {}), (-1, 1, {}), (1, 4, {"m": 5}), (1, 4, {"m": -1})]
)
def test_what_cannot_be_settled_is_refused(compensation, slots, delivered):
    with pytest.raises(MarketError):
        settle(compensation, slots, delivered)
