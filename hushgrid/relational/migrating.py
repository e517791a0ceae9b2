"""Numbered changes of tables, run by alembic in the transaction that opens a database: all of them, or none."""

from __future__ import annotations

from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from hushgrid.errors import JournalError
from hushgrid.relational.table_set import TableSet


def migrate(connection: Connection, tables: TableSet, found: str | None, name: str) -> None:
    """found: the number of the last change that has run; name: the database's. JournalError where that is unknown here."""
    config = Config()
    folder = str(tables.migrations).replace("%", "%%")
    for option, value in (("script_location", folder), ("version_locations", folder), ("path_separator", "os")):
        config.set_main_option(option, value)
    script = ScriptDirectory.from_config(config)
    if found is not None and found not in {each.revision for each in script.walk_revisions()}:
        raise JournalError(
            f"{name}: written by a newer version of hushgrid (tables {found}; this one knows {tables.newest})"
        )
    with EnvironmentContext(config, script) as environment:
        environment.configure(
            connection,
            version_table=tables.version_table,
            fn=lambda revision, _: script._upgrade_revs("head", revision),  # noqa: SLF001
        )
        environment.run_migrations()
