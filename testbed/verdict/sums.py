"""What the consumers recovered, beside the truth: the sum of the readings of exactly the pairs that were included."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from configurator.registry.history import PlanHistory
from configurator.registry.registry import Registry
from configurator.values import PlannedRule, RuleWindow
from hushgrid.core.schedule import Window
from hushgrid.plan.head import Head
from hushgrid.plan.parts import Rule
from hushgrid.statements.rounds import Contributors
from hushgrid.wire.model import Mechanism
from testbed.deployment import CONFIGURATOR, Deployment
from testbed.households import Truth
from testbed.verdict.periods import BillingSpan

#: What a consumer's result says beside the sum: (meter, round) pairs that were left out, by cause; points; repaired shares.
_RECOVERED = ("gaps", "lost", "inconsistent", "points", "wrong_points", "repaired")


#: The status of a window before the first whole billing period: there is nothing to recover, and nothing missing.
NOT_MASKED = "not masked"


@dataclass(frozen=True, slots=True)
class WindowRow:
    """One (rule, window) as the report shows it; expected and included count (meter, round) pairs.

    recovered: what its consumer wrote down beside the sum: dropouts by cause, points, repairs; empty without a result.
    """

    consumer: str
    rule: str
    first_round: int
    last_round: int
    expected: int
    included: int
    status: str
    reason: str
    watt_hours: int | None
    truth_watt_hours: int
    gaps: tuple[tuple[str, int], ...]
    recovered: Mapping[str, object]

    @property
    def wrong(self) -> bool:
        """A number was released and is not the truth."""
        return self.status == "released" and self.watt_hours != self.truth_watt_hours

    def as_json(self) -> dict[str, object]:
        """For the report."""
        fields = (
            "consumer",
            "rule",
            "first_round",
            "last_round",
            "expected",
            "included",
            "status",
            "reason",
            "watt_hours",
        )
        known = {name: getattr(self, name) for name in fields} | {"truth_watt_hours": self.truth_watt_hours}
        return known | {name: self.recovered[name] for name in _RECOVERED if name in self.recovered}


@dataclass(frozen=True, slots=True)
class BillRow:
    """One meter's bill of one billing period, numbered from 0 within the run. omitted: rounds that are in no sum.

    carried: Wh of omitted rounds that it has to contain; unaccounted: Wh of its meter that are on no bill and not owed.
    """

    consumer: str
    meter: str
    period: int
    window: Window
    status: str
    reason: str
    watt_hours: int | None
    truth_watt_hours: int
    omitted: tuple[int, ...]
    carried_watt_hours: int = 0
    unaccounted_watt_hours: int = 0

    @property
    def wrong(self) -> bool:
        """A number was given and is not the truth, or Wh of the meter are lost."""
        if self.watt_hours is None:
            return self.unaccounted_watt_hours != 0
        return self.watt_hours != self.truth_watt_hours

    def as_json(self) -> dict[str, object]:
        """For the report."""
        return {
            "meter": self.meter,
            "period": self.period,
            "first_round": self.window.first,
            "last_round": self.window.last,
            "status": self.status,
            "reason": self.reason,
            "watt_hours": self.watt_hours,
            "truth_watt_hours": self.truth_watt_hours,
            "carried_watt_hours": self.carried_watt_hours,
            "unaccounted_watt_hours": self.unaccounted_watt_hours,
            "omitted_rounds": list(self.omitted),
        }


@dataclass(frozen=True, slots=True)
class Verdict:
    """All rows of a run, its plans, and the bills of masked readings with the double entries that balance.

    notes: what a person is to be told of rounds outside whole billing periods.
    """

    rows: tuple[WindowRow, ...]
    bills: tuple[BillRow, ...] = ()
    double_entries: int = 0
    plans: tuple[dict[str, object], ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def due(self) -> tuple[WindowRow, ...]:
        """The rows of windows that there could be a sum of."""
        return tuple(row for row in self.rows if row.status != NOT_MASKED)

    @property
    def counts(self) -> dict[str, int]:
        """Windows that are due, by what became of them."""
        by_status = Counter(row.status for row in self.due)
        counts = {
            "windows": len(self.due),
            "released": by_status["released"],
            "wrong": sum(row.wrong for row in self.rows),
            "unrecovered": by_status["unrecovered"],
            "withheld": by_status["withheld"],
        }
        return counts | self._bill_counts if self.bills else counts

    @property
    def _bill_counts(self) -> dict[str, int]:
        return {
            "bills": len(self.bills),
            "bills_exact": sum(bill.watt_hours is not None and not bill.wrong for bill in self.bills),
            "bills_wrong": sum(bill.wrong for bill in self.bills),
            "bills_absent": sum(bill.watt_hours is None and not bill.wrong for bill in self.bills),
            "double_entries": self.double_entries,
        }

    @property
    def coverage(self) -> float | None:
        """Included among expected (meter, round) pairs, over released windows; None without any."""
        return coverage_in(self.rows)


def coverage_in(rows: Sequence[WindowRow]) -> float | None:
    """Included among expected (meter, round) pairs, over the rows that were released; None without any."""
    released = [row for row in rows if row.status == "released"]
    expected = sum(row.expected for row in released)
    return sum(row.included for row in released) / expected if expected else None


def windows_of(deployment: Deployment, truth: Truth) -> list[RuleWindow]:
    """Every whole window of the run, with its rule and cohort, as the plan of its first round has them."""
    registry = Registry.read_only(deployment.state(CONFIGURATOR) / "registry.sqlite")
    history = PlanHistory(registry.plans)
    found = [
        each
        for r in range(truth.first_round, truth.last_round + 1)
        for each in history.windows_ending(r)
        if each.window.first >= truth.first_round and each.rule.mechanism is not Mechanism.PAIRWISE
    ]
    registry.close()
    return found


def judge(deployment: Deployment, truth: Truth, billing: BillingSpan | None = None) -> Verdict:
    """Compare every whole window inside the run with the truth over its included pairs. billing: over what
    readings are masked, where any are.

    Who was included is read from the configurator's registry: the contributor decisions, which the consumers do not see.
    """
    registry = Registry.read_only(deployment.state(CONFIGURATOR) / "registry.sqlite")
    ids = {number: meter for meter, number in registry.agents.meters().items()}
    decided = {}
    for round_number in registry.decisions.decided_rounds():
        stored = registry.decisions.find(round_number)
        if stored is not None:
            decided[round_number] = Contributors.from_pages(stored.pages)
    plans = tuple(_plan(head, registry.plans.rules(head.version)) for head in registry.plans.heads())
    registry.close()
    results = {consumer: _results(deployment, consumer) for consumer in deployment.consumers}
    rows = []
    for each in windows_of(deployment, truth):
        rule, cohort, window = each.rule, each.cohort, each.window
        found = results[rule.consumer].get((rule.number, window.first))
        included, gaps = [], []
        for r in window:
            if r in decided:
                included += [(ids[n], r) for n in cohort & decided[r].included.resized(cohort.size)]
                gaps += [(ids[n], r) for n in cohort & decided[r].gaps.resized(cohort.size)]
        row = _row(rule, len(cohort), window, found, included, tuple(gaps), truth)
        rows.append(_as_masked(row, window, billing) if billing and rule.mechanism is Mechanism.BOTH else row)
    return Verdict(tuple(sorted(rows, key=lambda row: (row.first_round, row.consumer, row.rule))), plans=plans)


def _as_masked(row: WindowRow, window: Window, billing: BillingSpan) -> WindowRow:
    """What meters could not mask before the first whole period, and state as no reading, is no gap of theirs."""
    masked = sum(r not in billing.before for r in window)
    gaps = tuple((meter, r) for meter, r in row.gaps if r not in billing.before)
    row = replace(row, gaps=gaps, expected=row.expected // window.rounds * masked)
    return row if masked or row.status == "released" else replace(row, status=NOT_MASKED, reason=billing.reason)


def _plan(head: Head, rules: Sequence[PlannedRule]) -> dict[str, object]:
    """A plan for the report: from when it holds, and which PPNs serve which rule."""
    names = {ppn.point: ppn.id for ppn in head.ppns}
    return {
        "version": head.version,
        "valid_from_round": head.valid_from_round,
        "epoch": head.epoch,
        "rules": [
            {
                "consumer": each.granted.rule.consumer,
                "rule": each.granted.rule.name,
                "until_round": each.granted.rule.until_round,
                "ppns": [names[point] for point in each.granted.rule.points if point in names],
                "lingers": each.lingers,
            }
            for each in rules
        ],
    }


def _row(
    rule: Rule,
    meters: int,
    window: Window,
    found: dict[str, object] | None,
    included: list[tuple[str, int]],
    gaps: tuple[tuple[str, int], ...],
    truth: Truth,
) -> WindowRow:
    total = sum(truth.watt_hours(meter, r) or 0 for meter, r in included)
    status, reason, value = "unrecovered", "no result", None
    if found is not None:
        status, reason = str(found["status"]), str(found["reason"])
        value = found["watt_hours"] if isinstance(found["watt_hours"], int) else None
    return WindowRow(
        consumer=rule.consumer,
        rule=rule.name,
        first_round=window.first,
        last_round=window.last,
        expected=meters * window.rounds,
        included=len(included),
        status=status,
        reason=reason,
        watt_hours=value,
        truth_watt_hours=total,
        gaps=gaps,
        recovered=found or {},
    )


def _results(deployment: Deployment, consumer: str) -> dict[tuple[int, int], dict[str, object]]:
    path = deployment.state(consumer) / "results.jsonl"
    if not path.exists():
        return {}
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]
    return {(row["number"], row["first_round"]): row for row in rows}
