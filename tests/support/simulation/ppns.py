"""A PPN of the simulation: the real one, but for its agent."""

from __future__ import annotations

from collections.abc import Callable

from hushgrid.core.schedule import Pace
from hushgrid.errors import MessageError
from hushgrid.statements.rounds import Countersignature, DecisionMessage, ReleaseCertificate, RosterPage
from hushgrid.statements.statement import Body
from hushgrid.wire.aggregates import AggregateFrame
from hushgrid.wire.frames import FrameKind, frame_kind
from hushgrid.wire.shares import Closing, Envelope, Receipt, RepairRequest
from hushgrid.wire.topics import Channel
from ppn_node.aggregation import aggregate
from ppn_node.link import PERFECT, Reach
from ppn_node.plans import Assignments
from ppn_node.progress import RoundProgress
from ppn_node.reception import Reception
from ppn_node.repair import CATCH_UP_ATTEMPTS
from ppn_node.rounds import Rounds
from ppn_node.service import Ppn
from ppn_node.shares.here import Here
from support.simulation.agents import StandIn, run, topic
from support.simulation.grid import FIRST, Grid
from support.simulation.invariants import Watch
from support.simulation.stores import Crash, FallibleJournal
from testbed.agents.liar import off_by_one

#: What is repeated is due again; a round is quiet for long enough.
REPEAT_SECONDS, PAUSE_SECONDS = 31.0, 100.0


class SimulatedPpn(Ppn):
    """The service with its intake, rounds, repairs and releases. send: gets (recipient's name, body).

    It dies where its journal kills it, and comes back with what is on disk.
    """

    def __init__(
        self, point: int, grid: Grid, journal: FallibleJournal, watch: Watch, send: Callable[[str, object], None]
    ) -> None:
        self.point, self.name, self.journal = point, f"ppn-{point}", journal
        self._grid, self._watch, self._send = grid, watch, send
        self._clock = 0.0
        self._pace = Pace(FIRST - 1, FIRST - 1)
        self.crashes = 0
        journal.on_shares = lambda shares: watch.kept(point, shares)
        journal.on_release = lambda release: watch.released(point, release)
        self._start()

    def _start(self) -> None:
        self.journal.crash_in = 0
        self.agent = StandIn(self.name, self._grid, self._say, self._tell)
        self.agent.pacing.pace = self._pace
        self._assignments = plans = Assignments(self.agent)
        plans.adopt(self._grid.adopted)
        self._reach = Reach(PERFECT, self.name, lambda: self._pace)
        self._store = Here(self.journal, plan_of=plans.of_version, key_of=plans.meter_key)
        self.rounds = Rounds(
            self.journal,
            self._store,
            self.agent.identity,
            self._grid.configurator.public,
            assignment_of=plans.of_round,
            consumer_key=plans.consumer_key,
            add=off_by_one(None) if self._watch.liar == self.point else aggregate,
        )
        self._reception = Reception(
            self.agent, self._store, self.rounds, plans, commit_delay_seconds=0, heard=self._heard_shares
        )
        self._progress = RoundProgress(
            self.agent,
            self.journal,
            self.rounds,
            plans,
            self._reach,
            repair_pause_seconds=PAUSE_SECONDS,
            commit_all=self._reception.commit_all,
            let_go=self._erase_keys,
            now=lambda: self._clock,
        )

    def restart(self) -> None:
        """It dies now."""
        self.crashes += 1
        self._start()

    # What the world does with it

    def hear(self, sender: str, body: object) -> None:
        """A message arrives. MessageError when it is refused."""
        self._do(lambda: self._take(sender, body))

    def commit(self) -> None:
        """What has come goes to disk, and is answered for."""
        self._do(lambda: run(self._reception.commit_all()))

    def metered(self, through: int) -> None:
        """Rounds end."""
        self._go_to(Pace(through, self._pace.frozen_through))

    def freeze(self, through: int) -> None:
        """The time of rounds is over, as far as they have ended."""
        self._go_to(Pace(self._pace.metered_through, min(through, self._pace.metered_through)))
        self.wait(0.0)

    def freeze_next(self) -> None:
        """The time of one more round is over."""
        self.freeze(self._pace.frozen_through + 1)

    def wait(self, seconds: float) -> None:
        """Time passes, and what is due then is done."""
        self._clock += seconds
        self._do(self._work)

    def give_up(self) -> None:
        """Time passes until nothing that is missing is waited for any more."""
        for _ in range(CATCH_UP_ATTEMPTS + 1):
            self.wait(PAUSE_SECONDS)
            if not list(self._progress._repairs):
                break

    # Inside

    def _go_to(self, pace: Pace) -> None:
        self._pace = self.agent.pacing.pace = pace

    def _do(self, action: Callable[[], None]) -> None:
        try:
            action()
        except Crash:
            self.restart()

    def _work(self) -> None:
        run(self._progress.work())

    def _take(self, sender: str, body: object) -> None:
        try:
            match body:
                case Envelope():
                    run(self._hear_envelope(topic(self._grid, Channel.SHARE, self.name, sender), body.to_bytes()))
                case bytes():
                    run(self._hear_receipt(topic(self._grid, Channel.RECEIPT, self.name, sender), body))
                case DecisionMessage() | ReleaseCertificate():
                    if body in self._watch.leaves:
                        self._watch.leave_given.add((self.point, body.round))
                    self._hear_statement(self.name, body)
        except MessageError:
            return  # refused and counted, as the agent does
        if isinstance(body, DecisionMessage | ReleaseCertificate):
            self._work()

    # What it says

    def _tell(self, body: Body) -> None:
        match body:
            case RosterPage():
                self._watch.rostered(self.point, body)
            case Countersignature():
                self._watch.countersigned(self.point, body)
        self._send("configurator", body)

    def _say(self, channel: Channel, recipient: str, payload: bytes) -> None:
        if channel is Channel.AGGREGATE:
            frame = AggregateFrame.from_bytes(payload)
            self._watch.published(self.point, frame.rule, frame.first_round, payload)
            self._send(recipient, payload)
            return
        kinds = {FrameKind.RECEIPT: Receipt, FrameKind.CLOSING: Closing, FrameKind.REPAIR_REQUEST: RepairRequest}
        body = kinds[frame_kind(payload)].from_bytes(
            payload, self.agent.identity.public, self._grid.pseudonyms[recipient]
        )
        if isinstance(body, Receipt):
            self._watch.receipted(self.point, body)
        self._send(recipient, body)
