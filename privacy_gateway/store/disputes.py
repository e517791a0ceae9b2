"""What customers dispute, each sealed with a key that is in no database: neither whose it is nor what it says can be read without it."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass

from sqlalchemy import delete, insert, select

from hushgrid.errors import JournalError
from hushgrid.relational.opening import RelationalDatabase
from privacy_gateway.store.tables import DISPUTES
from privacy_gateway.vault.columns import ColumnKeys, ColumnPlace


@dataclass(frozen=True, slots=True)
class Dispute:
    """name: drawn; about: the rule and first round of a bill, or what else, in the customer's words."""

    name: str
    at_seconds: int
    meter: str
    about: str
    text: str


class StoredDisputes:
    """See the module."""

    def __init__(self, database: RelationalDatabase, keys: ColumnKeys) -> None:
        self._database, self._keys = database, keys

    def say(self, meter: str, about: str, text: str, at_seconds: int) -> Dispute:
        """On disk when this returns."""
        said = Dispute(secrets.token_hex(16), at_seconds, meter, about, text)
        content = json.dumps({"meter": meter, "about": about, "text": text}).encode()
        row = {"dispute": said.name, "at_seconds": at_seconds, "sealed": self._keys.seal(content, _place(said.name))}
        with self._database.writing() as connection:
            connection.execute(insert(DISPUTES).values(row))
        return said

    def of(self, meter: str) -> list[Dispute]:
        """One home's, oldest first. JournalError for a cell that was changed."""
        with self._database.reading() as connection:
            rows = connection.execute(select(DISPUTES).order_by(DISPUTES.c.at_seconds, DISPUTES.c.dispute)).all()
        return [found for row in rows if (found := self._read(row.dispute, row.at_seconds, row.sealed)).meter == meter]

    def _read(self, name: str, at_seconds: int, cell: bytes) -> Dispute:
        try:
            said = json.loads(self._keys.unseal(bytes(cell), _place(name)))
            return Dispute(name, at_seconds, said["meter"], said["about"], said["text"])
        except (KeyError, TypeError, ValueError):
            raise JournalError(f"{self._database.name}: a dispute is not understood") from None

    def forget_before(self, at_seconds: int) -> int:
        """Those that are older end; how many there were."""
        with self._database.writing() as connection:
            return connection.execute(delete(DISPUTES).where(DISPUTES.c.at_seconds < at_seconds)).rowcount


def _place(name: str) -> ColumnPlace:
    return ColumnPlace("disputes", "sealed", name)
