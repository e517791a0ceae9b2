"""What a PPN remembers: sealed shares until release, then only that a round was decided and what was released.

A share is on disk before its receipt is sent (invariant 9); an aggregate share before it is published (invariant 3).
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Self

from hushgrid.shell.database import Database
from hushgrid.statements.rounds import Countersignature, DecisionCore, DecisionPage, ReleaseCertificate
from ppn_node.shares.values import RoundState, StoredRelease, StoredRound, StoredShare

_MIGRATIONS = (
    """
    CREATE TABLE share (
        round INTEGER NOT NULL, number INTEGER NOT NULL, sharing_id BLOB NOT NULL, gap INTEGER NOT NULL,
        version INTEGER NOT NULL, sealed BLOB NOT NULL, PRIMARY KEY (round, number)
    ) WITHOUT ROWID;
    CREATE TABLE round (
        round INTEGER PRIMARY KEY, state INTEGER NOT NULL, core BLOB, countersignature BLOB, certificate BLOB
    );
    CREATE TABLE decision_page (round INTEGER NOT NULL, page INTEGER NOT NULL, json BLOB NOT NULL, PRIMARY KEY (round, page));
    CREATE TABLE release (
        rule INTEGER NOT NULL, first_round INTEGER NOT NULL, last_round INTEGER NOT NULL, consumer TEXT NOT NULL,
        frame BLOB NOT NULL, received INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (rule, first_round)
    );
    CREATE TABLE floor (one INTEGER PRIMARY KEY CHECK (one = 1), round INTEGER NOT NULL)
    """,
    """
    ALTER TABLE share ADD COLUMN attempt INTEGER NOT NULL DEFAULT 0;
    CREATE TABLE asked (one INTEGER PRIMARY KEY CHECK (one = 1), shares INTEGER NOT NULL)
    """,
    """
    CREATE TABLE missed (round INTEGER NOT NULL, number INTEGER NOT NULL, PRIMARY KEY (round, number)) WITHOUT ROWID
    """,
)


#: For so many rounds it is remembered which shares never came, to be compared with what links lost.
MISSED_ROUNDS = 336


class Journal:
    """The PPN's durable memory. Every method is on disk when it returns."""

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self._database = Database(path, _MIGRATIONS, read_only=read_only)

    @classmethod
    def read_only(cls, path: Path) -> Self:
        """Another program's look at it: nothing can be changed. JournalError when it is not there."""
        return cls(path, read_only=True)

    def transaction(self) -> AbstractContextManager[None]:
        """All or nothing over several calls."""
        return self._database.transaction()

    def add_shares(self, shares: Iterable[StoredShare]) -> None:
        """Take shares in; each (round, number) once."""
        rows = [(s.round, s.number, s.sharing_id, s.gap, s.version, s.sealed, s.attempt) for s in shares]
        with self._database.transaction():
            self._database.execute_many("INSERT INTO share VALUES (?, ?, ?, ?, ?, ?, ?)", rows)

    def shares(self, round_number: int) -> list[StoredShare]:
        """All shares of a round that are still kept."""
        rows = self._database.query("SELECT * FROM share WHERE round = ?", round_number)
        return [StoredShare(r, n, i, bool(gap), v, sealed, attempt) for r, n, i, gap, v, sealed, attempt in rows]

    def add_asked(self, shares: int) -> None:
        """So many more shares were asked for again."""
        self._database.execute(
            "INSERT INTO asked VALUES (1, ?) ON CONFLICT (one) DO UPDATE SET shares = shares + excluded.shares", shares
        )

    def asked(self) -> int:
        """How many shares were asked for again, each as often as it was."""
        rows = self._database.query("SELECT shares FROM asked")
        shares: int = rows[0][0] if rows else 0
        return shares

    def share_rounds(self) -> list[int]:
        """Rounds of which shares are kept."""
        return [r for (r,) in self._database.query("SELECT DISTINCT round FROM share ORDER BY round")]

    def forget_shares(self, round_number: int) -> None:
        """Delete a round's shares, overwritten on disk (P35)."""
        self._database.execute("DELETE FROM share WHERE round = ?", round_number)
        self._database.forget_deleted()

    def freeze(self, round_number: int, missing: Iterable[int]) -> None:
        """A round takes no more shares for its roster; the numbers of the meters it lacks are remembered."""
        with self._database.transaction():
            self.set_state(round_number, RoundState.FROZEN)
            rows = [(round_number, number) for number in missing]
            self._database.execute_many("INSERT OR IGNORE INTO missed VALUES (?, ?)", rows)
            self._database.execute("DELETE FROM missed WHERE round < ?", round_number - MISSED_ROUNDS)

    def missed(self) -> list[tuple[int, int]]:
        """(round, number) of the shares that were missing when their rounds froze, of the last rounds."""
        return self._database.query("SELECT round, number FROM missed ORDER BY round, number")

    def set_state(self, round_number: int, state: RoundState) -> None:
        """A round has come this far; it never goes back."""
        self._database.execute(
            "INSERT INTO round (round, state) VALUES (?, ?) "
            "ON CONFLICT (round) DO UPDATE SET state = max(state, excluded.state)",
            round_number,
            int(state),
        )

    def set_decision(
        self, core: DecisionCore, pages: dict[int, DecisionPage], countersignature: Countersignature
    ) -> None:
        """The decision this PPN stands by; there is one per round for ever."""
        with self._database.transaction():
            self._database.execute(
                "UPDATE round SET core = ?, countersignature = ?, state = max(state, ?) WHERE round = ? AND core IS NULL",
                core.to_json(),
                countersignature.to_json(),
                int(RoundState.DECIDED),
                core.round,
            )
            rows = [(core.round, index, page.to_json()) for index, page in pages.items()]
            self._database.execute_many("INSERT OR IGNORE INTO decision_page VALUES (?, ?, ?)", rows)

    def set_certificate(self, certificate: ReleaseCertificate) -> None:
        """The leave to release a round."""
        self._database.execute(
            "UPDATE round SET certificate = ? WHERE round = ?", certificate.to_json(), certificate.round
        )

    def rounds(self) -> list[StoredRound]:
        """All rounds above the floor, in order."""
        rows = self._database.query(
            "SELECT round, state, core, countersignature, certificate FROM round ORDER BY round"
        )
        return [
            StoredRound(
                number,
                RoundState(state),
                DecisionCore.from_json(core) if core else None,
                Countersignature.from_json(countersignature) if countersignature else None,
                ReleaseCertificate.from_json(certificate) if certificate else None,
            )
            for number, state, core, countersignature, certificate in rows
        ]

    def decision_pages(self, round_number: int) -> dict[int, DecisionPage]:
        """The pages of a round's decision."""
        rows = self._database.query("SELECT page, json FROM decision_page WHERE round = ?", round_number)
        return {page: DecisionPage.from_json(json) for page, json in rows}

    def add_release(self, release: StoredRelease, last_round: int) -> None:
        """Fix, before it is published, what is released for a (rule, window); a second one is an error."""
        self._database.execute(
            "INSERT INTO release (rule, first_round, last_round, consumer, frame) VALUES (?, ?, ?, ?, ?)",
            release.rule,
            release.first_round,
            last_round,
            release.consumer,
            release.frame,
        )

    def released(self, rule: int, first_round: int) -> bool:
        """Whether this (rule, window) was released already."""
        query = "SELECT 1 FROM release WHERE rule = ? AND first_round = ?"
        return bool(self._database.query(query, rule, first_round))

    def outstanding(self) -> list[StoredRelease]:
        """Released aggregate shares whose consumer has not said yet that it has them."""
        rows = self._database.query("SELECT rule, first_round, consumer, frame FROM release WHERE received = 0")
        return [StoredRelease(*row) for row in rows]

    def received(self, rule: int, first_round: int) -> None:
        """The consumer has it."""
        self._database.execute("UPDATE release SET received = 1 WHERE rule = ? AND first_round = ?", rule, first_round)

    def floor(self) -> int:
        """Rounds below this one are over and forgotten."""
        rows = self._database.query("SELECT round FROM floor")
        floor: int = rows[0][0] if rows else 0
        return floor

    def raise_floor(self, round_number: int) -> None:
        """Forget everything about rounds below, but for what was released."""
        with self._database.transaction():
            self._database.execute(
                "INSERT INTO floor VALUES (1, ?) ON CONFLICT (one) DO UPDATE SET round = max(round, excluded.round)",
                round_number,
            )
            for table in ("share", "round", "decision_page"):
                self._database.execute(f"DELETE FROM {table} WHERE round < ?", round_number)  # noqa: S608  # fixed names
        self._database.forget_deleted()

    def close(self) -> None:
        """Close the store."""
        self._database.close()
