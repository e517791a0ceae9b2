"""Equations 13 and 14 of the paper in log space, and what they become when lost shares are left out or asked for again.

p_e: the probability that the link loses a message, each independently. A rule sums M_c meters over windows of k rounds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hushgrid.core.recovery import Recovery
from hushgrid.search import least

Numbers = NDArray[np.float64]

#: The paper's p: the probability that a producer is in a consumer's set.
MONITORED_FRACTION = 0.5
#: Further from the mean than this many standard deviations, a binomial contributes nothing that a float can hold.
_DEVIATIONS = 12.0
_MOST_SUMMED = 4096
#: hushgrid's own default: no sum over fewer meters.
MINIMUM_CONTRIBUTORS = 15


@dataclass(frozen=True, slots=True)
class Point:
    """One combination to be judged. meters: M_c of the rule; repairs: how often a missing share is asked for again at most."""

    recovery: Recovery
    meters: int
    loss: float
    width: int
    threshold: int
    window: int
    minimum: int = MINIMUM_CONTRIBUTORS
    coverage_floor: float = 0.8
    repairs: int = 5


def success_given_size(meters: int | Numbers, loss: float, width: int, threshold: int, window: int) -> Numbers:
    """Eq. 13: the probability that t of w PPNs hold all k M_c shares, for each M_c of the array."""
    log_success, log_failure = _log_tails(
        np.atleast_1d(np.asarray(meters, dtype=float)), loss, width, threshold, window
    )
    return np.exp(log_success) if width <= _MOST_SUMMED else -np.expm1(log_failure)


def failure_given_size(meters: int | Numbers, loss: float, width: int, threshold: int, window: int) -> Numbers:
    """1 minus eq. 13, accurate where it is tiny."""
    return np.exp(_log_tails(np.atleast_1d(np.asarray(meters, dtype=float)), loss, width, threshold, window)[1])


def success(producers: int, loss: float, width: int, threshold: int, window: int) -> float:
    """Eq. 14: eq. 13 averaged over M_c binomial(|P|, 0.5), M_c >= 1."""
    sizes, weights = _sizes(producers)
    return float(weights @ success_given_size(sizes, loss, width, threshold, window))


def failure(producers: int, loss: float, width: int, threshold: int, window: int) -> float:
    """The probability that a window of a random rule is not recovered: what the paper's Fig. 4 bounds by 1e-3."""
    sizes, weights = _sizes(producers)
    return float(weights @ failure_given_size(sizes, loss, width, threshold, window))


