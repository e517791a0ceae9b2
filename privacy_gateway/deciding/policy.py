"""What the gateway's operator sets: how few homes, how short a span, how much of a budget."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction

from privacy_gateway.ledger.balance import BudgetCap
from privacy_gateway.ledger.price import MICRO

#: What CPUC resolution E-5105 suppresses: fields of fewer customers.
MINIMUM_HOMES = 100


@dataclass(frozen=True, slots=True)
class GatewayPolicy:
    """ValueError where a field cannot be meant.

    bound_span_watt_hours: R, the most that two possible readings of one home and round differ, by contract (both
    signs where feed-in is possible); bounds_of: of homes with another bound. typical_watt_hours: what a home is
    publicly expected to use in a round; an error in percent is one of this, never of an answer. cap: of a home in a
    period. period_rounds: rounds of a period, counted from round 0 (17,520 half hours: 365 days). minimum_homes: with
    readings in every round asked about, and of every combination of answers. minimum_rounds: of every number.
    largest_epsilon_micro: of one question.
    """

    bound_span_watt_hours: int
    typical_watt_hours: Fraction
    cap: BudgetCap
    period_rounds: int
    minimum_homes: int = MINIMUM_HOMES
    minimum_rounds: int = 1
    largest_epsilon_micro: int = MICRO
    bounds_of: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        numbers: dict[str, int | Fraction] = {
            "bound_span_watt_hours": min([self.bound_span_watt_hours, *self.bounds_of.values()]),
            "typical_watt_hours": self.typical_watt_hours,
            "cap": self.cap.epsilon_micro,
            "period_rounds": self.period_rounds,
            "minimum_homes": self.minimum_homes,
            "minimum_rounds": self.minimum_rounds,
            "largest_epsilon_micro": self.largest_epsilon_micro,
        }
        for name, value in numbers.items():
            if value <= 0:
                raise ValueError(f"{name} {value} is not above 0")

    def bound_of(self, homes: Iterable[str]) -> int:
        """The largest R among some homes."""
        if not self.bounds_of:
            return self.bound_span_watt_hours
        return max(self.bounds_of.get(home, self.bound_span_watt_hours) for home in homes)
