"""The paper's design question in closed form: how often must loads be seen to keep their total within a band?

The controller cancels what it expects (eq. 36), so N rounds after it has seen the loads their total is its target plus what it
could not know: normal, with the variance V_N. Habits, efficacy of control, target and horizon drop out.
"""

from __future__ import annotations

import math
from statistics import NormalDist

from grid_operator.demand.model import FlexibleLoads, variance_after


def total_variance(loads: FlexibleLoads, interval: int | None) -> float:
    """V_N of the total, N rounds after the loads were seen; None: never seen. ValueError for an interval below 1."""
    if interval is not None and interval < 1:
        raise ValueError(f"a sampling interval is at least 1 round, not {interval}")
    return float(variance_after(loads, interval).sum())


def probability_inside(variance: float, bound: float) -> float:
    """2 Phi(Y_b / sqrt V) - 1: that a normal total is within its target +- bound (the paper's Fig. 2)."""
    if not (variance >= 0 and bound > 0):
        raise ValueError(f"a band needs a bound above 0 and a variance of at least 0, not {bound:g} and {variance:g}")
    return math.erf(bound / math.sqrt(2 * variance)) if variance else 1.0


def half_width(variance: float, probability: float = 0.99) -> float:
    """The total is within its target +- this with that probability (the paper's Fig. 3)."""
    if not (variance >= 0 and 0 < probability < 1):
        raise ValueError(f"there is no band for a variance of {variance:g} and a probability of {probability:g}")
    return NormalDist().inv_cdf((1 + probability) / 2) * math.sqrt(variance)


def rms_above(variance: float, bound: float) -> float:
    """Root of the mean square by which a normal total exceeds its target + bound; what does not exceed it counts as 0."""
    if not variance:
        return 0.0
    at = bound / math.sqrt(variance)
    tail, density = math.erfc(at / math.sqrt(2)) / 2, math.exp(-at * at / 2) / math.sqrt(2 * math.pi)
    return math.sqrt(max(0.0, variance * ((1 + at * at) * tail - at * density)))


def largest_interval(loads: FlexibleLoads, bound: float, miss: float) -> int | None:
    """The largest N with Pr[inside the band] >= 1 - miss. None: loads need never be seen. 0: not even every round is enough.

    V_N never falls with N, so the first interval that is too long ends the search.
    """
    if not 0 < miss < 1:
        raise ValueError(f"the probability to miss the band is between 0 and 1, not {miss:g}")

    def enough(interval: int | None) -> bool:
        return probability_inside(total_variance(loads, interval), bound) >= 1 - miss

    if enough(None):
        return None
    low, high = 0, 1
    while enough(high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if enough(middle) else (low, middle)
    return low
