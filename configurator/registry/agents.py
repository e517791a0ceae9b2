"""Who belongs to the grid: tokens, enrolled agents, their keys."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence

from configurator.tokens import TOKEN_LIFE, fresh_tokens, token_hash
from configurator.values import Registered
from hushgrid.errors import RefusedError
from hushgrid.plan.head import EpochKey
from hushgrid.shell.database import Database
from hushgrid.wire.role import Role

#: Of `configurator.tokens.token_hash`.
_PURPOSE = "token"


class AgentStore:
    """See the module. now: Unix seconds."""

    def __init__(self, database: Database, now: Callable[[], float]) -> None:
        self._database = database
        self._now = now

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

    def enrolled_so_far(self) -> int:
        """How many meters and PPNs ever enrolled: another number when who rules may name, or run on, has changed."""
        query = (
            "SELECT (SELECT coalesce(max(number) + 1, 0) FROM agent WHERE role = 'meter') "
            "+ (SELECT coalesce(max(number), 0) FROM agent WHERE role = 'ppn')"
        )
        number: int = self._database.query(query)[0][0]
        return number

    def enrol(
        self, agent: str, role: Role, token: str, identity: bytes, operator: str | None, carrier: str | None
    ) -> int:
        """The agent's number: a meter's, counted from 0, or a PPN's point, from 1; never given twice.

        The same agent with the same identity may repeat it. RefusedError otherwise.
        """
        known = self.find(agent)
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

    def find(self, agent: str, epoch: int | None = None) -> Registered | None:
        """One enrolled agent, with its key of an epoch, or its newest."""
        found = self._listed(epoch, only=agent)
        return found[0] if found else None

    def listed(self, epoch: int | None) -> list[Registered]:
        """All enrolled agents with their keys of an epoch (None: their newest)."""
        return self._listed(epoch)

    def _listed(self, epoch: int | None, only: str | None = None) -> list[Registered]:
        where = "" if only is None else "WHERE a.id = ? "
        rows = self._database.query(
            "SELECT a.id, a.role, a.number, a.identity, a.operator, a.carrier, k.json FROM agent a LEFT JOIN epoch_key k "  # noqa: S608
            "ON k.agent = a.id AND k.epoch = coalesce(?, (SELECT max(epoch) FROM epoch_key WHERE agent = a.id)) "
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

    def forget_keys(self, epoch: int) -> None:
        """Let go of keys of epochs before this one; an agent's newest stays."""
        self._database.execute(
            "DELETE FROM epoch_key WHERE epoch < ? AND EXISTS "
            "(SELECT 1 FROM epoch_key k WHERE k.agent = epoch_key.agent AND k.epoch >= ?)",
            epoch,
            epoch,
        )
