"""The verdict on masked readings: its truth is the source's, whatever meters' journals say."""

from __future__ import annotations

import json
import sqlite3

import pytest
from support.consumer import opened_tables

from configurator.masked.graph_book import GraphBook
from configurator.registry.registry import Registry
from consumer_node.results.tables import ResultKind
from hushgrid.core.schedule import Window
from hushgrid.core.sealing import Agreement, Identity
from hushgrid.wire.masked import RoundClosing
from hushgrid.wire.model import Mechanism
from meter_agent.masked.journal import MaskingJournal
from meter_agent.masked.values import Stated
from testbed.choices.layout import ConsumerWish
from testbed.deployment import Deployment
from testbed.households import Truth
from testbed.verdict.bills import judge_masked
from testbed.verdict.carried import Claims, Due, due_bills

FIRST, PERIOD, STREAM = 8, 4, 1
READINGS = {8: 10, 9: 200, 10: 30, 11: 4, 12: 50, 13: 60, 14: 7, 15: 8}
TWO = (Window(8, 4), Window(12, 4))


def dues(omitted, billed, claims=Claims()):  # noqa: B008
    return due_bills(READINGS, frozenset(omitted), list(zip(TWO, billed, strict=True)), claims)


def test_what_was_left_out_is_due_on_the_same_bill_or_on_the_next():
    assert dues({9}, (244, 125)) == [Due(44, 200), Due(125, 0)]
    assert dues({9}, (44, 325)) == [Due(44, 0), Due(125, 200)]
    assert dues({11, 13}, (240, 129)) == [Due(240, 0), Due(65, 64)]


@pytest.mark.parametrize("billed", [(44, 125), (244, 325), (45, 325), (None, 125)])
def test_what_is_forgotten_charged_twice_or_of_another_amount_is_not_due(billed):
    found = dues({9}, billed)
    given = [(due, wh) for due, wh in zip(found, billed, strict=True) if wh is not None]
    assert any(due.watt_hours != wh for due, wh in given)


def test_what_is_owed_or_not_heard_of_when_the_run_ends_is_accounted_for():
    assert dues({15}, (244, 117), Claims(owed_watt_hours=8)) == [Due(244, 0), Due(117, 0)]
    assert dues({15}, (244, 117), Claims(undecided={15})) == [Due(244, 0), Due(117, 0)]
    assert dues({15}, (244, 117)) == [Due(244, 0), Due(117, 0, 8)]
    assert dues({9, 15}, (44, 117), Claims({15: 200}, undecided={15})) == [Due(44, 0), Due(117, 0)]


def test_a_claim_about_an_absent_bill_is_held_to_the_source():
    assert dues({9}, (None, 125), Claims({10: 200})) == [Due(44, 200), Due(125, 0)]
    assert dues({9}, (None, None), Claims({10: 150})) == [Due(44, 150, 50), Due(125, 0)]


