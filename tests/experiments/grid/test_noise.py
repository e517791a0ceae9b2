"""The noise of every mode: drawn with the variance that its offer means, to within 2 %, and taken for no more and no less."""

from __future__ import annotations

import math

import numpy as np
import pytest

from experiments.grid.homes import TANGENT, LivedIn
from experiments.grid.offers import COUNTED, FEWEST, SENSITIVITY_WATTS, THRESHOLD, HomesOffer, measure, rows_of
from experiments.pricing.feeders import HOME, scene_of
from grid_operator.estimation.measurements import GridQuantity
from grid_operator.market.campaign import Offer
from grid_operator.market.state_error import BoughtMode, StateError, Targets
from grid_operator.network.power_flow import power_flow

SLOTS, HOMES, EPSILON, FACTOR = 40_000, 6, 2.0, 3.0
#: Of variances that are to agree to within 2 %: of so many draws their standard error is below a third of that.
CLOSE = 0.02


@pytest.fixture(scope="module")
def many(random_lived) -> LivedIn:
    """Six homes of a made-up feeder over many slots, all of them small beside the noise."""
    return random_lived(SLOTS)


@pytest.fixture(scope="module")
def random_lived():
    """Makes a constructed feeder lived in."""

    def make(slots: int) -> LivedIn:
        scene, rng = scene_of(np.random.default_rng(5)), np.random.default_rng(6)
        feeder, nodes = scene.feeder, tuple(scene.nodes[:HOMES].tolist())
        watts = rng.gamma(2.0, 300.0, size=(slots, HOMES))
        reactive = TANGENT * watts
        truth = power_flow(feeder, feeder.at_nodes(nodes, watts), feeder.at_nodes(nodes, reactive))
        mean = np.full_like(watts, 600.0)
        return LivedIn(feeder, tuple(f"m{at}" for at in range(HOMES)), nodes, watts, reactive, mean, mean, truth)

    return make


def drawn(lived: LivedIn, mode: str, minimum: int = 3):
    """Of each bought measurement: what it is off by, what it is said to be off by, whether of watts."""
    rows = rows_of(lived, HomesOffer(mode, EPSILON, FACTOR, minimum), (), 1)
    found = []
    for row in rows:
        if row.quantity in {GridQuantity.LOAD_WATTS, GridQuantity.LOAD_VARS} and not row.pseudo:
            active = row.quantity is GridQuantity.LOAD_WATTS
            truth = (lived.watts if active else lived.vars)[:, list(row.where)].sum(axis=1)
            found.append((row.values - truth, row.sigmas, active))
    return found


def laplace_variance(active: bool) -> float:
    """2 (Delta/eps)^2 of one reading."""
    return 2 * ((1.0 if active else TANGENT) * FACTOR * SENSITIVITY_WATTS / EPSILON) ** 2


@pytest.mark.parametrize(("mode", "factor", "count"), [("individual", 1.0, HOMES), ("group", 2.5, 1)])
def test_the_noise_that_is_drawn_has_the_variance_that_its_mode_means(many, mode, factor, count):
    assert COUNTED / (FEWEST - THRESHOLD + 1) == 2.5
    found = drawn(many, mode, minimum=HOMES)
    assert len(found) == 2 * count
    for active in (True, False):
        off = np.concatenate([each for each, _, of_watts in found if of_watts is active])
        said = np.concatenate([sigma for _, sigma, of_watts in found if of_watts is active])
        expected = factor * laplace_variance(active)
        assert abs(off.var() / expected - 1) <= CLOSE
        assert abs((said**2).mean() / expected - 1) <= CLOSE / 10, "what the estimator is told"
        assert abs(off.mean()) <= 4 * math.sqrt(expected / len(off))


def test_the_printed_noise_is_what_is_printed(many):
    found = drawn(many, "paper")
    for active in (True, False):
        truth = many.watts if active else many.vars
        expected = 2 * (np.ptp(truth, axis=1) / (EPSILON * HOMES)) ** 2
        off = np.concatenate([each for each, _, of_watts in found if of_watts is active])
        meters = (0.005**2 / 3 * truth**2 + 5.0**2).mean()
        assert abs(off.var() / (expected.mean() + meters) - 1) <= CLOSE


def test_the_printed_mode_says_that_a_home_has_so_many_times_the_epsilon(random_lived):
    lived = random_lived(4)
    printed, sound = (measure(lived, mode, 0.2212, 0, 1.0, 1) for mode in ("paper", "individual"))
    assert printed.guaranteed_epsilon == pytest.approx(HOMES * 0.2212)
    assert sound.guaranteed_epsilon == pytest.approx(0.2212)


@pytest.mark.parametrize(("mode", "factor"), [(BoughtMode.INDIVIDUAL, 1.0), (BoughtMode.GROUP, 2.5)])
def test_the_market_draws_the_same(mode, factor):
    scene = scene_of(np.random.default_rng(5))
    error = StateError(scene, [HOME] * 9, Targets(), mode, draws=40_000, seed=1)
    noise = error._noise if mode is BoughtMode.INDIVIDUAL else error._group_noise
    assert abs(noise.var() / (2 * factor) - 1) <= CLOSE
    few = StateError(scene, [HOME] * 9, Targets(), mode, draws=1, seed=1)
    bought = few._bought(Offer(EPSILON, 1e9), few._accepted(Offer(EPSILON, 1e9)))
    expected = factor * 2 * (scene.sensitivity_watts / EPSILON) ** 2
    if bought.sums is not None:
        homes = np.array([4, 5])
        assert bought.sums.variance[0, 0, :2] == pytest.approx(expected + homes * scene.meter_watts**2)
    else:
        precision = 1 / (expected + scene.meter_watts**2) + 1 / scene.spread_watts**2
        assert bought.variance[0, 0, :9] == pytest.approx(1 / precision)
