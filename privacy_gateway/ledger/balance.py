"""What one home has paid in one period, and whether its cap still holds.

Whoever asks may choose each price after seeing the answers before. A bound that follows from what was paid, and
nothing else, must then be fixed beforehand (a *filter*: Feldman, Zrnic 2021; Whitehouse, Ramdas, Rogers, Wu 2023).
With e_i the epsilons paid for Laplace noise, r_j the rhos paid for Gaussian noise, L = ln(2 / delta), a cap E holds
as long as one of three does:

    (1)  sum e_i <= E, and no r_j
    (2)  sum r_j + sum e_i^2 / 2 <= R,  the largest R with R + 2 sqrt(R L) <= E
    (3)  sum e_i + (1 + m) sum r_j + L / m <= E,  for one m of the cap's own

(1) holds always. (2) and (3) fail with probability delta / 2 each: along every path exp(m loss - m (m + 1) sum r_j)
is a supermartingale, whatever m > 0, so that losses of Gaussian answers stay below (1 + m) sum r_j + L / m. m is
where (3) is best for a home that spends half of its cap on each.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

from hushgrid.search import least
from privacy_gateway.ledger.price import FINEST, MICRO, PICO, FailureDelta, PrivacyPrice

#: m is a whole number of these: any m is right, so that it may be rounded.
_STEPS = 1000


@dataclass(frozen=True, slots=True)
class HomeBalance:
    """Sums of whole numbers. epsilon_micro: of e_i; epsilon_squares: of their squares, in 10^-12; rho_pico: of r_j."""

    epsilon_micro: int = 0
    epsilon_squares: int = 0
    rho_pico: int = 0

    def plus(self, price: PrivacyPrice) -> HomeBalance:
        """After one more payment."""
        return HomeBalance(
            self.epsilon_micro + price.epsilon_micro,
            self.epsilon_squares + price.epsilon_micro**2,
            self.rho_pico + price.rho_pico,
        )


@dataclass(frozen=True)
class BudgetCap:
    """The most that one home may lose in one period, at a delta. ValueError unless it is above 0."""

    epsilon_micro: int
    delta: FailureDelta

    def __post_init__(self) -> None:
        if self.epsilon_micro < 1:
            raise ValueError(f"a cap of {self.epsilon_micro / MICRO:g} is not above 0")

    @cached_property
    def half(self) -> FailureDelta:
        """Half of delta: what (2) and (3) may fail with, each."""
        return FailureDelta.of(self.delta.delta / 2)

    @cached_property
    def largest_rho_pico(self) -> int:
        """R."""
        return self.half.largest_rho_pico(self.epsilon_micro)

    @cached_property
    def slope(self) -> Fraction:
        """m, at least one step."""
        rho = self.half.largest_rho_pico(max(1, self.epsilon_micro // 2)) or 1
        return Fraction(max(1, math.isqrt(int(self.half.log * PICO * _STEPS**2 / rho))), _STEPS)

    @cached_property
    def _line(self) -> tuple[int, int, int]:
        """(3) in whole numbers: a epsilon + b rho <= c, epsilon and rho in units of 1 / `FINEST`."""
        left = (Fraction(self.epsilon_micro, MICRO) - self.half.log / self.slope) * FINEST
        common = math.lcm(self.slope.denominator, left.denominator)
        return common, int((1 + self.slope) * common), int(left * common)

    def holds(self, balance: HomeBalance) -> bool:
        """Whether one of the three holds. Exact but for ln(2 / delta), which is rounded up."""
        if balance.rho_pico == 0 and balance.epsilon_micro <= self.epsilon_micro:
            return True
        gaussian, epsilon = balance.rho_pico * (FINEST // PICO), balance.epsilon_micro * (FINEST // MICRO)
        if gaussian + balance.epsilon_squares <= self.largest_rho_pico * (FINEST // PICO):
            return True
        of_epsilon, of_rho, most = self._line
        return of_epsilon * epsilon + of_rho * gaussian <= most

    def left_micro(self, balance: HomeBalance) -> int:
        """The largest epsilon of one more Laplace answer, in millionths; 0 where none fits."""

        def too_much(epsilon_micro: int) -> bool:
            return not self.holds(balance.plus(PrivacyPrice(epsilon_micro=epsilon_micro)))

        return least(too_much, 0, self.epsilon_micro + 1) - 1