def smallest_width(
    producers: int, loss: float, threshold: int, window: int, *, failure_most: float, width_most: int
) -> int | None:
    """The smallest w <= width_most for which eq. 14 fails with at most `failure_most`; None when there is none."""

    def enough(width: int) -> bool:
        return failure(producers, loss, width, threshold, window) <= failure_most

    high = threshold
    while not enough(high):
        if high >= width_most:
            return None
        high = min(2 * high, width_most)
    return least(enough, max(threshold, high // 2) - 1, high)


def _log_tails(meters: Numbers, loss: float, width: int, threshold: int, window: int) -> tuple[Numbers, Numbers]:
    """log P(usable >= t) and log P(usable < t), usable binomial(w, s) with s = (1 - p_e)^(k M_c)."""
    if loss == 0:
        return np.zeros_like(meters), np.full_like(meters, -np.inf)
    if loss == 1:
        return np.full_like(meters, -np.inf), np.zeros_like(meters)
    log_all = meters * window * math.log1p(-loss)
    with np.errstate(divide="ignore"):
        log_some = np.log(-np.expm1(log_all))

    def log_sum(counts: range) -> Numbers:
        terms = [
            _log_choose(width, i) + i * log_all + ((width - i) * log_some if i < width else np.zeros_like(meters))
            for i in counts
        ]
        found: Numbers = np.logaddexp.reduce(terms, axis=0)
        return np.minimum(found, 0.0)

    many = range(threshold, width + 1) if width <= _MOST_SUMMED else range(0)
    return (log_sum(many) if many else np.zeros_like(meters)), log_sum(range(threshold))


def _log_choose(n: int, i: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(i + 1) - math.lgamma(n - i + 1)


def _sizes(producers: int) -> tuple[Numbers, Numbers]:
    """M_c from 1 and its binomial weights, where they count."""
    spread = _DEVIATIONS * math.sqrt(producers * MONITORED_FRACTION * (1 - MONITORED_FRACTION)) + 1
    mean = producers * MONITORED_FRACTION
    sizes = range(max(1, int(mean - spread)), min(producers, int(mean + spread) + 1) + 1)
    log_weights = [_log_choose(producers, m) - producers * math.log(2) for m in sizes]
    return np.array(sizes, dtype=float), np.exp(log_weights)


# What hushgrid does instead


def share_held(point: Point) -> float:
    """The probability that a PPN that is there ends up with a share: at once, or by one of the repairs."""
    missing = point.loss
    if point.recovery is Recovery.REPAIR:
        missing *= (1 - (1 - point.loss) ** 2) ** point.repairs
    return 1 - missing


def coverage(point: Point) -> float:
    """The expected part of the cohort's (meter, round) pairs in the sums of released windows; every PPN punctual.

    Given that the included pairs X reach the coverage floor m: E[X | X >= m] = n f P(Y >= m - 1) / P(X >= m), Y binomial(n - 1, f). Of
    a point at which nothing is ever released it is NaN.
    """
    if point.recovery is Recovery.NONE:
        return 1.0
    fraction, pairs = share_held(point) ** point.width, point.meters * point.window
    needed = max(math.ceil(point.coverage_floor * pairs), point.minimum)
    often = at_least(needed, pairs, fraction)
    return fraction * at_least(needed - 1, pairs - 1, fraction) / often if often > 0 else math.nan


def released(point: Point) -> float:
    """The probability that a window is released: eq. 13 for `none`; else that the included pairs reach the floors.

    The minimum is taken for each round and the coverage floor for the window, as if they were independent: exact for k = 1 and
    for cohorts whose floor lies far above the minimum.
    """
    if point.recovery is Recovery.NONE:
        return float(success_given_size(point.meters, point.loss, point.width, point.threshold, point.window)[0])
    fraction, pairs = share_held(point) ** point.width, point.meters * point.window
    needed = math.ceil(point.coverage_floor * pairs)
    if point.window == 1:
        return at_least(max(needed, point.minimum), pairs, fraction)
    return at_least(needed, pairs, fraction) * at_least(point.minimum, point.meters, fraction) ** point.window


def messages_per_share(point: Point) -> float:
    """Sends of a share and requests for it, in expectation; receipts apart."""
    if point.recovery is not Recovery.REPAIR:
        return 1.0
    again = 1 - (1 - point.loss) ** 2
    requests = sum(point.loss * again**n for n in range(point.repairs))
    return 1 + requests * (2 - point.loss)


def at_least(needed: int, count: int, fraction: float) -> float:
    """P(X >= needed) for X binomial(count, fraction), summed in log space over the shorter of both tails."""
    if needed <= 0:
        return 1.0
    if needed > count:
        return 0.0
    if fraction in (0, 1):
        return fraction
    mean, spread = count * fraction, _DEVIATIONS * math.sqrt(count * fraction * (1 - fraction)) + 2
    upper = needed > mean
    low = needed if upper else max(0, int(mean - 3 * spread))
    high = min(count, int(mean + 3 * spread)) if upper else needed - 1
    terms = [
        _log_choose(count, i) + i * math.log(fraction) + (count - i) * math.log1p(-fraction)
        for i in range(low, high + 1)
    ]
    total = math.fsum(map(math.exp, terms))
    return min(1.0, total) if upper else max(0.0, 1 - total)
