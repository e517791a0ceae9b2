"""What an honest home uses in one slot: Gamma, normal, or its own history. Slots are independent draws (the paper's f0).

Energies are in one unit throughout, kWh in the experiments; mu has its inverse.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import fft, stats
from scipy.special import logsumexp

from grid_operator.arrays import Floats
from grid_operator.theft.errors import TheftError


class Density(Protocol):
    """The law of one slot."""

    @property
    def mean(self) -> float:
        """E[y]."""

    @property
    def least(self) -> float:
        """No reading is below it; -inf where there is no bound."""

    @property
    def most(self) -> float:
        """No reading is above it; inf where there is no bound."""

    def log_z(self, mu: float) -> float:
        """ln E[exp(-mu y)], the logarithm of Z(mu) of one slot (eq. 17)."""

    def tilted(self, mu: float) -> Density:
        """The law with density f0(y) exp(-mu y) / Z(mu) (eq. 18)."""

    def cdf(self, energy: ArrayLike) -> Floats:
        """P(y <= energy)."""

    def quantile(self, fraction: ArrayLike) -> Floats:
        """The smallest energy with at least this probability at or below it."""

    def atom(self, energy: float) -> float:
        """P(y = energy)."""

    def mean_over(self, energy: float) -> float:
        """E[max(y - energy, 0)]."""

    def sample(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Floats:
        """Independent draws."""

    def total(self, slots: int) -> Any | None:
        """The law of the sum over slots, with cdf and ppf as scipy's laws have them; None where it has to be drawn."""


