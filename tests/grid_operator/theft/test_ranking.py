"""Which home may it be: scores from sums, windows with thefts put in, and when a score may be called a probability."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import integrate, stats

from grid_operator.theft.calibration import Case, Posterior, SureClaims, suspicions
from grid_operator.theft.errors import TheftError
from grid_operator.theft.ranking import Missing, PeriodSums, Tail, expectation, log_ratios, naive_drops, rank_of
from grid_operator.theft.windows import History, HitRate, Mix, WindowPlan, draw_windows, paired_ratio

SLOTS = 336


def sums(before, after, counted_after=None):
    before, after = np.array(before, float), np.array(after, float)
    counted = np.full(after.shape, SLOTS) if counted_after is None else np.array(counted_after)
    return PeriodSums(before, np.full(before.shape, SLOTS), after, counted, SLOTS)


BEFORE = [[100, 110, 90, 100], [200, 260, 140, 200], [50, 52, 48, 50]]


def test_expectations_follow_the_groups_trend_and_spreads_are_each_homes_own():
    """The group used 10 % more in all, what is missing included."""
    found = expectation(sums(BEFORE, [[110], [180], [55]]), Missing(40.0), borrowed=0.0, foreseen=False)
    assert found.expected == pytest.approx([110, 220, 55])
    variances = np.var(BEFORE, axis=1, ddof=1) * 1.1**2
    assert found.variance == pytest.approx(variances, rel=1e-3)
    uncertain = expectation(sums(BEFORE, [[110], [180], [55]]), Missing(40.0), borrowed=0.0)
    assert uncertain.variance == pytest.approx(variances * (1 + 1 / 4), rel=1e-3)
    two = expectation(sums(BEFORE, [[110, 110], [180, 180], [55, 55]]), Missing(80.0), borrowed=0.0)
    assert two.expected == pytest.approx([220, 440, 110])
    assert two.variance == pytest.approx(variances * (2 + 4 / 4), rel=1e-3)
    steadied = expectation(sums(BEFORE, [[110], [180], [55]]), Missing(40.0), borrowed=1.0, foreseen=False)
    usual = np.median(np.std(BEFORE, axis=1, ddof=1) / np.mean(BEFORE, axis=1))
    assert steadied.variance == pytest.approx((variances + (usual * found.expected) ** 2) / 2, rel=1e-3)


def test_the_score_is_the_logarithm_of_a_ratio_of_densities():
    found = expectation(sums(BEFORE, [[110], [180], [55]]), Missing(40.0))
    deviation, residual = np.sqrt(found.variance), found.after - found.expected
    for tail, law in ((Tail(), stats.norm()), (Tail(3.5, 0.8), stats.t(3.5, scale=0.8))):
        expected = law.logpdf((residual + 40) / deviation) - law.logpdf(residual / deviation)
        assert log_ratios(found, Missing(40.0), tail) == pytest.approx(expected, rel=1e-9)


def test_a_gap_that_is_known_badly_is_averaged_over():
    found, missing = expectation(sums(BEFORE, [[110], [180], [55]]), Missing(40.0)), Missing(40.0, 400.0)
    seen = log_ratios(found, missing, Tail())
    residual, deviation = (found.after - found.expected)[1], math.sqrt(found.variance[1])
    gap = stats.truncnorm(-2, np.inf, 40, 20)
    integral = integrate.quad(lambda g: stats.norm.pdf(residual + g, 0, deviation) * gap.pdf(g), 0, 400)[0]
    assert seen[1] == pytest.approx(math.log(integral / stats.norm.pdf(residual, 0, deviation)), abs=0.02)
    # The worse it is known, the softer it speaks.
    spread = [np.ptp(log_ratios(found, Missing(40.0, variance), Tail())) for variance in (0.0, 400.0, 1e8)]
    assert spread[0] > spread[1]
    assert np.isfinite(log_ratios(found, Missing(-1e9, 1.0), Tail())).all()
    assert log_ratios(found, Missing(-5.0), Tail()) == pytest.approx(np.zeros(3))


def test_lost_readings_and_vacant_homes_do_not_look_like_theft():
    half = expectation(sums(BEFORE, [[100], [200], [25]], [[SLOTS], [SLOTS], [SLOTS // 2]]), Missing(0.0))
    assert naive_drops(half) == pytest.approx([0, 0, 0], abs=1e-12)
    vacant = expectation(sums([*BEFORE, [0, 0, 0, 0]], [[100], [160], [50], [0]]), Missing(40.0))
    assert rank_of(log_ratios(vacant, Missing(40.0), Tail()), 3) == 4
    assert naive_drops(vacant)[3] == 0
    assert rank_of(log_ratios(vacant, Missing(40.0), Tail()), 1) == 1


def test_ranks_share_the_middle_of_equal_scores():
    scores = np.array([3.0, 1.0, 3.0, 0.0])
    assert [rank_of(scores, home) for home in range(4)] == [1.5, 3, 1.5, 4]
    with pytest.raises(TheftError, match="no number"):
        rank_of(np.array([1.0, math.nan]), 0)


def test_what_cannot_be_ranked_is_refused():
    for before, after, counted in (
        ([[1, 2]], [[1]], None), ([[1], [2]], [[1], [1]], None), (BEFORE, [[1], [1]], None), (BEFORE, [[1], [1], [math.nan]], None),
        (BEFORE, [[1], [1], [0]], [[SLOTS], [SLOTS], [0]]),
    ):  # fmt: skip
        with pytest.raises(TheftError):
            sums(before, after, counted)
    for missing in ((math.nan, 0), (1, -1), (1, math.inf), (math.inf, 0)):
        with pytest.raises(TheftError, match="finite numbers"):
            Missing(*missing)
    with pytest.raises(TheftError, match="no trend"):
        expectation(sums([[0, 0], [0, 0]], [[1], [1]]), Missing(1.0))
    with pytest.raises(TheftError, match="50 at least"):
        Tail.fitted(np.zeros(49))


def test_a_tail_is_fitted_as_it_was_drawn():
    tail = Tail.fitted(0.7 * np.random.default_rng(1).standard_t(4, 4000))
    assert tail.degrees == pytest.approx(4, rel=0.2)
    assert tail.scale == pytest.approx(0.7, rel=0.06)


def history(homes=20, days=140, seed=1):
    """Constructed: homes whose weeks differ as a normal law has it, some homes' more and some homes' less."""
    rng = np.random.default_rng(seed)
    size = rng.uniform(100, 400, homes)
    spread = rng.uniform(0.03, 0.4, (homes, 1))
    weeks = np.repeat(np.maximum(1 + spread * rng.normal(size=(homes, days // 7)), 0.1), 7 * 48, axis=1)
    return size[:, None] * weeks * rng.gamma(2, 0.5, weeks.shape)


def test_windows_hold_the_sums_of_their_days_and_the_theft_that_was_put_in():
    readings = history(homes=4)
    readings[2, 48 * 30 + 5] = math.nan
    plan = WindowPlan(groups=((0, 2), (1, 3)), days_before=14, days_after=14)
    window = History(readings).window(plan, (0, 2), 20, np.array([0.0, 0.25]), np.random.default_rng(1))
    first = 20 * 48
    for at, home in enumerate((0, 2)):
        for period in range(2):
            cut = readings[home, first + period * 336 : first + (period + 1) * 336]
            assert window.sums.before[at, period] == pytest.approx(np.nansum(cut))
    assert window.sums.before_counted.tolist() == [[336, 336], [336, 335]]
    after = np.nansum(readings[2, first + 672 : first + 1344])
    assert window.sums.after[1].sum() == pytest.approx(0.75 * after)
    assert (window.missing.watt_hours, window.missing.variance) == (pytest.approx(0.25 * after), 0)
    assert (window.thieves, window.group) == ((1,), (0, 2))


def test_noise_comes_with_its_variance():
    plan = WindowPlan(groups=((0, 1),), gap_error=0.01, noise_scale=100.0)
    past, rng = History(history(homes=2)), np.random.default_rng(2)
    seen = [past.window(plan, (0, 1), 0, np.zeros(2), rng).missing for _ in range(400)]
    errors = np.array([missing.watt_hours / math.sqrt(missing.variance) for missing in seen])
    assert abs(errors.mean()) < 3 / 20
    assert abs((errors**2).mean() - 1) < 3 * math.sqrt(2 / 400)


def test_kinds_of_windows_come_as_often_as_was_asked_for():
    plan = WindowPlan(groups=(tuple(range(0, 20, 2)), tuple(range(1, 20, 2))))
    found = draw_windows(
        History(history()), plan, Mix((0.2, 0.3), nobody=0.3, several=0.2), 600, np.random.default_rng(3)
    )
    counts = [len(window.thieves) for window in found]
    for kinds, share in (({0}, 0.3), ({1}, 0.5), ({2, 3}, 0.2)):
        assert abs(np.mean([count in kinds for count in counts]) - share) < 3 * math.sqrt(share * (1 - share) / 600)
    assert {window.group for window in found} == set(plan.groups)


def test_a_home_without_any_reading_is_in_no_window():
    readings = history(homes=4, days=70)
    readings[1, 48 * 50 : 48 * 52] = math.nan
    plan = WindowPlan(groups=((0, 1, 2, 3),), days_after=1, period_days=1)
    found = draw_windows(History(readings), plan, Mix((0.2,)), 200, np.random.default_rng(1))
    assert len(found) == 200
    readings[1] = math.nan
    with pytest.raises(TheftError, match="home without any reading"):
        draw_windows(History(readings), plan, Mix((0.2,)), 1, np.random.default_rng(1))


def test_windows_that_cannot_be_are_refused():
    past, rng = History(history(homes=4, days=70)), np.random.default_rng(1)
    groups = ((0, 1, 2, 3),)
    for wrong in (
        {"days_after": 10}, {"days_before": 7}, {"gap_error": -0.1}, {"noise_scale": math.nan}, {"period_days": 0}, {"gap_error": math.nan},
    ):  # fmt: skip
        with pytest.raises(TheftError):
            WindowPlan(groups, **wrong)
    for mix in (((),), ((0.0,),), ((1.0,),), ((0.5,), 0.6, 0.6), ((0.5,), -0.1), ((0.5,), math.nan)):
        with pytest.raises(TheftError):
            Mix(*mix)
    with pytest.raises(TheftError, match="in one group"):
        draw_windows(past, WindowPlan(((0, 1),)), Mix((0.1,)), 1, rng)
    with pytest.raises(TheftError, match="has 70"):
        draw_windows(past, WindowPlan(groups, days_after=56), Mix((0.1,)), 1, rng)
    with pytest.raises(TheftError, match="one window"):
        draw_windows(past, WindowPlan(groups), Mix((0.1,)), 0, rng)
    for readings in (np.zeros(48), np.zeros((2, 47)), np.full((2, 48), math.inf)):
        with pytest.raises(TheftError, match="history"):
            History(readings)


def test_the_likelihood_ratio_beats_the_drop_and_intervals_are_of_pairs():
    """Constructed homes that use different amounts, some of them steadily."""
    plan = WindowPlan(groups=(tuple(range(20)),))
    found = draw_windows(History(history()), plan, Mix((0.2,)), 300, np.random.default_rng(5))
    naive = HitRate.of(found, lambda window: naive_drops(expectation(window.sums, window.missing)))
    ratio = HitRate.of(found, lambda w: log_ratios(expectation(w.sums, w.missing), w.missing, Tail()))
    assert ratio.within(3) > naive.within(3)
    assert ratio.median_rank <= naive.median_rank
    times, low, high = paired_ratio(ratio, naive, 3, np.random.default_rng(6))
    assert times == pytest.approx(ratio.within(3) / naive.within(3))
    assert 1 < low < times < high
    assert paired_ratio(naive, naive, 3, np.random.default_rng(6)) == (1, 1, 1)
    with pytest.raises(TheftError, match="the same windows"):
        paired_ratio(ratio, HitRate(np.ones(2)), 3, np.random.default_rng(6))
    with pytest.raises(TheftError, match="one thief"):
        HitRate.of([], lambda window: window.missing)


def cases(count, temperature, nobody, seed, homes=8):
    """Drawn from the law that a posterior of this temperature says."""
    rng, found = np.random.default_rng(seed), []
    true = Posterior(temperature, nobody)
    for _ in range(count):
        scores = temperature * 3 * rng.normal(size=homes)
        at = int(rng.choice(homes + 1, p=true.probabilities(scores)))
        found.append(Case(scores, None if at == homes else at))
    return found


def test_a_temperature_is_found_and_claims_are_right_as_often_as_they_say():
    fitted = Posterior.fitted(cases(2000, 10.0, 1.5, 1))
    assert fitted.temperature == pytest.approx(10, rel=0.15)
    assert fitted.nobody == pytest.approx(1.5, abs=0.3)
    claims = SureClaims.counted(fitted, cases(2000, 10.0, 1.5, 2))
    assert claims.made > 100
    assert claims.right / claims.made > 0.9 - 3 * math.sqrt(0.09 / claims.made)
    assert claims.may_be_shown
    assert not SureClaims.counted(Posterior(1.0, -1e9), cases(2000, 10.0, 1.5, 2)).may_be_shown
    assert Posterior(2.0, 0.0).probabilities(np.array([1e5, 0.0])).tolist() == [1, 0, 0]


@pytest.mark.parametrize(
    ("made", "right", "shown"),
    [(0, 0, False), (19, 19, False), (20, 20, True), (40, 36, False), (200, 180, True), (200, 172, False)],
)
def test_claims_are_shown_where_they_are_right_beyond_chance(made, right, shown):
    assert SureClaims(1000, made, right).may_be_shown is shown


def test_too_few_windows_or_none_without_a_thief_fit_nothing():
    for few in (cases(99, 1.0, 1.0, 1), [Case(np.zeros(3), 1)] * 200, [Case(np.zeros(3), None)] * 200):
        with pytest.raises(TheftError, match="too few"):
            Posterior.fitted(few)


def test_a_suspicion_says_inspect_and_never_guilt():
    scores, homes = np.array([0.1, 5.0, 2.0, 3.0]), ["a", "b", "c", "d"]
    hidden = suspicions(homes, scores, 0.4, Posterior(1.0, 0.0), SureClaims(400, 30, 10))
    assert [(found.home, found.rank, found.probability) for found in hidden] == [
        ("b", 1, None),
        ("d", 2, None),
        ("c", 3, None),
    ]
    assert "inspect" in hidden[0].sentence
    assert "40%" in hidden[0].sentence
    assert "no finding of guilt" in hidden[0].sentence
    assert "probability" not in hidden[0].sentence
    shown = suspicions(homes, scores, 0.4, Posterior(1.0, 0.0), SureClaims(400, 100, 99))
    assert shown[0].probability == pytest.approx(math.exp(5) / (1 + np.exp(scores).sum()))
    assert "probability 0." in shown[0].sentence
