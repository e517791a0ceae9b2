"""Discrete Laplace and discrete Gaussian integers, drawn exactly and with integers only.

Canonne, Kamath, Steinke, *The Discrete Gaussian for Differential Privacy* (2020), algorithms 1 to 3. No floating point,
so no gaps in the numbers that betray what they hide (Mironov 2012).
"""

from __future__ import annotations

import math
import secrets
from fractions import Fraction

from hushgrid.core.shamir import RandBelow


def bernoulli_exp(numerator: int, denominator: int, randbelow: RandBelow) -> bool:
    """True with probability exp(-numerator/denominator), for any quotient that is not negative; CKS algorithm 1."""
    while numerator > denominator:
        if not _bernoulli_exp_of_fraction(1, 1, randbelow):
            return False
        numerator -= denominator
    return _bernoulli_exp_of_fraction(numerator, denominator, randbelow)


def _bernoulli_exp_of_fraction(numerator: int, denominator: int, randbelow: RandBelow) -> bool:
    trials = 1
    while randbelow(denominator * trials) < numerator:
        trials += 1
    return trials % 2 == 1


def discrete_laplace(scale: Fraction, randbelow: RandBelow = secrets.randbelow) -> int:
    """An integer x with P(x) proportional to exp(-|x| / scale), exactly; CKS algorithm 2. ValueError unless above 0."""
    if scale <= 0:
        raise ValueError("the scale is not positive")
    top, bottom = scale.numerator, scale.denominator
    while True:
        offset = randbelow(top)
        if not bernoulli_exp(offset, top, randbelow):
            continue
        blocks = 0
        while bernoulli_exp(1, 1, randbelow):
            blocks += 1
        magnitude = (offset + top * blocks) // bottom
        negative = randbelow(2) == 1
        if negative and magnitude == 0:
            continue  # otherwise 0 would count twice
        return -magnitude if negative else magnitude


def discrete_gaussian(variance: Fraction, randbelow: RandBelow = secrets.randbelow) -> int:
    """An integer x with P(x) proportional to exp(-x^2 / (2 variance)), exactly; CKS algorithm 3.

    variance: sigma^2, the law's parameter. ValueError unless variance > 0.
    """
    if variance <= 0:
        raise ValueError("the variance is not positive")
    width = math.isqrt(variance.numerator // variance.denominator) + 1
    # exp(-(|y| - variance/width)^2 / (2 variance)), its numerator and denominator brought to whole numbers
    bottom = 2 * variance.numerator * variance.denominator * width * width
    while True:
        drawn = discrete_laplace(Fraction(width), randbelow)
        off = abs(drawn) * width * variance.denominator - variance.numerator
        if bernoulli_exp(off * off, bottom, randbelow):
            return drawn
