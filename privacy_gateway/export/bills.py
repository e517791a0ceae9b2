"""One customer's own bills, from the rows that a consumer of masked readings writes (`bills.jsonl`)."""

from __future__ import annotations

import datetime as dt
import enum
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field, StrictInt, StrictStr, model_validator

from hushgrid.core.schedule import round_start, utc_text
from hushgrid.errors import MessageError, RefusedError, RejectReason
from hushgrid.wire.model import Model, Name

_Round = Annotated[StrictInt, Field(ge=0, lt=2**48)]


class BillStatus(enum.StrEnum):
    """Whether there is a number."""

    RELEASED = "released"
    UNRECOVERED = "unrecovered"


class OwnBill(Model):
    """One bill as a consumer writes it. omitted: rounds that are in no sum; watt_hours: None where there is no number."""

    rule: Name
    number: Annotated[StrictInt, Field(ge=1, lt=2**24)]
    start_utc: StrictStr
    end_utc: StrictStr | None = None  # an earlier version did not say
    first_round: _Round
    last_round: _Round
    meter: Name
    status: BillStatus
    watt_hours: StrictInt | None
    rounds: Annotated[StrictInt, Field(ge=0)]
    omitted: tuple[_Round, ...]
    reason: StrictStr

    @model_validator(mode="after")
    def _agrees(self) -> OwnBill:
        length = self.last_round - self.first_round + 1
        if length < 1:
            raise ValueError("the last round is before the first")
        if (self.status is BillStatus.RELEASED) != (self.watt_hours is not None):
            raise ValueError("a released bill has a number, and no other one has")
        if self.watt_hours is not None and self.rounds + len(self.omitted) != length:
            raise ValueError("counted and omitted rounds are not those of the period")
        return self


@dataclass(frozen=True, slots=True)
class PeriodTotal:
    """The energy of one home over [start, start + duration), in seconds since 1970, UTC.

    number, rule: of the rule that the bill is of. watt_hours: None where there is no number, and `reason` says why.
    rounds, of_rounds: so many of the period's rounds are in it.
    """

    number: int
    start_seconds: int
    duration_seconds: int
    rule: str
    watt_hours: int | None
    rounds: int
    of_rounds: int
    reason: str = ""

    @property
    def whole(self) -> bool:
        """Whether every round of the period is in it."""
        return self.watt_hours is not None and self.rounds == self.of_rounds


def read_bills(lines: Iterable[bytes], meter: str, interval_seconds: int) -> tuple[PeriodTotal, ...]:
    """The bills of one meter, in the order of rules and time. interval_seconds: of a round.

    MessageError for a line that is no bill, and where its start or end is not its rounds'; RefusedError for a line of anybody else, and
    for two bills of one period.
    """
    found: dict[tuple[int, int], PeriodTotal] = {}
    for row in map(OwnBill.from_json, lines):
        if row.meter != meter:
            raise RefusedError(f"a bill of another meter than {meter} is among them")
        total = _total(row, interval_seconds)
        if found.setdefault((total.number, total.start_seconds), total) != total:
            raise RefusedError(f"rule {row.rule}: two bills from {row.start_utc} on")
    return tuple(sorted(found.values(), key=lambda total: (total.number, total.start_seconds)))


def _total(row: OwnBill, interval_seconds: int) -> PeriodTotal:
    rounds = row.last_round - row.first_round + 1
    try:
        start = round_start(row.first_round, interval_seconds)
        end = start + dt.timedelta(seconds=rounds * interval_seconds)
    except (OverflowError, ValueError, OSError):
        raise MessageError(RejectReason.OUT_OF_RANGE, f"bill of rounds {row.first_round} to {row.last_round}") from None
    if row.start_utc != utc_text(start):
        raise MessageError(
            RejectReason.MALFORMED, f"bill of round {row.first_round}: it does not begin at {row.start_utc}"
        )
    if row.end_utc is not None and row.end_utc != utc_text(end):
        raise MessageError(RejectReason.MALFORMED, f"bill of round {row.first_round}: it does not end at {row.end_utc}")
    seconds = int((end - start).total_seconds())
    return PeriodTotal(
        row.number,
        row.first_round * interval_seconds,
        seconds,
        row.rule,
        row.watt_hours,
        row.rounds,
        rounds,
        row.reason,
    )
