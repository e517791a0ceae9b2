"""What an answer costs a home, in exact units, and what prices add up to (docs/gateway.md, section Budgets).

epsilon: pure differential privacy, in millionths. rho: zero-concentrated differential privacy (Bun, Steinke 2016), in
units of 10^-12. Between the two stands, at a delta, epsilon = rho + 2 sqrt(rho ln(1/delta)); pure epsilon is rho =
epsilon^2 / 2. Every comparison is one of rational numbers; ln(1/delta) is rounded up, so that nothing is ever charged
too little.
"""

from __future__ import annotations

import decimal
from dataclasses import dataclass
from fractions import Fraction

from hushgrid.search import least

#: Units of epsilon, and of rho, in one.
MICRO = 10**6
PICO = 10**12
#: Half of a square of a millionth is one unit.
FINEST = 2 * PICO
_LOG_DIGITS = 40


@dataclass(frozen=True, slots=True)
class PrivacyPrice:
    """What every home that is covered pays. epsilon_micro: of Laplace noise; rho_pico: of Gaussian noise."""

    epsilon_micro: int = 0
    rho_pico: int = 0

    def __post_init__(self) -> None:
        if self.epsilon_micro < 0 or self.rho_pico < 0:
            raise ValueError("a price below nothing")

    @property
    def is_free(self) -> bool:
        """Whether nothing is paid."""
        return not (self.epsilon_micro or self.rho_pico)


@dataclass(frozen=True, slots=True)
class FailureDelta:
    """With this probability a bound by zCDP may not hold. log: ln(1/delta), rounded up."""

    delta: Fraction
    log: Fraction

    @classmethod
    def of(cls, delta: Fraction) -> FailureDelta:
        """ValueError unless 0 < delta < 1."""
        if not 0 < delta < 1:
            raise ValueError(f"delta {delta} lies not between 0 and 1")
        with decimal.localcontext(prec=_LOG_DIGITS, rounding=decimal.ROUND_CEILING) as context:
            log = (decimal.Decimal(delta.denominator) / decimal.Decimal(delta.numerator)).ln()
            return cls(delta, Fraction(context.next_plus(log)))

    def within(self, rho: int, epsilon: int) -> bool:
        """Whether rho + 2 sqrt(rho ln(1/delta)) <= epsilon; both in units of 1 / `FINEST`, whole numbers throughout."""
        left = epsilon - rho
        return left >= 0 and 4 * rho * self.log.numerator * FINEST <= left * left * self.log.denominator

    def worth_micro(self, price: PrivacyPrice) -> int:
        """What a price is worth by itself as epsilon, in millionths, rounded up."""
        rho = price.rho_pico * (FINEST // PICO)

        def enough(epsilon_micro: int) -> bool:
            return self.within(rho, epsilon_micro * (FINEST // MICRO))

        below, above = -1, 1
        while not enough(above):
            below, above = above, 2 * above
        return price.epsilon_micro + least(enough, below, above)

    def largest_rho_pico(self, epsilon_micro: int) -> int:
        """The most rho that is worth no more than this epsilon, in units of 10^-12."""
        epsilon = epsilon_micro * (FINEST // MICRO)
        beyond = epsilon_micro * (PICO // MICRO) + 1  # rho <= epsilon
        return least(lambda rho_pico: not self.within(rho_pico * (FINEST // PICO), epsilon), 0, beyond) - 1
