"""What the consumer of masked readings worked out, beside the truth: every column of the run, and every bill."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping
from contextlib import closing
from typing import Any

from consumer_node.masked.store import BillingStore
from hushgrid.core.schedule import Window
from hushgrid.wire.model import Mechanism
from testbed.choices.layout import ConsumerWish
from testbed.deployment import Deployment
from testbed.households import Truth
from testbed.verdict.carried import Claims, Due, claims_of, closed_without, due_bills
from testbed.verdict.periods import BillingSpan
from testbed.verdict.sums import NOT_MASKED, BillRow, Verdict, WindowRow, judge


def judge_run(deployment: Deployment, truth: Truth, period_rounds: int) -> Verdict:
    """All rows of a run: sums over shares, and the columns and bills of masked readings. period_rounds: what those are masked over."""
    billing = BillingSpan(truth.first_round, truth.last_round, period_rounds)
    shared = judge(deployment, truth, billing)
    wishes = [wish for own in deployment.consumers.values() for wish in own if wish.mechanism is Mechanism.PAIRWISE]
    masked = judge_masked(deployment, truth, wishes)
    mechanisms = {wish.mechanism for own in deployment.consumers.values() for wish in own}
    notes = () if mechanisms <= {Mechanism.SHARES} else tuple(billing.notes(bills=bool(wishes)))
    return Verdict((*shared.rows, *masked.rows), masked.bills, masked.double_entries, shared.plans, notes)


def judge_masked(deployment: Deployment, truth: Truth, wishes: list[ConsumerWish]) -> Verdict:
    """Compare what every biller has written with the truth. Each of these rules covers all meters of the run."""
    columns: list[WindowRow] = []
    bills: list[BillRow] = []
    entries = 0
    for wish in wishes:
        billing = BillingSpan(truth.first_round, truth.last_round, wish.window_rounds)
        held = _held(deployment, wish)
        found = {(row["first_round"], row["component"]): row for row in _rows(deployment, wish, "columns")}
        written = {(row["first_round"], row["meter"]): row for row in _rows(deployment, wish, "bills")}
        omitted = closed_without(deployment, wish, range(truth.first_round, truth.last_round + 1))
        claims = claims_of(deployment, wish, omitted)
        masked = _as_masked(truth, claims)
        columns += [_not_masked(wish, round_number, truth, billing) for round_number in billing.before]
        for round_number in range(billing.before.stop, truth.last_round + 1):
            own = [row for (first, _), row in sorted(found.items()) if first == round_number]
            columns += [_column(wish, row, masked) for row in own] or [_absent_column(wish, round_number, masked, held)]
        windows = billing.periods
        for meter in truth.meters:
            rows = [written.get((window.first, meter)) for window in windows]
            without = omitted.get(meter, frozenset())
            dues = _dues(
                truth,
                meter,
                without,
                list(zip(windows, rows, strict=True)),
                billing.unfinished,
                claims.get(meter, Claims()),
            )
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
    unfinished: range,
    claims: Claims,
) -> list[Due]:
    """One for each bill. What was masked after the last whole period is on no bill, and counts as an absent one."""
    readings = {r: truth.watt_hours(meter, r) or 0 for r in range(truth.first_round, truth.last_round + 1)}
    said: list[tuple[Iterable[int], int | None]] = [
        (window, None if row is None else row["watt_hours"]) for window, row in billed
    ]
    if unfinished:
        said.append((unfinished, None))
    return due_bills(readings, omitted, said, claims)[: len(billed)]


def _rows(deployment: Deployment, wish: ConsumerWish, stem: str) -> list[dict[str, Any]]:
    path = deployment.state(wish.consumer_id) / f"{stem}.jsonl"
    if not path.exists():
        return []
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]
    return [row for row in rows if row["rule"] == wish.name]


def _held(deployment: Deployment, wish: ConsumerWish) -> set[tuple[str, int]]:
    """(meter, round) of the masked readings in periods that are not done."""
    directory = deployment.state(wish.consumer_id)
    if not (directory / "billing.sqlite").exists():
        return set()
    with closing(BillingStore.read_only(directory)) as store:
        periods = store.open_periods()
        return {(row.meter, row.round) for stream, period in periods for row in store.recorded(stream, period)}


def _column(wish: ConsumerWish, row: dict[str, Any], truth: Truth) -> WindowRow:
    round_number = row["first_round"]
    left_out = {*row["gaps"], *row["omitted"]}
    included = [meter for meter in truth.meters if meter not in left_out]
    total = sum(truth.watt_hours(meter, round_number) or 0 for meter in included)
    gaps = tuple((meter, round_number) for meter in row["gaps"])
    return WindowRow(
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


def _not_masked(wish: ConsumerWish, round_number: int, truth: Truth, billing: BillingSpan) -> WindowRow:
    return _without_sum(wish, round_number, truth, 0, NOT_MASKED, billing.reason)


def _absent_column(wish: ConsumerWish, round_number: int, truth: Truth, held: set[tuple[str, int]]) -> WindowRow:
    missing = sum((meter, round_number) not in held for meter in truth.meters)
    reason = f"waits for {missing} masked readings"
    return _without_sum(wish, round_number, truth, len(truth.meters), "unrecovered", reason)


def _without_sum(
    wish: ConsumerWish, round_number: int, truth: Truth, expected: int, status: str, reason: str
) -> WindowRow:
    """The column of a round of which there is no sum."""
    return WindowRow(
        consumer=wish.consumer_id,
        rule=wish.name,
        first_round=round_number,
        last_round=round_number,
        expected=expected,
        included=0,
        status=status,
        reason=reason,
        watt_hours=None,
        truth_watt_hours=sum(truth.watt_hours(meter, round_number) or 0 for meter in truth.meters),
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
