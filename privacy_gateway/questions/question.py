"""A question as it is asked: what, of whom, when, what for, and how exactly.

Everything is strict: a number that is not understood is refused, and so is a field that a kind of question does not
have.
"""

from __future__ import annotations

import enum
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, ConfigDict, Field, PlainSerializer, model_validator

from hushgrid.wire.model import Model, Round
from hushgrid.wire.purpose import Purpose

#: Steps of a load curve, rounds of a question, items of a cohort: bounds of what is looked at.
MOST_STEPS = 40_000
MOST_ROUNDS = 1_000_000
_MOST_ITEMS = 100_000
_MOST_BINS = 1_000
_DECIMALS = 6
_MOST_DIGITS = 24


class StatisticKind(enum.StrEnum):
    """What is asked. The last three are counts of homes in bins, which only homes can say of themselves."""

    SUM = "sum"
    MEAN = "mean"
    COUNT = "count"
    LOAD_CURVE = "load-curve"
    HISTOGRAM = "histogram"
    QUANTILE = "quantile"
    SHARE_ABOVE = "share-above"


#: Kinds that no sum of readings answers.
DISTRIBUTIONS = frozenset({StatisticKind.HISTOGRAM, StatisticKind.QUANTILE, StatisticKind.SHARE_ABOVE})


def as_written(value: object) -> object:
    """A decimal number exactly as it was written: 0.1 is one tenth. Everything else is left to be refused."""
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        return None
    text = str(value)
    if len(text) > _MOST_DIGITS or any(mark in text for mark in "_ "):
        return None
    try:
        return Decimal(text)
    except InvalidOperation:
        return None


def plain(value: Decimal) -> str:
    """The one way in which a decimal number is written: no exponent, no zeros that say nothing."""
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


#: A finite decimal number above 0 with six places at most, written as a number or as text.
Exact = Annotated[
    Decimal,
    BeforeValidator(as_written),
    Field(gt=0, le=10**15, decimal_places=_DECIMALS, allow_inf_nan=False),
    PlainSerializer(plain, return_type=str),
]
Item = Annotated[str, Field(min_length=1, max_length=300)]


class GatewayQuestion(Model):
    """A question. Its half-open span is [first_round, until_round).

    cohort: a selector of `hushgrid.core.cohorts`: "all", an id, a range, or a list of ids and ranges. epsilon: the
    most that the answer may cost each home; or, instead, the error wanted with 95 % confidence: error_watt_hours (of
    a mean: per home and round; of a load curve: in each step) or error_percent (of the public expectation of
    `GatewayPolicy`, never of the answer, which would tell of it). A count has neither: it is exact. step_rounds: of a
    load curve. bin_edges_watt_hours: of a histogram, rising. quantile: in percent. threshold_watt_hours: of
    share-above. The last three speak of what each home used over the whole span.
    """

    model_config = ConfigDict(strict=True)

    kind: StatisticKind
    cohort: Item | Annotated[tuple[Item, ...], Field(min_length=1, max_length=_MOST_ITEMS)]
    first_round: Round
    until_round: Round
    purpose: Purpose
    epsilon: Exact | None = None
    error_watt_hours: Exact | None = None
    error_percent: Exact | None = None
    step_rounds: Annotated[int, Field(ge=1, le=MOST_ROUNDS)] | None = None
    bin_edges_watt_hours: Annotated[tuple[int, ...], Field(min_length=1, max_length=_MOST_BINS)] | None = None
    quantile_percent: Annotated[Exact, Field(lt=100)] | None = None
    threshold_watt_hours: int | None = None

    @model_validator(mode="after")
    def _is_one_question(self) -> Self:
        rounds = self.until_round - self.first_round
        if not 1 <= rounds <= MOST_ROUNDS:
            raise ValueError(f"a question covers 1 to {MOST_ROUNDS} rounds: first_round <= round < until_round")
        self._check_own_fields()
        wanted = [self.epsilon, self.error_watt_hours, self.error_percent]
        stated = sum(each is not None for each in wanted)
        if self.kind is StatisticKind.COUNT:
            if stated:
                raise ValueError("a count is exact: it has neither epsilon nor error")
        elif stated != 1:
            raise ValueError("exactly one of epsilon, error_watt_hours and error_percent is stated")
        elif self.kind in DISTRIBUTIONS and self.error_watt_hours is not None:
            raise ValueError("of counts in bins no error in watt-hours can be asked")
        if self.step_rounds is not None and (rounds % self.step_rounds or rounds // self.step_rounds > MOST_STEPS):
            raise ValueError(f"the rounds are no whole number of steps, or more than {MOST_STEPS}")
        return self

    def _check_own_fields(self) -> None:
        for kind, name in _OWN_FIELDS.items():
            stated: Any = getattr(self, name)
            if (stated is not None) is not (self.kind is kind):
                raise ValueError(f"{name} belongs to {kind.value}, and to nothing else")
        edges = self.bin_edges_watt_hours or ()
        if list(edges) != sorted(set(edges)):
            raise ValueError("bin_edges_watt_hours rise, each above the one before it")


#: The field that a kind of question has, and no other kind.
_OWN_FIELDS = {
    StatisticKind.LOAD_CURVE: "step_rounds",
    StatisticKind.HISTOGRAM: "bin_edges_watt_hours",
    StatisticKind.QUANTILE: "quantile_percent",
    StatisticKind.SHARE_ABOVE: "threshold_watt_hours",
}
