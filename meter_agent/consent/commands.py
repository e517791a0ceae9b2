"""`hushgrid-meter consent`, `consents`, `sign-in`: what a household says, signed with its meter's identity, and never sent from here."""

from __future__ import annotations

import argparse
import contextlib
import re
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from hushgrid.core.sealing import Identity
from hushgrid.errors import ConfigurationError
from hushgrid.outputs import check_new, write_new
from hushgrid.shell.command_line import Command
from hushgrid.shell.config import AgentSection, load
from hushgrid.shell.keyring import Keyring
from hushgrid.statements.consent import ConsentAct
from hushgrid.statements.lines import line_of
from hushgrid.statements.sign_in import CHALLENGE_BYTES, SignIn
from hushgrid.statements.statement import Statement
from hushgrid.wire.purpose import CONSENTED, Purpose
from meter_agent.config import MeterConfig
from meter_agent.consent.book import Consents

_MOST_DIGITS = 18
_GATEWAY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_NAMES = ", ".join(purpose.value for purpose in CONSENTED)


def _purpose(text: str) -> Purpose:
    """The purpose of that name; ConfigurationError for one that there is not, or that asks for no consent."""
    try:
        purpose = Purpose(text)
    except ValueError:
        raise ConfigurationError(f"{text}: there is no such purpose; a household may consent to {_NAMES}") from None
    if purpose.primary:
        raise ConfigurationError(
            f"{text}: the supply itself needs it, and no consent is asked for; for these it is: {_NAMES}"
        )
    return purpose


def _act(text: str) -> ConsentAct:
    try:
        return ConsentAct(text)
    except ValueError:
        raise ConfigurationError(f"{text}: expected grant or revoke") from None


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS):
        raise ConfigurationError(f"--above {text}: expected the number of a consent")
    return int(text)


def _gateway(text: str) -> str:
    if not _GATEWAY.fullmatch(text):
        raise ConfigurationError(f"{text!a}: expected the gateway's id, as its challenge names it")
    return text


def _challenge(text: str) -> bytes:
    try:
        drawn = bytes.fromhex(text)
    except ValueError:
        drawn = b""
    if len(drawn) != CHALLENGE_BYTES:
        raise ConfigurationError(
            f"CHALLENGE: expected {2 * CHALLENGE_BYTES} hexadecimal digits, as the gateway gave them"
        )
    return drawn


def _identity(section: AgentSection) -> Identity:
    """The meter's; ConfigurationError before it is enrolled."""
    keys = section.state_directory / "keys.sqlite"
    if not keys.is_file():
        raise ConfigurationError(f"{keys}: the meter has no identity yet; it gets one, and enrols, when it runs")
    with contextlib.closing(Keyring(keys)) as keyring:
        if keyring.number(section.id) is None:
            raise ConfigurationError(f"{keys}: {section.id} is not enrolled yet; it enrols when it runs")
        return keyring.identity(section.id)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Consents]:
    """The consents of the meter of this configuration."""
    section = load(MeterConfig, path).agent
    identity = _identity(section)
    book = Consents(section.state_directory, grid=section.grid, meter=section.id, identity=identity)
    with contextlib.closing(book):
        yield book


def _consent(arguments: argparse.Namespace) -> None:
    check_new(arguments.output)
    with _opened(arguments.config) as book:
        wire = book.say(arguments.purpose, arguments.act, int(time.time()), above=arguments.above)
    _show([wire], arguments.output)


def _consents(arguments: argparse.Namespace) -> None:
    check_new(arguments.output)
    with _opened(arguments.config) as book:
        said = book.all()
    _show(said, arguments.output)


def _sign_in(arguments: argparse.Namespace) -> None:
    """Signed and printed; nothing is kept of it, and nothing is numbered: a challenge serves once."""
    check_new(arguments.output)
    section = load(MeterConfig, arguments.config).agent
    body = SignIn(grid=section.grid, challenge=arguments.challenge, at_seconds=int(time.time()))
    said = Statement(sender=section.id, recipient=arguments.gateway, sequence=0, body=body)
    _show([said.to_bytes(_identity(section))], arguments.output)


def _show(statements: Sequence[bytes], output: Path | None) -> None:
    text = b"".join(line_of(wire) for wire in statements).decode()
    if output is None:
        sys.stdout.write(text)
    else:
        write_new(output, text)


def _with_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--output", type=Path, metavar="FILE", help="Write it there instead of to standard output.")


def _for_consent(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("purpose", type=_purpose, metavar="PURPOSE", help=f"One of {_NAMES}.")
    parser.add_argument("act", type=_act, metavar="grant|revoke", help="Allow it, or take that back.")
    said = "Give it a number above this one: after a backup was put back, the last that the gateway has heard."
    parser.add_argument("--above", type=_number, metavar="NUMBER", default=0, help=said)
    _with_output(parser)


def _for_sign_in(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "gateway", type=_gateway, metavar="GATEWAY", help="The gateway's id: nobody else can use the line."
    )
    parser.add_argument("challenge", type=_challenge, metavar="CHALLENGE", help="What POST /oauth/challenge gave.")
    _with_output(parser)


CONSENT_COMMANDS = (
    Command(
        "consent",
        "Allow a purpose or take that back: writes a signed, numbered statement, to be handed to the privacy gateway (it is not sent "
        "from here).",
        _consent,
        _for_consent,
    ),
    Command(
        "consents", "Write all of these statements so far, for a gateway that missed one.", _consents, _with_output
    ),
    Command(
        "sign-in",
        "Show the privacy gateway whose meter this is: writes one signed line, which serves once, for a few minutes.",
        _sign_in,
        _for_sign_in,
    ),
)
