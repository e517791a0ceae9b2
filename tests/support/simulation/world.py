"""One grid under faults, played step by step: the real roles but for their agents, and a network that does what it likes.

A history is a list of (operation, a, b); a and b pick among whatever there is to pick from, so that any list is a history and
stays one when steps are left out. After each step the invariants of docs/protocol.md are checked; at the end the network heals, and
everything must have come to its end. When a message arrives, when time passes and for whom, and when a process dies is played here.
What follows from it is the product's: `meter_agent.shares`, `ppn_node` behind its service, `configurator.rounds.decisions`, and
`consumer_node.shares.service`, with all their bytes and stores.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from configurator.rounds.contributors import decision_core
from hushgrid.core.bitmap import Bitmap
from hushgrid.statements.rounds import Contributors, DecisionMessage, ReleaseCertificate, countersign
from hushgrid.wire.shares import Closing, Envelope, Receipt, RepairRequest
from meter_agent.shares.sharing import seal_statement
from support.simulation.consumers import SimulatedConsumer
from support.simulation.deciding import SimulatedConfigurator
from support.simulation.grid import FIRST, LAST, METERS, POINTS, Grid
from support.simulation.invariants import Watch, hold
from support.simulation.ppns import PAUSE_SECONDS, REPEAT_SECONDS, SimulatedPpn
from support.simulation.stores import Disk

STATION, CONFIGURATOR, CONSUMER, STRANGER = "fleet", "configurator", "c", "stranger"
Step = tuple[str, int, int]


@dataclass(frozen=True, slots=True)
class Message:
    """Something on its way."""

    sender: str
    recipient: str
    body: object


class World:
    """See the module. seed: of sharing ids and coefficients, which are simulated randomness here."""

    def __init__(self, grid: Grid, disk: Disk, seed: int = 0) -> None:
        disk.clear()
        self.grid, self.disk, self.watch = grid, disk, Watch(grid)
        self._rng = random.Random(seed)
        self.metered = FIRST - 1
        self.flying: list[Message] = []
        self.sent: list[Message] = []
        self.cut: set[str] = set()
        self.ppns = {
            point: SimulatedPpn(point, grid, disk.journals[point], self.watch, self._sender(f"ppn-{point}"))
            for point in POINTS
        }
        self.configurator = SimulatedConfigurator(grid, disk.registry(grid), self.watch, self._sender(CONFIGURATOR))
        self.consumer = SimulatedConsumer(grid, disk, self.watch, self._sender(CONSUMER))

    @property
    def crashes(self) -> int:
        """How often processes died."""
        return sum(each.crashes for each in (*self.ppns.values(), self.configurator, self.consumer))

    # Steps

    def play(self, steps: Sequence[Step]) -> None:
        """A whole history: the steps, each followed by its checks, and the end of all faults."""
        for step in steps:
            self.step(step)
        self.finish()

    def step(self, step: Step) -> None:
        """One operation and the invariants after it."""
        name, a, b = step
        getattr(self, f"do_{name}")(a, b)
        self.check()

    def check(self) -> None:
        """What must hold after every step, whatever happened."""
        self.watch.on_disk({point: ppn.rounds for point, ppn in self.ppns.items()})

    # The station and its meters

    def do_meter(self, a: int, _b: int) -> None:
        """A round ends: every meter states it, one of them now and then that it has no reading."""
        if self.metered == LAST:
            return
        self.metered += 1
        for ppn in self.ppns.values():
            ppn.metered(self.metered)
        by_point: dict[int, dict[int, tuple[int, bytes]]] = {}
        for number in range(METERS):
            gap = a % 7 == number
            self.watch.readings[number, self.metered] = None if gap else self._hot(number, self.metered)
            for point, share in self._seal(number, self.metered).items():
                by_point.setdefault(point, {})[number] = (number, share)
        envelopes = [
            Envelope(1, self.metered, point, at, METERS, 0, shares)
            for at, (point, shares) in enumerate(sorted(by_point.items()))
        ]
        names = [f"m{number}" for number in range(METERS)]
        self.disk.outbox.state(self.metered, names, envelopes)
        for envelope in envelopes:
            self._send_apart(envelope)

    @staticmethod
    def _hot(number: int, round_number: int) -> int:
        """One bit for each (meter, round): whatever is counted twice, or not where it is stated, shows in the sum."""
        return 1 << (number + METERS * (round_number - FIRST))

    def _seal(self, number: int, round_number: int) -> dict[int, bytes]:
        watt_hours = self.watch.readings[number, round_number]
        sealed = seal_statement(
            None if watt_hours is None else (watt_hours,),
            number=number,
            round_number=round_number,
            head=self.grid.head,
            plan_digest=self.grid.digest,
            keys=self.grid.sharing_keys[number],
            randbelow=self._rng.randrange,
            token_bytes=self._rng.randbytes,
        )
        self.watch.shared(number, round_number, sealed)
        return sealed

    def _send_apart(self, envelope: Envelope) -> None:
        """In messages of some shares each: each has its own fate."""
        shares = list(envelope.shares.items())
        while shares:
            few = self._rng.randint(1, METERS)
            self._send(STATION, f"ppn-{envelope.point}", replace(envelope, shares=dict(shares[:few])))
            shares = shares[few:]

    def do_restate(self, a: int, b: int) -> None:
        """A meter that lost its memory shares a reading again, and one PPN is sent that sharing instead of the first."""
        if self.metered < FIRST:
            return
        self.watch.honest_meters = False
        round_number, number = max(FIRST, self.metered - a // METERS % 2), a % METERS
        point = POINTS[b % len(POINTS)]
        self.flying = [
            left for each in self.flying if (left := _without(each, number, round_number, point)) is not None
        ]
        share = (number, self._seal(number, round_number)[point])
        self._send(STATION, f"ppn-{point}", Envelope(1, round_number, point, 100, METERS, 0, {number: share}))

    def do_repeat(self, a: int, _b: int) -> None:
        """The station sends again what nobody has answered."""
        waiting = self.disk.outbox.outstanding()
        if waiting:
            for envelope in waiting[a % len(waiting)].still_open():
                self._send(STATION, f"ppn-{envelope.point}", envelope)

    def _station_hears(self, body: object) -> None:
        match body:
            case Receipt():
                self.disk.outbox.acknowledge(body)
            case Closing():
                self.disk.outbox.close_round(body)
            case RepairRequest():
                for envelope in self.disk.outbox.asked_again(body):
                    self._send_apart(envelope)

    def do_restart_station(self, _a: int, _b: int) -> None:
        """The station dies and comes back with what is on its disk."""
        before = {o.key: o for o in self.disk.outbox.outstanding()}
        self.disk.outbox.close()
        self.disk.outbox = self.disk.open_outbox()
        after = {o.key: o for o in self.disk.outbox.outstanding()}
        hold(
            {k: (o.held, o.refused) for k, o in before.items()} == {k: (o.held, o.refused) for k, o in after.items()},
            "9: outbox",
        )
        hold(
            all(after[k].envelope.shares == o.envelope.shares for k, o in before.items()),
            "8: other bytes after a restart",
        )

    # The network

    def _sender(self, name: str) -> Callable[[str, object], None]:
        return lambda recipient, body: self._send(name, recipient, body)

    def _send(self, sender: str, recipient: str, body: object) -> None:
        message = Message(sender, recipient, body)
        self.flying.append(message)
        if len(self.sent) < 400:
            self.sent.append(message)

    def do_deliver(self, a: int, b: int) -> None:
        """One message arrives, whichever: that is delay and reordering. (b) What has come goes to disk."""
        if self.flying:
            self._arrive(self.flying.pop(a % len(self.flying)))
        if b % 2:
            self._commit()

    def do_flush(self, a: int, b: int) -> None:
        """What is on its way arrives in the order it was sent, and what follows from it; (b) some of it stays behind."""
        behind = []
        for at in itertools.count(a):
            if not self.flying:
                self._commit()
            if not self.flying:
                break
            message = self.flying.pop(0)
            if b % 5 and at % (2 + b % 5) == 0:
                behind.append(message)
            else:
                self._arrive(message)
        self.flying = behind

    def _commit(self) -> None:
        for ppn in self.ppns.values():
            ppn.commit()

    def do_drop(self, a: int, b: int) -> None:
        """Some messages are lost."""
        for _ in range(1 + b % 3):
            if self.flying:
                self.flying.pop(a % len(self.flying))

    def do_duplicate(self, a: int, _b: int) -> None:
        """A message is there twice."""
        if self.flying:
            self.flying.append(self.flying[a % len(self.flying)])

    def do_replay(self, a: int, _b: int) -> None:
        """Somebody sends an old message again."""
        if self.sent:
            self.flying.append(self.sent[a % len(self.sent)])

    def do_cut(self, a: int, _b: int) -> None:
        """Nothing passes to or from a party."""
        parties = (STATION, CONFIGURATOR, CONSUMER, *(f"ppn-{p}" for p in POINTS))
        self.cut.add(parties[a % len(parties)])

    def do_heal(self, _a: int, _b: int) -> None:
        """The network is whole again."""
        self.cut.clear()

    def _arrive(self, message: Message) -> None:
        sender, body = message.sender, message.body
        if {sender, message.recipient} & self.cut:
            return
        match message.recipient:
            case "fleet":
                self._station_hears(body)
            case "configurator":
                self.configurator.hear(sender, body)
            case "c":
                self.consumer.hear(sender, body)
            case ppn:
                self.ppns[int(ppn.removeprefix("ppn-"))].hear(sender, body)

    # Time

    def do_freeze(self, a: int, b: int) -> None:
        """The time of one more round is over at a PPN, or (b) at every one; (a) nothing that is missing is waited for."""
        for point in POINTS if b % 2 else (POINTS[a % len(POINTS)],):
            self.ppns[point].freeze_next()
            if a // len(POINTS) % 4:
                self.ppns[point].give_up()

    def do_wait(self, a: int, b: int) -> None:
        """Time passes at a PPN: what is to be repeated is, shares are asked for, or (b) are given up."""
        ppn = self.ppns[POINTS[a % len(POINTS)]]
        if b % 3 == 0:
            ppn.wait(REPEAT_SECONDS)
        elif b % 3 == 1:
            ppn.wait(PAUSE_SECONDS)
        else:
            ppn.give_up()

    def do_decide(self, a: int, b: int) -> None:
        """The configurator decides what it can; (b odd) its patience is over; (b, a) a PPN is said to be gone."""
        away = {f"ppn-{POINTS[a % len(POINTS)]}"} if b % 4 == 2 else set()
        self.configurator.decide(waited=b % 2 == 1, away=frozenset(away))

    def do_conclude(self, _a: int, b: int) -> None:
        """The consumer looks at every window it has answers for; (b odd) its patience is over."""
        self.consumer.conclude(waited=b % 2 == 1)

    # Faults

    def do_crash(self, a: int, b: int) -> None:
        """A process dies now, or at one of its next changes on disk, just before or just after it."""
        parties = [*self.ppns.values(), *self.ppns.values(), self.configurator, self.consumer]
        stores = [*self.disk.journals.values(), *self.disk.journals.values()]
        stores += [self.disk.registry(self.grid).decisions, self.disk.collected]
        at = a % len(parties)
        if b % 4 == 0:
            parties[at].restart()
        else:
            stores[at].crash_in, stores[at].after = 1 + b % 3, b % 2 == 0

    def do_lie(self, a: int, _b: int) -> None:
        """From here on a PPN sums wrongly, at most one in a history."""
        if self.watch.liar is None:
            self.watch.liar = POINTS[a % len(POINTS)]
            self.ppns[self.watch.liar].restart()

    def do_forget(self, _a: int, _b: int) -> None:
        """A configurator that lost its newest decision (an old backup) takes another one from the rosters of a majority."""
        self.configurator.forget()

    def do_forge(self, a: int, b: int) -> None:
        """A stranger tells a PPN to count everybody, or gives it leave to release: another PPN's, or one of too few."""
        if self.metered < FIRST:
            return
        if b % 4 == 3 and self.watch.leaves:
            leave = self.watch.leaves[a // len(POINTS) % len(self.watch.leaves)]
            self._arrive(Message(STRANGER, f"ppn-{POINTS[a % len(POINTS)]}", leave))
            return
        grid = self.grid
        waiting = sorted(self.watch.signatures.keys() - self.watch.leave_given)
        if b % 3 == 0:
            point, round_number = POINTS[a % len(POINTS)], FIRST + a // len(POINTS) % (self.metered - FIRST + 1)
            nobody = Bitmap(METERS)
            everybody = Contributors(Bitmap.full(METERS), nobody, nobody)
            cut = everybody.to_pages()
            core = decision_core(grid.head, round_number, cut, (), POINTS)
            signature = grid.stranger.sign("decision", core.to_json())
            self._arrive(
                Message(STRANGER, f"ppn-{point}", DecisionMessage(core=core, signature=signature, index=0, page=cut[0]))
            )
        elif waiting:
            point, round_number = waiting[a % len(waiting)]
            digest = self.watch.signatures[point, round_number]
            signers = {point: grid.identities[f"ppn-{point}"]} if b % 3 == 1 else dict.fromkeys(POINTS, grid.stranger)
            signatures = [(p, countersign(i, round_number, p, digest).signature) for p, i in signers.items()]
            certificate = ReleaseCertificate(round=round_number, digest=digest, signatures=tuple(signatures))
            self._arrive(Message(STRANGER, f"ppn-{point}", certificate))

    # The end

    def finish(self) -> None:
        """No more faults: everything comes to its end, and exactly what can be released is."""
        self.cut.clear()
        for store in (*self.disk.journals.values(), self.disk.registry(self.grid).decisions, self.disk.collected):
            store.crash_in = 0
        while self.metered < LAST:
            self.do_meter(0, 0)
        self._deliver_all()
        for ppn in self.ppns.values():
            ppn.freeze(LAST)
        for turn in range(12):
            self._fair_turn(turn)
            if len(self.watch.results) == self.watch.windows and not self.flying:
                break
        self.watch.ended()

    def _fair_turn(self, turn: int) -> None:
        for ppn in self.ppns.values():
            ppn.wait(PAUSE_SECONDS)
        self._deliver_all()
        self.configurator.decide(waited=True)
        self._deliver_all()
        if turn >= 2:
            for ppn in self.ppns.values():
                ppn.give_up()
            self._deliver_all()
        self.consumer.conclude(waited=turn >= 3)
        self._deliver_all()
        self.check()

    def _deliver_all(self) -> None:
        while self.flying:
            while self.flying:
                self._arrive(self.flying.pop(0))
            self._commit()


def _without(message: Message, number: int, round_number: int, point: int) -> Message | None:
    """A message without a meter's share; None when nothing is left."""
    body = message.body
    if not isinstance(body, Envelope) or (body.round, body.point) != (round_number, point):
        return message
    shares = {at: share for at, share in body.shares.items() if share[0] != number}
    return replace(message, body=replace(body, shares=shares)) if shares else None
