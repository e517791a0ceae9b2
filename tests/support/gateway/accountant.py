"""An accountant that knows no better than to keep every charge of every home, and adds them up in full each time."""

from __future__ import annotations

import decimal
import random
from collections import defaultdict
from decimal import Decimal
from fractions import Fraction

from privacy_gateway.ledger.balance import BudgetCap, HomeBalance
from privacy_gateway.ledger.book import ChargeEntry, LedgerBook, periods_of
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


def random_entry(rng: random.Random, ledger: LedgerBook, charged: list[str], at: int) -> ChargeEntry:
    """Some homes, some rounds, a small or large price in one of the two units; sometimes what failed before."""
    again = charged[-3:] if rng.random() < 0.1 else []
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


def beside_brute_force(rng: random.Random, ledger: LedgerBook, questions: int = QUESTIONS) -> None:
    """One ledger, from empty until hardly anything fits any more."""
    charged: list[str] = []
    kept: defaultdict[tuple[str, int], list[PrivacyPrice]] = defaultdict(list)
    cap = Decimal(CAP.epsilon_micro) / MICRO
    refused = 0
    for at in range(questions):
        entry = random_entry(rng, ledger, charged, at)
        payers = [(home, period) for home in entry.homes for period in entry.periods]
        after = {each: room([*kept[each], entry.price]) for each in payers}
        answer = ledger.charge(entry, CAP)
        assert ledger.attempts(entry.question) == entry.attempt + (answer is None)
        charged += [entry.question] if answer is None else []
        if all(abs(each) > TOO_NEAR for each in after.values()):
            short = tuple(sorted({home for home, period in payers if after[home, period] < 0}))
            assert (answer.short if answer else ()) == short
        refused += answer is not None
        for each in payers if answer is None else ():
            kept[each].append(entry.price)
            assert loss(kept[each]) <= cap
    assert at / 20 < refused < at or questions < QUESTIONS
    for each, charges in kept.items():
        paid = ledger.balances([each]).get(each, HomeBalance())
        assert paid.epsilon_micro == sum(price.epsilon_micro for price in charges)
        assert paid.rho_pico == sum(price.rho_pico for price in charges)
        assert paid.epsilon_squares == sum(price.epsilon_micro**2 for price in charges)
