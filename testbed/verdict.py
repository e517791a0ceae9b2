"""What the consumers recovered, beside the truth: the sum of the readings of exactly the pairs that were included."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass

from configurator.decision import coverage_of
from configurator.planning import GrantedRule
from configurator.registry import Registry
from hushgrid.bitmap import Bitmap
from hushgrid.schedule import Window, windows_within
from testbed.deployment import CONFIGURATOR, Deployment
from testbed.households import Truth


@dataclass(frozen=True, slots=True)
class Row:
    """One (rule, window) as the report shows it; expected and included count (meter, round) pairs."""

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
        return {name: getattr(self, name) for name in fields} | {"truth_watt_hours": self.truth_watt_hours}


@dataclass(frozen=True, slots=True)
class Verdict:
    """All rows of a run."""

    rows: tuple[Row, ...]

    @property
    def counts(self) -> dict[str, int]:
        """Windows by what became of them."""
        by_status = Counter(row.status for row in self.rows)
        return {
            "windows": len(self.rows),
            "released": by_status["released"],
            "wrong": sum(row.wrong for row in self.rows),
            "unrecovered": by_status["unrecovered"],
            "withheld": by_status["withheld"],
        }


def judge(deployment: Deployment, truth: Truth) -> Verdict:
    """Compare every whole window inside the run with the truth over its included pairs.

    Who was included is read from the configurator's registry: the contributor decisions, which the consumers do not see.
    """
    registry = Registry(deployment.state(CONFIGURATOR) / "registry.sqlite")
    numbers = registry.meters()
    rules = [granted for granted, _ in registry.rules()]
    decided = {}
    for round_number in registry.decided_rounds():
        stored = registry.decision(round_number)
        if stored is not None:
            decided[round_number] = coverage_of(stored[2])
    registry.close()
    ids = {number: meter for meter, number in numbers.items()}
    rows = []
    for granted in rules:
        results = _results(deployment, granted.rule.consumer)
        for window in windows_within(truth.first_round, truth.last_round, granted.rule.window_rounds):
            found = results.get((granted.rule.number, window.first))
            included, gaps = [], []
            for r in window:
                coverage = decided.get(r)
                included += [(ids[n], r) for n in _members(granted, coverage.included if coverage else Bitmap(0))]
                gaps += [(ids[n], r) for n in _members(granted, coverage.gaps if coverage else Bitmap(0))]
            rows.append(_row(granted, window, found, included, tuple(gaps), truth))
    return Verdict(tuple(sorted(rows, key=lambda row: (row.first_round, row.consumer, row.rule))))


def _members(granted: GrantedRule, positions: Bitmap) -> list[int]:
    return [number for number in positions if number in granted.cohort]


def _row(
    granted: GrantedRule,
    window: Window,
    found: dict[str, object] | None,
    included: list[tuple[str, int]],
    gaps: tuple[tuple[str, int], ...],
    truth: Truth,
) -> Row:
    total = sum(truth.watt_hours(meter, r) or 0 for meter, r in included)
    status, reason, value = "unrecovered", "no result", None
    if found is not None:
        status, reason = str(found["status"]), str(found["reason"])
        value = found["watt_hours"] if isinstance(found["watt_hours"], int) else None
    return Row(
        consumer=granted.rule.consumer,
        rule=granted.rule.name,
        first_round=window.first,
        last_round=window.last,
        expected=len(granted.cohort) * window.rounds,
        included=len(included),
        status=status,
        reason=reason,
        watt_hours=value,
        truth_watt_hours=total,
        gaps=gaps,
    )


def _results(deployment: Deployment, consumer: str) -> dict[tuple[int, int], dict[str, object]]:
    path = deployment.state(consumer) / "results.jsonl"
    if not path.exists():
        return {}
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]
    return {(row["number"], row["first_round"]): row for row in rows}
