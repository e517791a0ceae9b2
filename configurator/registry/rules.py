"""Which rules stand: as they were asked for, and as they were granted."""

from __future__ import annotations

import json
from collections.abc import Sequence

from configurator.values import GrantedRule, StandingRule
from hushgrid.plan.parts import Rule
from hushgrid.shell.database import Database
from hushgrid.statements.rules import RequestRule


class RuleStore:
    """See the module."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def draft(
        self, request: RequestRule, consumer: str, from_round: int, minimum: int, cohort: frozenset[int]
    ) -> GrantedRule:
        """A rule that may be granted next, not placed yet and not stored, under a number that was never given."""
        query = "SELECT coalesce(max(seq), 0) + 1 FROM sqlite_sequence WHERE name = 'rule'"
        number: int = self._database.query(query)[0][0]
        rule = Rule(
            number=number,
            name=request.name,
            consumer=consumer,
            window_rounds=request.window_rounds,
            minimum_contributors=minimum,
            mechanism=request.mechanism,
            weights=request.weights,
            points=(),
            from_round=from_round,
        )
        return GrantedRule(rule, cohort)

    def grant(self, granted: GrantedRule, request: RequestRule) -> None:
        """Store a rule with what was asked for; its number is never given again."""
        rule, cohort = granted.rule, json.dumps(sorted(granted.cohort))
        self._database.execute(
            "INSERT INTO rule (number, consumer, name, request, json, cohort) VALUES (?, ?, ?, ?, ?, ?)",
            rule.number, rule.consumer, rule.name, request.to_json(), rule.to_json(), cohort,
        )  # fmt: skip

    def change(self, rule: Rule) -> None:
        """Store a rule again: with its points, or with its end."""
        self._database.execute("UPDATE rule SET json = ? WHERE number = ?", rule.to_json(), rule.number)

    def move(self, before: Sequence[GrantedRule], after: Sequence[GrantedRule]) -> None:
        """Store the points of those rules that are placed elsewhere now; their ends stay as they are stored."""
        for old, new in zip(before, after, strict=True):
            if new.rule.points != old.rule.points:
                rows = self._database.query("SELECT json FROM rule WHERE number = ?", new.rule.number)
                self.change(Rule.from_json(rows[0][0]).model_copy(update={"points": new.rule.points}))

    def standing(self) -> list[StandingRule]:
        """All rules that stand."""
        rows = self._database.query("SELECT json, cohort, request FROM rule WHERE active = 1 ORDER BY number")
        return [
            StandingRule(
                GrantedRule(Rule.from_json(rule), frozenset(json.loads(cohort))), RequestRule.from_json(request)
            )
            for rule, cohort, request in rows
        ]

    def newest_number(self, consumer: str, name: str) -> int | None:
        """The number of the rule that was granted last under this name, whether it stands or has ended."""
        query = "SELECT max(number) FROM rule WHERE consumer = ? AND name = ?"
        number: int | None = self._database.query(query, consumer, name)[0][0]
        return number

    def forget(self, floor: int) -> None:
        """Let go of rules that had ended by a round. Their numbers are not given again."""
        for each in self.standing():
            until = each.granted.rule.until_round
            if until is not None and until <= floor:
                self._database.execute("UPDATE rule SET active = 0 WHERE number = ?", each.granted.rule.number)
