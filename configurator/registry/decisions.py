"""What was decided of every round: rosters until then, the decision, countersignatures, the certificate."""

from __future__ import annotations

from collections.abc import Sequence

from configurator.values import StoredDecision
from hushgrid.shell.database import Database
from hushgrid.statements.rounds import Countersignature, DecisionCore, DecisionPage, ReleaseCertificate, RosterPage


class DecisionStore:
    """See the module."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add_roster(self, page: RosterPage) -> None:
        """Keep the first roster page a PPN sends for a round."""
        self._database.execute(
            "INSERT OR IGNORE INTO roster VALUES (?, ?, ?, ?)", page.round, page.point, page.page, page.to_json()
        )

    def rosters(self, round_number: int) -> dict[int, list[RosterPage]]:
        """point -> pages, of the PPNs all of whose pages are there."""
        found: dict[int, list[RosterPage]] = {}
        for point, page in self._database.query(
            "SELECT point, json FROM roster WHERE round = ? ORDER BY point, page", round_number
        ):
            found.setdefault(point, []).append(RosterPage.from_json(page))
        return {point: pages for point, pages in found.items() if len(pages) == pages[0].pages}

    def add(self, core: DecisionCore, signature: bytes, pages: Sequence[DecisionPage]) -> None:
        """Store a decision before anybody hears of it; a second one for the round is an error. Rosters are not kept."""
        with self._database.transaction():
            self._database.execute("INSERT INTO decision VALUES (?, ?, ?, NULL)", core.round, core.to_json(), signature)
            rows = [(core.round, index, page.to_json()) for index, page in enumerate(pages)]
            self._database.execute_many("INSERT INTO decision_page VALUES (?, ?, ?)", rows)
            self._database.execute("DELETE FROM roster WHERE round = ?", core.round)

    def find(self, round_number: int) -> StoredDecision | None:
        """A round's decision, once it is made."""
        rows = self._database.query("SELECT core, signature, certificate FROM decision WHERE round = ?", round_number)
        if not rows:
            return None
        core, signature, certificate = rows[0]
        query = "SELECT json FROM decision_page WHERE round = ? ORDER BY page"
        pages = tuple(DecisionPage.from_json(page) for (page,) in self._database.query(query, round_number))
        return StoredDecision(
            DecisionCore.from_json(core),
            signature,
            pages,
            ReleaseCertificate.from_json(certificate) if certificate else None,
        )

    def kept_from(self) -> int | None:
        """The oldest round whose decision is kept."""
        oldest: int | None = self._database.query("SELECT min(round) FROM decision")[0][0]
        return oldest

    def certified_through(self) -> int | None:
        """The newest round up to which every decision that is kept has its certificate."""
        query = (
            "SELECT coalesce((SELECT min(round) - 1 FROM decision WHERE certificate IS NULL), max(round)) FROM decision"
        )
        newest: int | None = self._database.query(query)[0][0]
        return newest

    def decided_through(self) -> int | None:
        """The newest decided round."""
        newest: int | None = self._database.query("SELECT max(round) FROM decision")[0][0]
        return newest

    def decided_rounds(self) -> list[int]:
        """All decided rounds, in order."""
        return [r for (r,) in self._database.query("SELECT round FROM decision ORDER BY round")]

    def add_countersignature(self, signature: Countersignature) -> list[Countersignature]:
        """Keep a PPN's countersignature; all of the round so far."""
        self._database.execute(
            "INSERT OR IGNORE INTO countersignature VALUES (?, ?, ?)",
            signature.round,
            signature.point,
            signature.to_json(),
        )
        rows = self._database.query("SELECT json FROM countersignature WHERE round = ? ORDER BY point", signature.round)
        return [Countersignature.from_json(row) for (row,) in rows]

    def set_certificate(self, certificate: ReleaseCertificate) -> None:
        """Store the first certificate of a round; it stays as it is."""
        self._database.execute(
            "UPDATE decision SET certificate = ? WHERE round = ? AND certificate IS NULL",
            certificate.to_json(),
            certificate.round,
        )
        self._database.execute("DELETE FROM countersignature WHERE round = ?", certificate.round)

    def forget(self, floor: int) -> None:
        """Let go of rounds below this one."""
        with self._database.transaction():
            for table in ("roster", "decision", "decision_page", "countersignature"):
                self._database.execute(f"DELETE FROM {table} WHERE round < ?", floor)  # noqa: S608  # fixed names
