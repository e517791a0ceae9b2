"""The accountant beside one that knows no better: every charge of every home kept, and added up in full each time."""

from __future__ import annotations

import decimal
import math
import random
from collections import defaultdict
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from privacy_gateway.ledger.balance import BudgetCap, HomeBalance
from privacy_gateway.ledger.book import ChargeEntry, MemoryLedger, Overdraft, periods_of
from privacy_gateway.ledger.price import MICRO, PICO, FailureDelta, PrivacyPrice
from privacy_gateway.questions.recovered import RoundSpan

DELTA = FailureDelta.of(Fraction(1, 10**6))
CAP = BudgetCap(3 * MICRO, DELTA)
PERIOD_ROUNDS, PERIODS, HOMES, QUESTIONS, LEDGERS = 100, 4, 8, 1_000, 10
#: Nearer to the cap than this, rounding, and a logarithm rounded up, may disagree.
TOO_NEAR = Decimal("1e-24")


def loss(charges: list[PrivacyPrice]) -> Decimal:
    """What a home has lost at delta, from all its charges, with sixty digits, had they been chosen beforehand."""
    with decimal.localcontext(prec=60):
        log = Decimal(10**6).ln()
        epsilon, rho, everything = added_up(charges)
        return min(epsilon + rho + 2 * (rho * log).sqrt(), everything + 2 * (everything * log).sqrt())


def added_up(charges: list[PrivacyPrice]) -> tuple[Decimal, Decimal, Decimal]:
    """Sum e_i, sum r_j, sum r_j + sum e_i^2 / 2."""
    rho = Decimal(sum(price.rho_pico for price in charges)) / PICO
    squares = Decimal(sum(price.epsilon_micro**2 for price in charges)) / PICO
    return Decimal(sum(price.epsilon_micro for price in charges)) / MICRO, rho, rho + squares / 2


def conditions() -> tuple[Decimal, Decimal, Decimal, Decimal]:
    """The cap E, R, m and L / m, by formulas of their own."""
    cap, log = Decimal(CAP.epsilon_micro) / MICRO, Decimal(2 * 10**6).ln()
    largest = ((log + cap).sqrt() - log.sqrt()) ** 2  # R + 2 sqrt(R L) = E, solved
    slope = Decimal(CAP.slope.numerator) / CAP.slope.denominator
    return cap, largest.quantize(Decimal("1e-12"), decimal.ROUND_FLOOR), slope, log / slope


with decimal.localcontext(prec=60):
    CONDITIONS = conditions()


def room(charges: list[PrivacyPrice]) -> Decimal:
    """How far the best of the three conditions is from failing; below 0 where all have."""
    cap, largest, slope, fee = CONDITIONS
    epsilon, rho, everything = added_up(charges)
    rooms = [largest - everything, cap - epsilon - (1 + slope) * rho - fee]
    return max([*rooms, cap - epsilon] if rho == 0 else rooms)


def random_entry(rng: random.Random, ledger: MemoryLedger, at: int) -> ChargeEntry:
    """Some homes, some rounds, a small or large price in one of the two units; sometimes what failed before."""
    again = [entry.question for entry in ledger.entries[-3:]] if rng.random() < 0.1 else []
    question = rng.choice(again) if again else f"q{at}"
    homes = tuple(sorted(rng.sample([f"h{n}" for n in range(HOMES)], rng.randint(1, HOMES))))
    first = rng.randrange(PERIODS * PERIOD_ROUNDS)
    span = RoundSpan(first, first + rng.randint(1, 2 * PERIOD_ROUNDS))
    size = rng.choice([1, 1000, 50_000, 400_000])
    price = (
        PrivacyPrice(epsilon_micro=rng.randint(1, size))
        if rng.random() < 0.5
        else PrivacyPrice(rho_pico=rng.randint(1, size**2 // 100 + 1))
    )
    return ChargeEntry(question, ledger.attempts(question), homes, periods_of(span, PERIOD_ROUNDS), price)


def test_random_questions_never_over_budget_and_never_under_charged(part):
    """10,000 with --long, in ten ledgers; else 1,000 that another commit draws anew."""
    for rng in [part] if part else [random.Random(seed) for seed in range(LEDGERS)]:
        beside_brute_force(rng)


def beside_brute_force(rng: random.Random) -> None:
    """One ledger, from empty until hardly anything fits any more."""
    ledger = MemoryLedger()
    kept: defaultdict[tuple[str, int], list[PrivacyPrice]] = defaultdict(list)
    cap = Decimal(CAP.epsilon_micro) / MICRO
    refused = 0
    for at in range(QUESTIONS):
        entry = random_entry(rng, ledger, at)
        payers = [(home, period) for home in entry.homes for period in entry.periods]
        after = {each: room([*kept[each], entry.price]) for each in payers}
        before = len(ledger.entries)
        answer = ledger.charge(entry, CAP)
        assert len(ledger.entries) == before + (answer is None)
        if all(abs(each) > TOO_NEAR for each in after.values()):
            short = tuple(sorted({home for home, period in payers if after[home, period] < 0}))
            assert (answer.short if answer else ()) == short
        refused += answer is not None
        for each in payers if answer is None else ():
            kept[each].append(entry.price)
            assert loss(kept[each]) <= cap
    assert at / 20 < refused < at
    for each, charges in kept.items():
        paid = ledger.balances([each]).get(each, HomeBalance())
        assert paid.epsilon_micro == sum(price.epsilon_micro for price in charges)
        assert paid.rho_pico == sum(price.rho_pico for price in charges)
        assert paid.epsilon_squares == sum(price.epsilon_micro**2 for price in charges)


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
