"""The meter that found no neighbour: discrete Laplace noise with a stated epsilon, or nothing at all.

Its bill stays exact (the last round takes the noise back, as in `hushgrid.core.pairwise.balanced`); grid sums carry its noise. The paper
proposes Laplace noise "of variance D" here, which is epsilon = sqrt(2 D): 100 for D = 5,000 Wh, no protection to speak of.
Calibrated means scale = D / epsilon for readings that may differ by D.

What epsilon promises: given the bill, which is exact on purpose, and any two tables that differ in one round's reading
by at most D, made up for in the period's last round, no output is more than exp(epsilon) times likelier under one than
under the other. (Wh moved between two earlier rounds: 2 epsilon. All of a period's n rounds at once: (n - 1) epsilon.)

Sampling is exact and uses integers only (`hushgrid.core.noise.sampling`).
"""

from __future__ import annotations

import secrets
from fractions import Fraction

from hushgrid.core.noise.sampling import discrete_laplace
from hushgrid.core.pairwise import DrawnNoise
from hushgrid.core.schedule import Window
from hushgrid.core.shamir import RandBelow
from hushgrid.errors import ConfigurationError

#: A stated epsilon above this is refused: exp(epsilon) then lets an attacker all but read the meter.
LARGEST_EPSILON = Fraction(4)


def laplace_scale(span_watt_hours: int, epsilon: Fraction) -> Fraction:
    """D / epsilon in Wh; D = span: the most that two possible readings of one round differ.

    ConfigurationError unless 0 < epsilon <= LARGEST_EPSILON: an isolated meter then publishes nothing.
    """
    if span_watt_hours < 1 or not 0 < epsilon <= LARGEST_EPSILON:
        raise ConfigurationError(f"epsilon must lie in (0, {LARGEST_EPSILON}], the span must be at least 1 Wh")
    return Fraction(span_watt_hours) / epsilon


def draw_isolated(
    period: Window, span_watt_hours: int, epsilon: Fraction, randbelow: RandBelow = secrets.randbelow
) -> DrawnNoise:
    """The noise of one isolated meter for one period, n - 1 calibrated draws; ConfigurationError for a bad epsilon."""
    scale = laplace_scale(span_watt_hours, epsilon)
    return DrawnNoise(period, tuple(discrete_laplace(scale, randbelow) for _ in range(period.rounds - 1)))
