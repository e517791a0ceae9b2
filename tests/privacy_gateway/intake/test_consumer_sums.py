"""From a consumer's tables into the gateway's store: new sums only, and none that does not agree with itself."""

from __future__ import annotations

import pytest
from support.consumer import CONSUMER, GRID, opened_tables
from support.gateway.postgresql import PostgreSQLServer

from consumer_node.results.store import ResultStore
from consumer_node.results.tables import ResultKind
from consumer_node.shares.collection import Aggregate, Outcome, result_row
from hushgrid.core.schedule import Window
from hushgrid.errors import ConfigurationError, JournalError
from privacy_gateway.intake.consumer_sums import ConsumerSums
from privacy_gateway.questions.recovered import RecoveredSum, RoundSpan
from privacy_gateway.store.gateway_store import GatewayStore

KNOWN = [f"m{number}" for number in range(1, 6)]
HOMES = {1: frozenset(KNOWN), 2: frozenset(KNOWN[:3])}


def row(first, watt_hours=7, rule=1, rounds=2, outcome=Outcome.RELEASED, meters=5, expected=10, lost=0):
    included = expected - 1 - lost
    found = Aggregate(
        rule, Window(first, rounds), outcome, "", watt_hours, expected, included, 1, lost, 0, meters, (1, 2, 3)
    )
    return result_row(f"rule-{rule}", found, 1800)


def a_sum(first, watt_hours=7, included=9):
    return RecoveredSum(1, HOMES[1], RoundSpan(first, first + 2), watt_hours, included, 5)


class Both:
    """A consumer's tables, what reads them, and the gateway's store."""

    def __init__(self, tmp_path, consumers: str, gateway: str) -> None:
        self.tmp_path, self.url = tmp_path, consumers
        self.results: ResultStore = opened_tables(tmp_path, consumers)
        self.intake = self.reader()
        self.store = GatewayStore(gateway)

    def reader(self, consumer=CONSUMER) -> ConsumerSums:
        return ConsumerSums(self.url, GRID, consumer)

    def spoil(self, statement: str) -> None:
        with self.results._database.writing() as connection:
            connection.exec_driver_sql(statement)

    def within(self):
        return self.store.sums_within(RoundSpan(0, 1000))

    def close(self) -> None:
        for each in (self.intake, self.store, self.results):
            each.close()


@pytest.fixture
def both(tmp_path):
    found = Both(tmp_path, f"sqlite:///{tmp_path}/results.sqlite", f"sqlite:///{tmp_path}/gateway.db")
    yield found
    found.close()


def everything(both: Both) -> None:
    """What every database is to do."""
    assert both.intake.take_into(both.store, HOMES).settled_before == 0
    both.results.add(ResultKind.SUM, [row(4), row(2), row(6, None, outcome=Outcome.UNRECOVERED)], "all")
    found = both.intake.take_into(both.store, HOMES)
    assert (found.settled_before, found.refused) == (8, ())
    assert found.sums == (a_sum(4), a_sum(2)), "in the order of writing"
    assert both.within() == [a_sum(2), a_sum(4)]
    assert both.intake.take_into(both.store, HOMES).sums == ()
    both.results.add(ResultKind.SUM, [row(8, 10**30)], "all")
    assert both.intake.take_into(both.store, HOMES).sums == (a_sum(8, 10**30),)
    again = both.reader()
    assert len(again.take_into(both.store, HOMES).sums) == 3, "a new reader begins anew, and the store has them already"
    assert len(both.within()) == 3
    again.close()


def test_new_sums_come_once_and_in_order(both):
    everything(both)


@pytest.mark.system
def test_the_same_between_two_databases_of_postgresql(postgresql: PostgreSQLServer, tmp_path):
    both = Both(tmp_path, postgresql.fresh(), postgresql.fresh())
    everything(both)
    both.close()


@pytest.mark.system
def test_consumer_and_gateway_may_share_one_database_of_postgresql(postgresql: PostgreSQLServer, tmp_path):
    url = postgresql.fresh()
    both = Both(tmp_path, url, url)
    everything(both)
    both.close()


