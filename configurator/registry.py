"""What the configurator remembers: who is enrolled, which rules stand, every plan and every decision. Durable, never how much."""

from __future__ import annotations

import datetime as dt
import json
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from configurator.planning import BuiltPart, BuiltPlan, GrantedRule, PlannedRule, Registered
from configurator.tokens import TOKEN_LIFE, fresh_tokens, token_hash
from hushgrid.control import Certificate, Countersignature, DecisionCore, DecisionPage, RequestRule, Role, RosterPage
from hushgrid.database import Database
from hushgrid.errors import RefusedError
from hushgrid.plan import EpochKey, Head, Rule

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
)


#: Of `configurator.tokens.token_hash`.
_PURPOSE = "token"


class Registry:
    """See the module. Every method is on disk when it returns, or when the transaction around it ends.

    now: Unix seconds, an argument for tests.
    """

    def __init__(self, path: Path, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._database = Database(path, _MIGRATIONS)

    def transaction(self) -> AbstractContextManager[None]:
        """All or nothing over several calls."""
        return self._database.transaction()

    # Tokens and agents

    def issue_tokens(self, agents: Sequence[tuple[str, Role]], life: dt.timedelta = TOKEN_LIFE) -> dict[str, str]:
        """One fresh one-time token per agent, good for so long; only its hash is kept."""
        tokens = fresh_tokens(agent for agent, _ in agents)
        expires = int(self._now() + life.total_seconds())
        rows = [(token_hash(_PURPOSE, tokens[agent]), agent, role.value, expires) for agent, role in agents]
        with self._database.transaction():
            self._database.execute_many("INSERT INTO token (hash, agent, role, expires) VALUES (?, ?, ?, ?)", rows)
        return tokens

    def expected(self, role: Role) -> set[str]:
        """Agents of a role that hold a good token and have not enrolled yet."""
        rows = self._database.query(
            "SELECT agent FROM token WHERE role = ? AND used = 0 AND (expires IS NULL OR expires > ?) "
            "AND agent NOT IN (SELECT id FROM agent)",
            role.value,
            int(self._now()),
        )
        return {agent for (agent,) in rows}

    def enrolled(self, role: Role) -> set[str]:
        """Agents of a role that are enrolled."""
        return {a for (a,) in self._database.query("SELECT id FROM agent WHERE role = ?", role.value)}

    def enrol(
        self, agent: str, role: Role, token: str, identity: bytes, operator: str | None, carrier: str | None
    ) -> int:
        """The agent's number: a meter's, counted from 0, or a PPN's point, from 1; never given twice.

        The same agent with the same identity may repeat it. RefusedError otherwise.
        """
        known = self.agent(agent)
        if known is not None:
            if known.identity == identity and known.role is role:
                return known.number
            raise RefusedError(f"{agent} is enrolled already under another identity")
        spent = self._database.execute(
            "UPDATE token SET used = 1 WHERE hash = ? AND agent = ? AND role = ? AND used = 0 AND (expires IS NULL OR expires > ?)",
            token_hash(_PURPOSE, token), agent, role.value, int(self._now()),
        )  # fmt: skip
        if not spent:
            raise RefusedError("the token is unknown, used, expired, or another agent's")
        first = 0 if role is Role.METER else 1
        query = "SELECT coalesce(max(number) + 1, ?) FROM agent WHERE role = ?"
        number: int = self._database.query(query, first, role.value)[0][0]
        self._database.execute(
            "INSERT INTO agent (id, role, number, identity, operator, carrier) VALUES (?, ?, ?, ?, ?, ?)",
            agent, role.value, number, identity, operator, carrier,
        )  # fmt: skip
        return number

    def agent(self, agent: str, epoch: int | None = None) -> Registered | None:
        """One enrolled agent, with its key of an epoch, or its newest."""
        found = self.agents(epoch, only=agent)
        return found[0] if found else None

    def agents(self, epoch: int | None, only: str | None = None) -> list[Registered]:
        """All enrolled agents with their keys of an epoch (None: their newest)."""
        where = "" if only is None else "WHERE a.id = ?2 "
        rows = self._database.query(
            "SELECT a.id, a.role, a.number, a.identity, a.operator, a.carrier, k.json FROM agent a LEFT JOIN epoch_key k "  # noqa: S608
            "ON k.agent = a.id AND k.epoch = coalesce(?1, (SELECT max(epoch) FROM epoch_key WHERE agent = a.id)) "
            f"{where}ORDER BY a.role, a.number",
            epoch,
            *(() if only is None else (only,)),
        )
        return [
            Registered(agent, Role(role), number, identity, operator, carrier, EpochKey.from_json(key) if key else None)
            for agent, role, number, identity, operator, carrier, key in rows
        ]

    def ppn_pseudonyms(self, epochs: range) -> dict[str, list[str]]:
        """The pseudonyms of every PPN in these epochs."""
        found: dict[str, list[str]] = {}
        rows = self._database.query(
            "SELECT a.id, k.json FROM agent a JOIN epoch_key k ON k.agent = a.id "
            "WHERE a.role = 'ppn' AND k.epoch BETWEEN ? AND ?",
            epochs.start,
            epochs.stop - 1,
        )
        for agent, key in rows:
            found.setdefault(agent, []).append(EpochKey.from_json(key).pseudonym)
        return found

    def raise_sequence(self, agent: str, sequence: int) -> bool:
        """Take note of an ordered statement's number; False when it or a later one was heard before."""
        statement = "UPDATE agent SET sequence = ? WHERE id = ? AND sequence < ?"
        return bool(self._database.execute(statement, sequence, agent, sequence))

    def store_keys(self, agent: str, keys: Sequence[EpochKey]) -> int:
        """Keep the first key an agent announces for an epoch; the newest epoch known."""
        rows = [(agent, key.epoch, key.to_json()) for key in keys]
        self._database.execute_many("INSERT OR IGNORE INTO epoch_key VALUES (?, ?, ?)", rows)
        newest: int = self._database.query("SELECT max(epoch) FROM epoch_key WHERE agent = ?", agent)[0][0]
        return newest

    def meters(self) -> dict[str, int]:
        """Number by id of all meters."""
        return dict(self._database.query("SELECT id, number FROM agent WHERE role = 'meter' ORDER BY id"))

    # Rules

    def grant(
        self, request: RequestRule, consumer: str, from_round: int, minimum: int, cohort: frozenset[int]
    ) -> GrantedRule:
        """Store a rule, not placed yet, under a number that is never used again."""
        self._database.execute(
            "INSERT INTO rule (consumer, name, request, json, cohort) VALUES (?, ?, ?, x'', ?)",
            consumer, request.name, request.to_json(), json.dumps(sorted(cohort)),
        )  # fmt: skip
        number: int = self._database.query("SELECT max(number) FROM rule")[0][0]
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
        self._database.execute("UPDATE rule SET json = ? WHERE number = ?", rule.to_json(), number)
        return GrantedRule(rule, cohort)

    def change_rule(self, rule: Rule) -> None:
        """Store a rule again: with its points, or with its end."""
        self._database.execute("UPDATE rule SET json = ? WHERE number = ?", rule.to_json(), rule.number)

    def revoke(self, number: int) -> None:
        """Forget a rule that was never in a plan."""
        self._database.execute("DELETE FROM rule WHERE number = ?", number)

    def rules(self) -> list[tuple[GrantedRule, RequestRule]]:
        """All rules that stand, with what was asked for."""
        rows = self._database.query("SELECT json, cohort, request FROM rule WHERE active = 1 ORDER BY number")
        return [
            (GrantedRule(Rule.from_json(rule), frozenset(json.loads(cohort))), RequestRule.from_json(request))
            for rule, cohort, request in rows
        ]

    # Plans

    def add_plan(self, plan: BuiltPlan) -> None:
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

    def plan_rules(self, version: int) -> list[PlannedRule]:
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

    def parts(self, version: int, recipient: str) -> list[tuple[BuiltPart, int, tuple[bytes, ...]]]:
        """All pages of an agent's part: the page, its leaf number and its way up the tree."""
        query = "SELECT recipient, page, pages, json, leaf, path FROM part WHERE version = ? AND recipient = ? ORDER BY page"
        return [
            (BuiltPart(agent, page, pages, content), index, tuple(bytes.fromhex(step) for step in json.loads(path)))
            for agent, page, pages, content, index, path in self._database.query(query, version, recipient)
        ]

    # Rounds

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

    def add_decision(self, core: DecisionCore, signature: bytes, pages: Sequence[DecisionPage]) -> None:
        """Store a decision before anybody hears of it; a second one for the round is an error. Rosters are not kept."""
        with self._database.transaction():
            self._database.execute("INSERT INTO decision VALUES (?, ?, ?, NULL)", core.round, core.to_json(), signature)
            rows = [(core.round, index, page.to_json()) for index, page in enumerate(pages)]
            self._database.execute_many("INSERT INTO decision_page VALUES (?, ?, ?)", rows)
            self._database.execute("DELETE FROM roster WHERE round = ?", core.round)

    def decision(self, round_number: int) -> tuple[DecisionCore, bytes, list[DecisionPage], Certificate | None] | None:
        """A round's decision with its signature, pages and, once there, its certificate."""
        rows = self._database.query("SELECT core, signature, certificate FROM decision WHERE round = ?", round_number)
        if not rows:
            return None
        core, signature, certificate = rows[0]
        query = "SELECT json FROM decision_page WHERE round = ? ORDER BY page"
        pages = [DecisionPage.from_json(page) for (page,) in self._database.query(query, round_number)]
        return (
            DecisionCore.from_json(core),
            signature,
            pages,
            Certificate.from_json(certificate) if certificate else None,
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

    def prune(self, floor: int, version: int, epoch: int) -> None:
        """Forget decisions of rounds below `floor`, what plans before `version` stood for, rules that had ended by then, and
        keys of epochs before `epoch`. Heads, rule numbers and who is enrolled stay for ever.
        """
        with self._database.transaction():
            for table in ("roster", "decision", "decision_page", "countersignature"):
                self._database.execute(f"DELETE FROM {table} WHERE round < ?", floor)  # noqa: S608  # fixed names
            for table in ("part", "plan_rule"):
                self._database.execute(f"DELETE FROM {table} WHERE version < ?", version)  # noqa: S608  # fixed names
            self._database.execute(
                "DELETE FROM epoch_key WHERE epoch < ?1 AND EXISTS "
                "(SELECT 1 FROM epoch_key k WHERE k.agent = epoch_key.agent AND k.epoch >= ?1)",
                epoch,
            )
            for granted, _ in self.rules():
                until = granted.rule.until_round
                if until is not None and until <= floor:
                    self._database.execute("UPDATE rule SET active = 0 WHERE number = ?", granted.rule.number)

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

    def set_certificate(self, certificate: Certificate) -> None:
        """Store the first certificate of a round; it stays as it is."""
        self._database.execute(
            "UPDATE decision SET certificate = ? WHERE round = ? AND certificate IS NULL",
            certificate.to_json(),
            certificate.round,
        )
        self._database.execute("DELETE FROM countersignature WHERE round = ?", certificate.round)

    def close(self) -> None:
        """Close the store."""
        self._database.close()
