"""What privacy costs, what is accepted, and the noise of an offer."""

from __future__ import annotations

import math

import numpy as np
import pytest

from grid_operator.market.errors import MarketError
from grid_operator.market.privacy import Attitude, laplace_scale, printed_noise

PAPER = Attitude(loss_aversion=500, risk_aversion=0.5, steepness=0.1, hesitation=10)


def test_the_papers_home_values_privacy_and_accepts_as_its_equations_say():
    assert PAPER.privacy_cost(0.25) == pytest.approx(250.0)
    assert PAPER.privacy_cost(0) == 0
    assert PAPER.acceptance(0.25, 250.0) == pytest.approx(0.268941, abs=1e-6), "at no gain"
    assert PAPER.acceptance(0.25, 260.0) == pytest.approx(0.5)
    assert round(PAPER.compensation(0.25, 0.99), 2) == 305.95
    assert round(PAPER.compensation(0.2212, 0.99), 2) == 291.11
    assert PAPER.acceptance(0.25, PAPER.compensation(0.25, 0.99)) == pytest.approx(0.99)


def test_the_papers_own_numbers_do_not_fit_together():
    assert round(math.exp(-0.25), 5) == 0.7788, "so eps is probably 0.25, and not 1 - 0.7788"
    assert round(58 * 420.37, 2) == 24_381.46
    assert 58 * 420.37 + 10_000 > 30_000, "the budget"


@pytest.mark.parametrize("compensation", [-1e9, 0.0, 1e9])
def test_no_offer_is_too_bad_or_too_good_to_be_judged(compensation):
    assert 0 <= PAPER.acceptance(1.0, compensation) <= 1


def test_a_fixed_cost_is_due_for_any_epsilon_but_none():
    assert Attitude(risk_aversion=0).privacy_cost(1e-9) == 500
    assert Attitude(risk_aversion=0).privacy_cost(0) == 0


@pytest.mark.parametrize("wrong", [
    {"loss_aversion": -1}, {"loss_aversion": math.inf}, {"risk_aversion": 1.1}, {"risk_aversion": math.nan}, {"steepness": 0},
    {"hesitation": math.nan},
])  # fmt: skip
def test_an_attitude_that_is_none_is_refused(wrong):
    with pytest.raises(MarketError):
        Attitude(**wrong)


@pytest.mark.parametrize("acceptance", [0, 1, -0.1, math.nan])
def test_certainty_cannot_be_bought(acceptance):
    with pytest.raises(MarketError, match="cannot be bought"):
        PAPER.compensation(1.0, acceptance)


def test_sound_noise_is_of_the_contract_and_not_divided():
    assert laplace_scale(6_900, 0.5) == 13_800
    for sensitivity, epsilon in ((0, 1), (1, 0), (1, math.nan), (math.inf, 1)):
        with pytest.raises(MarketError):
            laplace_scale(sensitivity, epsilon)


def test_the_printed_noise_divides_by_the_number_of_homes_and_is_worth_as_much_less():
    readings = np.zeros((2, 58))
    readings[1, 3], readings[1, 4] = 2_000, -900
    found = printed_noise(readings, 0.2212)
    assert found.guarantee == pytest.approx(12.83, abs=0.005)
    assert found.scales == pytest.approx([0, 2_900 / 12.8296])
    assert laplace_scale(2_900, 0.2212) / found.scales[1] == pytest.approx(58)
    with pytest.raises(MarketError):
        printed_noise(np.full((2, 2), np.nan), 1.0)
