"""One round of a small grid, played by hand: python examples/one_round.py

Twenty meters, four nodes (PPNs), one consumer, one configurator, and no broker: what would be a message is a value that
is handed on. Every step is done by the module that does it in a running grid. docs/architecture.md draws the same round.
"""

from __future__ import annotations

import sys
import tempfile
import textwrap
from collections.abc import Callable
from pathlib import Path

from configurator.plans.building import build_plan
from configurator.rounds.contributors import Roster, contributors, decision_core
from configurator.values import GrantedRule, Registered
from consumer_node.shares.collection import Aggregate, conclude
from hushgrid.core.bitmap import Bitmap
from hushgrid.core.field import MODULI
from hushgrid.core.recovery import Recovery
from hushgrid.core.schedule import Window
from hushgrid.core.sealing import Agreement, Identity, Kind, SealingKey
from hushgrid.plan.head import EpochKey, Head
from hushgrid.plan.minimum import below_floor
from hushgrid.plan.parts import Rule, part_from_json
from hushgrid.statements.rounds import DecisionMessage, ReleaseCertificate
from hushgrid.wire.aggregates import AggregateFrame, AggregateText, aggregate_context
from hushgrid.wire.role import Role
from hushgrid.wire.shares import Envelope
from meter_agent.shares.sharing import derive_keys, seal_statement
from meter_agent.sources.constructed import ConstructedHouseholds
from ppn_node.rounds import Rounds
from ppn_node.shares.admission import open_share
from ppn_node.shares.assignment import Assignment
from ppn_node.shares.here import Here
from ppn_node.shares.journal import Journal

GRID, ROUND, HALF_HOUR = "village", 991_234, 1800
METERS, POINTS, THRESHOLD = [f"m{number:02}" for number in range(20)], (1, 2, 3, 4), 3
ROLES = {name: (Role.METER, number) for number, name in enumerate(METERS)}
ROLES |= {f"ppn-{point}": (Role.PPN, point) for point in POINTS} | {"utility": (Role.CONSUMER, 1)}


class Village:
    """Everybody's keys, and the plan. In a running grid each agent has its own keys and its own part, and nothing else."""

    def __init__(self, directory: Path) -> None:
        self.directory, self.configurator = directory, Identity.generate()
        self.agreements = {name: Agreement.generate() for name in ROLES}
        identities = {name: Identity.generate() for name in ROLES}
        agents = []
        for name, (role, number) in ROLES.items():
            key = EpochKey.sign(identities[name], GRID, 0, self.agreements[name].public)
            agents.append(Registered(name, role, number, identities[name].public, f"owner-of-{name}", None, key))
        self.rule = Rule(
            number=1, name="feeder", consumer="utility", window_rounds=1, minimum_contributors=15, points=POINTS,
            from_round=ROUND,
        )  # fmt: skip
        template = Head.model_construct(  # build_plan says who takes part, and checks the whole
            grid=GRID, version=1, previous=b"", epoch=0, valid_from_round=ROUND, interval_seconds=HALF_HOUR, slots=1,
            threshold=THRESHOLD, width=len(POINTS), modulus=MODULI[0], reading_bound_watt_hours=100_000,
            recovery=Recovery.AGREE, repair_attempts=0, minimum_contributors=15, coverage_floor_fraction=0.8,
            ppns=(), meters=0, parts=0, parts_root=b"",
        )  # fmt: skip
        self.plan = build_plan(template, agents, [GrantedRule(self.rule, frozenset(range(len(METERS))))])
        self.head = self.plan.head
        self.assignments = {point: self.part_of(point) for point in POINTS}
        self.nodes = {point: self.node(point, identities[f"ppn-{point}"]) for point in POINTS}

    def part_of(self, point: int) -> Assignment:
        """What the plan tells one node."""
        pages = [part_from_json(p.json.encode()) for p in self.plan.parts if p.recipient == f"ppn-{point}"]
        assignment = Assignment.of(self.head, f"ppn-{point}", tuple(pages))
        if assignment is None:
            raise ValueError("no such node")
        return assignment

    def key(self, kind: Kind, sender: str, recipient: str, own: str) -> SealingKey:
        """The key of two agents: each derives it from its own private half and the other's public one."""
        keys = {name: self.agreements[name].public for name in (sender, recipient)}
        peer = keys[recipient if own == sender else sender]
        return SealingKey.derive(
            self.agreements[own], peer, kind=kind, grid=GRID, epoch=0, sender=keys[sender], recipient=keys[recipient]
        )

    def key_of_meter(self, point: int) -> Callable[[int], SealingKey]:
        """A node's key with a meter, by the meter's number."""
        return lambda number: self.key(Kind.SHARE, METERS[number], f"ppn-{point}", own=f"ppn-{point}")

    def node(self, point: int, identity: Identity) -> Rounds:
        """A node with nothing in hand yet."""
        ppn = f"ppn-{point}"
        journal = Journal(self.directory / f"{ppn}.sqlite")
        store = Here(
            journal,
            plan_of=lambda _version: self.assignments[point],
            key_of=lambda _plan, number: self.key_of_meter(point)(number),
        )
        return Rounds(
            journal,
            store,
            identity,
            self.configurator.public,
            assignment_of=lambda _round: self.assignments[point],
            consumer_key=lambda _plan, consumer: self.key(Kind.AGGREGATE, ppn, consumer.id, own=ppn),
        )

    def share_out(self, readings: dict[str, int | None]) -> dict[int, bytes]:
        """Every meter splits and seals; an envelope of sealed shares for each node."""
        by_point: dict[int, dict[int, tuple[int, bytes]]] = {point: {} for point in POINTS}
        for number, name in enumerate(METERS):
            watt_hours, keys = readings[name], derive_keys(self.agreements[name], self.head, POINTS, GRID)
            sealed = seal_statement(
                None if watt_hours is None else (watt_hours,),
                number=number, round_number=ROUND, head=self.head, plan_digest=self.head.digest, keys=keys,
            )  # fmt: skip
            for point, share in sealed.items():
                by_point[point][number] = (number, share)
        return {point: Envelope(1, ROUND, point, 1, len(METERS), 0, by_point[point]).to_bytes() for point in POINTS}

    def admit(self, point: int, wire: bytes) -> int:
        """A node opens and keeps what came, and freezes the round. What it sees of the first meter."""
        shares = []
        for number, sealed in Envelope.from_bytes(wire).shares.values():
            shares.append(open_share(number, sealed, ROUND, self.assignments[point], self.key_of_meter(point)))
        self.nodes[point].keep([share.stored(self.head.version) for share in shares])
        self.nodes[point].freeze(ROUND)
        return (shares[0].elements or (0,))[0]

    def decide(self) -> DecisionMessage:
        """The configurator decides from rosters alone who is in, for everybody."""
        rosters = {point: Roster.of(node.roster(ROUND), self.head.meters) for point, node in self.nodes.items()}
        decided = contributors(self.head, dict.fromkeys(POINTS, Bitmap.full(self.head.meters)), rosters)
        count, pages = len(decided.included), decided.to_pages()
        if reason := below_floor(self.head, self.rule, fewest=count, included=count, expected=len(METERS)):
            raise ValueError(f"the sum has to be withheld: {reason.name}")
        core = decision_core(self.head, ROUND, pages, (), list(rosters))
        signature = self.configurator.sign("decision", core.to_json())
        return DecisionMessage(core=core, signature=signature, index=0, page=pages[0])

    def recover(self, frames: dict[int, bytes]) -> Aggregate:
        """The consumer opens the nodes' sums of shares and puts them together."""
        answers = {}
        for point, wire in frames.items():
            frame, key = AggregateFrame.from_bytes(wire), self.key(Kind.AGGREGATE, f"ppn-{point}", "utility", "utility")
            context = aggregate_context(self.head.digest, frame.rule, frame.first_round, frame.window_rounds, point)
            plain = key.unseal(frame.sealed, context, stream=frame.rule, round_number=frame.first_round)
            answers[point] = AggregateText.from_bytes(plain, self.head.slots, self.head.field)
        result = conclude(self.head, self.rule, Window(ROUND, 1), answers, waited=False)
        if result is None:
            raise ValueError("more answers are needed")
        return result


