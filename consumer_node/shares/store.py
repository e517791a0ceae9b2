"""Aggregate shares of windows that have no result yet: on disk before their receipt, gone once the result is."""

from __future__ import annotations

from pathlib import Path

from hushgrid.shell.database import Database

_MIGRATIONS = (
    """
    CREATE TABLE answer (
        rule INTEGER NOT NULL, first_round INTEGER NOT NULL, point INTEGER NOT NULL, frame BLOB NOT NULL,
        PRIMARY KEY (rule, first_round, point)
    )
    """,
)


class CollectedShares:
    """Durable: `collected.sqlite`."""

    def __init__(self, directory: Path) -> None:
        self._database = Database(directory / "collected.sqlite", _MIGRATIONS)

    def add(self, rule: int, first_round: int, point: int, frame: bytes) -> None:
        """Keep an aggregate share; a receipt may follow."""
        self._database.execute("INSERT OR IGNORE INTO answer VALUES (?, ?, ?, ?)", rule, first_round, point, frame)

    def frames(self) -> list[bytes]:
        """All that is kept."""
        return [
            frame for (frame,) in self._database.query("SELECT frame FROM answer ORDER BY rule, first_round, point")
        ]

    def let_go(self, rule: int, first_round: int) -> None:
        """The window's result is on disk."""
        self._database.execute("DELETE FROM answer WHERE rule = ? AND first_round = ?", rule, first_round)

    def close(self) -> None:
        """Close the store."""
        self._database.close()
