"""What the parties of a simulated grid have on disk, and how a process dies around a change of it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import delete, event

from configurator.registry.decisions import DecisionStore
from configurator.registry.registry import Registry
from configurator.values import GrantedRule
from consumer_node.results.files import Row
from consumer_node.results.store import ResultStore
from consumer_node.results.tables import RESULT_TABLES, TABLES, ResultKind
from consumer_node.shares.store import CollectedShares
from hushgrid.core.recovery import Recovery
from hushgrid.relational.opening import RelationalDatabase
from hushgrid.statements.rules import RequestRule
from hushgrid.wire.role import Role
from meter_agent.shares.outbox import Outbox
from ppn_node.shares.journal import Journal
from ppn_node.shares.values import StoredRelease, StoredShare
from support.simulation.grid import FIRST, MINIMUM, POINTS, Grid


class Crash(BaseException):
    """A process dies in the middle of what it does; nothing may catch it."""


class Fallible:
    """A store that can kill its process just before or just after a change is on disk."""

    crash_in = 0  # changes until then; 0: never
    after = False
    tables: tuple[str, ...] = ()

    def change(self) -> bool:
        """A change is about to be made; True when the process dies after it."""
        if not self.crash_in:
            return False
        self.crash_in -= 1
        if self.crash_in == 0 and not self.after:
            raise Crash
        return self.crash_in == 0

    def clear(self) -> None:
        """Everything is forgotten: another history begins."""
        self.crash_in = 0
        for table in self.tables:
            self._database.execute(f"DELETE FROM {table}")  # noqa: S608  # fixed names


def _ignore(*_seen: object) -> None:
    """Nobody looks."""


class FallibleJournal(Fallible, Journal):
    """A PPN's. on_shares, on_release: are shown what has come onto disk."""

    tables = ("share", "round", "decision_page", "release", "floor", "asked", "missed")
    on_shares: Callable[[list[StoredShare]], None] = staticmethod(_ignore)
    on_release: Callable[[StoredRelease], None] = staticmethod(_ignore)

    def add_shares(self, shares: object) -> None:
        listed = list(shares)
        super().add_shares(listed)
        self.on_shares(listed)

    def add_release(self, release: StoredRelease, last_round: int) -> None:
        super().add_release(release, last_round)
        self.on_release(release)


class FallibleDecisions(Fallible, DecisionStore):
    """The configurator's decisions and what leads to them."""

    tables = ("roster", "decision", "decision_page", "countersignature")

    def forget_decision(self, round_number: int) -> None:
        """An old backup is put back: of this round the rosters are there, and no decision."""
        for table in ("decision", "decision_page", "countersignature"):
            self._database.execute(f"DELETE FROM {table} WHERE round = ?", round_number)  # noqa: S608  # fixed names


class FallibleRegistry(Registry):
    """The configurator's: of one grid, whose members, rules and plan stay from history to history."""

    decisions: FallibleDecisions

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.decisions = FallibleDecisions(self._database)


class FallibleShares(Fallible, CollectedShares):
    """What the consumer has collected."""

    tables = ("answer",)


class FallibleResults(Fallible, ResultStore):
    """The consumer's results, without the files beside them, which repeat them and are not at stake here.

    It dies when what is collected dies, and in the same count. on_result: is told that a result has come onto disk.
    """

    on_result: Callable[[], None] = staticmethod(_ignore)

    def __init__(self, directory: Path, collected: FallibleShares) -> None:
        self._collected = collected
        database = RelationalDatabase(f"sqlite:///{directory / 'results.sqlite'}", RESULT_TABLES)
        database._engine.dispose()
        event.listen(database._engine, "connect", _hasten_connection)
        super().__init__(database, "g", "c")

    def change(self) -> bool:
        return self._collected.change()

    def add(self, kind: ResultKind, rows: list[Row], cohort: object = None) -> int:
        new = super().add(kind, rows, cohort)
        if new:
            self.on_result()
        return new

    def clear(self) -> None:
        with self._database.writing() as connection:
            for table in TABLES.values():
                connection.execute(delete(table))
        self._counts = dict.fromkeys(TABLES, 0)


