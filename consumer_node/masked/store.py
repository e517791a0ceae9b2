"""What a consumer of masked readings collects: w_ij, closings and openings until a period is done; `billing.sqlite`.

Masked readings are on disk before they are receipted, and erased when the period's last bill and column are in the tables
of results.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Self

from consumer_node.masked.stream import Opened, Recorded
from hushgrid.shell.database import Database
from hushgrid.wire.masked import RoundClosing

_MIGRATIONS = (
    """
    CREATE TABLE masked (stream INTEGER NOT NULL, period INTEGER NOT NULL, round INTEGER NOT NULL, meter TEXT NOT NULL,
        element TEXT NOT NULL, reading INTEGER NOT NULL, PRIMARY KEY (stream, round, meter)) WITHOUT ROWID;
    CREATE TABLE result (kind TEXT NOT NULL, stream INTEGER NOT NULL, first_round INTEGER NOT NULL, part TEXT NOT NULL,
        json TEXT NOT NULL, PRIMARY KEY (kind, stream, first_round, part)) WITHOUT ROWID;
    CREATE TABLE closing (stream INTEGER NOT NULL, round INTEGER NOT NULL, graph BLOB NOT NULL, absent TEXT NOT NULL,
        signature BLOB NOT NULL, PRIMARY KEY (stream, round)) WITHOUT ROWID;
    CREATE TABLE opening (stream INTEGER NOT NULL, period INTEGER NOT NULL, round INTEGER NOT NULL, holder TEXT NOT NULL,
        about TEXT NOT NULL, left_out INTEGER NOT NULL, element TEXT NOT NULL,
        PRIMARY KEY (stream, round, holder, about)) WITHOUT ROWID;
    CREATE TABLE done (stream INTEGER NOT NULL, period INTEGER NOT NULL, PRIMARY KEY (stream, period)) WITHOUT ROWID
    """,
    "ALTER TABLE result RENAME TO former_result",  # results are in tables of their own: `consumer_node.results`
)


class BillingStore:
    """See the module. Readable by its owner only; what is deleted is overwritten."""

    def __init__(self, directory: Path, *, read_only: bool = False) -> None:
        self._database = Database(directory / "billing.sqlite", _MIGRATIONS, secrets=True, read_only=read_only)
        self._done = {(stream, period) for stream, period in self._database.query("SELECT stream, period FROM done")}

    @classmethod
    def read_only(cls, directory: Path) -> Self:
        """Another program's look at it: nothing can be changed. JournalError when it is not there."""
        return cls(directory, read_only=True)

    def transaction(self) -> AbstractContextManager[None]:
        """All or nothing over several calls, and one wait for the disk."""
        return self._database.transaction()

    def record(self, stream: int, period: int, rows: Iterable[Recorded]) -> None:
        """Keep masked readings of a period (its first round); a receipt may follow."""
        statement = "INSERT OR IGNORE INTO masked VALUES (?, ?, ?, ?, ?, ?)"
        with self._database.transaction():
            self._database.execute_many(
                statement, [(stream, period, r.round, r.meter, str(r.element), r.reading) for r in rows]
            )

    def recorded(self, stream: int, period: int) -> Iterator[Recorded]:
        """The masked readings of a period that is not done."""
        query = "SELECT round, meter, element, reading FROM masked WHERE stream = ? AND period = ?"
        for round_number, meter, element, reading in self._database.query(query, stream, period):
            yield Recorded(round_number, meter, int(element), bool(reading))

    def close_round(self, closing: RoundClosing) -> None:
        """Keep the closing of a round, the first and only one."""
        absent = json.dumps(sorted(closing.absent))
        self._database.execute(
            "INSERT OR IGNORE INTO closing VALUES (?, ?, ?, ?, ?)",
            closing.stream, closing.round, closing.graph, absent, closing.signature,
        )  # fmt: skip

    def closings(self, stream: int, first_round: int, last_round: int) -> dict[int, RoundClosing]:
        """Closings by round."""
        query = "SELECT round, graph, absent, signature FROM closing WHERE stream = ? AND round BETWEEN ? AND ?"
        return {
            round_number: RoundClosing(stream, round_number, graph, frozenset(json.loads(absent)), signature)
            for round_number, graph, absent, signature in self._database.query(query, stream, first_round, last_round)
        }

    def open(self, stream: int, period: int, rows: Iterable[Opened]) -> None:
        """Keep what holders disclosed; the first word of each stands."""
        statement = "INSERT OR IGNORE INTO opening VALUES (?, ?, ?, ?, ?, ?, ?)"
        with self._database.transaction():
            self._database.execute_many(
                statement, [(stream, period, o.round, o.holder, o.about, o.left_out, str(o.element)) for o in rows]
            )

    def opened(self, stream: int, period: int) -> Iterator[Opened]:
        """What was disclosed of a period that is not done."""
        query = "SELECT round, holder, about, left_out, element FROM opening WHERE stream = ? AND period = ?"
        for round_number, holder, about, left_out, element in self._database.query(query, stream, period):
            yield Opened(round_number, holder, about, bool(left_out), int(element))

    def open_periods(self) -> list[tuple[int, int]]:
        """(stream, period) with masked readings that are not done."""
        return self._database.query("SELECT DISTINCT stream, period FROM masked ORDER BY stream, period")

    def finish(self, stream: int, period: int) -> None:
        """The period is done: its masked readings are erased, its messages have their answer without being looked at."""
        with self._database.transaction():
            self._database.execute("DELETE FROM masked WHERE stream = ? AND period = ?", stream, period)
            self._database.execute("DELETE FROM opening WHERE stream = ? AND period = ?", stream, period)
            self._database.execute("INSERT OR IGNORE INTO done VALUES (?, ?)", stream, period)
        self._done.add((stream, period))

    def done(self, stream: int, period: int) -> bool:
        """Whether all bills and columns of a period are written."""
        return (stream, period) in self._done

    def with_former_results(self) -> Database:
        """The file itself: an earlier version kept results in it, in the table `former_result`."""
        return self._database

    def close(self) -> None:
        """Close the store."""
        self._database.close()
