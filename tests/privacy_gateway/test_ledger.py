"""The accountant beside one that knows no better: every charge of every home kept, and added up in full each time."""

from __future__ import annotations

import decimal
import math
import random
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.gateway.accountant import CAP, DELTA, LEDGERS, beside_brute_force

from privacy_gateway.ledger.balance import BudgetCap, HomeBalance
from privacy_gateway.ledger.book import ChargeEntry, MemoryLedger, Overdraft, periods_of
from privacy_gateway.ledger.price import MICRO, PICO, PrivacyPrice
from privacy_gateway.questions.recovered import RoundSpan


def test_random_questions_never_over_budget_and_never_under_charged(part):
    """10,000 with --long, in ten ledgers; else 1,000 that another commit draws anew."""
    for rng in [part] if part else [random.Random(seed) for seed in range(LEDGERS)]:
        beside_brute_force(rng, MemoryLedger())


prices = st.builds(PrivacyPrice, st.integers(0, MICRO), st.integers(0, PICO // 10))


@given(st.lists(prices, max_size=5))
def test_what_is_said_to_be_left_is_what_is_left(charges):
    balance = HomeBalance()
    for price in charges:
        balance = balance.plus(price)
    left = CAP.left_micro(balance)
    assert CAP.holds(balance.plus(PrivacyPrice(epsilon_micro=left))) or left == 0
    assert not CAP.holds(balance.plus(PrivacyPrice(epsilon_micro=left + 1)))


def entry(
    question: str, homes: str, price: PrivacyPrice, periods: tuple[int, ...] = (0,), attempt: int = 0
) -> ChargeEntry:
    return ChargeEntry(question, attempt, tuple(homes), periods, price)


ONE = PrivacyPrice(epsilon_micro=MICRO)


def test_disjoint_homes_pay_side_by_side_and_overlapping_ones_pay_both():
    ledger = MemoryLedger()
    for at, homes in enumerate(["ab", "cd", "bc", "bc"]):
        assert ledger.charge(entry(f"q{at}", homes, ONE), CAP) is None
    paid = ledger.balances([(home, 0) for home in "abcd"])
    assert [paid[home, 0].epsilon_micro // MICRO for home in "abcd"] == [1, 3, 3, 1]
    answer = ledger.charge(entry("more", "abd", ONE), CAP)
    assert answer == Overdraft(("b",), CAP.left_micro(paid["b", 0]))
    assert ledger.balances([("a", 0)])["a", 0].epsilon_micro == MICRO


def test_a_question_that_touches_two_periods_is_paid_in_both():
    ledger = MemoryLedger()
    assert periods_of(RoundSpan(99, 101), 100) == (0, 1)
    assert periods_of(RoundSpan(0, 100), 100) == (0,)
    ledger.charge(entry("q", "a", ONE, (0, 1)), CAP)
    assert {each: paid.epsilon_micro for each, paid in ledger.balances([("a", 0), ("a", 1), ("a", 2)]).items()} == {
        ("a", 0): MICRO, ("a", 1): MICRO,
    }  # fmt: skip


def test_a_charge_that_brought_no_answer_stays_and_is_paid_again():
    ledger = MemoryLedger()
    ledger.charge(entry("q", "a", ONE), CAP)
    with pytest.raises(ValueError, match="not the next one"):
        ledger.charge(entry("q", "a", ONE), CAP)
    ledger.charge(entry("q", "a", ONE, attempt=ledger.attempts("q")), CAP)
    assert ledger.balances([("a", 0)])["a", 0].epsilon_micro == 2 * MICRO


def test_many_small_answers_are_worth_less_than_their_sum():
    """A thousand of epsilon 0.01: 10 by adding up, 1.75 as zCDP."""
    balance = HomeBalance()
    for _ in range(1000):
        balance = balance.plus(PrivacyPrice(epsilon_micro=MICRO // 100))
    assert balance.epsilon_micro == 10 * MICRO
    assert BudgetCap(1_760_000, DELTA).holds(balance)
    assert not BudgetCap(1_750_000, DELTA).holds(balance)


def test_a_home_may_spend_half_on_each_kind_of_noise():
    """Condition 3 is made for that: a Laplace answer of half the cap, and Gaussian ones worth the other half."""
    rho = CAP.half.largest_rho_pico(CAP.epsilon_micro // 2)
    balance = HomeBalance().plus(PrivacyPrice(CAP.epsilon_micro // 2, rho - rho // 10**5))
    assert CAP.holds(balance)
    assert not CAP.holds(balance.plus(PrivacyPrice(rho_pico=rho // 1000)))
    assert not CAP.holds(balance.plus(PrivacyPrice(epsilon_micro=MICRO // 1000)))


@pytest.mark.parametrize("slope", [Fraction(1), Fraction(7), Fraction(28)])
def test_losses_chosen_after_looking_stay_below_the_line(slope):
    """Who asks stops paying for more as soon as luck was bad: the worst that a filter has to stand, played 20,000 times."""
    log, rho = math.log(20), 0.02
    # The loss of a Gaussian answer of rho is normal, of mean rho and variance 2 rho.
    drawn = np.random.default_rng(14).normal(rho, math.sqrt(2 * rho), (20_000, 12)).cumsum(axis=1)
    line = (1 + float(slope)) * rho * np.arange(1, 13) + log / float(slope)
    assert (drawn > line).any(axis=1).mean() <= 1 / 20


def test_a_cap_of_nothing_is_refused():
    with pytest.raises(ValueError, match="not above 0"):
        BudgetCap(0, DELTA)


def test_what_is_free_is_never_short():
    ledger = MemoryLedger()
    ledger.charge(entry("q", "a", PrivacyPrice(epsilon_micro=3 * MICRO)), CAP)
    assert ledger.charge(entry("free", "a", PrivacyPrice()), CAP) is None
    assert ledger.charge(entry("dear", "a", PrivacyPrice(epsilon_micro=1)), CAP) is not None
    with pytest.raises(ValueError, match="below nothing"):
        PrivacyPrice(epsilon_micro=-1)


def test_the_logarithm_is_rounded_up():
    with decimal.localcontext(prec=80):
        assert Fraction(Decimal(10**6).ln()) < DELTA.log < Fraction(Decimal(10**6).ln()) + Fraction(1, 10**35)
