"""What this consumer wants, and what it was answered: durable, and open to `hushgrid-consumer request` while it runs."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from consumer_node.config import WishSection
from hushgrid.errors import ConfigurationError
from hushgrid.shell.database import Database
from hushgrid.statements.rules import RequestRule, RuleAnswer, RuleState, WithdrawRule

_MIGRATIONS = (
    """
    CREATE TABLE wish (
        name TEXT PRIMARY KEY, json BLOB NOT NULL, configured BLOB, withdrawn INTEGER NOT NULL DEFAULT 0, state TEXT,
        number INTEGER NOT NULL DEFAULT 0, reason TEXT NOT NULL DEFAULT '', because_of TEXT NOT NULL DEFAULT '[]'
    )
    """,
)


@dataclass(frozen=True, slots=True)
class Wish:
    """A rule wanted, or (withdrawn) wanted no longer. state: the configurator's word about that; None: not heard yet."""

    section: WishSection
    withdrawn: bool
    state: RuleState | None
    number: int
    reason: str
    because_of: tuple[str, ...]

    @property
    def open(self) -> bool:
        """Whether it is said to the configurator until there is a last word about it."""
        return self.state in (None, RuleState.PENDING)

    @property
    def statement(self) -> RequestRule | WithdrawRule:
        """What there is to say to the configurator."""
        wish = self.section
        if self.withdrawn:
            return WithdrawRule(name=wish.name)
        return RequestRule(
            name=wish.name,
            cohort=wish.cohort,
            window_rounds=wish.window_rounds,
            minimum_contributors=wish.minimum_contributors,
            mechanism=wish.mechanism,
        )

    def describe(self) -> str:
        """One line for a person."""
        if self.state is None:
            return f"{self.section.name}: {'withdrawal' if self.withdrawn else 'request'} not answered yet"
        number = f" as number {self.number}" if self.number else ""
        if self.state is RuleState.PENDING:
            return f"{self.section.name}: not yet, because {self.reason}"
        reason = f": {self.reason}" if self.reason else ""
        causes = f" [because of {', '.join(self.because_of)}]" if self.because_of else ""
        return f"{self.section.name}: {self.state.value}{number}{reason}{causes}"


class Wishes:
    """See the module. Safe to open from a second process."""

    def __init__(self, directory: Path, *, read_only: bool = False) -> None:
        self._database = Database(directory / "wishes.sqlite", _MIGRATIONS, read_only=read_only)

    @classmethod
    def read_only(cls, directory: Path) -> Self:
        """Another program's look at it: nothing can be changed. JournalError when it is not there."""
        return cls(directory, read_only=True)

    def configure(self, sections: Iterable[WishSection]) -> None:
        """Want what the configuration names. What it named before stays as it is, whatever was said about it since."""
        for section in sections:
            content = section.to_json()
            known = self._database.query("SELECT configured FROM wish WHERE name = ?", section.name)
            if not known or known[0][0] not in (None, content):
                self._store(section, content)
            elif known[0][0] is None:
                self._database.execute("UPDATE wish SET configured = ? WHERE name = ?", content, section.name)

    def ask(self, section: WishSection) -> None:
        """Want this rule; ConfigurationError when another of its name stands."""
        known = self.find(section.name)
        if known is not None and not known.withdrawn and known.state is RuleState.GRANTED:
            if known.section == section:
                return
            raise ConfigurationError(f"another rule {section.name} stands: withdraw it first")
        self._store(section, None)

    def withdraw(self, name: str) -> None:
        """Want this rule no longer; ConfigurationError when it was never wanted."""
        changed = self._database.execute(
            "UPDATE wish SET withdrawn = 1, state = NULL, reason = '', because_of = '[]' WHERE name = ? AND withdrawn = 0",
            name,
        )
        if not changed and self.find(name) is None:
            raise ConfigurationError(f"there is no rule {name} to withdraw")

    def answered(self, answer: RuleAnswer) -> bool:
        """Note the configurator's answer; False when it is none to what is wanted now, or nothing new."""
        wish = self.find(answer.name)
        if wish is None or wish.withdrawn != (answer.state is RuleState.WITHDRAWN):
            return False
        judged_anew = wish.state is RuleState.REFUSED and answer.state is not RuleState.PENDING
        if not (wish.open or judged_anew) or (wish.state, wish.reason) == (answer.state, answer.reason):
            return False
        changed = self._database.execute(
            "UPDATE wish SET state = ?, number = ?, reason = ?, because_of = ? WHERE name = ? AND state IS ?",
            answer.state.value, answer.number, answer.reason, json.dumps(answer.because_of), answer.name,
            wish.state and wish.state.value,
        )  # fmt: skip
        return bool(changed)

    def find(self, name: str) -> Wish | None:
        """One wish."""
        return next((wish for wish in self.all() if wish.section.name == name), None)

    def all(self) -> list[Wish]:
        """Every wish, in the order in which they came."""
        rows = self._database.query(
            "SELECT json, withdrawn, state, number, reason, because_of FROM wish ORDER BY rowid"
        )
        return [
            Wish(
                WishSection.from_json(content),
                bool(withdrawn),
                RuleState(state) if state else None,
                number,
                reason,
                tuple(json.loads(because_of)),
            )
            for content, withdrawn, state, number, reason, because_of in rows
        ]

    def _store(self, section: WishSection, configured: bytes | None) -> None:
        self._database.execute(
            "INSERT OR REPLACE INTO wish (name, json, configured) VALUES (?, ?, ?)",
            section.name, section.to_json(), configured,
        )  # fmt: skip

    def close(self) -> None:
        """Close the store."""
        self._database.close()
