"""What a household allowed and took back, in order: signed with the meter's identity, on disk before it is shown to anybody."""

from __future__ import annotations

import os
from pathlib import Path

from hushgrid.core.sealing import Identity
from hushgrid.errors import JournalError
from hushgrid.shell.database import Database
from hushgrid.statements.consent import Consent, ConsentAct
from hushgrid.statements.statement import EVERYBODY, Statement
from hushgrid.wire.purpose import Purpose

_MIGRATIONS = (
    """
    CREATE TABLE consent (number INTEGER PRIMARY KEY, purpose TEXT NOT NULL, act TEXT NOT NULL, statement BLOB NOT NULL)
    """,
)


class Consents:
    """The consents of one meter. Numbers only rise, and one number has one statement for ever."""

    def __init__(self, directory: Path, *, grid: str, meter: str, identity: Identity) -> None:
        """directory: the meter's state directory; the file in it belongs to whom the directory belongs to. JournalError when it cannot be
        written.
        """
        path = directory / "consents.sqlite"
        self._database = Database(path, _MIGRATIONS, secrets=True)
        if os.geteuid() == 0:
            self._give_away(path, directory)
        self._grid, self._meter, self._identity = grid, meter, identity

    def _give_away(self, path: Path, directory: Path) -> None:
        try:
            owner = directory.stat()
            os.chown(path, owner.st_uid, owner.st_gid)
        except OSError as error:
            self._database.close()
            raise JournalError(f"{path}: {error.strerror or error}") from None

    def say(self, purpose: Purpose, act: ConsentAct, at_seconds: int, *, above: int = 0) -> bytes:
        """The signed statement. Said again without the opposite in between, it is the same bytes.

        above: the number is to be above this one, as after a backup was put back.
        """
        with self._database.transaction():
            query = "SELECT number, act, statement FROM consent WHERE purpose = ? ORDER BY number DESC LIMIT 1"
            for number, last, statement in self._database.query(query, purpose.value):
                if last == act.value and number > above:
                    return bytes(statement)
            (newest,) = self._database.query("SELECT coalesce(max(number), 0) FROM consent")[0]
            fresh = max(newest, above) + 1
            wire = self._signed(fresh, purpose, act, at_seconds)
            self._database.execute("INSERT INTO consent VALUES (?, ?, ?, ?)", fresh, purpose.value, act.value, wire)
        return wire

    def _signed(self, number: int, purpose: Purpose, act: ConsentAct, at_seconds: int) -> bytes:
        body = Consent(grid=self._grid, number=number, purpose=purpose, act=act, at_seconds=at_seconds)
        said = Statement(sender=self._meter, recipient=EVERYBODY, sequence=number, body=body)
        return said.to_bytes(self._identity)

    def all(self) -> list[bytes]:
        """Every statement so far, in the order of its number."""
        return [bytes(wire) for (wire,) in self._database.query("SELECT statement FROM consent ORDER BY number")]

    def close(self) -> None:
        """Close the store."""
        self._database.close()
