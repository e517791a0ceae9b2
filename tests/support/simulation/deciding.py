"""The configurator of the simulation: the real `Decisions` over a real registry, and who says what to it when."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet

from configurator.config import ConfiguratorConfig
from configurator.registry.history import PlanHistory
from configurator.rounds.decisions import Decisions, Told
from configurator.sections import AgreementSection, PlanSection, PolicySection
from hushgrid.errors import MessageError
from hushgrid.statements.rounds import (
    Countersignature,
    DecisionMessage,
    Observation,
    ReleaseCertificate,
    RosterPage,
)
from support.simulation.grid import COVERAGE_FLOOR, MINIMUM, POINTS, Grid
from support.simulation.invariants import Watch
from support.simulation.stores import Crash, FallibleRegistry

PATIENCE_SECONDS = 30.0
_CONFIG = ConfiguratorConfig.model_construct(
    plan=PlanSection(minimum_contributors=MINIMUM, coverage_floor_fraction=COVERAGE_FLOOR),
    policy=PolicySection(),
    agreement=AgreementSection(roster_patience_seconds=PATIENCE_SECONDS),
)


class SimulatedConfigurator:
    """See the module. send: gets (recipient's name, body). It dies where its registry kills it."""

    def __init__(
        self, grid: Grid, registry: FallibleRegistry, watch: Watch, send: Callable[[str, object], None]
    ) -> None:
        self._grid, self._registry, self._watch, self._send = grid, registry, watch, send
        self._clock = 0.0
        self._rosters: dict[int, dict[int, RosterPage]] = {}  # for a backup: what was there before a decision
        self.crashes = 0
        self._start()

    def _start(self) -> None:
        self._registry.decisions.crash_in = 0
        self._decisions = Decisions(
            _CONFIG,
            self._registry,
            PlanHistory(self._registry.plans),
            self._grid.configurator,
            modulus=lambda: self._grid.field.modulus,
        )

    def restart(self) -> None:
        """It dies now, and comes back with what is on disk."""
        self.crashes += 1
        self._start()

    def hear(self, sender: str, body: object) -> None:
        """A statement arrives: one transaction, and what follows is said once it is on disk. A refused one is dropped."""
        told: Sequence[Told] = ()
        try:
            with self._registry.transaction():
                try:
                    told = self._answer(sender, body)
                except MessageError:
                    return
        except Crash:
            self.restart()
            return
        self._say(told)

    def _answer(self, sender: str, body: object) -> Sequence[Told]:
        match body:
            case RosterPage():
                told = self._decisions.hear_roster(sender, body, self._clock)
                self._rosters.setdefault(body.round, {}).setdefault(body.point, body)
                return told
            case Countersignature():
                return self._decisions.hear_countersignature(sender, body)
            case Observation():
                self._decisions.hear_observation(sender, body)
                self._watch.blamed(self._decisions.faults.texts)
        return ()

    def decide(self, *, waited: bool, away: AbstractSet[str] = frozenset()) -> None:
        """It looks whether rounds can be decided. waited: its patience is over; away: PPNs that are said to be gone."""
        for seconds in (0.0, PATIENCE_SECONDS) if waited else (0.0,):
            self._clock += seconds
            try:
                told = self._decisions.due(self._clock, away)
            except Crash:
                self.restart()
            else:
                self._say(told)

    def forget(self) -> bool:
        """An old backup is put back, and the newest decision taken again without one of its rosters; False when it cannot be."""
        newest = self._registry.decisions.decided_through()
        there = self._rosters.get(newest or 0, {})
        if newest is None or len(there) < len(POINTS):
            return False
        self._watch.honest_configurator = False
        *kept, lost = there.values()
        self._registry.decisions.crash_in = 0  # nothing runs while a backup is put back
        self._registry.decisions.forget_decision(newest)
        for page in kept:
            self._registry.decisions.add_roster(page)
        self.restart()
        self.decide(waited=False, away=frozenset({f"ppn-{lost.point}"}))
        return True

    def _say(self, told: Sequence[Told]) -> None:
        for each in told:
            match each.body:
                case DecisionMessage():
                    self._watch.decided(each.body)
                case ReleaseCertificate():
                    self._watch.certified(each.body)
            astray = isinstance(each.body, ReleaseCertificate) and not self._watch.honest_configurator
            for ppn in (
                self._grid.head.ppns if astray else (each.ppn,)
            ):  # one that errs gives leave to those it did not hear, too
                self._send(ppn.id, each.body)
