"""What the consumer of masked readings worked out, beside the truth: every column of the run, and every bill."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import sqlite3
from collections.abc import Mapping
from typing import Any

from hushgrid.plan import Mechanism
from hushgrid.schedule import Window, windows_within
from testbed.carried_truth import Claims, Due, claims_of, closed_without, due_bills
from testbed.deployment import Deployment
from testbed.households import Truth
from testbed.layout import ConsumerWish
from testbed.verdict import BillRow, Row, Verdict, judge


def judge_run(deployment: Deployment, truth: Truth) -> Verdict:
    """All rows of a run: sums over shares, and the columns and bills of masked readings."""
    shared = judge(deployment, truth)
    wishes = [wish for own in deployment.consumers.values() for wish in own if wish.mechanism is Mechanism.PAIRWISE]
    masked = judge_masked(deployment, truth, wishes)
    return Verdict((*shared.rows, *masked.rows), masked.bills, masked.double_entries, shared.plans)


def judge_masked(deployment: Deployment, truth: Truth, wishes: list[ConsumerWish]) -> Verdict:
    """Compare what every biller has written with the truth. Each of these rules covers all meters of the run."""
    columns: list[Row] = []
    bills: list[BillRow] = []
    entries = 0
    for wish in wishes:
        held = _held(deployment, wish)
        found = {(row["first_round"], row["component"]): row for row in _rows(deployment, wish, "columns")}
        written = {(row["first_round"], row["meter"]): row for row in _rows(deployment, wish, "bills")}
        omitted = closed_without(deployment, wish)
        claims = claims_of(deployment, wish, omitted)
        masked = _as_masked(truth, claims)
        for round_number in range(truth.first_round, truth.last_round + 1):
            own = [row for (first, _), row in sorted(found.items()) if first == round_number]
            columns += [_column(wish, row, masked) for row in own] or [_absent_column(wish, round_number, masked, held)]
        windows = windows_within(truth.first_round, truth.last_round, wish.window_rounds)
        for meter in truth.meters:
            rows = [written.get((window.first, meter)) for window in windows]
            without = omitted.get(meter, frozenset())
            dues = _dues(truth, meter, without, list(zip(windows, rows, strict=True)), claims.get(meter, Claims()))
            bills += [
                _bill(wish, meter, at, window, row, due, held)
                for at, (window, row, due) in enumerate(zip(windows, rows, dues, strict=True))
            ]
        entries += len(_rows(deployment, wish, "double_entry"))
    return Verdict(tuple(columns), tuple(bills), entries)


def _as_masked(truth: Truth, claims: Mapping[str, Claims]) -> Truth:
    """The truth of columns: which one an amount went into is its meter's word, the amounts are held to the source by the bills."""
    values = {meter: list(truth.values[meter]) for meter in truth.meters}
    for meter, own in claims.items():
        for round_number, watt_hours in own.taken_up.items():
            at = round_number - truth.first_round
            values[meter][at] = (values[meter][at] or 0) + watt_hours
    return dataclasses.replace(truth, values=values)


def _dues(
    truth: Truth,
    meter: str,
    omitted: frozenset[int],
    billed: list[tuple[Window, dict[str, Any] | None]],
    claims: Claims,
) -> list[Due]:
    """One for each bill. What was masked after the last whole period is on no bill, and counts as an absent one."""
    readings = {r: truth.watt_hours(meter, r) or 0 for r in range(truth.first_round, truth.last_round + 1)}
    said: list[tuple[Window, int | None]] = [
        (window, None if row is None else row["watt_hours"]) for window, row in billed
    ]
    begun = billed[-1][0].last + 1 if billed else truth.first_round
    if begun <= truth.last_round:
        said.append((Window(begun, truth.last_round + 1 - begun), None))
    return due_bills(readings, omitted, said, claims)[: len(billed)]


def _rows(deployment: Deployment, wish: ConsumerWish, stem: str) -> list[dict[str, Any]]:
    path = deployment.state(wish.consumer_id) / f"{stem}.jsonl"
    if not path.exists():
        return []
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]
    return [row for row in rows if row["rule"] == wish.name]


def _held(deployment: Deployment, wish: ConsumerWish) -> set[tuple[str, int]]:
    """(meter, round) of the masked readings in periods that are not done."""
    path = deployment.state(wish.consumer_id) / "billing.sqlite"
    if not path.exists():
        return set()
    with contextlib.closing(sqlite3.connect(path)) as store:
        return set(store.execute("SELECT meter, round FROM masked").fetchall())


def _column(wish: ConsumerWish, row: dict[str, Any], truth: Truth) -> Row:
    round_number = row["first_round"]
    left_out = {*row["gaps"], *row["omitted"]}
    included = [meter for meter in truth.meters if meter not in left_out]
    total = sum(truth.watt_hours(meter, round_number) or 0 for meter in included)
    gaps = tuple((meter, round_number) for meter in row["gaps"])
    return Row(
        consumer=wish.consumer_id,
        rule=wish.name,
        first_round=round_number,
        last_round=round_number,
        expected=row["expected"],
        included=row["included"],
        status=row["status"],
        reason=row["reason"],
        watt_hours=row["watt_hours"],
        truth_watt_hours=total,
        gaps=gaps,
        recovered={"gaps": len(gaps), "lost": len(row["omitted"])},
    )


def _absent_column(wish: ConsumerWish, round_number: int, truth: Truth, held: set[tuple[str, int]]) -> Row:
    missing = sum((meter, round_number) not in held for meter in truth.meters)
    total = sum(truth.watt_hours(meter, round_number) or 0 for meter in truth.meters)
    return Row(
        consumer=wish.consumer_id,
        rule=wish.name,
        first_round=round_number,
        last_round=round_number,
        expected=len(truth.meters),
        included=0,
        status="unrecovered",
        reason=f"waits for {missing} masked readings",
        watt_hours=None,
        truth_watt_hours=total,
        gaps=(),
        recovered={},
    )


def _bill(
    wish: ConsumerWish,
    meter: str,
    at: int,
    window: Window,
    row: dict[str, Any] | None,
    due: Due,
    held: set[tuple[str, int]],
) -> BillRow:
    missing = sum((meter, r) not in held for r in window)
    return BillRow(
        consumer=wish.consumer_id,
        meter=meter,
        period=at,
        window=window,
        status=row["status"] if row is not None else "unrecovered",
        reason=row["reason"] if row is not None else f"waits for {missing} masked readings",
        watt_hours=row["watt_hours"] if row is not None else None,
        truth_watt_hours=due.watt_hours,
        omitted=tuple(row["omitted"]) if row is not None else (),
        carried_watt_hours=due.carried_watt_hours,
        unaccounted_watt_hours=due.unaccounted_watt_hours,
    )
