"""A feeder below a cap: noise and its budgets, baselines, control of constructed flows, and the attacker's proxy."""

from __future__ import annotations

import math

import numpy as np
import pytest

from grid_operator import noise
from grid_operator.demand.baselines import Habit, fit_alpha, habit_begins, habit_of
from grid_operator.demand.closed import total_variance
from grid_operator.demand.feeder import Act, Cap, CappedFeeder, Released, control, rms_above_cap
from grid_operator.demand.filtering import Sampling
from grid_operator.demand.proxy import above_median_auc, held

DAY = 48


def constructed(days=60, alpha=0.71, variance=7.0, seed=1):
    """A feeder whose deviations follow the model exactly: constructed."""
    rng, rounds = np.random.default_rng(seed), days * DAY
    habit = 35 + 10 * np.sin(2 * np.pi * np.arange(rounds) / DAY)
    deviation = np.zeros(rounds)
    for k in range(1, rounds):
        deviation[k] = alpha * deviation[k - 1] + math.sqrt(variance) * rng.normal()
    return CappedFeeder(habit + deviation, habit, alpha, variance)


def test_a_days_budget_gives_every_window_the_same_scale_and_a_windows_budget_does_not():
    daily = {noise.scale_per_day(13.8, interval, DAY, 10.0) for interval in (1, 2, 4, 8, 16, 48)}
    assert max(daily) == pytest.approx(min(daily)) == pytest.approx(48 * 13.8 / 10)
    each = [noise.scale_per_window(13.8, interval, 1.0) for interval in (1, 2, 48)]
    assert each == pytest.approx([13.8, 27.6, 662.4])


@pytest.mark.parametrize(("counted", "fewest", "threshold", "factor"), [(5, 4, 3, 2.5), (4, 4, 3, 2.0), (4, 3, 3, 4.0)])
def test_nodes_draw_more_noise_than_a_curator_by_the_factor_of_the_rule(counted, fewest, threshold, factor):
    assert noise.nodes_factor(counted, fewest, threshold) == factor
    drawn = noise.draw(20.0, factor, 400_000, np.random.default_rng(1))
    expected = noise.variance(20.0, factor)
    kurtosis = 3 + 3 / factor
    assert abs(drawn.var() / expected - 1) <= 3 * math.sqrt((kurtosis - 1) / len(drawn))


def test_one_curators_noise_is_laplace():
    drawn = np.abs(noise.draw(2.0, 1.0, 400_000, np.random.default_rng(2)))
    for at in (0.5, 2.0, 8.0):
        chance = math.exp(-at / 2.0)
        assert abs(float((drawn > at).mean()) - chance) <= 3 * math.sqrt(chance * (1 - chance) / len(drawn))


def test_impossible_contributions_and_budgets_are_refused():
    for ask in (
        lambda: noise.nodes_factor(3, 4, 3),
        lambda: noise.nodes_factor(5, 2, 3),
        lambda: noise.scale_per_window(0.0, 1, 1.0),
        lambda: noise.scale_per_day(1.0, 1, DAY, 0.0),
    ):
        with pytest.raises(ValueError, match=r"\w"):
            ask()


def test_a_week_is_the_mean_of_the_same_rounds_of_seven_days():
    flow = np.random.default_rng(1).normal(30, 3, 20 * DAY)
    habit = habit_of(flow, Habit.WEEK, DAY, 0)
    at = 3 * DAY + 5
    expected = np.mean([flow[habit_begins(DAY) + at - day * DAY] for day in range(1, 8)])
    assert habit[at] == pytest.approx(expected)
    assert len(habit) == len(flow) - habit_begins(DAY)


def test_a_profile_tells_weekends_from_weekdays():
    day = np.repeat(np.arange(21), DAY)
    flow = np.where((day + 3) % 7 >= 5, 40.0, 20.0)  # round 0 was a Thursday
    assert np.array_equal(habit_of(flow, Habit.PROFILE, DAY, 0), flow[habit_begins(DAY) :])
    shifted = np.where((day + 4) % 7 >= 5, 40.0, 20.0)
    assert np.array_equal(habit_of(shifted, Habit.PROFILE, DAY, DAY), shifted[habit_begins(DAY) :])


def test_a_flow_with_gaps_or_of_one_week_has_no_baseline():
    with pytest.raises(ValueError, match="gaps"):
        habit_of(np.full(20 * DAY, np.nan), Habit.WEEK, DAY, 0)
    with pytest.raises(ValueError, match="more than 7 days"):
        habit_of(np.ones(7 * DAY), Habit.WEEK, DAY, 0)


def test_alpha_is_fitted():
    feeder = constructed(days=2000)
    alpha, variance = fit_alpha(feeder.demand_kw - feeder.habit_kw)
    rounds = len(feeder.demand_kw)
    assert abs(alpha - 0.71) <= 3 * math.sqrt((1 - 0.71**2) / rounds)
    assert abs(variance / 7 - 1) <= 3 * math.sqrt(2 / rounds)
    for deviation, said in ((np.zeros(9), "never change"), (2.0 ** np.arange(9), "grow")):
        with pytest.raises(ValueError, match=said):
            fit_alpha(deviation)


