"""`hushgrid audit-log verify`, as a person runs it."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from hushgrid.core.sealing import Identity
from privacy_gateway.audit.command import audit_log
from privacy_gateway.audit.entries import LoggedCharge
from privacy_gateway.audit.heads import signed_head
from privacy_gateway.audit.log_file import AuditLog
from testbed.command import main

GATEWAY = Identity.from_bytes(b"\x07" * 32)


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """A folder with a log of four entries, `audit.log`, and heads of three and of four of them: `head3`, `head4`."""
    log = AuditLog(tmp_path / "audit.log", at_seconds=0)
    for number in range(4):
        head = log.append(
            LoggedCharge(at_seconds=number, question=bytes(32), budget="lab", epsilon=f"{number}", rho="0")
        )
        line = signed_head(head, GATEWAY, gateway="gateway", grid="hushgrid", at_seconds=1_700_000_000)
        (tmp_path / f"head{head.entries}").write_bytes(line)
    log.close()
    return tmp_path


def verify(*arguments: object) -> Result:
    return CliRunner().invoke(audit_log, ["verify", *map(str, arguments)])


def one_line(result: Result, status: int) -> str:
    assert result.exit_code == status, result.output
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    assert result.stderr.startswith("hushgrid: ")
    return result.stderr


def test_it_is_a_command_of_hushgrid():
    command = main.get_command(click.Context(main), "audit-log")
    assert isinstance(command, click.Group)
    assert list(command.commands) == ["verify"]


def test_a_whole_log_and_its_heads(kept):
    result = verify(kept / "audit.log", "--head", kept / "head3", "--head", kept / "head4")
    assert result.exit_code == 0, result.output
    said = " ".join(result.stdout.split())  # however wide the terminal is
    assert "audit.log: 4 entries, whole" in said
    assert f"continues the head of 3 entries, 2023-11-14T22:13:20Z, signed by {GATEWAY.public.hex()}" in said
    assert "no head was given" not in said


def test_without_a_head_it_says_what_that_means(kept):
    assert "that entries are missing at the end would not be seen" in " ".join(
        verify(kept / "audit.log").stdout.split()
    )


def test_a_truncated_log_is_found_by_a_head_only(kept):
    log = kept / "audit.log"
    log.write_bytes(b"".join(log.read_bytes().splitlines(keepends=True)[:3]))
    assert verify(log, "--head", kept / "head3").exit_code == 0
    said = one_line(verify(log, "--head", kept / "head3", "--head", kept / "head4"), 1)
    assert "a head of 4 entries was signed, here are 3, 1 fewer" in said


def test_a_changed_and_a_torn_log_are_one_line_and_status_1(kept):
    log = kept / "audit.log"
    whole = log.read_bytes()
    log.write_bytes(whole.replace(b'"epsilon":"2"', b'"epsilon":"1"'))
    assert "audit.log: entry 3 does not follow from what is before it" in one_line(verify(log), 1)
    log.write_bytes(whole[:-4])
    assert "the last line, entry 4, is torn after" in one_line(verify(log), 1)


def test_a_head_that_its_identity_did_not_sign_is_status_1(kept):
    head = kept / "head3"
    head.write_bytes(head.read_bytes().replace(b'"entries":3', b'"entries":2'))
    head.write_bytes(head.read_bytes().replace(b'"sequence":3', b'"sequence":2'))
    said = one_line(verify(kept / "audit.log", "--head", head), 1)
    assert "head3: the head was not signed by the identity that it names" in said


def test_a_head_of_another_gateway_is_status_1(kept):
    log, head = kept / "audit.log", kept / "head3"
    assert verify(log, "--head", head, "--identity", GATEWAY.public.hex()).exit_code == 0
    said = one_line(verify(log, "--head", head, "--identity", Identity.generate().public.hex()), 1)
    assert f"head3: the head was signed by another identity, {GATEWAY.public.hex()}" in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["missing.log"], "missing.log: No such file or directory"),
        (["."], ".: not a file"),
        (["audit.log", "--head", "missing"], "missing: No such file or directory"),
        (["audit.log", "--head", "audit.log"], "audit.log: not a signed head of an audit log"),
        (["audit.log", "--identity", "07"], "--identity 07: expected 64 hexadecimal digits"),
        (["audit.log", "--identity", "x" * 64], "expected 64 hexadecimal digits"),
    ],
)
def test_what_cannot_be_asked_is_one_line_and_status_2(kept, monkeypatch, arguments, said):
    monkeypatch.chdir(kept)
    assert said in one_line(verify(*arguments), 2)


def test_an_option_that_is_not_there_is_status_2(kept):
    assert verify(kept / "audit.log", "--heads", "x").exit_code == 2