def _fallible(kind: type[Fallible], *names: str) -> None:
    for name in names:
        setattr(kind, name, _dying(getattr(kind, name)))


def _dying(original: Callable[..., object]) -> Callable[..., object]:
    def changed(self: Fallible, *args: object, **kwargs: object) -> object:
        dies = self.change()
        result = original(self, *args, **kwargs)
        if dies:
            raise Crash
        return result

    return changed


_fallible(
    FallibleJournal,
    *("add_shares", "freeze", "set_state", "set_decision", "set_certificate", "add_release", "raise_floor", "received"),
)
_fallible(FallibleDecisions, "add_roster", "add", "add_countersignature", "set_certificate")
_fallible(FallibleShares, "add", "let_go")
_fallible(FallibleResults, "add")


def _hasten(store: Journal | Outbox | Registry | CollectedShares) -> None:
    """Durability against a loss of power is SQLite's part, and not at stake here."""
    for pragma in ("synchronous=OFF", "journal_mode=MEMORY", "locking_mode=EXCLUSIVE"):
        store._database.query(f"PRAGMA {pragma}")


def _hasten_connection(connection: sqlite3.Connection, _: object) -> None:
    for pragma in ("synchronous=OFF", "journal_mode=MEMORY"):
        connection.execute(f"PRAGMA {pragma}")


class Disk:
    """The stores of one world, used again by the next history."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.journals = {point: FallibleJournal(directory / f"ppn-{point}.sqlite") for point in POINTS}
        self.collected = FallibleShares(directory)
        self.results = FallibleResults(directory, self.collected)
        for store in (*self.journals.values(), self.collected):
            _hasten(store)
        self._registries: dict[Recovery, FallibleRegistry] = {}
        self.outbox = self.open_outbox()

    def open_outbox(self) -> Outbox:
        """The station's outbox as it lies on disk."""
        outbox = Outbox(self.directory / "outbox.sqlite")
        _hasten(outbox)
        return outbox

    def registry(self, grid: Grid) -> FallibleRegistry:
        """The configurator's registry of a grid, with all that is registered before its first round."""
        if grid.recovery not in self._registries:
            found = FallibleRegistry(self.directory / f"registry-{grid.recovery.value}.sqlite")
            _hasten(found)
            _register(found, grid)
            self._registries[grid.recovery] = found
        return self._registries[grid.recovery]

    def clear(self) -> None:
        """Another history begins."""
        decisions = (each.decisions for each in self._registries.values())
        for store in (*self.journals.values(), *decisions, self.collected, self.results):
            store.clear()
        for table in ("stated", "envelope", "said"):
            self.outbox._database.execute(f"DELETE FROM {table}")  # noqa: S608  # fixed names
        self.outbox._stated.clear()
        self.outbox._outstanding.clear()

    def close(self) -> None:
        """Close all stores."""
        for store in (*self.journals.values(), *self._registries.values(), self.collected, self.results, self.outbox):
            store.close()


def _register(registry: Registry, grid: Grid) -> None:
    with registry.transaction():
        meters = [agent for agent in grid.agents if agent.role is Role.METER]
        tokens = registry.agents.issue_tokens([(meter.id, meter.role) for meter in meters])
        for meter in meters:
            registry.agents.enrol(meter.id, meter.role, tokens[meter.id], meter.identity, meter.operator, meter.carrier)
        for rule in grid.rules.values():
            request = RequestRule(name=rule.name, cohort="all", window_rounds=rule.window_rounds)
            registry.rules.draft(request, rule.consumer, FIRST, MINIMUM, grid.cohorts[rule.number])
            registry.rules.grant(GrantedRule(rule, grid.cohorts[rule.number]), request)
        registry.plans.add(grid.plan)
