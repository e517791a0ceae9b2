"""How much noise hides: bits that a masked reading tells of the reading, and what an isolated meter's noise costs."""

from __future__ import annotations

import math
import random
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from experiments.pairwise.table import (
    SPAN_WATT_HOURS,
    constructed_readings,
    edges_of_degree,
    hardened,
    masked_table,
    published_fresh,
    uniform_readings,
)
from grid_operator.arrays import Floats
from hushgrid.core import pairwise_published
from hushgrid.core.schedule import Window
from hushgrid.wire.model import Variant
from meter_agent.masked import isolated

#: Bins per axis of the estimate, and blocks of rounds from which its error is taken.
BINS = 32
BLOCKS = 5
#: Periods of isolated noise behind each point.
PERIODS = 4


def exact_bits(degree: int, span_watt_hours: int) -> float:
    """I(d; w) = H(w) - H(s) in bits for d uniform over [0, D] and s the sum of `degree` uniforms over [-D/2, D/2].

    By convolution of the exact distributions; no sampling.
    """
    uniform = np.full(span_watt_hours + 1, 1 / (span_watt_hours + 1))
    noise = uniform
    for _ in range(degree - 1):
        noise = _convolve(noise, uniform)
    return _entropy(_convolve(noise, uniform)) - _entropy(noise)


def _convolve(one: Floats, other: Floats) -> Floats:
    size = len(one) + len(other) - 1
    wide = 1 << (size - 1).bit_length()
    product = np.fft.irfft(np.fft.rfft(one, wide) * np.fft.rfft(other, wide), wide)[:size]
    return np.asarray(np.clip(product, 0, None))


def _entropy(chances: Floats) -> float:
    some = chances[chances > 0]
    return float(-(some * np.log2(some)).sum())


def mutual_information_bits(secret: Floats, seen: Floats) -> float:
    """I(secret; seen) in bits from paired samples: 2 I_{2B} - I_B over equal-count bins.

    Bins lose information where the joint density has an edge, as 1/B; the extrapolation takes that back. Near 0 the
    estimate may come out slightly negative: that is its error, not clipped away.
    """
    return 2 * _binned_bits(secret, seen, 2 * BINS) - _binned_bits(secret, seen, BINS)


def _binned_bits(secret: Floats, seen: Floats, bins: int) -> float:
    """The plug-in estimate with Miller and Madow's correction for the cells that occur."""

    def binned(values: Floats) -> NDArray[np.int64]:
        ranks = np.argsort(np.argsort(values, kind="stable"), kind="stable")
        return np.asarray(ranks * bins // len(values), dtype=np.int64)

    joint = np.bincount(binned(secret) * bins + binned(seen), minlength=bins * bins).reshape(bins, bins) / len(secret)
    plain = _entropy(joint.sum(axis=1)) + _entropy(joint.sum(axis=0)) - _entropy(joint.ravel())
    excess = int((joint > 0).sum()) - 2 * bins + 1
    return plain - excess / (2 * len(secret) * math.log(2))


@dataclass(frozen=True, slots=True)
class Leakage:
    """bits, error: the estimate per reading and its standard error. exact_bits: what it should come to.
    bounded_fraction: readings for which w alone proves a lower bound above 0. determined_fraction: pinned to one value.
    """

    variant: Variant
    degree: int
    readings: int
    bits: float
    error: float
    exact_bits: float
    bounded_fraction: float
    determined_fraction: float


def measure_leakage(variant: Variant, degree: int, meters: int, rounds: int, rng: random.Random) -> Leakage:
    """What one masked reading tells of its reading, over a table of uniform readings masked by the meter's code.

    The balancing round is left out. The bound: |s| <= degree D/2, so w > degree D/2 proves d >= w - degree D/2.
    """
    readings = uniform_readings(meters, rounds, rng)
    published = variant is Variant.PUBLISHED
    make = published_fresh(Window(0, rounds), rng) if published else hardened(meters)
    seen = masked_table(readings, edges_of_degree(meters, degree), make).centred()[:, :-1]
    truth = readings[:, :-1].astype(np.float64)
    reach = degree * (SPAN_WATT_HOURS // 2)
    low, high = np.maximum(seen - reach, 0), np.minimum(seen + reach, SPAN_WATT_HOURS)
    blocks = [
        mutual_information_bits(truth[:, part].ravel(), seen[:, part].ravel())
        for part in np.array_split(np.arange(rounds - 1), BLOCKS)
    ]
    return Leakage(
        variant,
        degree,
        truth.size,
        mutual_information_bits(truth.ravel(), seen.ravel()),
        float(np.std(blocks, ddof=1) / math.sqrt(BLOCKS)),
        exact_bits(degree, SPAN_WATT_HOURS) if published else 0.0,
        float(((low > 0) & (low <= high)).mean()),
        float(((low == high) & (low == truth)).mean()),
    )


@dataclass(frozen=True, slots=True)
class IsolatedError:
    """Root mean square error of a grid sum over the mean grid sum, for a fraction of isolated meters.

    error: in an ordinary round; last_round_error: in the round that takes the noise back.
    """

    noise: str
    epsilon: float
    meters: int
    isolated_fraction: float
    error_fraction: float
    last_round_error_fraction: float


def isolated_errors(
    meters: int, fractions: Sequence[float], epsilons: Sequence[Fraction], rng: random.Random
) -> list[IsolatedError]:
    """Measured on constructed readings, with the noise a meter would draw, over PERIODS periods of 48 rounds.

    Only isolated meters' noise is left in a column, so the error is the sum of their terms. The last round's is that of one
    meter times the root of their number: PERIODS samples of it alone would be too few.
    """
    mean_column = float(constructed_readings(meters, 48, rng).sum(axis=0).mean())
    found = []
    for epsilon in (None, *epsilons):
        terms = np.array([[_isolated_terms(epsilon, rng) for _ in range(PERIODS)] for _ in range(meters)])
        last_root = math.sqrt(float((terms[..., -1] ** 2).mean()))
        for fraction in fractions:
            count = round(fraction * meters)
            error = terms[:count, :, :-1].sum(axis=0)
            found.append(
                IsolatedError(
                    "published" if epsilon is None else "calibrated",
                    pairwise_published.published_epsilon(SPAN_WATT_HOURS) if epsilon is None else float(epsilon),
                    meters,
                    fraction,
                    math.sqrt(float((error**2).mean())) / mean_column,
                    math.sqrt(count) * last_root / mean_column,
                )
            )
    return found


def _isolated_terms(epsilon: Fraction | None, rng: random.Random) -> list[int]:
    """One isolated meter's noise in one period of 48 rounds; epsilon None: as the paper has it."""
    period = Window(0, 48)
    if epsilon is not None:
        drawn = isolated.draw_isolated(period, SPAN_WATT_HOURS, epsilon, rng.randrange)
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", pairwise_published.UnsafeNoiseWarning)
            drawn = pairwise_published.draw_isolated(period, SPAN_WATT_HOURS, unsafe=True, randbelow=rng.randrange)
    return [drawn.term(j, period) for j in period]