class Stores:
    """What one meter `m1`, left out of round 9, its consumer and the configurator have on disk after two periods."""

    def __init__(self, directory, *, forgets: bool) -> None:
        self.wish = ConsumerWish("supplier", "bills", "all", PERIOD, Mechanism.PAIRWISE)
        self.truth = Truth(("m1",), FIRST, 2 * PERIOD, 1800, "constructed", {"m1": list(READINGS.values())})
        self.deployment = Deployment(
            directory, (), {"supplier": (self.wish,)}, {"fleet": ("m1",)}, Identity.generate(), Agreement.generate()
        )
        self._configurator(directory / "configurator")
        put = self._meter(directory / "fleet", forgets=forgets)
        self._consumer(directory / "supplier", put)

    def _configurator(self, directory) -> None:
        Registry(directory / "registry.sqlite")._database.close()
        with sqlite3.connect(directory / "registry.sqlite") as registry:
            registry.execute("INSERT INTO agent (id, role, number, identity) VALUES ('m1', 'meter', 5, x'00')")
            registry.execute(
                "INSERT INTO rule (number, consumer, name, request, json, cohort) VALUES (1, 'supplier', 'bills', '', '', '')"
            )
        book = GraphBook(directory / "graphs.sqlite")
        book.add_closing(RoundClosing(STREAM, 9, bytes(32), frozenset({5}), b""))
        book.close()

    def _meter(self, directory, *, forgets: bool) -> dict[int, int]:
        journal, put = MaskingJournal(directory / "masking.sqlite"), {}
        for r, watt_hours in READINGS.items():
            put[r], carry = journal.carry("m1", STREAM, 5000).prepare(r, watt_hours)
            one = Stated(STREAM, r, 5, "m1", 1, b"")
            journal.state(r, [one], [("m1", STREAM, carry, put[r] - watt_hours)])
            journal.receipted([one.key])
            if r == 9 and not forgets:
                journal.exclude("m1", STREAM, r, 5000)
            journal.commit_answer("m1", STREAM, r, [], b"")
        journal.close()
        return put

    def _consumer(self, directory, put) -> None:
        store, place = opened_tables(directory), {"rule": "bills", "number": STREAM, "start_utc": "", "end_utc": ""}
        for r in READINGS:
            left_out = ["m1"] if r == 9 else []
            row = place | {"first_round": r, "last_round": r, "component": 0, "status": "released", "expected": 1}
            row |= {"watt_hours": 0 if left_out else put[r], "included": 1 - len(left_out), "gaps": [], "reason": ""}
            store.add(ResultKind.COLUMN, [row | {"omitted": left_out}])
        for window in TWO:
            omitted = [r for r in window if r == 9]
            row = place | {"first_round": window.first, "last_round": window.last, "meter": "m1", "status": "released"}
            row |= {"watt_hours": sum(put[r] for r in window if r not in omitted), "rounds": 4 - len(omitted)}
            store.add(ResultKind.BILL, [row | {"omitted": omitted, "reason": ""}])
        store.close()

    def verdict(self):
        return judge_masked(self.deployment, self.truth, [self.wish])


def test_a_meter_that_carries_what_was_left_out_is_billed_exactly(tmp_path):
    verdict = Stores(tmp_path, forgets=False).verdict()
    assert (verdict.counts["bills_exact"], verdict.counts["bills_wrong"], verdict.counts["wrong"]) == (2, 0, 0)
    first = verdict.bills[0].as_json()
    assert (first["truth_watt_hours"], first["carried_watt_hours"], first["omitted_rounds"]) == (244, 200, [9])


def test_a_meter_that_forgets_what_it_was_to_carry_makes_the_verdict_wrong(tmp_path):
    verdict = Stores(tmp_path, forgets=True).verdict()
    assert (verdict.counts["bills_wrong"], verdict.counts["wrong"]) == (1, 0)
    assert sum(bill.truth_watt_hours for bill in verdict.bills) == sum(READINGS.values())
    assert sum(bill.unaccounted_watt_hours for bill in verdict.bills) == 200


def test_a_journal_that_invents_what_was_carried_does_not_make_a_bill_right(tmp_path):
    stores = Stores(tmp_path, forgets=False)
    with sqlite3.connect(tmp_path / "fleet" / "masking.sqlite") as journal:
        journal.execute("UPDATE taken_up SET watt_hours = 777")
    bills = tmp_path / "supplier" / "bills.jsonl"
    rows = [json.loads(line) for line in bills.read_text().splitlines()]
    rows[0]["watt_hours"] = 44 + 777
    bills.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert stores.verdict().counts["bills_wrong"] == 1


def test_a_round_before_the_first_whole_period_is_not_missing_and_one_after_the_last_owes_no_bill(tmp_path):
    """The run begins a round earlier and ends two rounds later than the two periods it has bills of."""
    stores = Stores(tmp_path, forgets=False)
    values = [7, *READINGS.values(), 5, 6]
    stores.truth = Truth(("m1",), FIRST - 1, len(values), 1800, "constructed", {"m1": values})
    verdict = stores.verdict()
    assert (verdict.rows[0].first_round, verdict.rows[0].status) == (FIRST - 1, "not masked")
    assert f"bills run from round {FIRST}" in verdict.rows[0].reason
    assert verdict.counts["windows"] == len(READINGS) + 2
    assert verdict.counts["unrecovered"] == 2, "sums of the two rounds after: these are to be had"
    assert (verdict.counts["bills"], verdict.counts["bills_exact"]) == (2, 2)
