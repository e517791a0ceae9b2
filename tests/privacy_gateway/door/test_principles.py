"""Each of the eight principles: a check that holds of what is there, and finds what is done against it."""

from __future__ import annotations

import json
import sqlite3

import pytest
from sqlalchemy import delete, insert, select, update
from support.gateway import HOMES, ask
from support.gateway.desks import GRID, KEYS, NOW, client, close, consent_line, desk_at

from hushgrid.core.sealing import Identity
from hushgrid.statements.consent import Consent, ConsentAct
from hushgrid.statements.lines import wire_of
from hushgrid.wire.purpose import Purpose
from privacy_gateway.audit.entries import LoggedAnswer, LoggedCharge
from privacy_gateway.consent.state import HomeConsents
from privacy_gateway.desk.published import PublishedHeads
from privacy_gateway.principles.checks import LookedAt, Principle, check_all
from privacy_gateway.store.tables import ANSWERS, BALANCES, CHARGES, COHORTS, DISCLOSED, SUMS
from privacy_gateway.store.written import homes_written


@pytest.fixture
def desk(tmp_path):
    """A desk with an answer for a purpose that needs consent, and one for another."""
    opened = desk_at(tmp_path)
    for home in HOMES:
        opened.hear(consent_line(home, 1, ConsentAct.GRANT))
    opened.ask(client(), ask())
    opened.ask(client(), ask(purpose="operations", first=1, until=3))
    yield opened
    close(opened)


@pytest.fixture
def heads(desk, tmp_path):
    published = PublishedHeads(tmp_path / "heads.txt", Identity.from_bytes(b"g" * 32), gateway="gateway-1", grid=GRID)
    published.publish(desk.audit.head, NOW)
    return published


@pytest.fixture
def looked(desk, heads, tmp_path):
    def look(**changed) -> dict[Principle, tuple[bool, str]]:
        private = [tmp_path / name for name in ("audit.log", "consents.sqlite", "gateway.sqlite", "heads.txt")]
        at = {"published": heads.last, "private": private, "tls": True, **changed}
        return {
            each.principle: (each.holds, each.sentence)
            for each in check_all(LookedAt(desk, GRID, tmp_path / "audit.log", **at))
        }

    return look


@pytest.fixture
def store(desk):
    return desk.store.ledger.database


def broken(found) -> set[Principle]:
    assert all(home not in sentence for _, sentence in found.values() for home in HOMES)
    return {principle for principle, (holds, _) in found.items() if not holds}


def test_all_hold_of_what_the_gateway_did(looked):
    found = looked()
    assert list(found) == list(Principle)
    assert broken(found) == set()


def test_transparency_a_charge_of_which_nobody_was_told_what_for(looked, desk):
    desk.audit.append(LoggedCharge(at_seconds=NOW, question=b"q" * 32, budget="period-0", epsilon="1/2", rho="0"))
    assert broken(looked()) == {Principle.TRANSPARENCY}


def test_individual_participation_a_consent_that_no_meter_signed(looked, desk):
    said = Consent(grid=GRID, number=2, purpose=Purpose.SERVICES, act=ConsentAct.GRANT, at_seconds=NOW)
    desk.consents.homes[HOMES[0]] = desk.consents.homes[HOMES[0]].after(said)
    assert broken(looked()) == {Principle.INDIVIDUAL_PARTICIPATION}


def test_individual_participation_a_consent_that_was_taken_back_and_is_not_heeded(looked, desk, tmp_path):
    with sqlite3.connect(tmp_path / "consents.sqlite") as file:
        wire = wire_of(consent_line(HOMES[0], 2, ConsentAct.REVOKE))
        file.execute("INSERT INTO consent (meter, wire) VALUES (?, ?)", (HOMES[0], wire))
    desk.consents.look_again()
    assert broken(looked()) == set()
    desk.consents.homes[HOMES[0]] = HomeConsents()
    desk.consents.homes[HOMES[1]] = HomeConsents()
    assert broken(looked()) == {Principle.INDIVIDUAL_PARTICIPATION}


def test_purpose_specification_an_answer_for_another_purpose_than_was_stated(looked, desk):
    question = bytes.fromhex(desk.ask(client(), ask()).answer.question)
    entry = {"question": question, "answer": b"a" * 32, "asker": "lab", "consents": b"c" * 32, "code": "0"}
    desk.audit.append(LoggedAnswer(at_seconds=NOW, purpose=Purpose.SERVICES, **entry))
    assert broken(looked()) == {Principle.PURPOSE_SPECIFICATION}


