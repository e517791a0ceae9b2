"""What one home has paid in one period, and whether its cap still holds.

At the cap's delta a home that paid epsilons e_i for Laplace noise and rhos r_j for Gaussian noise has lost at most

    min( sum e_i + c(sum r_j),  c(sum r_j + sum e_i^2 / 2) ),    c(rho) = rho + 2 sqrt(rho ln(1/delta)), c(0) = 0
"""

from __future__ import annotations

from dataclasses import dataclass

from privacy_gateway.ledger.price import FINEST, MICRO, PICO, FailureDelta, PrivacyPrice


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


@dataclass(frozen=True, slots=True)
class BudgetCap:
    """The most that one home may lose in one period, at a delta."""

    epsilon_micro: int
    delta: FailureDelta

    def holds(self, balance: HomeBalance) -> bool:
        """Whether the loss is at most the cap. Exact but for ln(1/delta), which is rounded up."""
        gaussian = balance.rho_pico * (FINEST // PICO)
        cap, left = (
            each * (FINEST // MICRO) for each in (self.epsilon_micro, self.epsilon_micro - balance.epsilon_micro)
        )
        return self.delta.within(gaussian, left) or self.delta.within(gaussian + balance.epsilon_squares, cap)

    def left_micro(self, balance: HomeBalance) -> int:
        """The largest epsilon of one more Laplace answer, in millionths; 0 where none fits."""
        below, above = 0, self.epsilon_micro + 1
        while above - below > 1:
            middle = (below + above) // 2
            fits = self.holds(balance.plus(PrivacyPrice(epsilon_micro=middle)))
            below, above = (middle, above) if fits else (below, middle)
        return below
