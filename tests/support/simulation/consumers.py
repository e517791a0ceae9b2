"""The consumer of the simulation: the real shell of aggregate shares, but for its agent."""

from __future__ import annotations

from collections.abc import Callable

from consumer_node.shares.collection import Aggregate
from consumer_node.shares.service import Collecting
from hushgrid.errors import MessageError
from hushgrid.plan.parts import Rule
from hushgrid.wire.topics import Channel
from support.simulation.agents import StandIn, run, topic
from support.simulation.grid import Grid
from support.simulation.invariants import Watch
from support.simulation.stores import Crash, Disk

PATIENCE_SECONDS = 30.0


class _Watched(Collecting):
    """kept: what it last began to write down."""

    kept: Aggregate

    def _keep(self, rule: Rule, result: Aggregate, interval_seconds: int) -> None:
        self.kept = result
        super()._keep(rule, result, interval_seconds)


class SimulatedConsumer:
    """See the module. send: gets (recipient's name, body). It dies where its store kills it."""

    name = "c"

    def __init__(self, grid: Grid, disk: Disk, watch: Watch, send: Callable[[str, object], None]) -> None:
        self._grid, self._disk, self._watch, self._send = grid, disk, watch, send
        self._clock = 0.0
        self.crashes = 0
        disk.results.on_result = self._concluded
        self._start()

    def _start(self) -> None:
        self._disk.collected.crash_in = 0
        self._woken = False
        agent = StandIn(
            self.name,
            self._grid,
            lambda _channel, recipient, payload: self._send(recipient, payload),
            lambda body: self._send("configurator", body),
        )
        self._collecting = _Watched(
            agent,
            self._disk.collected,
            self._disk.results,
            PATIENCE_SECONDS,
            lambda _rule: 0.0,
            self._wake,
            now=lambda: self._clock,
        )
        self._collecting.adopt(self._grid.adopted)

    def restart(self) -> None:
        """It dies now, and comes back with what is on disk."""
        self.crashes += 1
        self._start()

    def hear(self, sender: str, payload: object) -> None:
        """An aggregate share arrives; a refused one is dropped."""
        if not isinstance(payload, bytes):
            return
        try:
            run(self._collecting.hear(topic(self._grid, Channel.AGGREGATE, self.name, sender), payload))
            if self._woken:
                self._advance()
        except MessageError:
            return
        except Crash:
            self.restart()

    def conclude(self, *, waited: bool) -> None:
        """It looks at every window it has answers for. waited: its patience is over."""
        self._clock += PATIENCE_SECONDS if waited else 0.0
        try:
            self._advance()
        except Crash:
            self.restart()

    def _wake(self) -> None:
        self._woken = True

    def _advance(self) -> None:
        self._woken = False
        run(self._collecting.advance())

    def _concluded(self) -> None:
        found = self._collecting.kept
        self._watch.concluded(found, self._collecting._answers[found.rule, found.window.first])
