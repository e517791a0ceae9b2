"""A durable store, and another program's look at it."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys

import pytest

from hushgrid.errors import JournalError
from hushgrid.shell.database import Database

MIGRATIONS = ("CREATE TABLE fact (number INTEGER)",)
_KILLED = """
import os, pathlib, signal, sys
from hushgrid.shell.database import Database
store = Database(pathlib.Path(sys.argv[1]), ("CREATE TABLE fact (number INTEGER)",))
store.execute("INSERT INTO fact VALUES (7)")
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("secrets", [False, True])
def test_a_look_at_a_store_in_use_sees_it_and_cannot_change_it(tmp_path, secrets):
    path = tmp_path / "store.sqlite"
    store = Database(path, MIGRATIONS, secrets=secrets)
    store.execute("INSERT INTO fact VALUES (1)")
    looked = Database(path, MIGRATIONS, read_only=True)
    assert looked.query("SELECT number FROM fact") == [(1,)]
    for change in ("INSERT INTO fact VALUES (2)", "DELETE FROM fact", "DROP TABLE fact"):
        with pytest.raises(JournalError, match="readonly"):
            looked.execute(change)
    store.execute("INSERT INTO fact VALUES (3)")
    assert looked.query("SELECT number FROM fact") == [(1,), (3,)]
    looked.close()
    store.close()


def test_what_a_killed_program_had_said_is_seen(tmp_path):
    path = tmp_path / "store.sqlite"
    done = subprocess.run([sys.executable, "-c", _KILLED, str(path)], check=False, env=dict(os.environ))
    assert done.returncode == -signal.SIGKILL
    looked = Database(path, MIGRATIONS, read_only=True)
    assert looked.query("SELECT number FROM fact") == [(7,)]
    looked.close()


@pytest.mark.parametrize("read_only", [False, True])
def test_a_store_that_cannot_be_used_is_let_go_of(tmp_path, monkeypatch, read_only):
    path, opened = tmp_path / "store.sqlite", []
    connect = sqlite3.connect
    Database(path, (*MIGRATIONS, "CREATE TABLE more (number INTEGER)")).close()
    monkeypatch.setattr(
        sqlite3, "connect", lambda *given, **named: opened.append(connect(*given, **named)) or opened[-1]
    )
    with pytest.raises(JournalError, match="version of hushgrid"):
        Database(path, MIGRATIONS, read_only=read_only)
    (left,) = opened
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        left.execute("SELECT 1")


def test_a_look_makes_no_store_and_migrates_none(tmp_path):
    path = tmp_path / "store.sqlite"
    with pytest.raises(JournalError, match="unable to open"):
        Database(path, MIGRATIONS, read_only=True)
    assert not path.exists()
    Database(path, MIGRATIONS).close()
    for other in ((), (*MIGRATIONS, "CREATE TABLE more (number INTEGER)")):
        with pytest.raises(JournalError, match="another version"):
            Database(path, other, read_only=True)
