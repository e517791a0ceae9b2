"""What a campaign pays, to the cent: for what was delivered, and for nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from fractions import Fraction

from grid_operator.market.errors import MarketError

_CENTS = 100


def cents(amount: str | int | Decimal) -> int:
    """An amount of money as whole cents. MarketError for what is none, is below 0, or is finer than a cent."""
    try:
        exact = Decimal(amount) * _CENTS
    except (InvalidOperation, ValueError, TypeError):
        raise MarketError(f"{amount!r} is no amount of money") from None
    if not exact.is_finite() or exact < 0 or exact != exact.to_integral_value():
        raise MarketError(f"{amount} is no amount of money in whole cents")
    return int(exact)


@dataclass(frozen=True, slots=True)
class Payment:
    """To one home. cents: what it gets, rounded half to even. exact_cents: before it was rounded."""

    home: str
    delivered: int
    slots: int
    exact_cents: Fraction
    cents: int

    def __str__(self) -> str:
        rounded = "" if self.exact_cents == self.cents else f", rounded half to even from {float(self.exact_cents):.4f}"
        return f"{self.home}: {self.delivered} of {self.slots} slots, {self.cents} cents{rounded}"


@dataclass(frozen=True, slots=True)
class Settlement:
    """Of a campaign. payments: by home, those that delivered nothing among them."""

    payments: tuple[Payment, ...]

    @property
    def cents(self) -> int:
        """All that is paid: the sum of what the homes get, since each gets whole cents."""
        return sum(payment.cents for payment in self.payments)

    @property
    def rounding_cents(self) -> Fraction:
        """What rounding added, or took."""
        return self.cents - sum((payment.exact_cents for payment in self.payments), Fraction(0))


def settle(compensation_cents: int, slots: int, delivered: Mapping[str, int]) -> Settlement:
    """Pay every home that accepted its part of the compensation: delivered slots of all slots.

    compensation_cents: of the whole campaign, for one home. delivered: slots by home. MarketError for a campaign without
    slots, a compensation below 0, and more slots than there were.
    """
    if slots < 1 or compensation_cents < 0:
        raise MarketError(f"a campaign of {slots} slots at {compensation_cents} cents cannot be settled")
    payments = []
    for home, count in sorted(delivered.items()):
        if not 0 <= count <= slots:
            raise MarketError(f"{home} delivered {count} of {slots} slots")
        exact = Fraction(compensation_cents * count, slots)
        payments.append(Payment(home, count, slots, exact, round(exact)))  # of a Fraction: half to even
    return Settlement(tuple(payments))
