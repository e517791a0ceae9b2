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
        for place, wire in self._database.query("SELECT place, wire FROM consent ORDER BY place"):
            try:
                meter, consent = read_consent(wire, grid, identities)
                self.homes[meter] = self.homes.get(meter, HomeConsents()).after(consent)
            except MessageError as error:
                if error.reason is RejectReason.UNKNOWN_SENDER:
                    continue
                self._database.close()
                raise JournalError(f"{path}: consent {place} in the order of arrival: {error}") from None

    def hear(self, wire: bytes) -> tuple[str, Consent, bytes]:
        """Take one in: the meter, what it says, and the statement's SHA-256. MessageError as reading it and `HomeConsents.after` say."""
        meter, consent = read_consent(wire, self._grid, self._identities)
        after = self.homes.get(meter, HomeConsents()).after(consent)
        self._database.execute("INSERT INTO consent (meter, wire) VALUES (?, ?)", meter, wire)
        self.homes[meter] = after
        return meter, consent, hashlib.sha256(wire).digest()

    def close(self) -> None:
        """Close the store."""
        self._database.close()
