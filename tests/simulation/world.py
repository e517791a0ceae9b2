"""One grid under faults, played step by step: the real pure modules of every role, and a network that does what it likes.

A history is a list of (operation, a, b); a and b pick among whatever there is to pick from, so that any list is a history and
stays one when steps are left out. After each step the invariants of docs/protocol.md are checked; at the end the network heals, and
everything must have come to its end. What a shell would do (what is sent when) is played here; what is decided is decided by
`meter_agent.outbox` and `sharing`, `ppn_node.admission`, `rounds`, `agreement`, `aggregation` and `journal`,
`configurator.decision`, and `consumer_node.collection`, with all their bytes.
"""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from grid import COVERAGE_FLOOR, FIRST, LAST, METERS, MINIMUM, POINTS, THRESHOLD, Grid

from configurator import decision as configurator_decision
from consumer_node import collection
from consumer_node.collection import Aggregate, Outcome
from hushgrid import shamir
from hushgrid.bitmap import Bitmap
from hushgrid.control import Certificate, Countersignature, DecisionMessage, RosterPage, Withheld, countersign
from hushgrid.encoding import lift
from hushgrid.errors import MessageError, RejectReason
from hushgrid.messages import (
    AggregateFrame,
    AggregateReceipt,
    AggregateStatus,
    AggregateText,
    Closing,
    Envelope,
    Receipt,
    RepairRequest,
    WithheldReason,
    aggregate_context,
)
from hushgrid.plan import Recovery
from hushgrid.schedule import Window, windows_within
from hushgrid.sealing import SealingKey
from meter_agent.outbox import Outbox
from meter_agent.sharing import seal_statement
from ppn_node.admission import open_share
from ppn_node.aggregation import aggregate
from ppn_node.agreement import RoundState
from ppn_node.journal import Journal, StoredRelease
from ppn_node.rounds import Rounds
from testbed.liar import off_by_one

STATION, CONFIGURATOR, CONSUMER, STRANGER = "fleet", "configurator", "c", "stranger"
Step = tuple[str, int, int]


class Violation(AssertionError):  # noqa: N818  # it is what an invariant's breach is called
    """An invariant does not hold."""


class Crash(BaseException):
    """A process dies in the middle of what it does; nothing may catch it."""


@dataclass(frozen=True, slots=True)
class Message:
    """Something on its way."""

    sender: str
    recipient: str
    body: object


class FallibleJournal(Journal):
    """A PPN's journal that can kill its process just before or just after a change is on disk."""

    crash_in = 0  # changes until then; 0: never
    after = False

    def _change(self) -> bool:
        if not self.crash_in:
            return False
        self.crash_in -= 1
        if self.crash_in == 0 and not self.after:
            raise Crash
        return self.crash_in == 0

    def clear(self) -> None:
        """Everything is forgotten: another history begins."""
        self.crash_in = 0
        for table in ("share", "round", "decision_page", "release", "floor", "asked"):
            self._database.execute(f"DELETE FROM {table}")  # noqa: S608  # fixed names


def _fallible(name: str) -> None:
    original = getattr(Journal, name)

    def changed(self: FallibleJournal, *args: object, **kwargs: object) -> object:
        dies = self._change()
        result = original(self, *args, **kwargs)
        if dies:
            raise Crash
        return result

    setattr(FallibleJournal, name, changed)


for _name in ("add_shares", "set_state", "set_decision", "set_certificate", "add_release", "raise_floor", "received"):
    _fallible(_name)


def _hasten(store: Journal | Outbox) -> None:
    """Durability against a loss of power is SQLite's part, and not at stake here."""
    for pragma in ("synchronous=OFF", "journal_mode=MEMORY", "locking_mode=EXCLUSIVE"):
        store._database.query(f"PRAGMA {pragma}")


