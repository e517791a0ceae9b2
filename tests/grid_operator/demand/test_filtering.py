"""What is known from points and window sums: held against a direct solution of the whole problem at once."""

from __future__ import annotations

import math

import numpy as np
import pytest

from grid_operator.demand.closed import half_width, total_variance
from grid_operator.demand.filtering import Sampling, WindowFilter, worst_variance
from grid_operator.demand.model import FlexibleLoads

ONE, TWO = FlexibleLoads((0.71,), (1.0,), (7.0,)), FlexibleLoads((0.64, -0.32), (2.54, 1.27), (10.0, 20.0))


@pytest.mark.parametrize("interval", [1, 2, 4, 8])
def test_exact_points_of_one_load_leave_what_the_closed_form_says(interval):
    assert worst_variance(ONE, Sampling.POINT, interval) == pytest.approx(total_variance(ONE, interval))


@pytest.mark.parametrize("loads", [ONE, TWO])
@pytest.mark.parametrize("sampling", Sampling)
def test_never_seeing_is_the_limit_of_seeing_seldom_and_of_noise(loads, sampling):
    never = worst_variance(loads, sampling, None)
    assert never == pytest.approx(total_variance(loads, None))
    assert worst_variance(loads, sampling, 48) == pytest.approx(never, rel=1e-6)
    assert worst_variance(loads, sampling, 1, 1e12) == pytest.approx(never, rel=1e-6)


def direct(loads, sampling, interval, noise_variance, windows):
    """Variance of the total in the last round of a late window given all earlier windows: one Gaussian conditional, no recursion."""
    rounds = interval * windows
    covariance = np.zeros((rounds, rounds))
    for alpha, variance in zip(loads.alpha, loads.variance, strict=True):
        lags = np.abs(np.subtract.outer(np.arange(rounds), np.arange(rounds)))
        covariance += variance / (1 - alpha**2) * alpha**lags
    seen = np.zeros((windows - 1, rounds))
    for window in range(windows - 1):
        ends = (window + 1) * interval
        seen[window, ends - interval if sampling is Sampling.SUM else ends - 1 : ends] = 1
    shared = seen @ covariance[:, -1]
    spread = seen @ covariance @ seen.T + noise_variance * np.eye(windows - 1)
    return covariance[-1, -1] - shared @ np.linalg.solve(spread, shared)


@pytest.mark.parametrize("loads", [ONE, TWO])
@pytest.mark.parametrize("sampling", Sampling)
@pytest.mark.parametrize("interval", [1, 2, 8])
@pytest.mark.parametrize("noise_variance", [0.0, 50.0])
def test_the_filter_knows_what_a_direct_conditional_knows(loads, sampling, interval, noise_variance):
    expected = direct(loads, sampling, interval, noise_variance, 40)
    assert worst_variance(loads, sampling, interval, noise_variance) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("sampling", Sampling)
@pytest.mark.parametrize(("interval", "noise_variance"), [(1, 0.0), (4, 0.0), (4, 30.0), (8, 200.0)])
def test_its_band_holds_as_many_rounds_as_it_says_under_any_control(sampling, interval, noise_variance):
    loads, runs, windows, rng = TWO, 400, 60, np.random.default_rng(7)
    known = WindowFilter(loads, sampling, noise_variance, runs)
    e = rng.normal(size=(2, runs)) * np.sqrt(np.array(loads.variance) / (1 - loads.alphas**2))[:, None]
    gaps = []
    for _ in range(windows):
        summed = np.zeros(runs)
        for place in range(interval):
            known.elapse()
            summed += e.sum(axis=0)
            if place == interval - 1:
                gaps.append((e - known.deviation).sum(axis=0) / math.sqrt(known.total_variance))
                wanted = summed if sampling is Sampling.SUM else e.sum(axis=0)
                known.observe(wanted + math.sqrt(noise_variance) * rng.normal(size=runs))
            control = -0.5 * known.deviation + 3.0
            known.advance(control)
            e = loads.alphas[:, None] * e + control + loads.deviations[:, None] * rng.normal(size=(2, runs))
    inside = float((np.abs(np.array(gaps)) <= half_width(1.0)).mean())
    assert abs(inside - 0.99) <= 3 * math.sqrt(0.99 * 0.01 / (windows * runs))


def test_a_sum_that_is_late_knows_less_than_a_point():
    for interval in (2, 4, 8):
        point, summed = (worst_variance(ONE, sampling, interval) for sampling in (Sampling.POINT, Sampling.SUM))
        assert total_variance(ONE, None) > summed > point


def test_loads_without_disturbance_are_known_for_ever():
    assert worst_variance(FlexibleLoads((0.5,), (1.0,), (0.0,)), Sampling.SUM, 4) == 0


def test_a_negative_variance_and_a_window_of_no_rounds_are_refused():
    with pytest.raises(ValueError, match="negative"):
        WindowFilter(ONE, Sampling.SUM, -1.0)
    with pytest.raises(ValueError, match="at least 1 round"):
        worst_variance(ONE, Sampling.SUM, 0)
