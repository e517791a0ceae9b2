"""What an earlier version kept elsewhere is taken over: nothing lost, nothing doubled, wherever a kill falls."""

from __future__ import annotations

import json
import sqlite3

import pytest
from support.consumer import opened_tables
from support.consumer.former import leave_masked, leave_sums

from consumer_node.config import ConsumerConfig
from consumer_node.masked.store import BillingStore
from consumer_node.results import former
from consumer_node.results.former import take_over_masked, take_over_sums
from consumer_node.results.tables import ResultKind
from consumer_node.service import opened_results
from consumer_node.shares.store import CollectedShares
from hushgrid.errors import JournalError

START = {100: "1970-01-03T02:00:00Z", 102: "1970-01-03T03:00:00Z", 104: "1970-01-03T04:00:00Z"}
END = {100: "1970-01-03T03:00:00Z", 102: "1970-01-03T04:00:00Z", 104: "1970-01-03T05:00:00Z"}
SHARES = [(1, 106, 1, b"one"), (1, 106, 2, b"two")]


def old_sum(first, watt_hours=5):
    return {
        "rule": "all", "number": 1, "start_utc": START[first], "first_round": first, "last_round": first + 1, "status": "released",
        "watt_hours": watt_hours, "expected": 6, "included": 5, "gaps": 1, "lost": 0, "inconsistent": 0, "meters": 3,
        "points": [1, 2, 3], "wrong_points": [], "detects": 0, "repaired": 0, "reason": "",
    }  # fmt: skip


def old_bill(meter):
    return {
        "rule": "bills", "number": 1, "start_utc": "1970-01-01T04:00:00Z", "first_round": 8, "last_round": 11, "meter": meter,
        "status": "released", "watt_hours": 10**25, "rounds": 4, "omitted": [], "reason": "",
    }  # fmt: skip


def old_column(first):
    return {
        "rule": "bills", "number": 1, "start_utc": "1970-01-01T04:00:00Z", "first_round": first, "last_round": first, "component": 0,
        "status": "released", "watt_hours": 3, "expected": 2, "included": 1, "gaps": ["m2"], "omitted": [], "reason": "",
    }  # fmt: skip


def kept(results, kind=ResultKind.SUM):
    return [row for portion in results.rows(kind) for row in portion]


def as_now(row):
    return row | {"end_utc": END[row["first_round"]]}


def test_all_of_a_former_consumer_is_there_after_a_start(tmp_path):
    rows = [old_sum(102), old_sum(100, -7), old_sum(104)]
    leave_sums(tmp_path, rows, SHARES)
    leave_masked(
        tmp_path, [("bills", "m1", old_bill("m1")), ("bills", "m2", old_bill("m2")), ("columns", "0", old_column(8))]
    )
    config = ConsumerConfig.model_validate(
        {"agent": {"id": "supplier", "grid": "g", "state_directory": tmp_path}, "configurator": {"identity": "0" * 64}, "consumer": {}}
    )  # fmt: skip
    for start in range(2):
        collected, masked = CollectedShares(tmp_path), BillingStore(tmp_path)
        results = opened_results(config, collected, masked)
        assert kept(results) == sorted(map(as_now, rows), key=lambda row: row["first_round"]), start
        assert kept(results, ResultKind.BILL) == [
            old_bill(m) | {"end_utc": "1970-01-01T06:00:00Z"} for m in ("m1", "m2")
        ]
        assert kept(results, ResultKind.COLUMN) == [old_column(8) | {"end_utc": "1970-01-01T04:30:00Z"}]
        assert collected.frames() == [b"one", b"two"]
        assert [(one.meter, one.element) for one in masked.recorded(1, 12)] == [("m1", 77)]
        assert masked.done(1, 8)
        for store in (collected, masked, results):
            store.close()
        lines = (tmp_path / "results.jsonl").read_text().splitlines()
        assert [json.loads(line)["first_round"] for line in lines] == [100, 102, 104]
    with sqlite3.connect(tmp_path / "results.sqlite") as file:
        tables = {name for (name,) in file.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert not tables & {"answer", "result"}


def test_what_a_kill_interrupts_goes_on_where_it_was(tmp_path, monkeypatch):
    rows = [old_sum(first) for first in START]
    leave_sums(tmp_path, rows, SHARES)
    leave_masked(tmp_path, [("bills", f"m{n}", old_bill(f"m{n}")) for n in range(5)])
    monkeypatch.setattr(former, "_AT_ONCE", 2)
    results, collected, masked = opened_tables(tmp_path), CollectedShares(tmp_path), BillingStore(tmp_path)
    written, handed = [], []

    def killed(kind, portion, cohort=None):
        new = type(results).add(results, kind, portion, cohort)
        written.append(new)
        if len(written) in {1, 4}:
            raise InterruptedError
        return new

    monkeypatch.setattr(results, "add", killed)

    def half(*share):
        collected.add(*share)
        handed.append(share)
        if len(handed) == 1:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        take_over_sums(tmp_path, results, half)
    with pytest.raises(InterruptedError):
        take_over_sums(tmp_path, results, half)
    take_over_sums(tmp_path, results, half)
    with pytest.raises(InterruptedError):
        take_over_masked(masked.with_former_results(), results)
    take_over_masked(masked.with_former_results(), results)
    assert kept(results) == list(map(as_now, rows))
    assert collected.frames() == [b"one", b"two"]
    assert [row["meter"] for row in kept(results, ResultKind.BILL)] == [f"m{n}" for n in range(5)]
    for store in (collected, masked, results):
        store.close()


def test_an_end_that_does_not_follow_stays_empty(tmp_path):
    odd = old_sum(100) | {"first_round": 0, "last_round": 1, "start_utc": "1970-01-01T00:00:00Z"}
    leave_sums(tmp_path, [odd], [])
    results = opened_tables(tmp_path)
    take_over_sums(tmp_path, results, lambda *_: None)
    assert kept(results) == [odd | {"end_utc": None}]
    results.close()


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "results.sqlite").write_text("no database at all, but long enough to be read as one's head " * 10)
    with pytest.raises(JournalError, match=r"results\.sqlite"):
        take_over_sums(tmp_path, None, lambda *_: None)
