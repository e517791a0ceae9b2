"""What a consumer of masked readings remembers: w_ij until a period is done, and every column, bill and double entry.

Masked readings are on disk before they are receipted, and erased when the period's last bill and column are written.
`columns.jsonl`, `bills.jsonl`, `double_entry.jsonl` (and .csv) beside the store repeat what it holds.
"""

from __future__ import annotations

import csv
import enum
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
)


class Sum(enum.StrEnum):
    """What is ever worked out from masked readings; the value is the stem of the file it is written to."""

    COLUMN = "columns"  # part: number of the component
    BILL = "bills"  # part: meter id
    DOUBLE_ENTRY = "double_entry"  # part: number of the component


_COLUMNS = {
    Sum.COLUMN: (
        "rule", "number", "start_utc", "first_round", "last_round", "component", "status", "watt_hours", "expected", "included",
        "gaps", "omitted", "reason",
    ),
    Sum.BILL: (
        "rule", "number", "start_utc", "first_round", "last_round", "meter", "status", "watt_hours", "rounds", "omitted", "reason",
    ),
    Sum.DOUBLE_ENTRY: (
        "rule", "number", "start_utc", "first_round", "last_round", "component", "bills_watt_hours", "columns_watt_hours",
    ),
}  # fmt: skip


class BillingStore:
    """See the module. Readable by its owner only; what is deleted is overwritten."""

    def __init__(self, directory: Path, *, read_only: bool = False) -> None:
        self._database = Database(directory / "billing.sqlite", _MIGRATIONS, secrets=True, read_only=read_only)
        self._directory = directory
        self._done = {(stream, period) for stream, period in self._database.query("SELECT stream, period FROM done")}
        self._counts: dict[Sum, int] = {}
        for kind in Sum:
            rows = self._database.query("SELECT json FROM result WHERE kind = ? ORDER BY first_round, part", kind.value)
            self._counts[kind] = len(rows)
            if rows and not read_only:  # written anew: a kill may have cut the last line
                self._write(kind, [json.loads(content) for (content,) in rows], anew=True)

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

    def conclude(self, kind: Sum, stream: int, rows: Iterable[tuple[int, str, dict[str, object]]]) -> int:
        """Keep results for ever: (first round, part, what the file shows); those known already change nothing."""
        fresh = []
        with self._database.transaction():
            for first_round, part, content in rows:
                statement = "INSERT OR IGNORE INTO result VALUES (?, ?, ?, ?, ?)"
                if self._database.execute(statement, kind.value, stream, first_round, part, json.dumps(content)):
                    fresh.append(content)
        if fresh:
            self._write(kind, fresh, anew=not self._counts[kind])
            self._counts[kind] += len(fresh)
        return len(fresh)

    def concluded(self, kind: Sum, stream: int, first_round: int, last_round: int) -> set[tuple[int, str]]:
        """(first round, part) of the results whose first round lies in this span."""
        query = "SELECT first_round, part FROM result WHERE kind = ? AND stream = ? AND first_round BETWEEN ? AND ?"
        return set(self._database.query(query, kind.value, stream, first_round, last_round))

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

    def count(self, kind: Sum) -> int:
        """Results so far."""
        return self._counts[kind]

    def _write(self, kind: Sum, rows: list[dict[str, object]], *, anew: bool) -> None:
        mode = "w" if anew else "a"
        with (self._directory / f"{kind.value}.csv").open(mode, newline="", encoding="utf-8") as out:
            writer = csv.DictWriter(out, _COLUMNS[kind])
            if anew:
                writer.writeheader()
            writer.writerows(rows)
        with (self._directory / f"{kind.value}.jsonl").open(mode, encoding="utf-8") as out:
            out.writelines(json.dumps(content) + "\n" for content in rows)

    def close(self) -> None:
        """Close the store."""
        self._database.close()
