"""An agent's own keys on disk: identity for life, agreement keys by epoch, and the statement counter."""

from __future__ import annotations

import enum
from collections.abc import Callable
from pathlib import Path

from hushgrid.core.sealing import Agreement, Identity, Kind, SealingKey
from hushgrid.errors import MessageError, RejectReason
from hushgrid.plan.head import EpochKey
from hushgrid.shell.database import Database

_MIGRATIONS = (
    """
    CREATE TABLE identity (agent TEXT PRIMARY KEY, private BLOB NOT NULL, number INTEGER, sequence INTEGER NOT NULL DEFAULT 0);
    CREATE TABLE agreement (agent TEXT NOT NULL, epoch INTEGER NOT NULL, private BLOB NOT NULL, PRIMARY KEY (agent, epoch));
    CREATE TABLE erased (agent TEXT PRIMARY KEY, through_epoch INTEGER NOT NULL)
    """,
)


class Keyring:
    """The keys of the agents in one process. Private halves leave it only as objects that can sign or agree."""

    def __init__(self, path: Path) -> None:
        self._database = Database(path, _MIGRATIONS, secrets=True)
        self._agreements: dict[tuple[str, int], Agreement] = {}

    def prepare(self, agents: list[str]) -> None:
        """Make the identities that do not exist yet, in one write."""
        known = {agent for (agent,) in self._database.query("SELECT agent FROM identity")}
        fresh = [(agent, Identity.generate().to_bytes()) for agent in agents if agent not in known]
        with self._database.transaction():
            self._database.execute_many("INSERT INTO identity (agent, private) VALUES (?, ?)", fresh)

    def identity(self, agent: str) -> Identity:
        """The agent's identity, made at first use."""
        rows = self._database.query("SELECT private FROM identity WHERE agent = ?", agent)
        if not rows:
            self.prepare([agent])
            return self.identity(agent)
        return Identity.from_bytes(rows[0][0])

    def number(self, agent: str) -> int | None:
        """The number given at enrolment; None before."""
        rows = self._database.query("SELECT number FROM identity WHERE agent = ?", agent)
        number: int | None = rows[0][0] if rows else None
        return number

    def enrolled(self, numbers: dict[str, int]) -> None:
        """Remember the numbers given at enrolment."""
        with self._database.transaction():
            rows = [(number, agent) for agent, number in numbers.items()]
            self._database.execute_many("UPDATE identity SET number = ? WHERE agent = ?", rows)

    def agreements(self, agents: list[str], epochs: range) -> None:
        """Make the agreement keys of these agents and epochs that do not exist yet, in one write. Erased ones stay erased."""
        erased = dict(self._database.query("SELECT agent, through_epoch FROM erased"))
        known = set(self._database.query("SELECT agent, epoch FROM agreement"))
        fresh = [
            (agent, epoch, Agreement.generate().to_bytes())
            for agent in agents
            for epoch in epochs
            if (agent, epoch) not in known and epoch > erased.get(agent, -1)
        ]
        with self._database.transaction():
            self._database.execute_many("INSERT INTO agreement VALUES (?, ?, ?)", fresh)

    def agreement(self, agent: str, epoch: int) -> Agreement | None:
        """The agent's agreement key of an epoch; None when there is none or it was erased."""
        found = self._agreements.get((agent, epoch))
        if found is None:
            query = "SELECT private FROM agreement WHERE agent = ? AND epoch = ?"
            rows = self._database.query(query, agent, epoch)
            if not rows:
                return None
            found = self._agreements[agent, epoch] = Agreement.from_bytes(rows[0][0])
        return found

    def announcements(self, agent: str, grid: str, epochs: range) -> tuple[EpochKey, ...]:
        """The signed public halves of the agent's keys of these epochs."""
        identity = self.identity(agent)
        found = ((epoch, self.agreement(agent, epoch)) for epoch in epochs)
        return tuple(EpochKey.sign(identity, grid, epoch, key.public) for epoch, key in found if key is not None)

    def epochs(self, agent: str) -> list[int]:
        """Epochs whose private half still exists."""
        return [epoch for (epoch,) in self._database.query("SELECT epoch FROM agreement WHERE agent = ?", agent)]

    def erase_through(self, agents: list[str], epoch: int) -> int:
        """Destroy the private halves of all epochs up to this one; returns how many there were."""
        with self._database.transaction():
            count = 0
            for agent in agents:
                count += self._database.execute("DELETE FROM agreement WHERE agent = ? AND epoch <= ?", agent, epoch)
                self._database.execute(
                    "INSERT INTO erased VALUES (?, ?) ON CONFLICT (agent) DO UPDATE "
                    "SET through_epoch = max(through_epoch, excluded.through_epoch)",
                    agent,
                    epoch,
                )
        for agent, known in list(self._agreements):
            if agent in agents and known <= epoch:
                del self._agreements[agent, known]
        return count

    def next_sequence(self, agent: str) -> int:
        """A number this agent has never used for a statement, on disk before it is used."""
        with self._database.transaction():
            self._database.execute("UPDATE identity SET sequence = sequence + 1 WHERE agent = ?", agent)
            rows = self._database.query("SELECT sequence FROM identity WHERE agent = ?", agent)
        number: int = rows[0][0]
        return number

    def close(self) -> None:
        """Close the store."""
        self._database.close()


class Way(enum.Enum):
    """Which way what is sealed travels."""

    IN = "in"
    OUT = "out"


class EpochKeys:
    """The AEAD keys that one agent shares with others, each derived once.

    A key is of one peer, epoch, kind and way: whoever announces another's public key in another role gets no key but
    its own. own: the agent's agreement key of an epoch, None when it is erased.
    """

    def __init__(self, own: Callable[[int], Agreement | None], grid: str) -> None:
        self._own = own
        self._grid = grid
        self._keys: dict[tuple[bytes, Kind, int, Way], SealingKey] = {}

    def with_(self, peer: bytes, kind: Kind, epoch: int, way: Way) -> SealingKey:
        """The key shared with the owner of this public agreement key; MessageError(BAD_SEAL) when our half is erased."""
        place = (peer, kind, epoch, way)
        found = self._keys.get(place)
        if found is None:
            own = self._own(epoch)
            if own is None:
                raise MessageError(RejectReason.BAD_SEAL, f"the key of epoch {epoch} is erased")
            sender, recipient = (peer, own.public) if way is Way.IN else (own.public, peer)
            found = SealingKey.derive(
                own, peer, kind=kind, grid=self._grid, epoch=epoch, sender=sender, recipient=recipient
            )
            self._keys[place] = found
        return found

    def forget_through(self, epoch: int) -> None:
        """Let go of the keys of all epochs up to this one."""
        self._keys = {place: key for place, key in self._keys.items() if place[2] > epoch}