@dataclass(frozen=True, slots=True)
class Gamma:
    """Gamma(shape, scale): never below 0, with a tail of large readings."""

    shape: float
    scale: float

    def __post_init__(self) -> None:
        if not (0 < self.shape < math.inf and 0 < self.scale < math.inf):
            raise TheftError(f"Gamma({self.shape}, {self.scale}): shape and scale are finite and above 0")

    @property
    def mean(self) -> float:
        """shape times scale."""
        return self.shape * self.scale

    @property
    def least(self) -> float:
        """0."""
        return 0.0

    @property
    def most(self) -> float:
        """There is no largest reading."""
        return math.inf

    def log_z(self, mu: float) -> float:
        """-shape ln(1 + mu scale)."""
        return -self.shape * math.log1p(mu * self.scale)

    def tilted(self, mu: float) -> Gamma:
        """Gamma(shape, scale / (1 + mu scale))."""
        return Gamma(self.shape, self.scale / (1 + mu * self.scale))

    def cdf(self, energy: ArrayLike) -> Floats:
        """P(y <= energy)."""
        return np.asarray(stats.gamma.cdf(energy, self.shape, scale=self.scale), float)

    def quantile(self, fraction: ArrayLike) -> Floats:
        """The inverse of `cdf`."""
        return np.asarray(stats.gamma.ppf(fraction, self.shape, scale=self.scale), float)

    def atom(self, energy: float) -> float:
        """No single energy has a probability."""
        del energy
        return 0.0

    def mean_over(self, energy: float) -> float:
        """E[max(y - energy, 0)]."""
        above = stats.gamma.sf(energy, self.shape, scale=self.scale)
        return float(self.mean * stats.gamma.sf(energy, self.shape + 1, scale=self.scale) - energy * above)

    def sample(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Floats:
        """Independent draws."""
        return rng.gamma(self.shape, self.scale, shape)

    def total(self, slots: int) -> Any:
        """Gamma(slots shape, scale)."""
        return stats.gamma(slots * self.shape, scale=self.scale)


@dataclass(frozen=True, slots=True)
class Normal:
    """Normal(mean, deviation squared): what sums over long slots come to. Negative readings are feed-in."""

    mean: float
    deviation: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.mean) and 0 < self.deviation < math.inf):
            raise TheftError(f"Normal({self.mean}, {self.deviation}): the mean is finite, the deviation is above 0")

    @property
    def least(self) -> float:
        """There is no smallest reading."""
        return -math.inf

    @property
    def most(self) -> float:
        """There is no largest reading."""
        return math.inf

    def log_z(self, mu: float) -> float:
        """-mu mean + mu^2 deviation^2 / 2."""
        return -mu * self.mean + (mu * self.deviation) ** 2 / 2

    def tilted(self, mu: float) -> Normal:
        """Normal(mean - mu deviation^2, deviation^2): the attacker's best variance is the honest one."""
        return Normal(self.mean - mu * self.deviation**2, self.deviation)

    def cdf(self, energy: ArrayLike) -> Floats:
        """P(y <= energy)."""
        return np.asarray(stats.norm.cdf(energy, self.mean, self.deviation), float)

    def quantile(self, fraction: ArrayLike) -> Floats:
        """The inverse of `cdf`."""
        return np.asarray(stats.norm.ppf(fraction, self.mean, self.deviation), float)

    def atom(self, energy: float) -> float:
        """No single energy has a probability."""
        del energy
        return 0.0

    def mean_over(self, energy: float) -> float:
        """E[max(y - energy, 0)]."""
        z = (self.mean - energy) / self.deviation
        return float(self.deviation * stats.norm.pdf(z) + (self.mean - energy) * stats.norm.cdf(z))

    def sample(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Floats:
        """Independent draws."""
        return rng.normal(self.mean, self.deviation, shape)

    def total(self, slots: int) -> Any:
        """Normal(slots mean, slots deviation^2)."""
        return stats.norm(slots * self.mean, math.sqrt(slots) * self.deviation)


#: Sums on a longer lattice are drawn.
_LONGEST_LATTICE = 2**23


@dataclass(frozen=True, slots=True, eq=False)
class LatticeSum:
    """The law of a sum of independent readings that are whole multiples of a step: exact, every sum is an atom.

    begin: the smallest sum, in steps; cumulated: P(sum <= begin + k) for k = 0, 1, ...
    """

    begin: int
    step: float
    cumulated: Floats

    @classmethod
    def of(cls, steps: NDArray[np.int64], weights: Floats, step: float, slots: int) -> LatticeSum | None:
        """By the Fourier transform of one slot's law. None where the lattice is too long."""
        begin, span = int(steps.min()), int(steps.max() - steps.min())
        if span * slots >= _LONGEST_LATTICE:
            return None
        size = fft.next_fast_len(span * slots + 1, real=True)
        one = np.bincount(steps - begin, weights=weights, minlength=span + 1)
        whole = fft.irfft(fft.rfft(one, size) ** slots, size)[: span * slots + 1]
        cumulated = np.cumsum(np.maximum(whole, 0))
        return cls(begin * slots, step, np.asarray(cumulated / cumulated[-1], float))

    def cdf(self, total: float) -> float:
        """P(sum <= total)."""
        return self._up_to(math.floor(total / self.step + 1e-6) - self.begin)

    def below(self, total: float) -> float:
        """P(sum < total)."""
        return self._up_to(math.ceil(total / self.step - 1e-6) - 1 - self.begin)

    def ppf(self, fraction: float) -> float:
        """The smallest sum with at least this probability at or below it."""
        at = int(np.searchsorted(self.cumulated, fraction, side="left"))
        return (self.begin + min(at, self.cumulated.size - 1)) * self.step

    def _up_to(self, at: int) -> float:
        return 0.0 if at < 0 else float(self.cumulated[min(at, self.cumulated.size - 1)])


@dataclass(frozen=True, eq=False)
class Empirical:
    """A home's own history: each of its readings is as likely as its weight says.

    values: ascending; log_weights: logarithms of their probabilities; step: all values are whole multiples of it (a meter's Wh), None
    where there is no such step.
    """

    values: Floats
    log_weights: Floats
    step: float | None = None
    _totals: dict[int, LatticeSum | None] = field(default_factory=dict, repr=False)  # worked out once

    @classmethod
    def of(cls, history: Sequence[float] | Floats, step: float | None = None) -> Empirical:
        """Of readings, all equally likely. TheftError for fewer than two different ones or one that is no number."""
        found = np.sort(np.asarray(history, float), axis=None)
        if np.ndim(history) != 1 or not np.isfinite(found).all():
            raise TheftError("a history is a row of finite readings")
        if step is not None and not (
            0 < step < math.inf and np.allclose(found / step, np.round(found / step), atol=1e-6)
        ):
            raise TheftError(f"not every reading is a whole multiple of {step}")
        if found.size < 2 or found[0] == found[-1]:
            raise TheftError("a history needs two different readings at least")
        return cls(found, np.full(found.size, -math.log(found.size)), step)

    @cached_property
    def _weights(self) -> Floats:
        weights = np.exp(self.log_weights)
        return np.asarray(weights / weights.sum(), float)

    @cached_property
    def _cumulated(self) -> Floats:
        """0, then the probability of the first value, of the first two, ..., 1."""
        sums = np.concatenate([[0.0], np.cumsum(self._weights)])
        sums[-1] = 1.0
        return sums

    @property
    def mean(self) -> float:
        """E[y]."""
        return float(self._weights @ self.values)

    @property
    def least(self) -> float:
        """The smallest reading of the history."""
        return float(self.values[0])

    @property
    def most(self) -> float:
        """The largest reading of the history."""
        return float(self.values[-1])

    def log_z(self, mu: float) -> float:
        """ln of the mean of exp(-mu y), by log-sum-exp."""
        return float(logsumexp(self.log_weights - mu * self.values))

    def tilted(self, mu: float) -> Empirical:
        """The same readings with other weights."""
        return Empirical(self.values, self.log_weights - mu * self.values - self.log_z(mu), self.step)

    def cdf(self, energy: ArrayLike) -> Floats:
        """P(y <= energy)."""
        return np.asarray(self._cumulated[np.searchsorted(self.values, energy, side="right")], float)

    def quantile(self, fraction: ArrayLike) -> Floats:
        """The smallest reading with at least this probability at or below it."""
        at = np.searchsorted(self._cumulated[1:], np.asarray(fraction, float) - 1e-12, side="left")
        return np.asarray(self.values[np.minimum(at, self.values.size - 1)], float)

    def atom(self, energy: float) -> float:
        """P(y = energy)."""
        return float(self._weights[self.values == energy].sum())

    def mean_over(self, energy: float) -> float:
        """E[max(y - energy, 0)]."""
        return float(self._weights @ np.maximum(self.values - energy, 0))

    def sample(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Floats:
        """Independent draws."""
        at = np.searchsorted(self._cumulated[1:], rng.random(shape), side="right")
        return np.asarray(self.values[np.minimum(at, self.values.size - 1)], float)

    def total(self, slots: int) -> LatticeSum | None:
        """Exact where the readings have a step; None where sums have to be drawn."""
        if self.step is None:
            return None
        if slots not in self._totals:
            steps = np.round(self.values / self.step).astype(np.int64)
            self._totals[slots] = LatticeSum.of(steps, self._weights, self.step, slots)
        return self._totals[slots]
