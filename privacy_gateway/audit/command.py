"""`hushgrid audit-log verify`: whether an audit log is what the gateway wrote, asked by anybody who holds it."""

from __future__ import annotations

import datetime as dt
import stat
from pathlib import Path

import click

from hushgrid.cli import stops_with_one_line
from hushgrid.core.schedule import utc_text
from hushgrid.core.sealing import KEY_BYTES
from hushgrid.errors import ConfigurationError, MessageError, RejectReason
from hushgrid.printing import Terminal
from hushgrid.statements.audit import AuditHead
from privacy_gateway.audit.chain import ChainHead, DamagedLogError, verify
from privacy_gateway.audit.heads import read_head
from privacy_gateway.audit.log_file import lines_of

_MOST_HEAD_BYTES = 64 * 1024


@click.group("audit-log")
def audit_log() -> None:
    """A privacy gateway's audit log."""


@audit_log.command("verify")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--head", "heads", multiple=True, type=click.Path(path_type=Path, dir_okay=False), metavar="HEAD",
    help="A file with a head that the gateway signed earlier; the log has to continue it. May be given several times.",
)  # fmt: skip
@click.option(
    "--identity", metavar="KEY", help="The gateway's public identity in hexadecimal; heads have to be signed by it."
)
@stops_with_one_line
def verify_command(file: Path, heads: tuple[Path, ...], identity: str | None) -> None:
    """Say whether the audit log FILE is whole, and continues earlier heads.

    What was changed, taken out, put in or moved is found, up to the last entry. That the end is missing, or that everything
    was written anew, only a head shows that somebody else has kept.

    Exit status 0: it is; 1: it is not, and the line says where; 2: a file cannot be read, or an option is wrong.
    """
    wanted = _identity(identity)
    said = [(path, _head(path, wanted)) for path in heads]
    terminal = Terminal()
    try:
        with _opened(file).open("rb") as log:
            end = verify(lines_of(log), [ChainHead(head.entries, head.digest) for _, head in said])
    except OSError as error:
        raise ConfigurationError(f"{file}: {error.strerror or error}") from None
    except DamagedLogError as error:
        raise DamagedLogError(f"{file}: {error}") from None
    terminal.say(f"{file}: {end.entries} entries, whole; the last one's hash is {end.digest.hex()}")
    for path, head in said:
        when = utc_text(dt.datetime.fromtimestamp(head.at_seconds, tz=dt.UTC))
        terminal.say(f"{path}: continues the head of {head.entries} entries, {when}, signed by {head.identity.hex()}")
    if not said:
        terminal.say("no head was given: that entries are missing at the end would not be seen (--head)")


def _opened(file: Path) -> Path:
    if not stat.S_ISREG(file.stat().st_mode):
        raise ConfigurationError(f"{file}: not a file")
    return file


def _identity(text: str | None) -> bytes | None:
    if text is None:
        return None
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise ConfigurationError(f"--identity {text}: expected {2 * KEY_BYTES} hexadecimal digits")
    return key


def _head(path: Path, identity: bytes | None) -> AuditHead:
    try:
        with path.open("rb") as file:
            head = read_head(file.read(_MOST_HEAD_BYTES))
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror or error}") from None
    except MessageError as error:
        if error.reason is RejectReason.BAD_SIGNATURE:
            raise DamagedLogError(f"{path}: the head was not signed by the identity that it names") from None
        raise ConfigurationError(f"{path}: not a signed head of an audit log") from None
    if identity is not None and head.identity != identity:
        raise DamagedLogError(f"{path}: the head was signed by another identity, {head.identity.hex()}")
    return head