def say(step: str) -> None:
    """One step, in lines of at most 80 columns."""
    print(textwrap.fill(step, 80, subsequent_indent="   "))


def main(directory: Path) -> int:
    """The round, step by step. 0 when the consumer has the exact sum."""
    households = ConstructedHouseholds(1, HALF_HOUR)
    readings: dict[str, int | None] = {name: households.household(name).reading(ROUND).watt_hours for name in METERS}
    readings["m07"] = None
    truth = sum(watt_hours for watt_hours in readings.values() if watt_hours is not None)
    say(f"1. Twenty meters measure half an hour. m00 has {readings['m00']} Wh; m07 has no reading, and will say so.")
    village = Village(directory)
    say(
        f"2. The configurator draws a plan: four nodes, any three recover. Its digest: {village.head.digest.hex()[:16]}"
    )
    envelopes = village.share_out(readings)
    say(f"3. Every meter splits its reading and seals a share to each node: {len(envelopes[1])} bytes go to ppn-1.")
    for point in POINTS:
        say(
            f"4. ppn-{point} opens its shares and keeps them. Of m00 it sees {village.admit(point, envelopes[point]):,}"
        )
    decision = village.decide()
    included = len(decision.page.sets()[0])
    say(f"5. The nodes say whose shares they hold. The configurator decides once who is in: {included} of 20.")
    given = [village.nodes[point].hear_decision(decision) for point in POINTS]
    signatures = tuple((each.point, each.signature) for each in given if each is not None)
    leave = ReleaseCertificate(round=ROUND, digest=decision.core.digest, signatures=signatures)
    say(f"6. {len(signatures)} nodes countersign. More than half of all nodes have to: that is the leave to release.")
    frames = {}
    for point, node in village.nodes.items():
        node.hear_certificate(leave)
        (release,) = node.release_around(ROUND)
        frames[point] = release.frame
    say("7. Each node adds the shares of just these meters, and seals its sum to the consumer.")
    result = village.recover(frames)
    say(
        f"8. The consumer puts {len(result.points)} sums of shares together: {result.watt_hours} Wh from {result.included} "
        f"meters, {result.gaps} without a reading. The truth, which nobody but the meters knew: {truth} Wh."
    )
    return 0 if result.watt_hours == truth else 1


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        sys.exit(main(Path(folder)))
