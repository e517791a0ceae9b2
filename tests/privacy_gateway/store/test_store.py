"""The store on SQLite: one ledger, charged before answered, whatever is killed; and what is refused in one line."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from support.gateway import HOMES, POLICY, ask, hourly, summed
from support.gateway.accountant import CAP, LEDGERS, QUESTIONS, beside_brute_force
from support.gateway.stored import Instants, StoredRecords, answer_until_killed, charged, forked, put_all, two_at_once

from hushgrid.errors import ConfigurationError, JournalError
from privacy_gateway.deciding.answering import DecidedTooEarlyError
from privacy_gateway.deciding.order import AllowedQuestion, decide
from privacy_gateway.ledger.book import ChargeEntry
from privacy_gateway.ledger.price import PrivacyPrice
from privacy_gateway.questions.recovered import RoundSpan
from privacy_gateway.store.gateway_store import GatewayStore
from privacy_gateway.store.tables import METADATA

KILLS = 10


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "gateway.db"


@pytest.fixture
def url(path: Path) -> str:
    return f"sqlite:///{path}"


@pytest.fixture
def store(url: str):
    store = GatewayStore(url)
    yield store
    store.close()


def test_random_questions_never_over_budget_and_never_under_charged(part, tmp_path):
    """10,000 with --long, in ten ledgers; else 100 that another commit draws anew."""
    for at, rng in enumerate([part] if part else [random.Random(seed) for seed in range(LEDGERS)]):
        store = GatewayStore(f"sqlite:///{tmp_path}/{at}.db")
        beside_brute_force(rng, store.ledger, QUESTIONS // 10 if part else QUESTIONS)
        charged(store)
        store.close()


def test_killed_between_charge_and_answer_it_never_charged_less_than_it_answered(part, tmp_path):
    """At 10 instants that another commit draws anew; with --long at every one, which are no fewer than 200."""
    clean, said = tmp_path / "clean.db", tmp_path / "said"
    store = GatewayStore(f"sqlite:///{clean}")
    store.take_in(hourly())
    store.close()
    (tmp_path / "whole.db").write_bytes(clean.read_bytes())
    store = GatewayStore(f"sqlite:///{tmp_path}/whole.db")
    instants = Instants()
    put_all(store, instants.tick)
    instants.close()
    store.close()
    everything = range(1, instants.seen + 1)
    assert len(everything) >= 200
    for last in part.sample(everything, KILLS) if part else everything:
        said.write_text("")
        path = tmp_path / f"{last}.db"
        shutil.copy(clean, path)
        pid = forked(lambda last=last, path=path: answer_until_killed(f"sqlite:///{path}", said, last))
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
        after_a_kill(GatewayStore(f"sqlite:///{path}"), said.read_text().splitlines())


def after_a_kill(store: GatewayStore, said: list[str]) -> None:
    """What was told is charged and kept; rows are told of for every charge; all can be asked again, and costs once more at most once."""
    before = charged(store)
    paid = {entry.question: entry for entry in before}
    for line in said:
        question, values = line.split()
        answer = store.answer_to(question)
        assert ",".join(map(str, answer.values)) == values
        assert paid[question].price == answer.price
    assert len(before) - len(said) in {0, 1}
    kept = [entry.question for entry in before if store.answer_to(entry.question) is not None]
    assert len(store.disclosed()) >= len(before)
    put_all(store, [].append)
    after = charged(store)
    assert sum(entry.attempt > 0 for entry in after) == len(before) - len(kept) <= 1
    store.close()


def test_two_processes_that_charge_at_once_see_one_ledger(url):
    two_at_once(url, 20)


def test_what_is_kept_is_read_back_as_it_was(url, store):
    sums = [*hourly(), summed(9, HOMES[:4], 0, 5, missing=2)]
    assert (store.take_in(sums), store.take_in(sums)) == (len(sums), 0)
    answers = []
    put_all(store, answers.append)
    told = store.disclosed()
    store.close()
    again = GatewayStore(url)
    assert again.disclosed() == told
    assert [again.answer_to(answer.question) for answer in answers] == answers
    assert sorted(again.sums_within(RoundSpan(0, 24)), key=hash) == sorted(sums, key=hash)
    assert [each.rule for each in again.sums_within(RoundSpan(0, 5)) if each.span.rounds > 1] == [9]
    put_all(again, [].append)
    assert len(charged(again)) == len(answers)
    again.close()


def test_losses_are_told_of_again(url, store):
    store.take_in([summed(1, HOMES, 0, 5, missing=2)])
    allowed = decide("party-1", ask("sum", "all", 0, 5), StoredRecords(store), POLICY)
    assert isinstance(allowed, AllowedQuestion)
    assert store.charge(allowed, POLICY.cap) is None
    with pytest.raises(DecidedTooEarlyError, match="1 rows are disclosed, not 0"):
        store.charge(allowed, POLICY.cap)
    again = GatewayStore(url)
    assert again.disclosed() == allowed.disclosed
    assert [loss.missing_pairs for loss in again.disclosed()[0].losses] == [2]
    again.close()


def test_what_is_short_leaves_nothing_behind(store):
    store.take_in(hourly())
    allowed = decide("party-1", ask("sum", "all", 0, 5), StoredRecords(store), POLICY)
    dear = replace(allowed, entry=replace(allowed.entry, price=PrivacyPrice(POLICY.cap.epsilon_micro + 1)))
    assert store.charge(dear, POLICY.cap).short == tuple(HOMES)
    assert (charged(store), store.disclosed(), store.attempts(allowed.posed.digest)) == ([], (), 0)


def test_an_answer_that_nobody_paid_for_is_not_kept(store, tmp_path):
    other = GatewayStore(f"sqlite:///{tmp_path}/other.db")
    other.take_in(hourly())
    answers = []
    put_all(other, answers.append)
    other.close()
    with pytest.raises(JournalError, match="was never charged for"):
        store.keep_answer(answers[0])


def test_a_charge_counts_once_and_numbers_have_no_bound(store):
    huge = ChargeEntry("q", 0, ("a",), (0, 7), PrivacyPrice(10**15, 10**30))
    cap = replace(CAP, epsilon_micro=10**40)
    assert store.ledger.charge(huge, cap) is None
    with pytest.raises(ValueError, match="not the next one"):
        store.ledger.charge(huge, cap)
    assert store.ledger.balances([("a", 7)])["a", 7].epsilon_squares == 10**30
    assert charged(store) == [huge]


def test_another_sum_of_a_rule_and_window_is_refused(store):
    first = summed(1, HOMES, 0, 5)
    store.take_in([first])
    with pytest.raises(JournalError, match="another sum of rule 1, rounds 0 to 4, is kept already"):
        store.take_in([summed(2, HOMES, 0, 5), replace(first, watt_hours=first.watt_hours + 1)])
    assert store.sums_within(RoundSpan(0, 5)) == [first]


def test_migrations_make_the_tables_that_are_used(store):
    with store.ledger.database.reading() as connection:
        assert compare_metadata(MigrationContext.configure(connection), METADATA) == []
    assert all(column.comment for table in METADATA.tables.values() for column in table.columns)


def test_a_newer_database_is_refused(url, path, store):
    store.close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(
        JournalError, match=r"written by a newer version of hushgrid \(tables 9999; this one knows 0002\)"
    ):
        GatewayStore(url)


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("UPDATE balances SET rho_pico = '1.5'", "no whole number"),
        ("UPDATE balances SET rho_pico = ''", "no whole number"),
        ("UPDATE cohorts SET homes = '[1]'", "a set of homes is not understood"),
        ("UPDATE disclosed SET losses = '[[1]]'", "what is missing in a sum is not understood"),
        ("UPDATE disclosed SET place = place + 1 WHERE place > 2", "disclosed row 3 is missing"),
        ("UPDATE answers SET answer = replace(answer, 'included', 'excluded')", "is not understood"),
    ],
)
def test_what_is_not_understood_is_refused(url, path, store, statement, said):
    store.take_in(hourly())
    answers = []
    put_all(store, answers.append)
    store.close()
    with sqlite3.connect(path) as connection:
        if "place + 1" in statement:
            connection.execute("UPDATE disclosed SET place = -place WHERE place > 2")
            statement = "UPDATE disclosed SET place = 1 - place WHERE place < 0"
        connection.execute(statement)
    again = GatewayStore(url)
    with pytest.raises(JournalError, match=said):
        _ = (again.disclosed(), again.answer_to(answers[0].question), again.ledger.balances([(HOMES[0], 0)]))
    again.close()


def test_a_locked_or_full_database_says_so_and_charges_nothing(url, path):
    store = GatewayStore(url, patience_seconds=0.05)
    entry = ChargeEntry("q", 0, ("a",), (0,), PrivacyPrice(1))
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(JournalError, match=r"gateway\.db: database is locked$"):
        store.ledger.charge(entry, CAP)
    other.execute("ROLLBACK")
    with store.ledger.database.reading() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
    with store.ledger.database.reading() as connection:
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(JournalError, match="database or disk is full"):
        store.ledger.charge(replace(entry, homes=tuple(f"home-{at}" for at in range(1000))), CAP)
    assert charged(store) == []
    other.close()
    store.close()


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("secret", "no URL of the form"),
        ("postgresql://me:secret@host:port/x", "no URL of the form"),
        ("mysql://me:secret@host/x", "not in a database of the kind 'mysql'"),
        ("sqlite+aiosqlite:///x", "not in a database of the kind"),
        ("sqlite://", "names no database"),
        ("sqlite:///:memory:", "names no database"),
        ("postgresql://me:secret@host", "names no database"),
        ("sqlite:///x.db?mode=ro", "a file and nothing else"),
        ("sqlite:////dev/null/x.db", "/dev/null/x.db: "),
        ("postgresql://me:secret@127.0.0.1:1/x", r"me:\*\*\*@127.0.0.1:1/x: .*[Cc]onnection"),
    ],
)
def test_an_address_that_does_not_serve_is_refused_in_one_line(url, said):
    with pytest.raises(ConfigurationError, match=said) as caught:
        GatewayStore(url)
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_file_that_is_no_database_is_refused(url, path):
    path.write_text("no database at all, but long enough to be read as the head of one " * 10)
    with pytest.raises(ConfigurationError, match="file is not a database"):
        GatewayStore(url)


def test_a_missing_driver_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(ConfigurationError, match=r"needs psycopg, which is not installed; .*\[gateway\]"):
        GatewayStore("postgresql://me@host/x")


def test_only_its_owner_reads_the_file(store, path):
    del store
    assert {each.stat().st_mode & 0o077 for each in path.parent.glob("gateway.db*")} == {0}
