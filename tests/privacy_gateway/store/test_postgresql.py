"""The store on a real PostgreSQL, started by the test as a user without rights."""

from __future__ import annotations

import random

import pytest
from support.gateway import hourly
from support.gateway.accountant import CAP, beside_brute_force
from support.gateway.postgresql import PostgreSQLServer
from support.gateway.stored import charged, put_all, two_at_once

from hushgrid.errors import ConfigurationError, JournalError
from privacy_gateway.ledger.book import ChargeEntry
from privacy_gateway.ledger.price import PrivacyPrice
from privacy_gateway.store.gateway_store import GatewayStore

pytestmark = pytest.mark.system


def test_random_questions_never_over_budget_and_never_under_charged(part, postgresql: PostgreSQLServer):
    """1,000 that another commit draws anew."""
    store = GatewayStore(postgresql.fresh())
    beside_brute_force(part or random.Random(14), store.ledger)
    charged(store)
    store.close()


def test_two_processes_that_charge_at_once_see_one_ledger(postgresql: PostgreSQLServer):
    two_at_once(postgresql.fresh(), 100)


def test_what_is_kept_is_read_back_as_it_was(postgresql: PostgreSQLServer):
    url = postgresql.fresh()
    store = GatewayStore(url)
    store.take_in(hourly())
    answers = []
    put_all(store, answers.append)
    store.close()
    again = GatewayStore(url)
    assert [again.answer_to(answer.question) for answer in answers] == answers
    assert len(again.disclosed()) == 8
    with again.ledger.database.reading() as connection:
        comment = "SELECT col_description('balances'::regclass, 1)"
        assert connection.exec_driver_sql(comment).scalar() == "id of a home"
    again.close()


def test_a_lock_that_another_process_holds_is_named_and_charges_nothing(postgresql: PostgreSQLServer):
    url = postgresql.fresh()
    holding, waiting = GatewayStore(url), GatewayStore(url, patience_seconds=0.05)
    with holding.ledger.database.writing(), pytest.raises(JournalError, match="lock timeout"):
        waiting.ledger.charge(ChargeEntry("q", 0, ("a",), (0,), PrivacyPrice(1)), CAP)
    assert charged(waiting) == []
    holding.close()
    waiting.close()


def test_a_database_that_is_not_there_is_refused(postgresql: PostgreSQLServer):
    with pytest.raises(ConfigurationError, match='database "nowhere" does not exist') as caught:
        GatewayStore(postgresql.url("nowhere"))
    assert "\n" not in str(caught.value)
