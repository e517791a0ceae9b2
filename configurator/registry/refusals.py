"""Requests that were refused, and how many meters and PPNs were enrolled when they were judged."""

from __future__ import annotations

from hushgrid.shell.database import Database
from hushgrid.statements.rules import RequestRule


class RefusalStore:
    """See the module."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def keep(self, consumer: str, request: RequestRule, enrolled: int) -> None:
        """A request was refused while so many were enrolled."""
        self._database.execute(
            "INSERT OR REPLACE INTO refusal (consumer, name, request, enrolled) VALUES (?, ?, ?, ?)",
            consumer, request.name, request.to_json(), enrolled,
        )  # fmt: skip

    def drop(self, consumer: str, name: str) -> None:
        """It was granted, given up, or is asked for anew."""
        self._database.execute("DELETE FROM refusal WHERE consumer = ? AND name = ?", consumer, name)

    def judged_by_others(self, enrolled: int) -> list[tuple[str, RequestRule]]:
        """Consumer and request of all that were refused while others were enrolled than the so many of now."""
        query = "SELECT consumer, request FROM refusal WHERE enrolled <> ? ORDER BY consumer, name"
        return [
            (consumer, RequestRule.from_json(request)) for consumer, request in self._database.query(query, enrolled)
        ]
