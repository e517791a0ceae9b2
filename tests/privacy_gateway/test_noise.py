"""Mechanisms against their laws: samplers by chi-square, intervals by adding up, prices by likelihood ratios."""

from __future__ import annotations

import importlib.util
import math
import random
from collections import Counter
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from hushgrid.core.noise.sampling import bernoulli_exp, discrete_gaussian, discrete_laplace
from privacy_gateway.ledger.price import MICRO, PICO, FailureDelta, PrivacyPrice
from privacy_gateway.noise.laws import GaussianLaw, LaplaceLaw
from privacy_gateway.noise.mechanisms import (
    gaussian,
    gaussian_for_epsilon,
    gaussian_for_error,
    laplace,
    laplace_for_error,
    rounded_up,
)
from privacy_gateway.noise.sampler import ExactSampler, OpenDpSampler, as_float, installed_sampler

FEWEST_EXPECTED = 5
ONE_IN_A_MILLION = 1e-6
DELTA = FailureDelta.of(Fraction(1, 10**6))


def probability(law: LaplaceLaw | GaussianLaw, value: int) -> float:
    """By the formula, normalised by adding everything up."""
    if isinstance(law, LaplaceLaw):
        a = math.exp(-1 / law.scale)
        return (1 - a) / (1 + a) * a ** abs(value)
    variance = float(law.variance)
    reach = 60 + math.ceil(15 * math.sqrt(variance))
    whole = math.fsum(math.exp(-k * k / (2 * variance)) for k in range(-reach, reach + 1))
    return math.exp(-value * value / (2 * variance)) / whole


def fit(law: LaplaceLaw | GaussianLaw, drawn: list[int]) -> float:
    """The p-value of the chi-square test: cells of five expected draws or more, and one for everything beyond."""
    counts, draws = Counter(drawn), len(drawn)
    values = [v for v in range(-200, 201) if probability(law, v) * draws >= FEWEST_EXPECTED]
    expected = [probability(law, v) * draws for v in values]
    observed = [counts[v] for v in values]
    statistic = math.fsum((o - e) ** 2 / e for o, e in zip(observed, expected, strict=True))
    rest = draws - math.fsum(expected)
    statistic += (draws - sum(observed) - rest) ** 2 / rest
    return float(stats.chi2.sf(statistic, len(values)))


LAWS = [
    LaplaceLaw(Fraction(5, 2)),
    LaplaceLaw(Fraction(1, 3)),
    GaussianLaw(Fraction(7, 2)),
    GaussianLaw(Fraction(1, 5)),
]


@pytest.mark.parametrize("law", LAWS, ids=str)
def test_what_is_drawn_follows_its_law(law):
    sampler = ExactSampler(random.Random(14).randrange)
    assert fit(law, sampler.draw(law, 6_000)) > ONE_IN_A_MILLION


@pytest.mark.parametrize("law", LAWS, ids=str)
def test_the_fit_would_notice_another_law(law):
    """A control: a scale that is a quarter too large."""
    other = LaplaceLaw(law.scale * 5 / 4) if isinstance(law, LaplaceLaw) else GaussianLaw(law.variance * 25 / 16)
    sampler = ExactSampler(random.Random(14).randrange)
    assert fit(law, sampler.draw(other, 6_000)) < ONE_IN_A_MILLION


@pytest.mark.parametrize("law", [LaplaceLaw(Fraction(5, 2)), GaussianLaw(Fraction(9, 4))], ids=str)
def test_opendp_follows_the_same_law(law, absent):
    if importlib.util.find_spec("opendp") is None:
        absent("opendp is not installed")
    sampler = OpenDpSampler()
    # Its randomness is the operating system's: one run in a million fails.
    assert fit(law, sampler.draw(law, 6_000)) > ONE_IN_A_MILLION
    assert sampler.name.startswith("opendp ")
    for other in (LaplaceLaw(Fraction(1, 3)), GaussianLaw(Fraction(2))):
        with pytest.raises(ValueError, match="can hold"):
            sampler.draw(other, 1)


def test_opendp_is_taken_where_it_is_installed():
    there = importlib.util.find_spec("opendp") is not None
    assert isinstance(installed_sampler(), OpenDpSampler if there else ExactSampler)


def test_exp_is_a_probability_also_above_one():
    rng = random.Random(3)
    draws = 20_000
    hits = sum(bernoulli_exp(5, 2, rng.randrange) for _ in range(draws))
    chance = math.exp(-2.5)
    assert abs(hits - draws * chance) < 5 * math.sqrt(draws * chance)


def test_a_law_without_width_is_refused():
    for draw in (discrete_laplace, discrete_gaussian):
        with pytest.raises(ValueError, match="not positive"):
            draw(Fraction(0))


@settings(max_examples=25)
@given(st.fractions(Fraction(1, 20), 60))
def test_95_percent_of_a_laplace_law_lie_inside_and_no_shorter_interval_does(scale):
    law = LaplaceLaw(scale)
    inside = [math.fsum(probability(law, v) for v in range(-m, m + 1)) for m in (law.half_width, law.half_width - 1)]
    assert inside[0] >= 0.95 - 1e-12
    assert inside[1] < 0.95
    assert law.within(law.half_width) == pytest.approx(inside[0], abs=1e-12)


@settings(max_examples=25)
@given(st.fractions(Fraction(1, 20), 400))
def test_95_percent_of_a_gaussian_law_lie_inside_and_no_shorter_interval_does(variance):
    law = GaussianLaw(variance)
    inside = [math.fsum(probability(law, v) for v in range(-m, m + 1)) for m in (law.half_width, law.half_width - 1)]
    assert inside[0] >= 0.95 - 1e-12
    assert inside[1] < 0.95 + 1e-12
    assert law.within(law.half_width) == pytest.approx(inside[0], abs=1e-12)


