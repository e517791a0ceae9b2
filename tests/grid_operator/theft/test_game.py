"""The game between a utility and a thief: densities, the tilt, the likelihood-ratio test, the best effort, against golden values.

Golden values were worked out by two other codes (Gamma(2, 0.25 kWh), 96 slots a day).
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import integrate, stats

from grid_operator.theft.densities import Density, Empirical, Gamma, LatticeSum, Normal
from grid_operator.theft.errors import TheftError
from grid_operator.theft.roc import RatioTest, Threshold, threshold_of
from grid_operator.theft.tilt import Tilt, tilted
from grid_operator.theft.utility import HomeAccount, SupplyPrice, best_effort, equal_thieves, profit

GAMMA = Gamma(2, 0.25)
NORMAL = Normal(0.5, 0.25 * math.sqrt(2))
HISTORY = np.array([0, 0, 1, 2, 2, 3, 5, 8, 13, 21]) / 10
DENSITIES: dict[str, Density] = {"gamma": GAMMA, "normal": NORMAL, "empirical": Empirical.of(HISTORY, 0.1)}
CLOSE = {"rel": 1e-4}


def stolen(density: Density, slots: int, fraction: float) -> Tilt:
    return tilted(density, slots, fraction * slots * density.mean)


@pytest.mark.parametrize(
    ("fraction", "mu", "divergence", "a_day"),
    [
        (0.02, 0.081633, 0.000405, 0.0196),
        (0.05, 0.210526, 0.002587, 0.0495),
        (0.10, 0.444444, 0.010721, 0.1777),
        (0.20, 1.0, 0.046287, 0.7587),
        (0.25, 1.333333, 0.075364, 0.9475),
        (0.50, 4.0, 0.386294, None),
    ],
)
def test_golden_values_of_the_gamma_home(fraction, mu, divergence, a_day):
    tilt = stolen(GAMMA, 96, fraction)
    digit = 5e-7  # the golden values' last one
    assert tilt.mu == pytest.approx(mu, abs=digit)
    assert tilt.mu == pytest.approx((1 / (1 - fraction) - 1) / 0.25, rel=1e-12)  # (m0 / m1 - 1) / theta
    assert tilt.kl_per_slot == pytest.approx(divergence, abs=digit)
    if a_day is not None:
        assert RatioTest(tilt, 96).detection(0.01) == pytest.approx(a_day, abs=5e-5)


def test_a_week_finds_what_a_day_does_not():
    assert RatioTest(stolen(GAMMA, 672, 0.10), 672).detection(0.01) == pytest.approx(0.9359, rel=1e-4)


def test_the_attackers_best_variance_is_the_honest_one():
    tilt = stolen(NORMAL, 96, 0.2)
    assert (tilt.stolen.mean, tilt.stolen.deviation) == (pytest.approx(0.4, rel=1e-12), NORMAL.deviation)
    assert tilt.mu == pytest.approx(0.1 / NORMAL.deviation**2, rel=1e-12)
    assert tilt.kl_per_slot == pytest.approx((0.1 / NORMAL.deviation) ** 2 / 2, rel=1e-9)


@pytest.mark.parametrize("name", DENSITIES)
@pytest.mark.parametrize("fraction", [1e-4, 0.05, 0.6])
def test_the_tilt_is_a_density_of_the_stolen_mean_and_no_other_of_that_mean_is_closer(name, fraction):
    honest = DENSITIES[name]
    tilt = stolen(honest, 7, fraction)
    assert tilt.stolen.mean == pytest.approx((1 - fraction) * honest.mean, rel=1e-9)
    assert tilt.stolen.log_z(0) == pytest.approx(0, abs=1e-12)
    # exp(D) times f0 integrates to 1: D is the logarithm of a ratio of densities (eqs. 16, 18).
    assert tilt.log_z == pytest.approx(honest.log_z(tilt.mu), rel=1e-12)
    assert honest.log_z(tilt.mu) + honest.tilted(tilt.mu).log_z(-tilt.mu) == pytest.approx(0, abs=1e-9)
    # KL(f2 || f0) = KL(f2 || f1*) + KL(f1* || f0) for every f2 of that mean: another tilt has another mean.
    assert tilt.kl_per_slot > 0
    assert stolen(honest, 7, fraction * 1.1).kl_per_slot > tilt.kl_per_slot


def test_kl_is_the_integral_that_it_stands_for():
    tilt = stolen(GAMMA, 1, 0.2)

    def integrand(y: float) -> float:
        return float(stats.gamma.pdf(y, 2, scale=tilt.stolen.scale) * tilt.log_ratio(np.array(y)))

    assert integrate.quad(integrand, 0, 20)[0] == pytest.approx(tilt.kl_per_slot, rel=1e-8)


@pytest.mark.parametrize("name", DENSITIES)
def test_a_density_is_what_it_samples(name):
    density, rng = DENSITIES[name], np.random.default_rng(3)
    drawn = density.sample(rng, (40_000,))
    error = drawn.std() / 200
    assert abs(drawn.mean() - density.mean) < 3 * error
    for energy in (0.0, 0.3, 0.55, 1.2):
        above = np.maximum(drawn - energy, 0)
        assert abs(above.mean() - density.mean_over(energy)) < 3 * above.std() / 200 + 1e-12
        share = float(density.cdf(energy))
        assert abs(np.mean(drawn <= energy) - share) <= 3 * math.sqrt(share * (1 - share) / 40_000)
    quantiles = density.quantile(np.array([0.1, 0.5, 0.9]))
    assert (density.cdf(quantiles) >= np.array([0.1, 0.5, 0.9]) - 1e-9).all()


def test_a_history_sums_exactly_over_slots():
    history = DENSITIES["empirical"]
    total = history.total(2)
    assert isinstance(total, LatticeSum)
    pairs = (HISTORY[:, None] + HISTORY[None, :]).ravel()
    for energy in (0.0, 0.1, 1.0, 2.6, 4.2):
        assert total.cdf(energy) == pytest.approx(np.mean(pairs <= energy + 1e-9), abs=1e-12)
        assert total.below(energy) == pytest.approx(np.mean(pairs < energy - 1e-9), abs=1e-12)
    assert total.ppf(0.5) == pytest.approx(np.quantile(pairs, 0.5, method="inverted_cdf"))
    assert history.atom(0.0) == pytest.approx(0.2)
    fed = Empirical.of([-3.0, -1.0, 2.0], 1.0).total(3)
    assert (fed.ppf(0.0), fed.ppf(1.0), fed.below(-9.0)) == (-9.0, 6.0, 0.0)


@pytest.mark.parametrize("name", DENSITIES)
def test_a_false_alarm_probability_is_met_exactly_also_at_atoms(name):
    test = RatioTest(stolen(DENSITIES[name], 3, 0.3), 3)
    for e in (0.0, 1e-3, 0.01, 0.17, 0.5, 1.0):
        threshold, total = test.threshold(e), DENSITIES[name].total(3)
        above = test.above(threshold.tau, stolen=False)
        at = total.cdf(test.total_at(threshold.tau)) - above if math.isfinite(threshold.tau) else 0.0
        assert above + threshold.gamma * at == pytest.approx(e, abs=1e-9)
        assert 0 <= threshold.gamma <= 1
    assert (test.detection(0.0), test.detection(1.0)) == (0, 1)


def test_thresholds_of_drawn_values_are_randomised():
    values = np.array([0.0, 1, 1, 2])
    for e in (0.0, 0.1, 0.25, 0.4, 0.75, 0.9, 1.0):
        assert threshold_of(values, e).alarms(values) == pytest.approx(e)
    # Sums of floats that should be equal are: 0.1 + 0.2 is 0.3.
    assert Threshold(0.3, 0.5).alarms(np.array([0.1 + 0.2])) == 0.5
    with pytest.raises(TheftError, match="gap"):
        Threshold(0.3).alarms(np.array([math.nan]))


def test_windows_that_are_played_alarm_as_often_as_was_worked_out():
    """3 standard errors of 20,000 windows; an empirical density on its lattice, so that tau is an atom."""
    rng, runs = np.random.default_rng(4), 20_000
    for density in DENSITIES.values():
        tilt = stolen(density, 5, 0.3)
        test = RatioTest(tilt, 5)
        threshold = test.threshold(0.05)
        for law, expected in ((density, 0.05), (tilt.stolen, test.detection(0.05))):
            seen = threshold.alarms(test.statistic(law.sample(rng, (runs, 5)).sum(axis=1)))
            assert abs(seen - expected) < 3 * math.sqrt(expected * (1 - expected) / runs)


def test_where_the_sum_has_no_law_it_is_drawn():
    exact = RatioTest(stolen(DENSITIES["empirical"], 20, 0.3), 20)
    drawn = RatioTest(stolen(Empirical.of(HISTORY), 20, 0.3), 20, draws=20_000)
    assert drawn.tilt.honest.total(20) is None
    for e in (0.05, 0.3):
        rho = exact.detection(e)
        # The threshold's own error moves along the curve, whose slope is e^tau.
        slope = math.exp(exact.threshold(e).tau)
        error = math.sqrt((rho * (1 - rho) + slope**2 * e * (1 - e)) / 20_000)
        assert abs(drawn.detection(e) - rho) < 3 * error
    assert drawn.above(-math.inf, stolen=True) == 1


@pytest.mark.parametrize(("days", "floor"), [(1, 0.160), (7, 0.062), (30, 0.030)])
def test_a_thief_who_reports_flat_is_never_caught_below_a_floor(days, floor):
    slots = 96 * days
    test = RatioTest(stolen(GAMMA, slots, 0.1), slots)
    least = test.total_at(test.threshold(0.01).tau) / (slots * GAMMA.mean)
    assert 1 - least == pytest.approx(floor, abs=5e-4)


def test_the_golden_effort_and_the_corner():
    best = equal_thieves(RatioTest(stolen(GAMMA, 96, 0.1), 96), 10, 300.0, 5000.0)
    assert best.tau == pytest.approx(0.510826, **CLOSE)
    assert best.false_alarm == pytest.approx(0.146303, **CLOSE)
    assert best.detections == (pytest.approx(0.653508, **CLOSE),) * 10
    assert best.utility == pytest.approx(1229.01, **CLOSE)
    assert not best.corner
    one = RatioTest(stolen(GAMMA, 1, 0.1), 1)
    assert math.exp(one.largest) == pytest.approx(1.234568, **CLOSE)
    assert one.detection(1e-6) / 1e-6 == pytest.approx(1.234568, rel=1e-3)  # the curve's slope there
    none = equal_thieves(one, 10, 300.0, 3000 * 1.2346)
    some = equal_thieves(one, 10, 300.0, 3000 * 1.2345)
    assert (none.false_alarm, none.utility, none.corner) == (0, 0, True)
    assert (some.false_alarm > 0, some.corner) == (True, False)
    free = equal_thieves(one, 10, 300.0, 0.0)
    assert (free.false_alarm, free.utility, free.corner) == (1, 3000, True)


@pytest.mark.parametrize("name", DENSITIES)
def test_the_search_finds_the_closed_optimum(name):
    test = RatioTest(stolen(DENSITIES[name], 24, 0.2), 24)
    closed = equal_thieves(test, 3, 100.0, 400.0)
    found = best_effort([(test, 100.0)] * 3, lambda e: 400 * e)
    assert found.utility == pytest.approx(closed.utility, rel=1e-6)
    if name != "empirical":  # at atoms the curve is straight, and several e are best
        assert found.false_alarm == pytest.approx(closed.false_alarm, abs=1e-4)


def test_unequal_thieves_and_costs_that_are_not_linear():
    tests = [(RatioTest(stolen(GAMMA, 96, fraction), 96), fine) for fraction, fine in ((0.05, 500.0), (0.15, 200.0))]

    def worth(e: float, power: int) -> float:
        return sum(fine * test.detection(e) for test, fine in tests) - 900 * e**power

    for power in (1, 2):
        best = best_effort(tests, lambda e, power=power: 900 * e**power)
        assert best.utility == pytest.approx(worth(best.false_alarm, power), rel=1e-9)
        assert best.utility >= max(worth(e, power) for e in np.linspace(0, 1, 101)) - 1e-9
        # The sum of the curves' slopes is the cost's (eq. 26).
        step = 1e-5
        slopes = (worth(best.false_alarm + step, power) - worth(best.false_alarm - step, power)) / (2 * step)
        assert abs(slopes) < 0.5
    assert best_effort(tests, lambda e: 1e7 * e + 1e6 * math.sqrt(e)).corner
    assert best_effort(tests, lambda e: 0.0 * e).false_alarm == 1
    with pytest.raises(TheftError, match="psi"):
        best_effort(tests, lambda e: math.nan * e)
    with pytest.raises(TheftError, match="no thief"):
        best_effort([], lambda e: e)


def test_profit_is_tariffs_and_fines_less_supply_and_effort():
    supply = SupplyPrice(0.1, 2.0)
    assert supply.cost(np.array([1.0, 3.0, 2.0])) == pytest.approx(0.1 * 6 + 2 * 3)
    accounts = [HomeAccount(10.0), HomeAccount(20.0, 5.0, 0.25, 40.0)]
    made = profit(accounts, lambda used: 0.3 * used, 6.6, 1.5)
    assert (made.tariffs, made.fines) == (pytest.approx(0.3 * 25), pytest.approx(10))
    assert made.total == pytest.approx(7.5 + 10 - 6.6 - 1.5)
    for wrong in (
        HomeAccount(1.0, 2.0),
        HomeAccount(1.0, 0.5, 1.5),
        HomeAccount(1.0, math.nan),
        HomeAccount(1.0, 0.5, 0.5, -1),
    ):
        with pytest.raises(TheftError):
            profit([wrong], lambda used: used, 0, 0)
    for prices in ((2.0, 1.0), (-1.0, 1.0), (0.1, math.inf), (math.nan, 1.0)):
        with pytest.raises(TheftError, match="prices"):
            SupplyPrice(*prices)
    for load in ([], [1.0, math.nan]):
        with pytest.raises(TheftError, match="load"):
            supply.cost(np.array(load))


@pytest.mark.parametrize(
    ("density", "slots", "amount", "said"),
    [
        (GAMMA, 96, 48.0, "not below the home's use"),
        (GAMMA, 96, 0.0, "is none"),
        (GAMMA, 96, -1.0, "is none"),
        (GAMMA, 96, math.nan, "is none"),
        (GAMMA, 0, 1.0, "0 slots"),
        (GAMMA, 96, 1e-7, "rounding"),
        (Normal(-1.0, 1.0), 1, 0.5, "not below the home's use"),
        (Empirical.of([1.0, 2.0]), 4, 2.5, "not more remains than 4 times the home's least reading 1"),
    ],
)
def test_a_theft_that_cannot_be_is_refused(density, slots, amount, said):
    with pytest.raises(TheftError, match=said):
        tilted(density, slots, amount)


def test_what_is_no_density_is_refused():
    for wrong in ((0, 1), (1, -1), (math.nan, 1), (1, math.inf)):
        with pytest.raises(TheftError):
            Gamma(*wrong)
    for wrong in ((math.inf, 1), (0, 0), (0, math.nan)):
        with pytest.raises(TheftError):
            Normal(*wrong)
    for history, step, said in (
        ([], None, "two different"),
        ([1.0, 1.0], None, "two different"),
        ([1.0, math.nan], 0.5, "finite readings"),
        ([[1.0, 2.0]], None, "a row of"),
        ([1.0, 1.25], 0.5, "whole multiple"),
        ([1.0, 1.5], -0.5, "whole multiple"),
    ):
        with pytest.raises(TheftError, match=said):
            Empirical.of(history, step)
    for e in (-0.1, 1.1, math.nan):
        with pytest.raises(TheftError, match="false-alarm probability"):
            RatioTest(stolen(GAMMA, 1, 0.1), 1).detection(e)
    for thieves, fine, slope in ((0, 1, 1), (1, 0, 1), (1, math.nan, 1), (1, 1, -1), (1, 1, math.nan)):
        with pytest.raises(TheftError):
            equal_thieves(RatioTest(stolen(GAMMA, 1, 0.1), 1), thieves, fine, slope)
