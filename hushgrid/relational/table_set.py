"""Which tables belong together, and how far a database has come with them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class TableSet:
    """Tables that belong together and change together.

    name: what they are called in a sentence. migrations: folder of the numbered changes; newest: the last one's number.
    version_table: where a database says how many have run. lock: eight letters, what PostgreSQL's lock is called.
    extra: what of hushgrid is to be installed for PostgreSQL.
    """

    name: str
    migrations: Path
    newest: str
    version_table: str
    lock: bytes
    extra: str
