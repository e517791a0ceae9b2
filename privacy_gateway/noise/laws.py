"""The laws of the noise: discrete Laplace and discrete Gaussian over whole watt-hours, and where 95 % of them lie.

Intervals come from the exact laws. Those of a normal law with the same variance are too short.
"""

from __future__ import annotations

import decimal
import math
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

from hushgrid.search import least

#: How sure an interval is, and how errors are asked for.
CONFIDENCE_PERCENT = 95
_OUTSIDE = Fraction(100 - CONFIDENCE_PERCENT, 100)
_DIGITS = 80
#: From this standard deviation on a sum over whole numbers is taken by Euler and Maclaurin's formula, whose rest is
#: below rounding.
_WIDE = 200.0
#: More than what is lost to rounding in a probability.
_ROUNDING = 1e-13


@dataclass(frozen=True)
class LaplaceLaw:
    """P(x) = (1 - a) / (1 + a) a^|x| with a = exp(-1 / scale), over all whole numbers x. scale: Wh, above 0."""

    scale: Fraction

    @property
    def standard_deviation(self) -> float:
        """sqrt(2 a) / (1 - a)."""
        a = math.exp(-1 / float(self.scale))
        return math.sqrt(2 * a) / -math.expm1(-1 / float(self.scale))

    def within(self, half_width: int) -> float:
        """P(|x| <= m) = 1 - 2 a^(m+1) / (1 + a)."""
        scale = float(self.scale)
        return 1 - 2 * math.exp(-(half_width + 1) / scale) / (1 + math.exp(-1 / scale))

    @cached_property
    def half_width(self) -> int:
        """The least m with P(|x| <= m) >= 95 %: m + 1 >= scale ln(40 / (1 + a))."""
        with decimal.localcontext(prec=_DIGITS) as context:
            scale = decimal.Decimal(self.scale.numerator) / decimal.Decimal(self.scale.denominator)
            a = (-1 / scale).exp()
            outside = decimal.Decimal(_OUTSIDE.numerator) / decimal.Decimal(_OUTSIDE.denominator)
            least = scale * (2 / (outside * (1 + a))).ln()
            slack = context.create_decimal(10) ** (least.adjusted() - _DIGITS // 2)
            return max(0, math.ceil(least + slack) - 1)


@dataclass(frozen=True)
class GaussianLaw:
    """P(x) proportional to exp(-x^2 / (2 variance)) over all whole numbers x. variance: Wh^2, the law's parameter,
    above 0.
    """

    variance: Fraction

    @cached_property
    def _sigma(self) -> float:
        return math.sqrt(self.variance)

    @property
    def standard_deviation(self) -> float:
        """The square root of sum x^2 P(x); sigma but for the smallest."""
        sigma = self._sigma
        if sigma >= 10:
            return sigma  # the difference is below exp(-2 pi^2 sigma^2)
        squares = math.fsum(
            2 * k * k * math.exp(-k * k / (2 * sigma * sigma)) for k in range(1, 60 + math.ceil(40 * sigma))
        )
        return math.sqrt(squares / self._whole)

    @cached_property
    def _whole(self) -> float:
        """Sum of exp(-k^2 / (2 sigma^2)) over all k; above sigma = 1 as Poisson turns it round, which converges at
        once.
        """
        sigma = self._sigma
        if sigma < 1:
            return 1 + 2 * math.fsum(math.exp(-k * k / (2 * sigma * sigma)) for k in range(1, 50))
        turned = math.fsum(math.exp(-2 * (math.pi * sigma * k) ** 2) for k in range(1, 10))
        return sigma * math.sqrt(2 * math.pi) * (1 + 2 * turned)

    def within(self, half_width: int) -> float:
        """P(|x| <= m)."""
        sigma = self._sigma
        if sigma < _WIDE:
            part = 1 + 2 * math.fsum(math.exp(-k * k / (2 * sigma * sigma)) for k in range(1, half_width + 1))
            return min(1.0, part / self._whole)
        # Midpoints: sum = integral up to b = m + 1/2, less f'(b) / 12, plus 7 f'''(b) / 2880, for an even function f.
        end = half_width + 0.5
        height = math.exp(-end * end / (2 * sigma * sigma))
        first = -end / sigma**2 * height
        third = (3 * end / sigma**4 - end**3 / sigma**6) * height
        integral = sigma * math.sqrt(2 * math.pi) * math.erf(end / (sigma * math.sqrt(2)))
        return min(1.0, (integral - first / 12 + 7 * third / 2880) / self._whole)

    @cached_property
    def half_width(self) -> int:
        """The least m with P(|x| <= m) >= 95 %, one more where rounding leaves that open."""
        wanted = 1 - float(_OUTSIDE) + _ROUNDING
        return least(lambda width: self.within(width) >= wanted, -1, 2 + math.ceil(3 * self._sigma))
