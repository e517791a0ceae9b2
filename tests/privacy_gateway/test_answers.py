"""What is answered: exact sums under the noise that was paid for, by the bounds of the contract."""

from __future__ import annotations

import dataclasses
import random
from decimal import Decimal
from fractions import Fraction

import pytest
from support.gateway import DELTA, HOMES, POLICY, Silent, ask, exact, put, records

from privacy_gateway.deciding.answer import GatewayAnswer
from privacy_gateway.deciding.answering import compute, reply
from privacy_gateway.deciding.memory import MemoryRecords
from privacy_gateway.deciding.order import decide
from privacy_gateway.ledger.balance import BudgetCap
from privacy_gateway.ledger.price import MICRO, PrivacyPrice
from privacy_gateway.noise.mechanisms import MechanismKind, gaussian, laplace
from privacy_gateway.noise.sampler import ExactSampler
from privacy_gateway.questions.declined import DeclineCode, Declined
from privacy_gateway.questions.recovered import RecoveredSum, RoundSpan


def test_what_is_under_the_noise_is_exact():
    kept = records()
    found = reply("p", ask(until=4), kept, POLICY, Silent())
    assert (found.values, found.included, found.homes) == ((exact(HOMES, 0, 4),), 48, 12)
    mean = reply("p", ask("mean", until=4), kept, POLICY, Silent())
    assert mean.values == (Fraction(exact(HOMES, 0, 4), 48),)
    assert mean.half_width == Fraction(found.half_width, 48)
    curve = reply("p", ask("load-curve", until=4, step_rounds=2), kept, POLICY, Silent())
    assert curve.values == (exact(HOMES, 0, 2), exact(HOMES, 2, 4))


def test_a_count_is_exact_and_free_and_told():
    kept = records()
    found = put(ask("count", until=4), kept)
    assert (found.values, found.half_width, found.price) == ((48,), 0, PrivacyPrice())
    assert (found.noise_by, found.mechanism, found.sampler) == ("nobody", None, None)
    assert isinstance(put(ask("count", cohort=HOMES[:-1], until=4), kept), Declined)


