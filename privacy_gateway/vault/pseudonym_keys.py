"""The keys of pseudonyms, in a file of their own: made at an epoch's first use, destroyed at the end of retention, never made again."""

from __future__ import annotations

import secrets
from pathlib import Path

from hushgrid.core.sealing import KEY_BYTES
from hushgrid.errors import RefusedError
from hushgrid.shell.database import Database

_MIGRATIONS = (
    """
    CREATE TABLE pseudonym_key (epoch INTEGER PRIMARY KEY, key BLOB NOT NULL);
    CREATE TABLE destroyed (only_row INTEGER PRIMARY KEY CHECK (only_row = 0), through_epoch INTEGER NOT NULL)
    """,
)


class PseudonymKeys:
    """Readable by its owner only; what is deleted is overwritten in the file. It belongs on another disk than the bills, and in no backup:
    a copy of a key that was destroyed links for ever, and so may what a disk keeps of a file's earlier blocks. An epoch is a billing
    period's number.
    """

    def __init__(self, path: Path) -> None:
        self._database = Database(path, _MIGRATIONS, secrets=True)

    def key(self, epoch: int) -> bytes:
        """32 bytes, on disk before they are used. RefusedError for an epoch whose key was destroyed.

        Asked for anew each time, since another process may destroy it.
        """
        with self._database.transaction():
            for (key,) in self._database.query("SELECT key FROM pseudonym_key WHERE epoch = ?", epoch):
                return bytes(key)
            if epoch <= self.destroyed_through:
                raise RefusedError(f"the names of billing epoch {epoch} are destroyed")
            fresh = secrets.token_bytes(KEY_BYTES)
            self._database.execute("INSERT INTO pseudonym_key VALUES (?, ?)", epoch, fresh)
        return fresh

    @property
    def epochs(self) -> list[int]:
        """Whose keys exist."""
        return [epoch for (epoch,) in self._database.query("SELECT epoch FROM pseudonym_key ORDER BY epoch")]

    @property
    def destroyed_through(self) -> int:
        """The last epoch whose names are destroyed, and all before it; -1 for none."""
        rows = self._database.query("SELECT through_epoch FROM destroyed")
        return int(rows[0][0]) if rows else -1

    def destroy_through(self, epoch: int) -> int:
        """Destroy the keys of all epochs up to this one, also those that were never made; returns how many there were."""
        with self._database.transaction():
            count = self._database.execute("DELETE FROM pseudonym_key WHERE epoch <= ?", epoch)
            self._database.execute(
                "INSERT INTO destroyed VALUES (0, ?) ON CONFLICT (only_row) DO UPDATE "
                "SET through_epoch = max(through_epoch, excluded.through_epoch)",
                epoch,
            )
        return count

    def close(self) -> None:
        """Close the store."""
        self._database.close()
