"""Noise under differential privacy, for all that an operator works out: its scale for a budget, and what nodes make of it.

Sensitivity: how far one home can move one round's total, by contract. A window of N rounds moves N times as far.
"""

from __future__ import annotations

import math

import numpy as np

from grid_operator.arrays import Floats


def laplace_scale(sensitivity: float, epsilon: float) -> float:
    """The scale Delta/eps that makes one released number eps-private, in the unit of the sensitivity. ValueError below or at 0."""
    if not (0 < sensitivity < math.inf and 0 < epsilon < math.inf):
        raise ValueError(f"epsilon {epsilon:g} and sensitivity {sensitivity:g}: both are numbers above 0")
    return sensitivity / epsilon


def scale_per_window(sensitivity: float, interval: int, epsilon: float) -> float:
    """Laplace scale on a window's sum where every window may spend `epsilon`: N sensitivity / epsilon. ValueError below or at 0."""
    return interval * laplace_scale(sensitivity, epsilon)


def scale_per_day(sensitivity: float, interval: int, rounds_per_day: int, epsilon_per_day: float) -> float:
    """The same where a day may spend that much over all its windows. The N cancels: every window's sum gets the same scale."""
    windows = rounds_per_day / interval
    return scale_per_window(sensitivity, interval, epsilon_per_day / windows)


def nodes_factor(counted: int, fewest: int, threshold: int) -> float:
    """By how much noise drawn by nodes has more variance than one curator's: c / (n_min - t + 1).

    counted: contributions in the sum. fewest: n_min of the rule. threshold: t. ValueError unless t <= n_min <= c.
    """
    if not 1 <= threshold <= fewest <= counted:
        raise ValueError(
            f"{counted} contributions, at least {fewest}, threshold {threshold}: no such rule, t <= n_min <= c has to hold"
        )
    return counted / (fewest - threshold + 1)


def variance(scale: float, factor: float = 1.0) -> float:
    """Of Laplace noise, times what nodes make of it."""
    return 2 * scale * scale * factor


def draw(scale: float, factor: float, count: int | tuple[int, ...], rng: np.random.Generator) -> Floats:
    """Simulated noise: c contributions, of which m make one Laplace law, are Gamma(c/m) - Gamma(c/m); factor = c/m."""
    return scale * (rng.standard_gamma(factor, count) - rng.standard_gamma(factor, count))
