"""A set-up that fails says why, once, to whoever has to know: no container of docker-compose.yml ends without a reason."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading

import pytest

from hushgrid.shell.runtime import EXIT_CONFIGURATION
from testbed.compose import begin, check, failure, setup
from testbed.places import METERS

REASON = "the volume broker cannot be written: Read-only file system"


@pytest.fixture
def telling():
    """A set-up that failed; the port at which it says so."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=failure.tell, args=(REASON, listening), daemon=True).start()
        yield listening.getsockname()[1]


def test_everybody_who_asks_is_told(telling):
    assert [failure.told("127.0.0.1", telling) for _ in range(3)] == [REASON] * 3


def test_where_nobody_tells_nothing_failed():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        assert failure.told("127.0.0.1", unused.getsockname()[1]) is None
    assert failure.told("nobody.invalid") is None


def test_the_check_ends_with_the_reason(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(check, "told", lambda: REASON)
    monkeypatch.setattr("sys.argv", ["check", "--directory", str(tmp_path)])
    with pytest.raises(SystemExit) as ended:
        check.main()
    assert ended.value.code == EXIT_CONFIGURATION
    assert capsys.readouterr().err == f"check: set-up failed: {REASON}\n"


_AGENT = """
import sys
from testbed.compose import failure
failure.told = lambda: print("asked", flush=True) or "set-up failed"
from testbed.compose.begin import main
sys.argv = ["begin", "this"]
main()
"""


def test_an_agent_keeps_still_and_still_ends_when_it_is_asked_to():
    agent = subprocess.Popen([sys.executable, "-c", _AGENT], stdout=subprocess.PIPE, text=True)
    assert agent.stdout is not None
    assert agent.stdout.readline() == "asked\n"
    assert agent.poll() is None
    agent.send_signal(signal.SIGTERM)
    said, _ = agent.communicate(timeout=300)
    assert (agent.returncode, said) == (0, "")


def test_whoever_has_no_file_begins_at_once(monkeypatch):
    monkeypatch.setattr(begin, "keep_still_after_failure", lambda: None)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr("sys.argv", ["begin", "testbed", "enrol", "serve"])
    taken: list[list[str]] = []
    monkeypatch.setattr(os, "execv", lambda _program, arguments: taken.append(arguments))
    begin.main()
    assert taken == [[sys.executable, "-m", "testbed", "enrol", "serve"]]


def failing(monkeypatch, tmp_path, capsys, *, waited_for):
    """What set-up says and tells when it fails, and with which status it ends where nobody waits for it."""
    monkeypatch.setattr(setup, "count_of", lambda service: 20 if service == "meter" else 0)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    told: list[str] = []
    monkeypatch.setattr(setup, "tell", lambda reason, _listening: told.append(reason))
    monkeypatch.setattr(setup, "PORT", 0)
    done = tmp_path / "done"
    arguments = ["setup", "--directory", str(tmp_path / "volumes"), *(["--done", str(done)] if waited_for else [])]
    monkeypatch.setattr("sys.argv", arguments)
    monkeypatch.setattr(signal, "pause", lambda: None)
    status = None
    try:
        setup.main()
    except SystemExit as ended:
        status = ended.code
    return capsys.readouterr().err, told, done.exists(), status


@pytest.mark.parametrize("waited_for", [True, False])
def test_a_volume_that_takes_no_file_is_named_and_the_others_are_told(waited_for, monkeypatch, tmp_path, capsys):
    for name in (METERS, "ppn-1"):
        (tmp_path / "volumes" / name).mkdir(parents=True)
    (tmp_path / "volumes" / "ppn-1" / ".tried").mkdir()  # root may write wherever a mode forbids it
    monkeypatch.setattr(setup, "_clear", lambda _directory: None)
    said, told, done, status = failing(monkeypatch, tmp_path, capsys, waited_for=waited_for)
    reason = "the volume ppn-1 cannot be written: Is a directory"
    assert said == f"set-up: {reason}\n"
    assert (told, done, status) == (([reason], True, None) if waited_for else ([], False, EXIT_CONFIGURATION))


@pytest.mark.parametrize(
    ("error", "named"),
    [
        (
            PermissionError(13, "Permission denied"),
            r"Permission denied; it belongs to user \d+, and set-up is user \d+",
        ),
        (OSError(28, "No space left on device"), "No space left on device"),
    ],
)
def test_a_volume_that_cannot_be_emptied_or_is_full_is_named(error, named, monkeypatch, tmp_path, capsys):
    (tmp_path / "volumes" / METERS).mkdir(parents=True)

    def refuse(*_arguments, **_more):
        raise error

    monkeypatch.setattr("pathlib.Path.write_bytes", refuse)
    _, (reason,), _, _ = failing(monkeypatch, tmp_path, capsys, waited_for=True)
    monkeypatch.undo()
    assert re.fullmatch(f"the volume meters cannot be written: {named}", reason), reason
