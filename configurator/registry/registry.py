"""What the configurator remembers, in one durable file: who is enrolled, which rules stand, every plan and decision. Never how much."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Self

from configurator.registry.agents import AgentStore
from configurator.registry.decisions import DecisionStore
from configurator.registry.plans import BuiltPlanStore
from configurator.registry.refusals import RefusalStore
from configurator.registry.rules import RuleStore
from hushgrid.shell.database import Database

_MIGRATIONS = (
    """
    CREATE TABLE token (hash BLOB PRIMARY KEY, agent TEXT NOT NULL, role TEXT NOT NULL, used INTEGER NOT NULL DEFAULT 0);
    CREATE TABLE agent (
        id TEXT PRIMARY KEY, role TEXT NOT NULL, number INTEGER NOT NULL, identity BLOB NOT NULL, operator TEXT, carrier TEXT,
        sequence INTEGER NOT NULL DEFAULT 0, UNIQUE (role, number)
    );
    CREATE TABLE epoch_key (agent TEXT NOT NULL, epoch INTEGER NOT NULL, json BLOB NOT NULL, PRIMARY KEY (agent, epoch));
    CREATE TABLE rule (number INTEGER PRIMARY KEY AUTOINCREMENT, consumer TEXT NOT NULL, name TEXT NOT NULL,
        request BLOB NOT NULL, json BLOB NOT NULL, cohort BLOB NOT NULL, active INTEGER NOT NULL DEFAULT 1);
    CREATE TABLE plan (version INTEGER PRIMARY KEY, head BLOB NOT NULL);
    CREATE TABLE part (
        version INTEGER NOT NULL, leaf INTEGER NOT NULL, recipient TEXT NOT NULL, page INTEGER NOT NULL,
        pages INTEGER NOT NULL, json TEXT NOT NULL, path TEXT NOT NULL, PRIMARY KEY (version, recipient, page)
    ) WITHOUT ROWID;
    CREATE TABLE cohort (version INTEGER NOT NULL, rule INTEGER NOT NULL, json BLOB NOT NULL, PRIMARY KEY (version, rule));
    CREATE TABLE roster (
        round INTEGER NOT NULL, point INTEGER NOT NULL, page INTEGER NOT NULL, json BLOB NOT NULL,
        PRIMARY KEY (round, point, page)
    );
    CREATE TABLE decision (round INTEGER PRIMARY KEY, core BLOB NOT NULL, signature BLOB NOT NULL, certificate BLOB);
    CREATE TABLE decision_page (round INTEGER NOT NULL, page INTEGER NOT NULL, json BLOB NOT NULL, PRIMARY KEY (round, page));
    CREATE TABLE countersignature (round INTEGER NOT NULL, point INTEGER NOT NULL, json BLOB NOT NULL,
        PRIMARY KEY (round, point))
    """,
    """
    CREATE TABLE plan_rule (version INTEGER NOT NULL, rule INTEGER NOT NULL, lingers INTEGER NOT NULL, json BLOB NOT NULL,
        PRIMARY KEY (version, rule, lingers));
    INSERT INTO plan_rule SELECT cohort.version, cohort.rule, 0, rule.json FROM cohort JOIN rule ON rule.number = cohort.rule;
    DROP TABLE cohort
    """,
    "ALTER TABLE token ADD COLUMN expires INTEGER",  # Unix seconds; NULL: issued before tokens had an end
    """
    CREATE TABLE refusal (consumer TEXT NOT NULL, name TEXT NOT NULL, request BLOB NOT NULL, enrolled INTEGER NOT NULL,
        PRIMARY KEY (consumer, name))
    """,
)


class Registry:
    """The file, and a store for each question. Every change is on disk when it returns, or when the transaction around it ends.

    now: Unix seconds, an argument for tests.
    """

    def __init__(self, path: Path, now: Callable[[], float] = time.time, *, read_only: bool = False) -> None:
        self._database = Database(path, _MIGRATIONS, read_only=read_only)
        self.agents = AgentStore(self._database, now)
        self.rules = RuleStore(self._database)
        self.refusals = RefusalStore(self._database)
        self.plans = BuiltPlanStore(self._database)
        self.decisions = DecisionStore(self._database)

    @classmethod
    def read_only(cls, path: Path) -> Self:
        """Another program's look at it: nothing can be changed. JournalError when it is not there."""
        return cls(path, read_only=True)

    def transaction(self) -> AbstractContextManager[None]:
        """All or nothing over several calls."""
        return self._database.transaction()

    def prune(self, floor: int, version: int, epoch: int) -> None:
        """Forget decisions of rounds below `floor`, what plans before `version` stood for, rules that had ended by then, and
        keys of epochs before `epoch`. Heads, rule numbers and who is enrolled stay for ever.
        """
        with self._database.transaction():
            self.decisions.forget(floor)
            self.plans.forget(version)
            self.agents.forget_keys(epoch)
            self.rules.forget(floor)

    def close(self) -> None:
        """Close the store."""
        self._database.close()