def test_sensitivity_is_the_contracts_bound_times_the_rounds():
    kept = records()
    allowed = decide("p", ask(until=4), kept, POLICY)
    assert allowed.mechanism == laplace(4 * 5000, MICRO // 2)
    larger = dataclasses.replace(POLICY, bounds_of={"m03": 20_000})
    assert decide("p", ask(until=4), kept, larger).mechanism == laplace(4 * 20_000, MICRO // 2)
    assert decide("p", ask(cohort=HOMES[6:], until=4), kept, larger).mechanism == laplace(4 * 5000, MICRO // 2)


def test_a_load_curve_costs_rho_and_its_steps_are_one_stream():
    allowed = decide("p", ask("load-curve", until=24, step_rounds=1, epsilon=1), records(), POLICY)
    assert allowed.mechanism.kind is MechanismKind.DISCRETE_GAUSSIAN
    assert allowed.entry.price == PrivacyPrice(rho_pico=DELTA.largest_rho_pico(MICRO))
    assert allowed.mechanism.law.standard_deviation == pytest.approx(131_050, rel=1e-3)


def test_a_short_load_curve_is_more_exact_by_laplace_and_a_long_one_by_gauss():
    kinds = {}
    for steps in (1, 2, 12, 24):
        allowed = decide("p", ask("load-curve", until=steps, step_rounds=1, epsilon=1), records(), POLICY)
        kinds[steps] = allowed.mechanism.kind
        other = (
            laplace(steps * 5000, MICRO)
            if "gaussian" in allowed.mechanism.kind
            else gaussian(steps * 5000**2, DELTA.largest_rho_pico(MICRO))
        )
        assert allowed.mechanism.half_width <= other.half_width
    assert kinds[1] == kinds[2] == MechanismKind.DISCRETE_LAPLACE
    assert kinds[24] is MechanismKind.DISCRETE_GAUSSIAN


@pytest.mark.parametrize("steps", [2, 24])
def test_an_error_of_a_load_curve_is_bought_where_it_costs_less(steps):
    largest = dataclasses.replace(POLICY, largest_epsilon_micro=10**8, cap=BudgetCap(10**9, DELTA))
    question = ask("load-curve", until=steps, step_rounds=1, error_watt_hours=100_000)
    bought = decide("p", question, records(), largest).mechanism
    assert bought.half_width <= 100_000
    worth = DELTA.worth_micro(bought.price)
    cheaper = decide(
        "p", ask("load-curve", until=steps, step_rounds=1, epsilon=str(Decimal(worth - 2) / MICRO)), records(), largest
    )
    assert cheaper.mechanism.half_width > 100_000


@pytest.mark.parametrize(("kind", "stated"), [("sum", {}), ("load-curve", {"step_rounds": 1})])
def test_an_error_in_percent_is_one_of_the_public_expectation(kind, stated):
    """A tenth of 12 homes' (times four rounds') 1,200 Wh; never of what was measured."""
    largest = dataclasses.replace(POLICY, largest_epsilon_micro=10**9, cap=BudgetCap(10**9, DELTA))
    readings = 48 if kind == "sum" else 12
    by_percent = decide("p", ask(kind, until=4, error_percent="10", **stated), records(), largest)
    by_hours = decide("p", ask(kind, until=4, error_watt_hours=str(120 * readings), **stated), records(), largest)
    assert by_percent.mechanism == by_hours.mechanism
    assert by_percent.mechanism.half_width <= 120 * readings


def test_a_mean_that_wants_an_error_gets_it_per_home_and_round():
    largest = dataclasses.replace(POLICY, largest_epsilon_micro=10**9, cap=BudgetCap(10**9, DELTA))
    found = reply("p", ask("mean", until=4, error_watt_hours="250.5"), records(), largest, Silent())
    assert Fraction(250) < found.half_width <= Fraction(501, 2)


def test_a_question_over_two_periods_is_charged_to_both_and_says_when_there_is_a_new_budget():
    short = dataclasses.replace(POLICY, period_rounds=10, cap=BudgetCap(MICRO, DELTA))
    kept = records()
    assert isinstance(put(ask(first=5, until=15, epsilon=1), kept, short), GatewayAnswer)
    assert kept.ledger.entries[0].periods == (0, 1)
    for first, code in ((0, DeclineCode.BUDGET), (16, DeclineCode.BUDGET), (20, None)):
        outcome = put(ask(first=first, until=first + 1, epsilon=1), kept, short)
        assert (outcome.code if isinstance(outcome, Declined) else None) is code
        if first == 16:
            assert outcome.sentence == (
                "12 of 12 homes have too little of their budget left. All could still pay an epsilon of 0; "
                "of rounds from 20 on there is a new budget."
            )


def test_homes_without_readings_do_not_count_towards_the_minimum():
    sums = [RecoveredSum(1, frozenset(HOMES), RoundSpan(0, 1), 5, included=2, contributors=2)]
    refused = reply("p", ask(), MemoryRecords(HOMES, sums, 1), POLICY, Silent())
    assert (refused.code, "readings of 2 homes" in refused.sentence) == (DeclineCode.TOO_FEW_HOMES, True)


@pytest.mark.parametrize(
    "name", ["bound_span_watt_hours", "typical_watt_hours", "period_rounds", "minimum_homes", "minimum_rounds"]
)
def test_a_policy_that_cannot_be_meant_is_refused_by_name(name):
    with pytest.raises(ValueError, match=f"{name} 0 is not above 0"):
        dataclasses.replace(POLICY, **{name: 0})


def test_what_is_allowed_is_computed_from_what_was_judged():
    allowed = decide("p", ask(), records(), POLICY)
    drawn = compute(allowed, ExactSampler(random.Random(1).randrange))
    law_error = abs(drawn.values[0] - exact(HOMES, 0, 1))
    assert 0 < law_error < 40 * allowed.mechanism.law.scale
    assert drawn.half_width == allowed.mechanism.half_width
