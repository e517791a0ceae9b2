"""The test that runs: CUSUM on the log-likelihood ratio of each slot. Its delays by a Markov chain (Brook, Evans 1972), or played.

W = max(0, W + D*(y)), an alarm at W >= limit. The KL per slot is its drift under theft; limit / KL is too long an estimate of the delay.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import toeplitz

from grid_operator.arrays import Floats
from grid_operator.theft.densities import Density
from grid_operator.theft.errors import TheftError
from grid_operator.theft.tilt import Tilt

_MOST_SLOTS = 10_000_000
_MOST_DOUBLINGS = 40
#: Means of two numbers of cells are extrapolated when they differ by less.
_ALIKE = 0.01
#: A limit above has false alarms so seldom (e^25 slots) that solving for their mean loses all digits.
_HIGHEST_LIMIT = 25
#: A cell is no wider than this part of what D* moves in a slot, else the chain stands still.
_FINEST_STEP = 0.5


@dataclass(frozen=True, slots=True)
class RunLength:
    """In slots: how long a theft goes on until the alarm (mean, and the 95 % quantile), and how long an honest home goes without one."""

    limit: float
    delay_mean: float
    delay_quantile: int
    false_alarm_mean: float


def run_length(tilt: Tilt, limit: float, *, states: int = 800, quantile: float = 0.95) -> RunLength:
    """From W = 0. The interval [0, limit) is cut into `states` cells; the error falls with their square.

    The means are extrapolated from this number of cells and half of it, where both are alike already.
    """
    _check(limit)
    if limit > _HIGHEST_LIMIT:
        raise TheftError(
            f"a limit of {limit:g} is above {_HIGHEST_LIMIT}: false alarms are too seldom to be worked out"
        )
    if states < 80 or not 0 < quantile < 1:
        raise TheftError("a chain has 80 states at least, and a quantile lies between 0 and 1")
    low, high = tilt.honest.quantile(np.array([0.16, 0.84]))
    step = tilt.mu * float(high - low) / 2  # about a standard deviation of D*
    if limit > _FINEST_STEP * states * step:
        raise TheftError(
            f"D* moves by {step:.2g} in a slot, which is too small for a limit of {limit:g}: steal more, or lower it"
        )
    delay, honest = (
        [_mean(_chain(tilt, density, limit, count)) for count in (states // 2, states)]
        for density in (tilt.stolen, tilt.honest)
    )
    slots = _quantile(_chain(tilt, tilt.stolen, limit, states), quantile)
    return RunLength(limit, _extrapolated(delay), slots, _extrapolated(honest))


def played_delays(density: Density, tilt: Tilt, limit: float, runs: int, rng: np.random.Generator) -> Floats:
    """The slots until the alarm of so many independent runs whose readings follow `density`."""
    _check(limit)
    level, slots, found = np.zeros(runs), 0, np.zeros(runs)
    running = np.arange(runs)
    while running.size:
        slots += 1
        if slots > _MOST_SLOTS:
            raise TheftError(f"no alarm within {_MOST_SLOTS} slots")
        level = np.maximum(0, level + tilt.log_ratio(density.sample(rng, (running.size,))))
        over = level >= limit
        found[running[over]] = slots
        running, level = running[~over], level[~over]
    return found


def _check(limit: float) -> None:
    if not 0 < limit < np.inf:
        raise TheftError(f"a limit of {limit} is not a finite number above 0")


def _chain(tilt: Tilt, density: Density, limit: float, states: int) -> Floats:
    """P(from cell i to cell j) without an alarm. Cell 0 is half as wide: W = 0 is its middle."""
    width = limit / (states - 0.5)

    def at_most(increment: Floats) -> Floats:  # P(D* <= increment) = P(y >= ...)
        return 1 - density.cdf((-tilt.log_z - increment) / tilt.mu)

    steps = np.asarray(width * np.arange(-(states - 1), states), float)
    upper, lower = at_most(steps + width / 2), at_most(steps - width / 2)
    inside, below = upper - lower, upper
    chain = toeplitz(inside[states - 1 :: -1], inside[states - 1 :])
    chain[:, 0] = below[states - 1 :: -1]
    return np.asarray(chain, float)


def _mean(chain: Floats) -> float:
    size = len(chain)
    return float(np.linalg.solve(np.eye(size) - chain, np.ones(size))[0])


def _extrapolated(means: list[float]) -> float:
    coarse, fine = means
    return fine + (fine - coarse) / 3 if abs(fine - coarse) < _ALIKE * fine else fine


def _quantile(chain: Floats, quantile: float) -> int:
    """The first slot by which the alarm has come with this probability: powers of the chain, doubled and then taken apart."""
    powers, left = [chain], 1 - quantile
    while powers[-1][0].sum() > left:
        if len(powers) > _MOST_DOUBLINGS:
            raise TheftError(f"no alarm within {2**_MOST_DOUBLINGS} slots")
        powers.append(powers[-1] @ powers[-1])
    still, slots = np.eye(1, len(chain))[0], 0
    for at in reversed(range(len(powers))):
        later = still @ powers[at]
        if later.sum() > left:
            still, slots = later, slots + 2**at
    return slots + 1
