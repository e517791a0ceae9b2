"""A database by its URL: opened, brought to this version's tables, and spoken of in one line where that fails.

What is written is on disk when a transaction ends. Whoever writes waits for whoever writes, in every process: SQLite by
BEGIN IMMEDIATE, PostgreSQL by a lock of the whole database at READ COMMITTED, so that each statement behind it sees all
that was written before.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import URL, Connection, Engine, column, create_engine, event, inspect, make_url, select, table, text
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from hushgrid.errors import ConfigurationError, JournalError
from hushgrid.extras import not_installed
from hushgrid.relational.table_set import TableSet

#: How long is waited for another process that writes.
PATIENCE_SECONDS = 30.0
_CONNECT_SECONDS = 10
_FORMS = "sqlite:///FILE or postgresql://NAME@HOST/DATABASE"
_READING = "hushgrid_reading"


class RelationalDatabase:
    """An opened database. Connections are made when they are needed, and may be used in any thread."""

    def __init__(
        self,
        url: str,
        tables: TableSet,
        *,
        password: str | None = None,
        read_only: bool = False,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        """password: in place of the URL's. read_only: somebody else's database, which is there already and stays as it is.

        ConfigurationError when the URL, its driver or the database does not serve; JournalError when its tables do not.
        """
        parsed = _parsed(url, tables.name)
        if password is not None:
            parsed = parsed.set(password=password)
        self.name = parsed.render_as_string(hide_password=True)
        self._tables, self._read_only, self._patience = tables, read_only, patience_seconds
        self._engine = self._made(parsed)
        try:
            self._look()
            if read_only:
                with self.reading() as connection:
                    self._check(connection)
            else:
                with self.writing() as connection:
                    self._migrate(connection)
        except BaseException:
            self.close()
            raise

    def _made(self, url: URL) -> Engine:
        if url.drivername == "sqlite":
            return self._made_of_a_file(url, Path(str(url.database)))
        settings: dict[str, object] = {"connect_timeout": _CONNECT_SECONDS}
        if self._read_only:
            settings["options"] = "-c default_transaction_read_only=on"
        try:
            return create_engine(
                url.set(drivername="postgresql+psycopg"), isolation_level="READ COMMITTED", pool_pre_ping=True,
                connect_args=settings,
            )  # fmt: skip
        except ModuleNotFoundError as error:
            raise not_installed(self.name, error, self._tables.extra) from None

    def _made_of_a_file(self, url: URL, path: Path) -> Engine:
        if self._read_only:
            there = f"{path.absolute().as_uri()}?mode=ro"
            engine = create_engine(
                "sqlite://",
                creator=lambda: sqlite3.connect(there, uri=True, timeout=self._patience, check_same_thread=False),
            )
            event.listen(engine, "connect", _leave_transactions)
        else:
            engine = create_engine(url, connect_args={"timeout": self._patience})
            event.listen(engine, "connect", self._prepare_sqlite)
            _make_file(self.name, path)
        event.listen(engine, "begin", _begin_sqlite)
        return engine

    def _prepare_sqlite(self, connection: sqlite3.Connection, _: object) -> None:
        _leave_transactions(connection, _)
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA secure_delete=ON")
        connection.execute("PRAGMA foreign_keys=ON")
        end = time.monotonic() + self._patience
        while True:  # SQLite does not wait for whoever changes the mode at the same time
            try:
                connection.execute("PRAGMA journal_mode=WAL")
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > end:
                    raise
                time.sleep(0.01)
            else:
                return

    def _look(self) -> None:
        """Whether it is there at all, and waits for its disk."""
        try:
            with self._engine.connect().execution_options(**{_READING: True}) as connection:
                if connection.dialect.name == "postgresql" and connection.scalar(text("SHOW fsync")) != "on":
                    raise ConfigurationError(f"{self.name}: does not wait for its disk (fsync is off)")
                connection.scalar(text("SELECT 1"))
        except SQLAlchemyError as error:
            raise ConfigurationError(f"{self.name}: {_line(error)}") from None

    # Versions

    def _found(self, connection: Connection) -> str | None:
        """The number of the last change that has run; None before the first one."""
        if not inspect(connection).has_table(self._tables.version_table):
            return None
        return connection.scalar(select(column("version_num")).select_from(table(self._tables.version_table)))

    def _check(self, connection: Connection) -> None:
        found = self._found(connection)
        if found is None:
            raise JournalError(f"{self.name}: holds no {self._tables.name.removeprefix('the ')}")
        if found != self._tables.newest:
            raise JournalError(
                f"{self.name}: written by another version of hushgrid "
                f"(tables {found}; this one knows {self._tables.newest})"
            )

    def _migrate(self, connection: Connection) -> None:
        """Most often there is nothing to do: then alembic, which takes a while to load, is left alone."""
        found = self._found(connection)
        if found == self._tables.newest:
            return
        from hushgrid.relational.migrating import migrate  # noqa: PLC0415

        migrate(connection, self._tables, found, self.name)

    # Transactions

    @contextlib.contextmanager
    def reading(self) -> Iterator[Connection]:
        """What is there now. JournalError when it cannot be read."""
        with self._spoken(), self._engine.connect().execution_options(**{_READING: True}) as connection:
            yield connection

    @contextlib.contextmanager
    def writing(self) -> Iterator[Connection]:
        """All or nothing, alone, and on disk when the block ends. JournalError when that cannot be said."""
        with self._spoken(), self._engine.begin() as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(text(f"SET LOCAL lock_timeout = {max(1, int(self._patience * 1000))}"))
                connection.execute(text("SET LOCAL synchronous_commit = on"))
                connection.execute(text(f"SELECT pg_advisory_xact_lock({int.from_bytes(self._tables.lock)})"))
            yield connection

    @contextlib.contextmanager
    def _spoken(self) -> Iterator[None]:
        try:
            yield
        except SQLAlchemyError as error:
            raise JournalError(f"{self.name}: {_line(error)}") from None

    def close(self) -> None:
        """Let go of all connections."""
        self._engine.dispose()


def _leave_transactions(connection: sqlite3.Connection, _: object) -> None:
    """They are begun by `_begin_sqlite`."""
    connection.isolation_level = None


def _begin_sqlite(connection: Connection) -> None:
    reads = connection.get_execution_options().get(_READING, False)
    connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")


def _parsed(url: str, name: str) -> URL:
    """ConfigurationError for one of another kind. A URL may hold a password: what is not understood is not repeated."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise ConfigurationError(f"the address of {name} is no URL of the form {_FORMS}") from None
    if parsed.drivername not in {"sqlite", "postgresql"}:
        raise ConfigurationError(f"{name}: kept in {_FORMS}, not in a database of the kind {parsed.drivername!r}")
    if not parsed.database or parsed.database == ":memory:":
        raise ConfigurationError(f"the address of {name} names no database: {_FORMS}")
    if parsed.drivername == "sqlite" and (parsed.query or parsed.host or parsed.database.startswith("file:")):
        raise ConfigurationError(f"the address of {name}: sqlite:///FILE takes a file and nothing else")
    return parsed


def _make_file(name: str, path: Path) -> None:
    """Readable by its owner only; what SQLite writes beside it is so as well."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise ConfigurationError(f"{name}: {error.strerror or error}") from None


def _line(error: SQLAlchemyError) -> str:
    """The database's own words, without the statement and its values."""
    cause = getattr(error, "orig", None) or error
    said = [line.strip() for line in str(cause).splitlines() if line.strip()]
    return said[0] if said else type(cause).__name__
