"""State directories of a consumer as an earlier version left them, made by its own statements."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

RESULTS = """
    CREATE TABLE answer (
        rule INTEGER NOT NULL, first_round INTEGER NOT NULL, point INTEGER NOT NULL, frame BLOB NOT NULL,
        PRIMARY KEY (rule, first_round, point)
    );
    CREATE TABLE result (
        rule INTEGER NOT NULL, first_round INTEGER NOT NULL, name TEXT NOT NULL, json TEXT NOT NULL,
        PRIMARY KEY (rule, first_round)
    );
    PRAGMA user_version=1;
"""
BILLING = """
    CREATE TABLE masked (stream INTEGER NOT NULL, period INTEGER NOT NULL, round INTEGER NOT NULL, meter TEXT NOT NULL,
        element TEXT NOT NULL, reading INTEGER NOT NULL, PRIMARY KEY (stream, round, meter)) WITHOUT ROWID;
    CREATE TABLE result (kind TEXT NOT NULL, stream INTEGER NOT NULL, first_round INTEGER NOT NULL, part TEXT NOT NULL,
        json TEXT NOT NULL, PRIMARY KEY (kind, stream, first_round, part)) WITHOUT ROWID;
    CREATE TABLE closing (stream INTEGER NOT NULL, round INTEGER NOT NULL, graph BLOB NOT NULL, absent TEXT NOT NULL,
        signature BLOB NOT NULL, PRIMARY KEY (stream, round)) WITHOUT ROWID;
    CREATE TABLE opening (stream INTEGER NOT NULL, period INTEGER NOT NULL, round INTEGER NOT NULL, holder TEXT NOT NULL,
        about TEXT NOT NULL, left_out INTEGER NOT NULL, element TEXT NOT NULL,
        PRIMARY KEY (stream, round, holder, about)) WITHOUT ROWID;
    CREATE TABLE done (stream INTEGER NOT NULL, period INTEGER NOT NULL, PRIMARY KEY (stream, period)) WITHOUT ROWID;
    PRAGMA user_version=1;
"""


def leave_sums(directory: Path, rows: list[dict[str, object]], shares: list[tuple[int, int, int, bytes]]) -> None:
    """rows: as `results.jsonl` showed them then; shares: rule, first round, point and frame of what is not concluded."""
    with closing(sqlite3.connect(directory / "results.sqlite")) as old:
        old.execute("PRAGMA journal_mode=WAL")
        old.executescript(RESULTS)
        for row in rows:
            old.execute("INSERT INTO result VALUES (?, ?, ?, ?)",
                        (row["number"], row["first_round"], row["rule"], json.dumps(row)))  # fmt: skip
        old.executemany("INSERT INTO answer VALUES (?, ?, ?, ?)", shares)
        old.commit()


def leave_masked(directory: Path, rows: list[tuple[str, str, dict[str, object]]]) -> None:
    """rows: kind, part, and the row as files showed it then; one masked reading is not billed yet."""
    with closing(sqlite3.connect(directory / "billing.sqlite")) as old:
        old.executescript(BILLING)
        for kind, part, row in rows:
            place = (kind, row["number"], row["first_round"], part, json.dumps(row))
            old.execute("INSERT INTO result VALUES (?, ?, ?, ?, ?)", place)
        old.execute("INSERT INTO masked VALUES (1, 12, 12, 'm1', '77', 1)")
        old.execute("INSERT INTO done VALUES (1, 8)")
        old.commit()
