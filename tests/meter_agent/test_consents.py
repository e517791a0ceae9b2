"""`hushgrid-meter consent`: signed with the meter's identity, numbered, the same bytes when it is said again."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from hushgrid.core.sealing import Identity
from hushgrid.shell.keyring import Keyring
from hushgrid.shell.runtime import run
from hushgrid.statements.consent import Consent, ConsentAct
from hushgrid.statements.lines import wire_of
from hushgrid.statements.statement import Kinds, Statement
from hushgrid.wire.purpose import CONSENTED, Purpose
from meter_agent.commands import COMMANDS
from meter_agent.config import MeterConfig
from meter_agent.consent.book import Consents
from meter_agent.service import serve


@pytest.fixture
def meter(tmp_path: Path) -> Path:
    """A meter's configuration; it is enrolled."""
    state, config = tmp_path / "state", tmp_path / "meter.toml"
    config.write_text(
        f'[agent]\nid = "m0001"\nstate_directory = "{state}"\n[configurator]\nidentity = "{"00" * 32}"\n',
        encoding="utf-8",
    )
    keyring = Keyring(state / "keys.sqlite")
    keyring.prepare(["m0001"])
    keyring.enrolled({"m0001": 7})
    keyring.close()
    return config


def obey(*arguments: object) -> int:
    return run("hushgrid-meter", MeterConfig, serve, [*map(str, arguments)], commands=lambda: COMMANDS)


def read(line: str, meter: Path) -> Consent:
    keyring = Keyring(meter.parent / "state" / "keys.sqlite")
    statement, signed = Statement.from_bytes(wire_of(line.encode()), Kinds(Consent))
    signed.check(keyring.identity("m0001").public)
    keyring.close()
    assert (statement.sender, statement.recipient) == ("m0001", "*")
    assert isinstance(statement.body, Consent)
    assert statement.sequence == statement.body.number
    return statement.body


def test_a_consent_is_signed_by_the_meter_and_numbers_rise(meter, capsys):
    began = int(time.time())
    said = []
    for purpose, act in [("research", "grant"), ("services", "revoke"), ("research", "revoke"), ("research", "grant")]:
        assert obey("consent", purpose, act, "--config", meter) == 0
        captured = capsys.readouterr()
        assert captured.err == ""
        said.append(read(captured.out, meter))
    assert [(one.number, one.purpose, one.act) for one in said] == [
        (1, Purpose.RESEARCH, ConsentAct.GRANT),
        (2, Purpose.SERVICES, ConsentAct.REVOKE),
        (3, Purpose.RESEARCH, ConsentAct.REVOKE),
        (4, Purpose.RESEARCH, ConsentAct.GRANT),
    ]
    assert all(one.grid == "hushgrid" and began <= one.at_seconds <= time.time() for one in said)


def test_said_again_it_is_the_same_bytes_and_no_number_is_used(meter, capsys):
    for act in ("grant", "grant"):
        obey("consent", "research", act, "--config", meter)
    first, second = capsys.readouterr().out.splitlines()
    assert first == second
    obey("consent", "services", "grant", "--config", meter)
    assert read(capsys.readouterr().out, meter).number == 2


def test_after_a_backup_was_put_back_numbers_go_on_above_what_was_heard(meter, capsys):
    for above, number in [("0", 1), ("5", 6), ("5", 6), ("0", 6), ("6", 7)]:
        assert obey("consent", "research", "grant", "--above", above, "--config", meter) == 0
        assert read(capsys.readouterr().out, meter).number == number
    assert obey("consent", "research", "grant", "--above", "-1", "--config", meter) == 2
    assert obey("consent", "research", "grant", "--above=-1", "--config", meter) == 2
    assert "--above -1: expected the number of a consent" in capsys.readouterr().err


def test_all_of_them_are_written_again_in_order(meter, tmp_path, capsys):
    assert obey("consents", "--config", meter) == 0
    assert capsys.readouterr().out == ""
    for purpose in CONSENTED:
        obey("consent", purpose.value, "grant", "--config", meter)
    said = capsys.readouterr().out
    assert obey("consents", "--config", meter, "--output", tmp_path / "all.txt") == 0
    assert (tmp_path / "all.txt").read_text() == said
    assert [read(line, meter).number for line in said.splitlines()] == [1, 2, 3, 4]


def test_it_is_written_to_a_file_and_over_none(meter, tmp_path, capsys):
    output = tmp_path / "consent.txt"
    assert obey("consent", "research", "grant", "--config", meter, "--output", output) == 0
    assert read(output.read_text(), meter).act is ConsentAct.GRANT
    before = output.read_text()
    assert obey("consent", "research", "revoke", "--config", meter, "--output", output) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert "is there already" in captured.err
    assert output.read_text() == before
    obey("consents", "--config", meter)
    assert len(capsys.readouterr().out.splitlines()) == 1, "no number was used for what was refused"


@pytest.mark.parametrize(
    ("purpose", "act", "said"),
    [
        ("billing", "revoke", "billing: the supply itself needs it, and no consent is asked for"),
        ("gossip", "grant", "gossip: there is no such purpose; a household may consent to forecasting, statistics"),
        ("research", "maybe", "maybe: expected grant or revoke"),
    ],
)
def test_what_cannot_be_consented_to_is_one_line_and_status_2(meter, capsys, purpose, act, said):
    assert obey("consent", purpose, act, "--config", meter) == 2
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    assert said in captured.err
    assert not (meter.parent / "state" / "consents.sqlite").exists()


def test_a_meter_that_is_not_enrolled_signs_nothing_and_makes_no_identity(meter, capsys):
    keys = meter.parent / "state" / "keys.sqlite"
    meter.write_text(meter.read_text().replace("m0001", "m0002"))
    assert obey("consent", "research", "grant", "--config", meter) == 2
    assert "m0002 is not enrolled yet" in capsys.readouterr().err
    keys.unlink()
    assert obey("consent", "research", "grant", "--config", meter) == 2
    assert "the meter has no identity yet" in capsys.readouterr().err
    assert not keys.exists()


def test_the_help_says_that_it_is_not_sent(capsys):
    with pytest.raises(SystemExit):
        obey("consent", "--help")
    text = " ".join(capsys.readouterr().out.split())
    assert "it is not sent from here" in text
    assert "One of forecasting, statistics, research, services." in text


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_what_root_signs_belongs_to_the_service(tmp_path):
    os.chown(tmp_path, 1234, 1235)
    Consents(tmp_path, grid="hushgrid", meter="m0001", identity=Identity.generate()).close()
    made = (tmp_path / "consents.sqlite").stat()
    assert (made.st_uid, made.st_gid, made.st_mode & 0o077) == (1234, 1235, 0)


def test_a_store_that_is_opened_twice_uses_no_number_twice(tmp_path):
    identity = Identity.generate()
    both = [Consents(tmp_path, grid="hushgrid", meter="m0001", identity=identity) for _ in range(2)]
    for turn in range(6):
        both[turn % 2].say(Purpose.RESEARCH, ConsentAct.REVOKE if turn % 2 else ConsentAct.GRANT, turn)
    assert len(set(both[0].all())) == 6
    assert both[0].all() == both[1].all()
    for book in both:
        book.close()
