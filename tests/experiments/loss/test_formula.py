"""Equations 13 and 14 against exact fractions, and against the figures of the paper's loss scenario."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest

from experiments.loss.formula import (
    Point,
    at_least,
    coverage,
    failure,
    failure_given_size,
    messages_per_share,
    released,
    smallest_width,
    success,
    success_given_size,
)
from hushgrid.core.recovery import Recovery


def exact_success(meters: int, loss: Fraction, width: int, threshold: int, window: int) -> Fraction:
    usable = (1 - loss) ** (meters * window)
    return sum(
        (math.comb(width, i) * usable**i * (1 - usable) ** (width - i) for i in range(threshold, width + 1)),
        Fraction(0),
    )


@pytest.mark.parametrize("loss", [Fraction(1, 10**6), Fraction(1, 1000), Fraction(1, 10), Fraction(1, 2)])
@pytest.mark.parametrize(("width", "threshold"), [(4, 4), (5, 3), (9, 4), (40, 7)])
@pytest.mark.parametrize(("meters", "window"), [(1, 1), (17, 1), (20, 4)])
def test_eq_13_equals_exact_fractions(meters, window, loss, width, threshold):
    wanted = exact_success(meters, loss, width, threshold, window)
    found = success_given_size(meters, float(loss), width, threshold, window)[0]
    failing = failure_given_size(meters, float(loss), width, threshold, window)[0]
    assert found == pytest.approx(float(wanted), rel=1e-9, abs=1e-300)
    assert failing == pytest.approx(float(1 - wanted), rel=1e-9, abs=1e-300)


def test_eq_14_averages_over_all_cohorts():
    loss, producers = Fraction(1, 100), 30
    wanted = sum(
        exact_success(m, loss, 5, 3, 2) * Fraction(math.comb(producers, m), 2**producers)
        for m in range(1, producers + 1)
    )
    assert success(producers, float(loss), 5, 3, 2) == pytest.approx(float(wanted), rel=1e-9)
    assert failure(producers, float(loss), 5, 3, 2) == pytest.approx(
        float(1 - wanted - Fraction(1, 2**producers)), rel=1e-9
    )


def test_the_papers_large_scenario_fails():
    assert success_given_size(1000, 1e-3, 4, 4, 1)[0] == pytest.approx(0.018, abs=5e-4)
    assert success_given_size(500, 1e-3, 4, 4, 1)[0] == pytest.approx(0.135, abs=5e-4)
    assert success(1000, 1e-3, 4, 4, 1) == pytest.approx(0.135, abs=2e-3)


@pytest.mark.parametrize(
    ("producers", "window", "widths"),
    [
        (100, 1, (4, 5, 5, 7, 17)),
        (100, 4, (4, 5, 6, 10, 111)),
        (1000, 1, (5, 5, 7, 16, 2209)),
        (1000, 4, (5, 6, 10, 94, None)),
        (10_000, 1, (5, 7, 16, 1961, None)),
    ],
)
def test_the_smallest_widths_for_a_failure_of_one_in_a_thousand(producers, window, widths):
    for exponent, wanted in zip((6, 5, 4, 3, 2), widths, strict=True):
        loss = 10.0**-exponent
        found = smallest_width(producers, loss, 4, window, failure_most=1e-3, width_most=3000)
        assert found == wanted
        if found is not None and found > 4:
            assert failure(producers, loss, found, 4, window) <= 1e-3 < failure(producers, loss, found - 1, 4, window)


def test_without_loss_everything_succeeds_and_with_all_lost_nothing():
    for recovery in Recovery:
        assert released(Point(recovery, 100, 0.0, 5, 3, 1)) == coverage(Point(recovery, 100, 0.0, 5, 3, 1)) == 1
    assert released(Point(Recovery.NONE, 100, 1.0, 5, 3, 1)) == 0
    assert released(Point(Recovery.REPAIR, 100, 1.0, 5, 3, 1)) == 0


@pytest.mark.parametrize("count", [1, 10, 300])
@pytest.mark.parametrize("fraction", [0.05, 0.5, 0.97])
def test_binomial_tails_equal_exact_fractions(count, fraction):
    exact = Fraction(fraction)
    terms = [math.comb(count, i) * exact**i * (1 - exact) ** (count - i) for i in range(count + 1)]
    for needed in {0, 1, count // 2, int(count * fraction), count}:
        assert at_least(needed, count, fraction) == pytest.approx(float(sum(terms[needed:])), rel=1e-9, abs=1e-12)


def test_repair_at_one_share_in_ten_lost_costs_less_than_a_third_more():
    point = Point(Recovery.REPAIR, 1000, 0.1, 5, 3, 1)
    assert 1.2 < messages_per_share(point) < 1.3
    assert coverage(point) > 0.999
    assert released(point) == 1
