"""What an attacker makes of releases: a proxy, since no readings here say who was at home.

The question is whether a home used more than its own median in a round; the attacker ranks rounds by what was released of them.
"""

from __future__ import annotations

import numpy as np
from scipy.stats import rankdata

from grid_operator.arrays import Floats


def above_median_auc(readings: Floats, released: Floats) -> float:
    """Area under the ROC curve of `released` for "above the home's own median": 0.5 is a coin, 1 is knowing. Both (rounds,).

    By ranks, ties counted half. ValueError where no reading is above the median, or all are.
    """
    above = readings > np.median(readings)
    some = int(above.sum())
    if not 0 < some < len(readings):
        raise ValueError("a home that never changes has no rounds above its median")
    ranks = rankdata(released)
    return float((ranks[above].sum() - some * (some + 1) / 2) / (some * (len(readings) - some)))


def held(flow: Floats, interval: int) -> Floats:
    """A flow as its windows' sums tell it: every round has its window's sum. (rounds, ...), whole windows only."""
    whole = len(flow) - len(flow) % interval
    sums = flow[:whole].reshape(-1, interval, *flow.shape[1:]).sum(axis=1)
    return np.asarray(np.repeat(sums, interval, axis=0))