class Disk:
    """The stores of one world, used again by the next history."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.journals = {point: FallibleJournal(directory / f"ppn-{point}.sqlite") for point in POINTS}
        for journal in self.journals.values():
            _hasten(journal)
        self.outbox = self.open_outbox()

    def open_outbox(self) -> Outbox:
        """The station's outbox as it lies on disk."""
        outbox = Outbox(self.directory / "outbox.sqlite")
        _hasten(outbox)
        return outbox

    def clear(self) -> None:
        """Another history begins."""
        for journal in self.journals.values():
            journal.clear()
        for table in ("stated", "envelope", "tally"):
            self.outbox._database.execute(f"DELETE FROM {table}")  # noqa: S608  # fixed names
        self.outbox._stated.clear()
        self.outbox._outstanding.clear()

    def close(self) -> None:
        """Close all stores."""
        for journal in self.journals.values():
            journal.close()
        self.outbox.close()


class World:
    """See the module. seed: of sharing ids and coefficients, which are simulated randomness here."""

    def __init__(self, grid: Grid, disk: Disk, seed: int = 0) -> None:
        disk.clear()
        self.grid, self.disk = grid, disk
        self._rng = random.Random(seed)
        self.liar: int | None = None
        self.metered = FIRST - 1
        self.flying: list[Message] = []
        self.sent: list[Message] = []
        self.cut: set[str] = set()
        self.readings: dict[tuple[int, int], int | None] = {}
        self.rounds = {point: self._rounds(point) for point in POINTS}
        self.crashes = 0
        self.asked: Counter[tuple[int, int]] = Counter()
        # The configurator: what its registry holds.
        self.rosters: dict[int, dict[int, RosterPage]] = {}
        self.decisions: dict[int, tuple[DecisionMessage, configurator_decision.Coverage]] = {}
        self.countersigned: dict[tuple[int, bytes], dict[int, bytes]] = {}
        self.certificates: dict[int, Certificate] = {}
        # The consumer.
        self.answers: dict[tuple[int, int], dict[int, AggregateText]] = {}
        self.results: dict[tuple[int, int], Aggregate] = {}
        # What was seen, for the invariants.
        self.honest_meters = self.honest_configurator = True
        self._rostered: dict[tuple[int, int], RosterPage] = {}
        self._receipted: dict[tuple[int, int], set[int]] = {}
        self._released: dict[tuple[int, int, int], StoredRelease] = {}
        self._signatures: dict[tuple[int, int], bytes] = {}
        self._certified: dict[int, bytes] = {}
        self._leaves: list[Certificate] = []
        self._leave_given: set[tuple[int, int]] = set()
        self._elements: dict[tuple[int, int, bytes], dict[int, int]] = {}
        self._sets: dict[bytes, Bitmap] = {}

    def _rounds(self, point: int) -> Rounds:
        grid, assignment = self.grid, self.grid.assignments[point]
        return Rounds(
            self.disk.journals[point],
            grid.identities[f"ppn-{point}"],
            grid.configurator.public,
            assignment_of=lambda r: assignment if r >= FIRST else None,
            meter_key=lambda _plan, number: grid.sharing_keys[number][point],
            consumer_key=lambda _plan, _consumer: grid.aggregate_keys[point],
            add=off_by_one(None) if point == self.liar else aggregate,
        )

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

    def do_meter(self, a: int, _b: int) -> None:
        """A round ends: every meter states it, one of them now and then that it has no reading."""
        if self.metered == LAST:
            return
        self.metered += 1
        by_point: dict[int, list[tuple[int, bytes]]] = {}
        for number in range(METERS):
            gap = a % 7 == number
            self.readings[number, self.metered] = None if gap else self._hot(number, self.metered)
            for point, share in self._seal(number, self.metered).items():
                by_point.setdefault(point, []).append((number, share))
        envelopes = [
            Envelope(1, self.metered, point, at, METERS, 0, dict(enumerate(shares)))
            for at, (point, shares) in enumerate(sorted(by_point.items()))
        ]
        names = [f"m{number}" for number in range(METERS)]
        self.disk.outbox.state(self.metered, names, envelopes, shares=METERS * len(POINTS), lost=0)
        for envelope in envelopes:
            for at, share in envelope.shares.items():  # one message per share: each has its own fate
                self._send(STATION, f"ppn-{envelope.point}", _only(envelope, {at: share}))

    @staticmethod
    def _hot(number: int, round_number: int) -> int:
        """One bit for each (meter, round): whatever is counted twice, or not where it is stated, shows in the sum."""
        return 1 << (number + METERS * (round_number - FIRST))

    def _seal(self, number: int, round_number: int) -> dict[int, bytes]:
        watt_hours = self.readings[number, round_number]
        return seal_statement(
            None if watt_hours is None else (watt_hours,),
            number=number,
            round_number=round_number,
            head=self.grid.head,
            plan_digest=self.grid.digest,
            keys=self.grid.sharing_keys[number],
            randbelow=self._rng.randrange,
            token_bytes=self._rng.randbytes,
        )

    def do_restate(self, a: int, b: int) -> None:
        """A meter that lost its memory shares a reading again, and one PPN is sent that sharing instead of the first."""
        if self.metered < FIRST:
            return
        self.honest_meters = False
        round_number, number = max(FIRST, self.metered - a // METERS % 2), a % METERS
        point = POINTS[b % len(POINTS)]
        self.flying = [message for message in self.flying if not _carries(message.body, number, round_number, point)]
        share = (number, self._seal(number, round_number)[point])
        self._send(STATION, f"ppn-{point}", Envelope(1, round_number, point, 100, 1, 0, {0: share}))

    def do_repeat(self, a: int, _b: int) -> None:
        """The station sends again what nobody has answered."""
        waiting = self.disk.outbox.outstanding()
        if waiting:
            for envelope in waiting[a % len(waiting)].still_open():
                self._send(STATION, f"ppn-{envelope.point}", envelope)

    # The network

    def _send(self, sender: str, recipient: str, body: object) -> None:
        message = Message(sender, recipient, body)
        self.flying.append(message)
        if len(self.sent) < 400:
            self.sent.append(message)

    def do_deliver(self, a: int, _b: int) -> None:
        """One message arrives, whichever: that is delay and reordering."""
        if self.flying:
            self._arrive(self.flying.pop(a % len(self.flying)))

    def do_flush(self, a: int, b: int) -> None:
        """What is on its way arrives in the order it was sent, and what follows from it; (b) some of it stays behind."""
        behind = []
        for at in itertools.count(a):
            if not self.flying:
                break
            message = self.flying.pop(0)
            if b % 5 and at % (2 + b % 5) == 0:
                behind.append(message)
            else:
                self._arrive(message)
        self.flying = behind

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
        if {message.sender, message.recipient} & self.cut:
            return
        try:
            match message.recipient:
                case "fleet":
                    self._station_hears(message.sender, message.body)
                case "configurator":
                    self._configurator_hears(message.body)
                case "c":
                    self._consumer_hears(message.sender, message.body)
                case ppn:
                    point = int(ppn.removeprefix("ppn-"))
                    try:
                        self._ppn_hears(point, message.body)
                    except Crash:
                        self._restart(point)
        except MessageError:
            return  # refused and counted, as the shells do

    # The station

    def _station_hears(self, _sender: str, body: object) -> None:
        match body:
            case Receipt():
                self.disk.outbox.acknowledge(body)
            case Closing():
                self.disk.outbox.close_round(body)
            case RepairRequest():
                for envelope in self.disk.outbox.asked_again(body):
                    for at, share in envelope.shares.items():
                        self._send(STATION, f"ppn-{envelope.point}", _only(envelope, {at: share}))

    def do_restart_station(self, _a: int, _b: int) -> None:
        """The station dies and comes back with what is on its disk."""
        before = {o.key: o for o in self.disk.outbox.outstanding()}
        self.disk.outbox.close()
        self.disk.outbox = self.disk.open_outbox()
        after = {o.key: o for o in self.disk.outbox.outstanding()}
        _hold(
            {k: (o.held, o.refused) for k, o in before.items()} == {k: (o.held, o.refused) for k, o in after.items()},
            "9: outbox",
        )
        _hold(
            all(after[k].envelope.shares == o.envelope.shares for k, o in before.items()),
            "8: other bytes after a restart",
        )

    # PPNs

    def _ppn_hears(self, point: int, body: object) -> None:
        rounds = self.rounds[point]
        match body:
            case Envelope():
                self._admit(point, body)
            case DecisionMessage():
                signature = rounds.hear_decision(body)
                if signature is not None:
                    self._say_countersignature(point, signature)
            case Certificate():
                if body in self._leaves:
                    self._leave_given.add((point, body.round))
                if rounds.hear_certificate(body):
                    self._release(point, body.round)
            case AggregateReceipt():
                self.disk.journals[point].received(body.rule, body.first_round)

    def _admit(self, point: int, envelope: Envelope) -> None:
        rounds, assignment = self.rounds[point], self.grid.assignments[point]
        held, refused, batch = set(), set(), []

        def key_of(number: int) -> SealingKey:
            return self.grid.sharing_keys[number][point]

        if envelope.round < rounds.floor:
            refused = set(envelope.shares)
        for at, (number, sealed) in envelope.shares.items() if not refused else ():
            share = open_share(number, sealed, envelope.round, assignment, key_of, envelope.attempt)
            self._note_elements(point, share.number, share.round, share.sharing_id, share.elements)
            try:
                known = rounds.known(share)
            except MessageError:
                refused.add(at)
                continue
            taken = known or rounds.takes(envelope.round, number)
            if taken is False:
                refused.add(at)
            elif taken:
                held.add(at)
                batch.append(share)
        if batch:
            late = {s.number for s in batch} - set(rounds.held(envelope.round))
            rounds.keep(batch, lambda _r: 1)
            self._check_late(point, envelope.round, late)
        if held or refused:
            # On disk, so receipted: whatever happens to the process from here on, the share must stay.
            self._receipted.setdefault((point, envelope.round), set()).update(envelope.shares[at][0] for at in held)
            receipt = Receipt(
                envelope.round,
                point,
                envelope.sequence,
                Bitmap.of(envelope.size, held),
                Bitmap.of(envelope.size, refused),
                RejectReason.CLOSED_ROUND if refused else None,
            )
            self._send(f"ppn-{point}", STATION, receipt)

    def do_ask(self, a: int, _b: int) -> None:
        """A PPN asks for the shares it misses, a limited number of times."""
        point = POINTS[a % len(POINTS)]
        if self.grid.recovery is not Recovery.REPAIR:
            return
        for round_number in range(FIRST, self.metered + 1):
            if self.rounds[point].lacks(round_number) and self.asked[point, round_number] < 250:
                self.asked[point, round_number] += 1
                for numbers in self.rounds[point].wanted(round_number).values():
                    if numbers:
                        request = RepairRequest(round_number, point, self.asked[point, round_number], tuple(numbers))
                        self._send(f"ppn-{point}", STATION, request)

    def do_freeze(self, a: int, b: int) -> None:
        """A PPN, or (b) every one, takes in no more of its oldest open round, and says what it holds."""
        for point in POINTS if b % 2 else (POINTS[a % len(POINTS)],):
            self._freeze(point)
            self.do_roster(point - 1, b)

    def _freeze(self, point: int) -> None:
        rounds = self.rounds[point]
        fresh = [r for r in range(FIRST, self.metered + 1) if rounds.state(r) is RoundState.OPEN]
        if fresh:
            try:
                rounds.freeze(fresh[0])
                if self.grid.recovery is Recovery.NONE:
                    self._send(f"ppn-{point}", STATION, Closing(fresh[0], point))
            except Crash:
                self._restart(point)

    def do_roster(self, a: int, _b: int) -> None:
        """A PPN sends the rosters of all its rounds that wait for a decision, and the countersignatures that wait for leave."""
        point = POINTS[a % len(POINTS)]
        rounds = self.rounds[point]
        try:
            for round_number in rounds.waiting():
                signature = rounds.countersignature(round_number)
                if signature is not None:
                    self._say_countersignature(point, signature)
                    continue
                for page in rounds.roster(round_number):
                    before = self._rostered.setdefault((point, round_number), page)
                    _hold(before == page, "3: a roster changed after it was sent")
                    self._send(f"ppn-{point}", CONFIGURATOR, page)
        except Crash:
            self._restart(point)

    def _say_countersignature(self, point: int, signature: Countersignature) -> None:
        _hold(signature.digest in self._sets, "4: a stranger's decision was countersigned")
        before = self._signatures.setdefault((point, signature.round), signature.digest)
        _hold(before == signature.digest, "4: a PPN countersigned two decisions of one round")
        self._send(f"ppn-{point}", CONFIGURATOR, signature)

    def do_settle(self, a: int, b: int) -> None:
        """A PPN gives up on included shares that it lacks, in one of its decided rounds."""
        point = POINTS[a % len(POINTS)]
        rounds = self.rounds[point]
        decided = [r for r, state in rounds.in_hand() if state is RoundState.DECIDED]
        if decided and self.grid.recovery is not Recovery.NONE:
            round_number = decided[b % len(decided)]
            self._send(f"ppn-{point}", STATION, Closing(round_number, point))
            rounds.settle(round_number)
            try:
                self._release(point, round_number)
            except Crash:
                self._restart(point)

    def do_release(self, a: int, _b: int) -> None:
        """A PPN looks at all its certified rounds again, as after a restart, and repeats what it has released."""
        point = POINTS[a % len(POINTS)]
        try:
            for round_number in self.rounds[point].certified():
                self._release(point, round_number)
        except Crash:
            self._restart(point)
        for release in self.disk.journals[point].outstanding():
            self._publish(point, release)

    def _release(self, point: int, round_number: int) -> None:
        for release in self.rounds[point].release_around(round_number):
            place = (point, release.rule, release.first_round)
            _hold(place not in self._released, "3: released twice")
            for r in Window(release.first_round, self.grid.rules[release.rule].window_rounds):
                leave = self._certified.get(r)  # own: None when it died between signing and saying so
                own = self._signatures.get((point, r), leave)
                _hold(leave is not None and leave == own, "4: released without leave")
                _hold((point, r) in self._leave_given, "4: released on a stranger's leave")
            self._publish(point, release)

    def _publish(self, point: int, release: StoredRelease) -> None:
        before = self._released.setdefault((point, release.rule, release.first_round), release)
        _hold(before.frame == release.frame, "3: two aggregate shares of one window")
        self._send(f"ppn-{point}", CONSUMER, AggregateFrame.from_bytes(release.frame))

    def do_crash(self, a: int, b: int) -> None:
        """A PPN dies now, or at one of its next changes on disk, just before or just after it."""
        point = POINTS[a % len(POINTS)]
        if b % 4 == 0:
            self._restart(point)
        else:
            journal = self.disk.journals[point]
            journal.crash_in, journal.after = 1 + b % 3, b % 2 == 0

    def _restart(self, point: int) -> None:
        self.disk.journals[point].crash_in = 0
        self.rounds[point] = self._rounds(point)
        self.crashes += 1

    def do_lie(self, a: int, _b: int) -> None:
        """From here on a PPN sums wrongly, at most one in a history."""
        if self.liar is None:
            self.liar = POINTS[a % len(POINTS)]
            self._restart(self.liar)

    def do_forge(self, a: int, b: int) -> None:
        """A stranger tells a PPN to count everybody, or gives it leave to release that too few other PPNs have given."""
        if self.metered < FIRST:
            return
        grid = self.grid
        waiting = sorted(self._signatures.keys() - self._leave_given)
        if b % 3 == 0:
            point, round_number = POINTS[a % len(POINTS)], FIRST + a // len(POINTS) % (self.metered - FIRST + 1)
            nobody = Bitmap(METERS)
            everybody = configurator_decision.Coverage(Bitmap.full(METERS), nobody, nobody)
            cut = configurator_decision.decision_pages(everybody)
            core = configurator_decision.decision_core(grid.head, round_number, cut, (), POINTS)
            signature = grid.stranger.sign("decision", core.to_json())
            self._arrive(
                Message(STRANGER, f"ppn-{point}", DecisionMessage(core=core, signature=signature, index=0, page=cut[0]))
            )
        elif waiting:
            point, round_number = waiting[a % len(waiting)]
            digest = self._signatures[point, round_number]
            signers = {point: grid.identities[f"ppn-{point}"]} if b % 3 == 1 else dict.fromkeys(POINTS, grid.stranger)
            signatures = [(p, countersign(i, round_number, p, digest).signature) for p, i in signers.items()]
            certificate = Certificate(round=round_number, digest=digest, signatures=tuple(signatures))
            self._arrive(Message(STRANGER, f"ppn-{point}", certificate))

    # The configurator

    def _configurator_hears(self, body: object) -> None:
        match body:
            case RosterPage():
                if body.round in self.decisions:
                    self._send(CONFIGURATOR, f"ppn-{body.point}", self.decisions[body.round][0])
                else:
                    self.rosters.setdefault(body.round, {}).setdefault(body.point, body)
            case Countersignature():
                decided = self.decisions.get(body.round)
                if decided is None or body.digest != decided[0].core.digest:
                    return
                signatures = self.countersigned.setdefault((body.round, body.digest), {})
                signatures[body.point] = body.signature
                if 2 * len(signatures) > len(POINTS):
                    certificate = Certificate(
                        round=body.round, digest=body.digest, signatures=tuple(sorted(signatures.items()))
                    )
                    self._certificate(self.certificates.setdefault(body.round, certificate))

    def _certificate(self, certificate: Certificate) -> None:
        before = self._certified.setdefault(certificate.round, certificate.digest)
        _hold(before == certificate.digest, "4: two decisions of one round certified")
        self._leaves.append(certificate)
        for point in POINTS:
            self._send(CONFIGURATOR, f"ppn-{point}", certificate)

    def do_decide(self, _a: int, b: int) -> None:
        """The configurator decides the next round: when all rosters are there, or (b odd) its patience is over."""
        round_number = FIRST + len(self.decisions)
        there = self.rosters.get(round_number, {})
        if len(there) == len(POINTS) or (b % 2 and 2 * len(there) > len(POINTS)):
            self.decisions[round_number] = self._decided(round_number, there)
            self._tell(round_number)

    def _decided(
        self, round_number: int, pages: dict[int, RosterPage]
    ) -> tuple[DecisionMessage, configurator_decision.Coverage]:
        head, everyone = self.grid.head, Bitmap.full(METERS)
        rosters = {point: configurator_decision.Roster.of([page], METERS) for point, page in pages.items()}
        coverage = configurator_decision.contributors(head, dict.fromkeys(POINTS, everyone), rosters)
        known = {r: decided[1] for r, decided in self.decisions.items()} | {round_number: coverage}
        withheld = []
        for rule in self.grid.rules.values():
            window = Window(round_number - round_number % rule.window_rounds, rule.window_rounds)
            if window.last == round_number:
                reason = configurator_decision.too_few(head, rule, everyone, window, known)
                if reason is not WithheldReason.NONE:
                    withheld.append(Withheld(rule=rule.number, first_round=window.first, reason=reason))
        cut = configurator_decision.decision_pages(coverage)
        core = configurator_decision.decision_core(head, round_number, cut, tuple(withheld), list(rosters))
        self._sets[core.digest] = coverage.included
        signature = self.grid.configurator.sign("decision", core.to_json())
        return DecisionMessage(core=core, signature=signature, index=0, page=cut[0]), coverage

    def _tell(self, round_number: int) -> None:
        for point in POINTS:
            self._send(CONFIGURATOR, f"ppn-{point}", self.decisions[round_number][0])

    def do_forget(self, _a: int, _b: int) -> None:
        """A configurator that lost its newest decision (an old backup) takes another one from the rosters of a majority."""
        round_number = FIRST + len(self.decisions) - 1
        there = self.rosters.get(round_number, {})
        if round_number >= FIRST and len(there) > 2 * len(POINTS) // 3:
            self.honest_configurator = False
            self.decisions[round_number] = self._decided(round_number, dict(list(there.items())[:-1]))
            self.certificates.pop(round_number, None)
            self._tell(round_number)

    # The consumer

    def _consumer_hears(self, sender: str, body: object) -> None:
        if not isinstance(body, AggregateFrame):
            return
        point = int(sender.removeprefix("ppn-"))
        context = aggregate_context(self.grid.digest, body.rule, body.first_round, body.window_rounds, point)
        key = self.grid.aggregate_keys[point]
        plain = key.unseal(body.sealed, context, stream=body.rule, round_number=body.first_round)
        text = AggregateText.from_bytes(plain, 1, self.grid.field)
        self.answers.setdefault((body.rule, body.first_round), {}).setdefault(point, text)
        self._send(CONSUMER, sender, AggregateReceipt(body.rule, body.first_round, point))

    def do_conclude(self, _a: int, b: int) -> None:
        """The consumer looks at every window it has answers for; (b odd) its patience is over."""
        for (number, first), answers in self.answers.items():
            if (number, first) in self.results:
                continue
            rule = self.grid.rules[number]
            window = Window(first, rule.window_rounds)
            found = collection.conclude(self.grid.head, rule, window, answers, waited=b % 2 == 1)
            if found is not None:
                self.results[number, first] = found
                self._check_result(found, answers)

    # Invariants

    def check(self) -> None:
        """What must hold after every step, whatever happened."""
        for (point, round_number), numbers in self._receipted.items():
            rounds = self.rounds[point]
            if round_number >= rounds.floor:
                _hold(numbers <= set(rounds.held(round_number)), "9: a receipted share is gone")

    def _check_result(self, found: Aggregate, answers: dict[int, AggregateText]) -> None:
        released = {p: text for p, text in answers.items() if text.status is AggregateStatus.RELEASED}
        common = Counter(text.digest for text in released.values()).most_common(1)
        agree = common[0][1] if common else 0
        lied = self.liar is not None and self.liar in released
        doubted = bool(found.wrong_points or found.misfit_points)
        _hold(lied or not (doubted and self.honest_meters), "13: a PPN that adds rightly is doubted")
        if found.outcome is not Outcome.RELEASED:
            _hold(found.watt_hours is None, "1: a number without a release")
            _hold(agree < THRESHOLD or lied, "1: t PPNs agree and nothing is released")
            return
        _hold(len({released[p].digest for p in found.points}) == 1, "2: shares of different contributor sets combined")
        _hold(len(found.points) >= THRESHOLD, "1: fewer than t shares")
        wanted, pairs = 0, 0
        for round_number in found.window:
            included = self._included(round_number)
            _hold(len(included) >= MINIMUM, "5: released below the minimum")
            for number in included:
                reading = self.readings[number, round_number]
                _hold(reading is not None, "1: a gap is counted")
                wanted, pairs = wanted + (reading or 0), pairs + 1
        _hold(found.included == pairs, "1: the stated set is not the decided one")
        _hold(self._covered(found.window), "5: released below the coverage floor")
        # Any t shares lie on one polynomial: only with more of them does a lie show, and then it must.
        _hold(
            found.watt_hours == wanted or (lied and not found.detects),
            f"1, 8, 13: {found.watt_hours} instead of {wanted}",
        )

    def _covered(self, window: Window) -> bool:
        """Whether a window has contributors enough, in every round and in all."""
        counts = [len(self._included(r)) for r in window]
        return min(counts) >= MINIMUM and sum(counts) >= COVERAGE_FLOOR * METERS * window.rounds

    def _included(self, round_number: int) -> Bitmap:
        """The set that was certified; with recovery `none`, too, nothing is released without."""
        digest = self._certified.get(round_number)
        _hold(digest is not None, "4: released without a certificate")
        return self._sets[digest or b""]

    def _check_late(self, point: int, round_number: int, late: set[int]) -> None:
        """What is taken in after the roster was sent belongs to the contributor set."""
        if late and (point, round_number) in self._rostered:
            signed = self._signatures.get((point, round_number))
            included = set(self._sets[signed]) if signed is not None else set()
            _hold(late <= included, "3: a late share was counted")

    def _note_elements(
        self, point: int, number: int, round_number: int, sharing_id: bytes, elements: tuple[int, ...] | None
    ) -> None:
        """Fewer than t shares of a reading do not give it."""
        reading = self.readings[number, round_number]
        if elements is None or reading is None:
            return
        known = self._elements.setdefault((number, round_number, sharing_id), {})
        if point in known:
            return
        known[point] = elements[0]
        secret = lift(reading, self.grid.head.reading_bound_watt_hours, self.grid.field)
        for few in itertools.combinations(known, THRESHOLD - 1):
            if point in few:
                found = shamir.interpolate({p: known[p] for p in few}, self.grid.field)
                _hold(found != secret, "6: fewer than t shares give the reading")

    # The end

    def finish(self) -> None:
        """No more faults: everything comes to its end, and exactly what can be released is."""
        self.cut.clear()
        for journal in self.disk.journals.values():
            journal.crash_in = 0
        while self.metered < LAST:
            self.do_meter(0, 0)
        for turn in range(12):
            self._fair_turn(turn)
            if len(self.results) == self._windows and not self.flying and turn >= 2:
                break
        if not self.honest_configurator:
            return
        _hold(len(self.results) == self._windows, f"{len(self.results)} of {self._windows} windows concluded")
        for found in self.results.values():
            if self.grid.recovery is Recovery.NONE or not self.honest_meters:
                continue
            if self.liar is not None and found.outcome is Outcome.UNRECOVERED:
                continue
            wanted = Outcome.RELEASED if self._covered(found.window) else Outcome.WITHHELD
            _hold(found.outcome is wanted, f"window {found.window} is {found.outcome}: {found.reason}")

    @property
    def _windows(self) -> int:
        return sum(len(windows_within(FIRST, LAST, rule.window_rounds)) for rule in self.grid.rules.values())

    def _fair_turn(self, turn: int) -> None:
        def deliver_all() -> None:
            while self.flying:
                self._arrive(self.flying.pop(0))

        deliver_all()
        if self.grid.recovery is Recovery.REPAIR:
            for point in range(len(POINTS)):
                self.do_ask(point, 0)
            deliver_all()
        for _ in range(LAST - FIRST + 1):
            for point in range(len(POINTS)):
                self.do_freeze(point, 0)
        deliver_all()
        for round_number in range(FIRST, LAST + 1):
            self.do_decide(0, 1)
            if round_number in self.decisions:
                for point, rounds in self.rounds.items():
                    if rounds.state(round_number) < RoundState.DECIDED:
                        self._send(CONFIGURATOR, f"ppn-{point}", self.decisions[round_number][0])
                    elif round_number in self.certificates:
                        self._send(CONFIGURATOR, f"ppn-{point}", self.certificates[round_number])
        deliver_all()
        for point in range(len(POINTS)):
            self.do_roster(point, 0)
        deliver_all()
        if turn >= 2:
            for point in range(len(POINTS)):
                for at in range(LAST - FIRST + 1):
                    self.do_settle(point, at)
        deliver_all()
        for point in range(len(POINTS)):
            self.do_release(point, 0)
        deliver_all()
        self.do_conclude(0, 1 if turn >= 3 else 0)
        self.check()


def _only(envelope: Envelope, shares: dict[int, tuple[int, bytes]]) -> Envelope:
    return Envelope(
        envelope.plan_version,
        envelope.round,
        envelope.point,
        envelope.sequence,
        envelope.size,
        envelope.attempt,
        shares,
    )


def _carries(body: object, number: int, round_number: int, point: int) -> bool:
    return (
        isinstance(body, Envelope)
        and (body.round, body.point) == (round_number, point)
        and any(carried == number for carried, _ in body.shares.values())
    )


def _hold(condition: bool, invariant: str) -> None:
    if not condition:
        raise Violation(invariant)
