"""What a run did not recover, why, and whether it should have been recovered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any, cast

from hushgrid.core.recovery import Recovery
from hushgrid.wire.model import Mechanism
from testbed.choices.harms import idle_liars
from testbed.choices.parameters import Parameters
from testbed.verdict.losses import Comparison
from testbed.verdict.sums import Verdict, WindowRow

#: How a consumer of masked readings begins when too few of them are there for a number to be given: a floor, as with `withheld`.
_BELOW_A_FLOOR = "only "
_SPOILED = "a missing share spoils the sums it belongs to under --recovery none"
_TOO_EARLY = "the run began inside a billing period"
_TOO_FEW = "what is there is below a floor"


@dataclass(frozen=True, slots=True)
class Shortfall:
    """Windows, or bills, of one rule that were not recovered for one reason.

    rule: empty of bills; excuse: why they need not have been recovered, empty else.
    """

    consumer: str
    rule: str
    what: str
    count: int
    reason: str
    excuse: str

    @property
    def due(self) -> bool:
        """Whether they should have been recovered."""
        return not self.excuse

    def describe(self) -> str:
        """One line for a person."""
        excuse = f" (as expected: {self.excuse})" if self.excuse else ""
        what = self.what if self.count > 1 else self.what.removesuffix("s")
        whose = f"{self.consumer}'s {self.rule}" if self.rule else self.consumer
        return f"not recovered: {self.count} {what} of {whose}: {self.reason}{excuse}"

    def as_json(self) -> dict[str, object]:
        """For the report."""
        names = ("consumer", "rule", "what", "count", "reason", "excuse")
        return {name: getattr(self, name) for name in names}


def shortfalls(verdict: Verdict, parameters: Parameters, losses: Comparison | None) -> list[Shortfall]:
    """What was not recovered, by rule and reason. losses: None where nobody looked what was missing."""
    spoiled = {r for _, _, r in losses.missed} if losses and parameters.grid.recovery is Recovery.NONE else set()
    whole = _first_whole_period(verdict.rows, parameters)
    found: Counter[tuple[str, str, str, str, str]] = Counter()
    for row in verdict.rows:
        if row.status == "unrecovered":
            found[row.consumer, row.rule, "windows", row.reason, _excuse(row, spoiled, whole)] += 1
    for bill in verdict.bills:
        if bill.status == "unrecovered":
            excuse = _TOO_FEW if bill.reason.startswith(_BELOW_A_FLOOR) else ""
            found[bill.consumer, "", "bills", bill.reason, excuse] += 1
    return [
        Shortfall(consumer, rule, what, count, reason, excuse)
        for (consumer, rule, what, reason, excuse), count in sorted(found.items())
    ]


def _first_whole_period(rows: Sequence[WindowRow], parameters: Parameters) -> int:
    """The round from which masked readings can give columns; 0 where sums come from shares."""
    if parameters.masking.mechanism is not Mechanism.PAIRWISE or not rows:
        return 0
    period = parameters.masking.period
    return -(-min(row.first_round for row in rows) // period) * period


def _excuse(row: WindowRow, spoiled: AbstractSet[int], first_whole_period: int) -> str:
    if row.first_round < first_whole_period:
        return _TOO_EARLY
    if row.reason.startswith(_BELOW_A_FLOOR):
        return _TOO_FEW
    # Where shares were held against each other something else is wrong than that one is missing.
    compared = row.recovered.get("detects", 0) != 0
    if not compared and not spoiled.isdisjoint(range(row.first_round, row.last_round + 1)):
        return _SPOILED
    return ""


def notes(verdict: Verdict, parameters: Parameters) -> list[str]:
    """What is to be said of the harms of a run: what lies can come to, and that nobody was lied to."""
    rules = [rule for plan in verdict.plans for rule in cast("list[dict[str, Any]]", plan["rules"])]
    serving = {(ppn, rule["consumer"]) for rule in rules for ppn in rule["ppns"]}
    idle = idle_liars(parameters.harms.lies, serving)
    return [
        *parameters.lies_come_to,
        *(f"{liar} had nothing to lie about: it served none of these rules" for liar in idle),
    ]