def cohort_of(connection, homes) -> str:
    digest, written = homes_written(homes)
    connection.execute(insert(COHORTS).values(cohort=digest, homes=written))
    return digest


def test_data_minimisation_a_reading_that_is_kept_as_a_sum(looked, store):
    with store.writing() as connection:
        cohort = cohort_of(connection, HOMES[:1])
        row = {"rule": 9, "first_round": 0, "until_round": 1, "watt_hours": 1, "included": 1, "contributors": 1}
        connection.execute(insert(SUMS).values(cohort=cohort, **row))
    assert broken(looked()) == {Principle.DATA_MINIMISATION}


def test_data_minimisation_a_number_that_was_told_of_too_few(looked, store):
    with store.writing() as connection:
        connection.execute(update(DISCLOSED).values(cohort=cohort_of(connection, HOMES[:2])))
    assert broken(looked()) == {Principle.DATA_MINIMISATION}


def test_use_limitation_a_home_beyond_its_budget(looked, store):
    with store.writing() as connection:
        connection.execute(update(CHARGES).where(CHARGES.c.place == 0).values(epsilon_micro=3_000_000))
        connection.execute(update(BALANCES).values(epsilon_micro=3_500_000, epsilon_squares=3_000_000**2 + 500_000**2))
    assert broken(looked()) == {Principle.USE_LIMITATION}


def test_use_limitation_an_answer_that_nobody_paid_for(looked, store):
    with store.writing() as connection:
        row = connection.execute(select(ANSWERS)).first()
        connection.execute(insert(ANSWERS).values(question="f" * 64, answer=row.answer.replace(row.question, "f" * 64)))
    found = looked()
    assert broken(found) == {Principle.USE_LIMITATION}
    assert "nobody was charged for" in found[Principle.USE_LIMITATION][1]


def test_what_cannot_be_read_does_not_hold(looked, store):
    with store.writing() as connection:
        connection.execute(update(ANSWERS).values(answer="{}"))
    assert broken(looked()) == {Principle.USE_LIMITATION}


def test_data_quality_a_balance_that_is_not_the_sum_of_its_charges(looked, store):
    with store.writing() as connection:
        connection.execute(update(BALANCES).where(BALANCES.c.home == HOMES[0]).values(epsilon_micro=1))
    assert broken(looked()) == {Principle.DATA_QUALITY}


def test_security_a_file_that_others_may_read_and_a_door_without_tls(looked, tmp_path):
    assert broken(looked(tls=False)) == {Principle.SECURITY}
    (tmp_path / "gateway.sqlite").chmod(0o644)
    found = looked()
    assert broken(found) == {Principle.SECURITY}
    assert "gateway.sqlite" in found[Principle.SECURITY][1]


def test_accountability_an_answer_that_was_asked_for_by_nobody(looked, desk):
    charged = bytes.fromhex(desk.ask(client(), ask()).answer.question)
    for question in (b"q" * 32, charged):
        entry = {"question": question, "answer": b"a" * 32, "asker": "lab", "consents": b"c" * 32, "code": "0"}
        desk.audit.append(LoggedAnswer(at_seconds=NOW, purpose=Purpose.RESEARCH, **entry))
    assert broken(looked()) == {Principle.ACCOUNTABILITY, Principle.PURPOSE_SPECIFICATION}


def test_accountability_a_log_that_was_changed(looked, tmp_path):
    log = tmp_path / "audit.log"
    lines = log.read_text().splitlines(keepends=True)
    entry = json.loads(lines[0])["entry"]
    assert entry["kind"] == "consent"
    log.write_text("".join([lines[0].replace("research", "services"), *lines[1:]]))
    assert Principle.ACCOUNTABILITY in broken(looked())
    log.write_text("".join(lines[:-1]))
    assert Principle.ACCOUNTABILITY in broken(looked())


def test_accountability_a_charge_that_was_taken_out_of_the_ledger(looked, store):
    with store.writing() as connection:
        connection.execute(delete(DISCLOSED))
        connection.execute(delete(CHARGES).where(CHARGES.c.place == 1))
    assert {Principle.ACCOUNTABILITY, Principle.DATA_QUALITY, Principle.USE_LIMITATION} <= broken(looked())
    assert len(KEYS) == len(HOMES)