def test_rules_that_nobody_names_wait(both):
    both.results.add(ResultKind.SUM, [row(2), row(2, 9, rule=2, meters=3, expected=6)])
    assert [each.rule for each in both.intake.new({1: KNOWN}).sums] == [1]
    assert [each.rule for each in both.intake.new(HOMES).sums] == [2]


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("UPDATE recovered_sums SET expected = 12, gaps = 3", "of 12 pairs, not the 10 of 5 homes"),
        ("UPDATE recovered_sums SET gaps = 2", "11 pairs are accounted for, 10 expected"),
        ("UPDATE recovered_sums SET watt_hours = NULL", "released, and without a number"),
        ("UPDATE recovered_sums SET meters = 4", "9 pairs of 4 homes in 2 rounds"),
        ("UPDATE recovered_sums SET meters = 0", "a count that cannot be"),
        ("UPDATE recovered_sums SET gaps = -1, lost = 2", "a count that cannot be"),
        ("UPDATE recovered_sums SET meters = 6", "9 pairs of 6 homes out of 5 cannot be"),
        ("UPDATE recovered_sums SET last_round = 1", "no round lies in"),
    ],
)
def test_a_row_that_does_not_agree_with_itself_is_refused_and_the_others_are_taken(both, statement, said):
    both.results.add(ResultKind.SUM, [row(2), row(4)])
    both.spoil(f"{statement} WHERE first_round = 2")
    found = both.intake.take_into(both.store, HOMES)
    assert found.sums == (a_sum(4),)
    (line,) = found.refused
    assert said in line
    assert "place 0: " in line
    assert "\n" not in line
    assert both.within() == [a_sum(4)]


def test_a_number_that_is_not_understood_stops_it_and_nothing_counts_as_given(both):
    both.results.add(ResultKind.SUM, [row(2), row(4)])
    both.spoil("UPDATE recovered_sums SET watt_hours = '1e3' WHERE first_round = 4")
    with pytest.raises(JournalError, match="no whole number"):
        both.intake.take_into(both.store, HOMES)
    assert both.within() == []
    both.spoil("UPDATE recovered_sums SET watt_hours = '7' WHERE first_round = 4")
    assert len(both.intake.take_into(both.store, HOMES).sums) == 2


def test_another_sum_of_a_window_is_not_taken_for_the_first_and_comes_again(both):
    both.results.add(ResultKind.SUM, [row(2)])
    both.store.take_in([a_sum(2, 8)])
    for _ in range(2):
        with pytest.raises(JournalError, match="another sum of rule 1, rounds 2 to 3, is kept already"):
            both.intake.take_into(both.store, HOMES)
    assert both.within() == [a_sum(2, 8)]


def test_what_others_recovered_is_not_looked_at(both):
    both.results.add(ResultKind.SUM, [row(2)])
    stranger = both.reader("another")
    assert stranger.new(HOMES).settled_before == 0
    assert stranger.cohorts(KNOWN) == ({}, [])
    stranger.close()


def test_cohorts_are_those_that_were_asked_for(both):
    both.results.add(ResultKind.SUM, [row(2)], "all")
    both.results.add(ResultKind.SUM, [row(2, rule=2, meters=3, expected=6)], ("m1..m3",))
    both.results.add(ResultKind.SUM, [row(2, rule=3)], ("m9",))
    both.results.add(ResultKind.SUM, [row(2, rule=4)])
    found, unclear = both.intake.cohorts(KNOWN)
    assert found == HOMES
    assert unclear == [
        "rule 3 (rule-3): unknown meter m9",
        "rule 4 (rule-4): which homes it covers is not written down",
    ]
    assert [each.rule for each in both.intake.new(found).sums] == [1, 2]


def test_a_home_that_came_after_the_rule_makes_its_sums_refused(both):
    both.results.add(ResultKind.SUM, [row(2)], "all")
    found, _ = both.intake.cohorts([*KNOWN, "m6"])
    (line,) = both.intake.new(found).refused
    assert "of 10 pairs, not the 12 of 6 homes" in line


def test_tables_that_are_not_there_are_refused_in_one_line(tmp_path):
    with pytest.raises(ConfigurationError, match="unable to open"):
        ConsumerSums(f"sqlite:///{tmp_path}/nowhere.sqlite", GRID, CONSUMER)
    GatewayStore(f"sqlite:///{tmp_path}/gateway.db").close()
    with pytest.raises(JournalError, match="holds no consumer's results"):
        ConsumerSums(f"sqlite:///{tmp_path}/gateway.db", GRID, CONSUMER)
