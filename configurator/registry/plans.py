"""Every plan that was made: its head, everybody's parts, the rules it stands for."""

from __future__ import annotations

import json

from configurator.values import BuiltPart, BuiltPlan, GrantedRule, PlannedRule, StoredPart
from hushgrid.plan.head import Head
from hushgrid.plan.parts import Rule
from hushgrid.shell.database import Database


class BuiltPlanStore:
    """See the module."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, plan: BuiltPlan) -> None:
        """Store a plan with its parts and the rules it stands for."""
        version = plan.head.version
        rows = [
            (version, i, p.recipient, p.page, p.pages, p.json, json.dumps([step.hex() for step in plan.tree.path(i)]))
            for i, p in enumerate(plan.parts)
        ]
        rules = [
            (version, each.granted.rule.number, int(each.lingers), each.granted.rule.to_json()) for each in plan.rules
        ]
        with self._database.transaction():
            self._database.execute("INSERT INTO plan VALUES (?, ?)", version, plan.head.to_json())
            self._database.execute_many("INSERT INTO part VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
            self._database.execute_many("INSERT INTO plan_rule VALUES (?, ?, ?, ?)", rules)

    def heads(self) -> list[Head]:
        """All plans' heads, in order."""
        return [Head.from_json(head) for (head,) in self._database.query("SELECT head FROM plan ORDER BY version")]

    def rules(self, version: int) -> list[PlannedRule]:
        """The rules of a plan as it was built with."""
        rows = self._database.query(
            "SELECT p.json, p.lingers, r.cohort FROM plan_rule p JOIN rule r ON r.number = p.rule "
            "WHERE p.version = ? ORDER BY p.lingers, p.rule",
            version,
        )
        return [
            PlannedRule(GrantedRule(Rule.from_json(rule), frozenset(json.loads(cohort))), bool(lingers))
            for rule, lingers, cohort in rows
        ]

    def parts(self, version: int, recipient: str) -> list[StoredPart]:
        """All pages of an agent's part."""
        query = "SELECT recipient, page, pages, json, leaf, path FROM part WHERE version = ? AND recipient = ? ORDER BY page"
        return [
            StoredPart(
                BuiltPart(agent, page, pages, content), leaf, tuple(bytes.fromhex(step) for step in json.loads(path))
            )
            for agent, page, pages, content, leaf, path in self._database.query(query, version, recipient)
        ]

    def forget(self, version: int) -> None:
        """Let go of what plans before this one stood for. Their heads stay."""
        with self._database.transaction():
            for table in ("part", "plan_rule"):
                self._database.execute(f"DELETE FROM {table} WHERE version < ?", version)  # noqa: S608  # fixed names
