"""`hushgrid-meter sign-in`: one line in the meter's hand, for one gateway, and nothing is kept of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from hushgrid.shell.keyring import Keyring
from hushgrid.shell.runtime import run
from hushgrid.statements.lines import wire_of
from hushgrid.statements.sign_in import SignIn
from hushgrid.statements.statement import Kinds, Statement
from meter_agent.commands import COMMANDS
from meter_agent.config import MeterConfig
from meter_agent.service import serve

CHALLENGE = "ab" * 40


@pytest.fixture
def meter(tmp_path: Path) -> Path:
    """A meter's configuration; it is enrolled."""
    state, config = tmp_path / "state", tmp_path / "meter.toml"
    config.write_text(
        f'[agent]\nid = "m0001"\ngrid = "village"\nstate_directory = "{state}"\n[configurator]\nidentity = "{"00" * 32}"\n'
    )
    keyring = Keyring(state / "keys.sqlite")
    keyring.prepare(["m0001"])
    keyring.enrolled({"m0001": 7})
    keyring.close()
    return config


def obey(*arguments: object) -> int:
    return run("hushgrid-meter", MeterConfig, serve, [*map(str, arguments)], commands=lambda: COMMANDS)


def test_what_is_signed_names_gateway_grid_and_challenge(meter, capsys):
    assert obey("sign-in", "data-office", CHALLENGE, "--config", meter) == 0
    said = capsys.readouterr()
    assert (said.err, said.out.count("\n")) == ("", 1)
    statement, signed = Statement.from_bytes(wire_of(said.out.encode()), Kinds(SignIn))
    keyring = Keyring(meter.parent / "state" / "keys.sqlite")
    signed.check(keyring.identity("m0001").public)
    keyring.close()
    assert (statement.sender, statement.recipient) == ("m0001", "data-office")
    assert isinstance(statement.body, SignIn)
    assert (statement.body.grid, statement.body.challenge.hex()) == ("village", CHALLENGE)
    assert {path.name for path in (meter.parent / "state").iterdir()} == {"keys.sqlite"}


@pytest.mark.parametrize(
    ("gateway", "challenge", "said"),
    [
        ("data office", CHALLENGE, "expected the gateway's id"),
        ("data-office", "ab", "expected 80 hexadecimal digits"),
        ("data-office", "xy" * 40, "expected 80 hexadecimal digits"),
    ],
)
def test_what_is_not_understood_is_one_line_and_status_2(meter, capsys, gateway, challenge, said):
    assert obey("sign-in", gateway, challenge, "--config", meter) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_before_it_is_enrolled_a_meter_signs_nobody_in(meter, capsys):
    (meter.parent / "state" / "keys.sqlite").unlink()
    assert obey("sign-in", "data-office", CHALLENGE, "--config", meter) == 2
    assert "has no identity yet" in capsys.readouterr().err
