"""One way to open a durable store: SQLite, on disk before it is said, numbered migrations."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

from hushgrid.errors import JournalError


class Database:
    """A SQLite file whose commits are on disk when they return.

    migrations: scripts in order; the file remembers how many have run. secrets: the file is readable by its owner only and
    what is deleted is overwritten. read_only: somebody else's file, which is there already and stays as it is.
    """

    def __init__(
        self, path: Path, migrations: Sequence[str], *, secrets: bool = False, read_only: bool = False
    ) -> None:
        self.path = path
        try:
            if read_only:
                self._look_into(migrations)
                return
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.exists():
                os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
            self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            with self._closed_if_unusable():
                journal = "DELETE" if secrets else "WAL"
                self._connection.execute(f"PRAGMA journal_mode={journal}")
                self._connection.execute("PRAGMA synchronous=FULL")
                self._connection.execute("PRAGMA secure_delete=ON")
                self._migrate(migrations)
        except (sqlite3.Error, OSError) as error:
            raise JournalError(f"{path}: {error}") from None

    def _look_into(self, migrations: Sequence[str]) -> None:
        self._connection = sqlite3.connect(f"{self.path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)
        with self._closed_if_unusable():
            (done,) = self._connection.execute("PRAGMA user_version").fetchone()
            if done != len(migrations):
                raise JournalError(f"{self.path}: written by another version of hushgrid")

    @contextlib.contextmanager
    def _closed_if_unusable(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self.close()
            raise

    def _migrate(self, migrations: Sequence[str]) -> None:
        (done,) = self._connection.execute("PRAGMA user_version").fetchone()
        if done > len(migrations):
            raise JournalError(f"{self.path}: written by a newer version of hushgrid")
        for number, script in enumerate(migrations[done:], start=done + 1):
            self._connection.executescript(f"BEGIN; {script}; PRAGMA user_version={number}; COMMIT;")

    def query(self, statement: str, *values: object) -> list[tuple]:  # type: ignore[type-arg]
        """All rows of a SELECT."""
        try:
            return self._connection.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            raise JournalError(f"{self.path}: {error}") from None

    def execute(self, statement: str, *values: object) -> int:
        """One change; the number of rows it touched."""
        try:
            return self._connection.execute(statement, values).rowcount
        except sqlite3.Error as error:
            raise JournalError(f"{self.path}: {error}") from None

    def execute_many(self, statement: str, rows: Sequence[tuple[object, ...]]) -> None:
        """One change for many rows."""
        try:
            self._connection.executemany(statement, rows)
        except sqlite3.Error as error:
            raise JournalError(f"{self.path}: {error}") from None

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing; on disk when the block ends. May be nested: only the outermost counts."""
        if self._connection.in_transaction:
            yield
            return
        self.execute("BEGIN IMMEDIATE")
        try:
            yield
            self.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:  # SQLite has ended it already when the disk is full
                self._connection.execute("ROLLBACK")
            raise

    def forget_deleted(self) -> None:
        """Make sure that deleted rows are in no side file either."""
        self.query("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        """Close the file."""
        self._connection.close()


def migrations_run(path: Path) -> int:
    """How many migrations a file has seen; 0 where there is no file. JournalError when it cannot be read."""
    if not path.exists():
        return 0
    try:
        with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            (done,) = connection.execute("PRAGMA user_version").fetchone()
    except sqlite3.Error as error:
        raise JournalError(f"{path}: {error}") from None
    return int(done)
