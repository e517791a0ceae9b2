"""The plans an agent has adopted, on disk: heads, and the parts its members were told."""

from __future__ import annotations

from pathlib import Path

from hushgrid.plan.following import AdoptedPlan, Adoption
from hushgrid.plan.head import Head
from hushgrid.plan.parts import Part, part_from_json
from hushgrid.shell.database import Database

_MIGRATIONS = (
    """
    CREATE TABLE head (version INTEGER PRIMARY KEY, json BLOB NOT NULL, adopted INTEGER NOT NULL DEFAULT 0);
    CREATE TABLE part (
        version INTEGER NOT NULL, agent TEXT NOT NULL, page INTEGER NOT NULL, pages INTEGER NOT NULL, json BLOB,
        PRIMARY KEY (version, agent, page)
    ) WITHOUT ROWID
    """,
)


class PlanStore:
    """See the module. read_only: somebody else's, to be looked into."""

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self._database = Database(path, _MIGRATIONS, read_only=read_only)

    def keep(self, adoption: Adoption) -> None:
        """A plan with its parts, all or nothing."""
        head = adoption.plan.head
        rows = [(head.version, page.member, page.page, page.pages, page.json) for page in adoption.pages]
        with self._database.transaction():
            self._database.execute("INSERT OR REPLACE INTO head VALUES (?, ?, 1)", head.version, head.to_json())
            self._database.execute_many("INSERT OR REPLACE INTO part VALUES (?, ?, ?, ?, ?)", rows)

    def adopted(self) -> list[AdoptedPlan]:
        """Every plan kept, in order of versions."""
        found = []
        rows = self._database.query("SELECT version, json FROM head WHERE adopted = 1 ORDER BY version")
        for version, json in rows:
            parts: dict[str, list[Part]] = {}
            query = "SELECT agent, json FROM part WHERE version = ? AND json IS NOT NULL ORDER BY agent, page"
            for agent, part in self._database.query(query, version):
                parts.setdefault(agent, []).append(part_from_json(part))
            plan = AdoptedPlan(Head.from_json(json), {agent: tuple(pages) for agent, pages in parts.items()})
            found.append(plan)
        return found

    def close(self) -> None:
        """Close the store."""
        self._database.close()
