"""Every consent that was heard, as it was signed: on disk before anybody is told that it holds."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from hushgrid.errors import JournalError, MessageError, RejectReason
from hushgrid.shell.database import Database
from hushgrid.statements.consent import Consent
from privacy_gateway.consent.state import HomeConsents
from privacy_gateway.consent.statements import read_consent

_MIGRATIONS = (
    """
    CREATE TABLE consent (place INTEGER PRIMARY KEY, meter TEXT NOT NULL, wire BLOB NOT NULL)
    """,
)


class HeardConsents:
    """The statements, and what follows from them. They are read anew at every start: what was not signed by a meter counts for nothing."""

    def __init__(self, path: Path, *, grid: str, identities: Mapping[str, bytes]) -> None:
        """identities: see `privacy_gateway.consent.statements.read_consent`; a home whose meter is not among them any more has said
        nothing. JournalError where a kept statement is not genuine.
        """
        self._grid, self._identities = grid, identities
        self._database = Database(path, _MIGRATIONS, secrets=True)
        self.homes: dict[str, HomeConsents] = {}
        self._path, self._place = path, 0
        try:
            self.look_again()
        except JournalError:
            self._database.close()
            raise

    def look_again(self) -> None:
        """Take in what another process has heard since: several gateways of one machine may share the file.

        JournalError where a kept statement is not genuine.
        """
        query = "SELECT place, wire FROM consent WHERE place > ? ORDER BY place"
        for place, wire in self._database.query(query, self._place):
            try:
                meter, consent = read_consent(wire, self._grid, self._identities)
                self.homes[meter] = self.homes.get(meter, HomeConsents()).after(consent)
            except MessageError as error:
                if error.reason is not RejectReason.UNKNOWN_SENDER:
                    raise JournalError(f"{self._path}: consent {place} in the order of arrival: {error}") from None
            self._place = place

    def statements(self, meter: str) -> list[bytes]:
        """What this meter has said, as it was signed, in the order of arrival."""
        query = "SELECT wire FROM consent WHERE meter = ? ORDER BY place"
        return [bytes(wire) for (wire,) in self._database.query(query, meter)]

    def judge(self, wire: bytes) -> tuple[str, Consent, bytes]:
        """What `hear` would say of it now; nothing is kept."""
        meter, consent = read_consent(wire, self._grid, self._identities)
        self.look_again()
        self.homes.get(meter, HomeConsents()).after(consent)
        return meter, consent, hashlib.sha256(wire).digest()

    def hear(self, wire: bytes) -> tuple[str, Consent, bytes]:
        """Take one in: the meter, what it says, and the statement's SHA-256. MessageError as reading it and `HomeConsents.after` say."""
        with self._database.transaction():
            heard = self.judge(wire)
            self._database.execute("INSERT INTO consent (meter, wire) VALUES (?, ?)", heard[0], wire)
        self.look_again()
        return heard

    def close(self) -> None:
        """Close the store."""
        self._database.close()
