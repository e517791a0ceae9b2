"""Flexible loads as a linear model: what each load does next, and how far that may be from what was expected.

A load has its habit ybar, its reluctance alpha to come back to it after a disturbance, and beta, what one unit of control does
to it. Equation numbers are those of the paper on the costs of a distribution utility (docs/demand-response.md).
Arrays of loads have the shape (loads,), arrays over time (rounds, loads); all in one unit of power.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from grid_operator.arrays import Floats


class SigmaReading(enum.StrEnum):
    """How the printed "Sigma = diag(10, 20)" is read. The text (after eqs. 32 and 35) supports variances."""

    VARIANCE = "variance"
    DEVIATION = "deviation"


@dataclass(frozen=True, slots=True)
class FlexibleLoads:
    """A, B and Sigma of eq. 33, all diagonal. variance: of each load's disturbance in one round.

    ValueError where the lists differ in length, a number is not finite, |alpha| is not below 1 (the load would never come back),
    a beta is 0 (nothing would answer) or a variance is negative.
    """

    alpha: tuple[float, ...]
    beta: tuple[float, ...]
    variance: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.alpha or not len(self.alpha) == len(self.beta) == len(self.variance):
            raise ValueError(f"{len(self.alpha)} alpha, {len(self.beta)} beta and {len(self.variance)} sigma: "
                             "each load needs one of each")  # fmt: skip
        if not all(map(math.isfinite, (*self.alpha, *self.beta, *self.variance))):
            raise ValueError("alpha, beta and sigma have to be finite numbers")
        for value in self.alpha:
            if not abs(value) < 1:
                raise ValueError(f"alpha {value:g} is unstable: a load comes back to its habit with |alpha| below 1")
        for value in self.beta:
            if value == 0:
                raise ValueError("beta 0: control would do nothing to this load")
        for value in self.variance:
            if value < 0:
                raise ValueError(f"a variance cannot be negative: {value:g}")

    @classmethod
    def of(cls, alpha: Sequence[float], beta: Sequence[float], sigma: Sequence[float], reading: SigmaReading) -> Self:
        """The loads with sigma read as variances or as standard deviations. ValueError as above."""
        for value in sigma:
            if value < 0:
                raise ValueError(f"sigma cannot be negative: {value:g}")
        squared = reading is SigmaReading.DEVIATION
        return cls(tuple(alpha), tuple(beta), tuple(value * value if squared else value for value in sigma))

    @property
    def alphas(self) -> Floats:
        """alpha as an array, (loads,)."""
        return np.array(self.alpha)

    @property
    def betas(self) -> Floats:
        """beta as an array, (loads,)."""
        return np.array(self.beta)

    @property
    def deviations(self) -> Floats:
        """Standard deviations of the disturbances, (loads,)."""
        return np.asarray(np.sqrt(np.array(self.variance)))


def offsets(loads: FlexibleLoads, habit: Floats) -> Floats:
    """mu_k = ybar_{k+1} - A ybar_k (eq. 30): what is expected of the disturbance d_k. habit: (rounds + 1, loads)."""
    return np.asarray(habit[1:] - loads.alphas * habit[:-1])


def mean_after(loads: FlexibleLoads, start: Floats, control: Floats, mu: Floats) -> Floats:
    """What is expected N rounds after `start` (eqs. 32 and 35). control, mu: (N, loads)."""
    ahead = np.arange(len(mu) - 1, -1, -1)[:, None]
    kept = loads.alphas**ahead
    return np.asarray(loads.alphas ** len(mu) * start + (kept * (loads.betas * control + mu)).sum(axis=0))


def variance_after(loads: FlexibleLoads, interval: int | None) -> Floats:
    """How uncertain each load is that many rounds after it was seen (eqs. 32 and 35), (loads,); None: it is never seen.

    sigma^2 (1 - alpha^2N) / (1 - alpha^2), the sum of the geometric series in the paper.
    """
    squares = loads.alphas**2
    kept = np.zeros_like(squares) if interval is None else squares**interval
    return np.asarray(np.array(loads.variance) * (1 - kept) / (1 - squares))