@pytest.mark.parametrize("act", Act)
@pytest.mark.parametrize("sampling", Sampling)
@pytest.mark.parametrize("interval", [1, 4, 16])
@pytest.mark.parametrize("scale", [0.0, 5.0])
def test_the_band_of_a_constructed_feeder_holds_99_percent(act, sampling, interval, scale):
    played = control(
        constructed(), Released(sampling, interval, scale, 2.0), Cap(42.0, act), np.random.default_rng(3), 20
    )
    # Runs share the disturbances, so only one run's rounds are counted as independent.
    assert abs(played.inside / played.due - 0.99) <= 3 * math.sqrt(0.99 * 0.01 / (played.due / 20))


def test_a_held_feeder_deviates_by_v_n_at_the_end_of_a_window():
    feeder = constructed(days=400)
    for interval in (1, 4, 8):
        played = control(feeder, Released(interval=interval), Cap(1000.0, Act.HOLD), np.random.default_rng(1))
        gaps = (played.flow_kw[:, 0] - feeder.habit_kw[1:])[interval - 2 + (interval == 1) :: interval]
        expected = total_variance(feeder.loads, interval)
        assert abs(float((gaps**2).mean()) / expected - 1) <= 3 * math.sqrt(2 / len(gaps))


def test_without_releases_an_expected_flow_below_the_cap_is_left_alone():
    feeder = constructed()
    played = control(feeder, Released(interval=None), Cap(50.0), np.random.default_rng(1))
    assert played.flow_kw[:, 0] == pytest.approx(feeder.demand_kw[1:])
    assert (played.due, played.moved_kw_rounds) == (0, 0)


def test_control_lowers_peaks_and_whatever_holds_it_back_raises_them_again():
    feeder = constructed()
    seen = Released()

    def above(**chosen):
        return control(feeder, seen, Cap(42.0, **chosen), np.random.default_rng(1)).rms_above_kw

    free, none = above(), rms_above_cap(feeder.demand_kw[1:, None], 42.0)
    assert free < none
    assert free < above(flexible_fraction=0.1) < none
    assert free < above(price=8.0) < none
    assert free < above(answering_fraction=0.5) < none


def test_homes_that_feed_in_are_told_nothing():
    habit = np.full(20 * DAY, -5.0)
    feeder = CappedFeeder(habit + np.random.default_rng(1).normal(0, 1, 20 * DAY), habit, 0.5, 1.0)
    for act in Act:
        played = control(feeder, Released(), Cap(1.0, act), np.random.default_rng(1))
        assert played.moved_kw_rounds == 0
        assert played.flow_kw[:, 0] == pytest.approx(feeder.demand_kw[1:])


def test_what_is_not_reported_is_not_controlled():
    feeder = constructed()
    peaks = [
        control(feeder, Released(), Cap(42.0), np.random.default_rng(1), reported=np.full(60 * DAY, 1 - stolen)).peak_kw
        for stolen in (0.0, 0.1, 0.9)
    ]
    assert peaks == sorted(peaks)
    assert peaks[-1] == pytest.approx(feeder.demand_kw[1:].max())


@pytest.mark.parametrize(
    ("cap", "said"),
    [
        (Cap(0.0), "above 0"),
        (Cap(math.nan), "above 0"),
        (Cap(40.0, flexible_fraction=0.1), "must run"),
        (Cap(40.0, flexible_fraction=1.1), "between 0 and 1"),
        (Cap(40.0, answering_fraction=-1.0), "between 0 and 1"),
        (Cap(40.0, price=-1.0), "price"),
    ],
)
def test_a_cap_that_cannot_be_kept_is_refused(cap, said):
    with pytest.raises(ValueError, match=said):
        control(constructed(), Released(), cap, np.random.default_rng(1))


@pytest.mark.parametrize("interval", [0, 5, 7, 96])
def test_an_interval_that_does_not_divide_the_day_is_refused(interval):
    with pytest.raises(ValueError, match="divide the day"):
        Released(interval=interval).check(DAY)
    Released(interval=None).check(DAY)


def test_the_proxy_is_one_for_readings_a_half_for_nothing_and_that_of_counting_pairs_between():
    rng = np.random.default_rng(1)
    readings, other = rng.normal(size=400), rng.integers(0, 5, 400).astype(float)
    assert above_median_auc(readings, readings) == 1
    assert above_median_auc(readings, np.zeros(400)) == 0.5
    above = readings > np.median(readings)
    pairs = np.sign(np.subtract.outer(other[above], other[~above]))
    assert above_median_auc(readings, other) == pytest.approx(float((pairs + 1).mean() / 2))
    with pytest.raises(ValueError, match="never changes"):
        above_median_auc(np.ones(9), np.ones(9))


def test_a_window_tells_its_sum_in_all_its_rounds():
    assert held(np.arange(7.0), 3).tolist() == [3, 3, 3, 12, 12, 12]
    assert held(np.arange(8.0).reshape(4, 2), 2).tolist() == [[2, 4], [2, 4], [10, 12], [10, 12]]