@pytest.mark.parametrize("sigma", [200, 431, 2000])
def test_the_formula_for_wide_gaussian_laws_is_the_sum(sigma):
    law = GaussianLaw(Fraction(sigma * sigma))
    whole = math.fsum(math.exp(-k * k / (2 * sigma**2)) for k in range(-12 * sigma, 12 * sigma + 1))
    for half_width in (0, sigma // 2, 2 * sigma, 5 * sigma):
        part = math.fsum(math.exp(-k * k / (2 * sigma**2)) for k in range(-half_width, half_width + 1))
        assert law.within(half_width) == pytest.approx(part / whole, abs=1e-13)


@pytest.mark.parametrize(
    "law",
    [LaplaceLaw(Fraction(1, 3)), LaplaceLaw(Fraction(20)), GaussianLaw(Fraction(1, 5)), GaussianLaw(Fraction(40))],
)
def test_the_standard_deviation_is_the_laws_own(law):
    squares = math.fsum(v * v * probability(law, v) for v in range(-900, 901))
    assert law.standard_deviation == pytest.approx(math.sqrt(squares), rel=1e-9)


@pytest.mark.parametrize("scale", [Fraction(10), Fraction(5000)])
def test_an_interval_of_a_normal_law_with_that_variance_would_be_too_short(scale):
    law = LaplaceLaw(scale)
    assert law.within(math.floor(stats.norm.ppf(0.975) * law.standard_deviation)) < 0.95


@settings(max_examples=30)
@given(st.integers(1, 40), st.integers(MICRO // 100, 4 * MICRO))
def test_one_home_changes_every_likelihood_by_epsilon_at_most(sensitivity, epsilon_micro):
    mechanism = laplace(sensitivity, epsilon_micro)
    # log P(x) / P(x - sensitivity) is at most sensitivity / scale.
    assert Fraction(sensitivity) / mechanism.law.scale <= Fraction(epsilon_micro, MICRO)
    assert Fraction(sensitivity) / mechanism.law.scale > Fraction(epsilon_micro, MICRO) * (1 - Fraction(1, 2**24))


@pytest.mark.parametrize("shift", [1, 3])
@pytest.mark.parametrize("order", [1.5, 2, 8])
def test_the_gaussian_price_bounds_renyis_divergence_at_every_order(shift, order):
    law = gaussian(shift * shift, PICO // 10).law

    def log_chance(value: int) -> float:
        return -value * value / (2 * float(law.variance)) - math.log(law._whole)

    reach = range(-200, 201)
    moment = math.fsum(math.exp(order * log_chance(v) + (1 - order) * log_chance(v - shift)) for v in reach)
    assert math.log(moment) / (order - 1) <= 0.1 * order + 1e-9


@settings(max_examples=30)
@given(st.integers(1, 10**7), st.integers(1, 10**7), st.integers(1, 4 * MICRO))
def test_an_error_is_met_at_the_least_price(sensitivity, error, largest):
    found = laplace_for_error(sensitivity, Fraction(error), largest)
    if found is None:
        assert laplace(sensitivity, largest).half_width > error
        return
    assert found.half_width <= error
    if found.price.epsilon_micro > 1:
        assert laplace(sensitivity, found.price.epsilon_micro - 1).half_width > error


@settings(max_examples=25)
@given(st.integers(1, 10**8), st.integers(1, 10**5))
def test_an_error_of_a_stream_is_met_at_the_least_price(squared, error):
    largest = PICO
    found = gaussian_for_error(squared, Fraction(error), largest)
    if found is None:
        assert gaussian(squared, largest).half_width > error
        return
    assert found.half_width <= error
    if found.price.rho_pico > 1:
        assert gaussian(squared, found.price.rho_pico - 1).half_width > error


@settings(max_examples=30)
@given(st.integers(1, 10 * MICRO))
def test_an_epsilon_buys_the_most_rho_that_is_worth_it(epsilon_micro):
    rho = DELTA.largest_rho_pico(epsilon_micro)
    worth = [r / PICO + 2 * math.sqrt(r / PICO * math.log(10**6)) for r in (rho, rho + 1)]
    assert worth[0] <= epsilon_micro / MICRO + 1e-9
    assert worth[1] >= epsilon_micro / MICRO - 1e-9
    assert (
        DELTA.worth_micro(PrivacyPrice(rho_pico=rho))
        <= epsilon_micro
        < DELTA.worth_micro(PrivacyPrice(rho_pico=rho + 1))
    )
    found = gaussian_for_epsilon(100, epsilon_micro, DELTA)
    assert (found is None) is (rho == 0)
    assert found is None or found.price.rho_pico == rho


@settings(max_examples=30)
@given(st.fractions(Fraction(1, 10**6), 10**15))
def test_scales_are_rounded_up_to_what_every_sampler_holds(scale):
    held = rounded_up(scale)
    assert scale <= held <= scale * (1 + Fraction(1, 2**24))
    assert Fraction(as_float(held)) == held
    assert math.sqrt(as_float(held**2)) == held
    assert as_float(gaussian(10, max(1, int(1000 * scale))).law.variance) > 0


def test_what_costs_nothing_is_no_mechanism():
    for make in (laplace, gaussian):
        for sensitivity, price in ((0, 1), (1, 0)):
            with pytest.raises(ValueError, match="above 0"):
                make(sensitivity, price)
    with pytest.raises(ValueError, match="between 0 and 1"):
        FailureDelta.of(Fraction(1))
