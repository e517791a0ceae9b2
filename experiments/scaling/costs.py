"""The unit costs behind `hushgrid experiment scaling`, measured with the code that agents run."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import tempfile
import time
import tracemalloc
from functools import partial
from pathlib import Path
from typing import Self

import psutil

from configurator.plans.building import build_plan
from configurator.rounds.contributors import Roster, contributors
from configurator.values import GrantedRule, Registered
from experiments.scaling.connections import connection_costs, cpu_seconds
from experiments.scaling.units import PACKED, WIDTH, Units
from hushgrid.core.bitmap import Bitmap
from hushgrid.core.field import choose_modulus
from hushgrid.core.minimum import WithheldReason
from hushgrid.core.recovery import Recovery
from hushgrid.core.schedule import Window
from hushgrid.core.sealing import Agreement, Identity, Kind, SealingKey
from hushgrid.errors import ConfigurationError
from hushgrid.plan.head import EpochKey, Head
from hushgrid.plan.parts import Part, Rule, part_from_json
from hushgrid.wire.role import Role
from hushgrid.wire.shares import Envelope, Receipt
from hushgrid.wire.topics import Channel, topic
from meter_agent.shares.sharing import derive_keys, seal_statement
from ppn_node.aggregation import aggregate
from ppn_node.agreement import roster_pages
from ppn_node.shares.admission import AdmittedShare, open_share
from ppn_node.shares.assignment import Assignment
from ppn_node.shares.journal import Journal
from ppn_node.shares.sums import weighted_sums
from ppn_node.shares.values import HeldShare, OpenedShare, StoredShare
from ppn_node.shares.workers import Workers
from testbed.brokers.broker import RunningBroker, start_broker
from testbed.brokers.engines import ENGINES, program
from testbed.processes import Supervisor

GRID, ROUND, VERSION, WORKERS = "scaling", 1000, 1, 2
_POINTS = tuple(range(1, WIDTH + 1))
_READ_SECONDS = 0.5
_RECEIPTS = 2000
_CARRIED = 10_000


class _Stopwatch:
    """Microseconds of this process's CPU per unit."""

    def __init__(self, units: int) -> None:
        self._units = units
        self.microseconds = 0.0

    def __enter__(self) -> Self:
        gc.collect()  # what was made before is not this measurement's to tidy up
        self._began = time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        self.microseconds = (time.process_time() - self._began) / self._units * 1e6


class _Grid:
    """A plan of so many meters behind concentrators, w PPNs, one consumer with a sum of a round."""

    def __init__(self, meters: int) -> None:
        self.meters = meters
        agents = [(f"ppn-{point}", Role.PPN, point, None) for point in _POINTS]
        agents += [("consumer", Role.CONSUMER, 1, None)]
        agents += [(f"fleet-{n}", Role.CARRIER, n, None) for n in range(-(-meters // PACKED))]
        named: list[tuple[str, Role, int, str | None]] = [*agents]
        named += [(f"m{n}", Role.METER, n, f"fleet-{n // PACKED}") for n in range(meters)]
        self.identities = {name: Identity.generate() for name, *_ in named}
        self.agreements = {name: Agreement.generate() for name, *_ in named}
        registered = [
            Registered(
                name, role, number, self.identities[name].public, f"o-{name}", carrier,
                EpochKey.sign(self.identities[name], GRID, 0, self.agreements[name].public),
            )
            for name, role, number, carrier in named
        ]  # fmt: skip
        self.rule = Rule(
            number=1, name="sum", consumer="consumer", window_rounds=1, minimum_contributors=2, points=_POINTS,
            from_round=ROUND,
        )  # fmt: skip
        template = Head.model_construct(
            grid=GRID, version=VERSION, previous=b"", epoch=0, valid_from_round=ROUND, interval_seconds=900, threshold=3,
            width=WIDTH, modulus=choose_modulus(100_000_000, 96, 100_000), slots=1, reading_bound_watt_hours=100_000,
            recovery=Recovery.AGREE, minimum_contributors=2, coverage_floor_fraction=0.0, repair_attempts=0, ppns=(),
            meters=0, parts=0, parts_root=b"",
        )  # fmt: skip
        self.built = build_plan(template, registered, [GrantedRule(self.rule, frozenset(range(meters)))])
        self.head = self.built.head
        self.sender = self.identities["fleet-0"].pseudonym(GRID, 0)
        self.ppn = self.identities["ppn-1"].pseudonym(GRID, 0)

    def parts(self, ppn: str) -> tuple[Part, ...]:
        return tuple(part_from_json(p.json.encode()) for p in self.built.parts if p.recipient == ppn)

    def assignment(self, ppn: str) -> Assignment:
        found = Assignment.of(self.head, ppn, self.parts(ppn))
        if found is None:
            raise ConfigurationError(f"{ppn} has no place in the plan")
        return found


def _envelopes(shares: dict[int, bytes], each: int) -> list[Envelope]:
    numbers = sorted(shares)
    groups = [numbers[start : start + each] for start in range(0, len(numbers), each)]
    return [
        Envelope(VERSION, ROUND, 1, at, len(group), 0, {p: (n, shares[n]) for p, n in enumerate(group)})
        for at, group in enumerate(groups)
    ]


def _front(grid: _Grid, directory: Path, shares: dict[int, bytes]) -> float:
    """Microseconds per share of the PPN's own process when workers open and keep."""
    workers = Workers(directory, WORKERS)
    try:
        plan = grid.assignment("ppn-1")
        workers.adopt(plan, grid.parts("ppn-1"), grid.agreements["ppn-1"])
        wires = [envelope.to_bytes() for envelope in _envelopes(shares, PACKED)]
        known: dict[int, HeldShare] = {}

        def keep(envelope: Envelope, opened: dict[int, OpenedShare]) -> None:
            stored = [
                StoredShare(ROUND, number, outcome.sharing_id, outcome.gap, VERSION, sealed)
                for (number, sealed), outcome in zip(envelope.shares.values(), opened.values(), strict=True)
            ]
            workers.keep(stored)
            known.update({share.number: HeldShare(share.sharing_id, share.gap) for share in stored})

        with _Stopwatch(len(shares)) as watch:
            for at, wire in enumerate(wires):
                envelope = Envelope.from_bytes(wire)
                workers.open(plan, f"fleet-{at}", envelope, wire, partial(keep, envelope))
            workers.drain()
        if len(known) != len(shares):
            raise ConfigurationError(f"workers kept {len(known)} of {len(shares)} shares")
    finally:
        workers.close()
    return watch.microseconds


def _at_the_meters(grid: _Grid) -> tuple[dict[str, float], dict[int, bytes]]:
    """Sealing and sizes on the way; and the shares for the first PPN, by meter."""
    meters, head, digest = grid.meters, grid.head, grid.head.digest
    found: dict[str, float] = {}
    with _Stopwatch(meters * WIDTH) as watch:
        keys = {n: derive_keys(grid.agreements[f"m{n}"], head, _POINTS, GRID) for n in range(meters)}
    found["meter_key_microseconds"] = watch.microseconds
    with _Stopwatch(meters) as watch:
        sealed = {
            n: seal_statement((n % 3000,), number=n, round_number=ROUND, head=head, plan_digest=digest, keys=keys[n])
            for n in range(meters)
        }
    found["meter_seal_microseconds"] = watch.microseconds
    shares = {n: statement[1] for n, statement in sealed.items()}
    share_topic = len(topic(GRID, Channel.SHARE, grid.sender, grid.ppn))
    single, packed = (_envelopes(shares, each)[0] for each in (1, PACKED))
    found["single_bytes"] = len(single.to_bytes()) + share_topic
    found["packed_bytes"] = (len(packed.to_bytes()) + share_topic) / PACKED
    for name, envelope in (("single_receipt_bytes", single), ("packed_receipt_bytes", packed)):
        receipt = Receipt(ROUND, 1, 0, Bitmap.full(envelope.size), Bitmap(envelope.size))
        with _Stopwatch(_RECEIPTS) as watch:
            for _ in range(_RECEIPTS):
                wire = receipt.to_bytes(grid.identities["ppn-1"], grid.sender)
        found["receipt_microseconds"] = watch.microseconds
        found[name] = (len(wire) + share_topic) / envelope.size
    return found, shares


def _taken_in(grid: _Grid, shares: dict[int, bytes]) -> tuple[dict[str, float], Assignment, list[AdmittedShare]]:
    """Opening, keeping and remembering at one PPN."""
    found: dict[str, float] = {}
    meters, own = grid.meters, grid.agreements["ppn-1"]
    tracemalloc.start()
    assignment = grid.assignment("ppn-1")
    opening: dict[int, SealingKey] = {}
    for n, entry in assignment.meters.items():
        opening[n] = SealingKey.derive(
            own, entry.agreement, kind=Kind.SHARE, grid=GRID, epoch=0, sender=entry.agreement, recipient=own.public
        )
    remembered = {n: (HeldShare(n.to_bytes(8, "big"), gap=False), (n,)) for n in range(meters)}
    found["memory_bytes"] = tracemalloc.get_traced_memory()[0] / len(remembered)
    tracemalloc.stop()
    with _Stopwatch(meters) as watch:
        admitted = [open_share(n, share, ROUND, assignment, opening.__getitem__) for n, share in shares.items()]
    found["open_microseconds"] = watch.microseconds
    with tempfile.TemporaryDirectory() as directory:
        journal = Journal(Path(directory) / "journal.sqlite")
        stored = [share.stored(VERSION) for share in admitted]
        with _Stopwatch(meters) as watch:
            for start in range(0, meters, PACKED):
                journal.add_shares(stored[start : start + PACKED])
        journal.close()
        found["keep_microseconds"] = watch.microseconds
        found["journal_bytes"] = sum(file.stat().st_size for file in Path(directory).iterdir()) / meters
    return found, assignment, admitted


def _decided(grid: _Grid, assignment: Assignment, admitted: list[AdmittedShare]) -> dict[str, float]:
    """From the roster to one sum."""
    found: dict[str, float] = {}
    held = {s.number: HeldShare(s.sharing_id, s.elements is None) for s in admitted}
    elements = {s.number: s.elements for s in admitted if s.elements is not None}
    meters, head = grid.meters, grid.head
    with _Stopwatch(meters) as watch:
        pages = roster_pages(ROUND, assignment, held)
    found["roster_microseconds"] = watch.microseconds
    found["roster_bytes"] = sum(len(page.to_json()) for page in pages) / meters
    with _Stopwatch(meters) as watch:
        rosters = {point: Roster.of(pages, meters) for point in _POINTS}
        coverage = contributors(head, {point: Bitmap.full(meters) for point in _POINTS}, rosters)
        decided = coverage.to_pages()
    found["decide_microseconds"] = watch.microseconds
    found["decision_bytes"] = sum(len(page.to_json()) for page in decided) / meters
    decision = coverage
    with _Stopwatch(meters) as watch:
        text = aggregate(
            head, grid.rule, Bitmap.full(meters), window=Window(ROUND, 1), decisions={ROUND: decision},
            held={ROUND: held}, withheld=WithheldReason.NONE,
            sums=lambda pairs: weighted_sums([elements[n] for n in pairs[ROUND]], (1,), head.field),
        )  # fmt: skip
    found["add_microseconds"] = watch.microseconds
    if text.included != meters:
        raise ConfigurationError(f"{text.included} of {meters} meters were added")
    return found


def _per_meter(grid: _Grid) -> dict[str, float]:
    """Everything that is no broker."""
    found, shares = _at_the_meters(grid)
    taken, assignment, admitted = _taken_in(grid, shares)
    found |= taken | _decided(grid, assignment, admitted)
    with tempfile.TemporaryDirectory() as directory:
        found["front_microseconds"] = _front(grid, Path(directory), shares)
    return found


def _rate(broker: RunningBroker, nodes: list[psutil.Process], payload_bytes: int, messages: int) -> float:
    """Messages per second of CPU of all nodes, from one publisher to one reader, QoS 1."""
    with tempfile.TemporaryDirectory() as directory:
        lines = Path(directory) / "lines"
        lines.write_text(("x" * payload_bytes + "\n") * messages, encoding="ascii")
        host, _, port = broker.url.removeprefix("mqtt://").partition(":")
        place = ["-h", host, "-p", port, "-q", "1", "-t", "raw"]
        reader = subprocess.Popen(["mosquitto_sub", *place, "-C", str(messages)], stdout=subprocess.DEVNULL)
        time.sleep(_READ_SECONDS)
        began = cpu_seconds(nodes)
        with lines.open("rb") as source:
            subprocess.run(["mosquitto_pub", *place, "-l"], stdin=source, check=True)
        reader.wait(timeout=300)
        return messages / (cpu_seconds(nodes) - began)


async def _carried(broker: RunningBroker, payload_bytes: int, receipt_bytes: int, messages: int) -> float:
    """Microseconds of this process's CPU per message that comes in and is answered with another, over the agents' transport."""
    with tempfile.TemporaryDirectory() as directory:
        lines = Path(directory) / "lines"
        lines.write_text(("x" * payload_bytes + "\n") * messages, encoding="ascii")
        host, _, port = broker.url.removeprefix("mqtt://").partition(":")
        command = ["mosquitto_pub", "-h", host, "-p", port, "-q", "1", "-t", "carried", "-l"]
        async with broker.connection("reader") as transport:
            await transport.wait_generation(0)
            await transport.subscribe("carried")
            reader = transport.messages()
            with lines.open("rb") as source:
                publisher = await asyncio.create_subprocess_exec(*command, stdin=source)
            answer, answering = bytes(receipt_bytes), set[asyncio.Task[None]]()
            with _Stopwatch(messages) as watch:
                for _ in range(messages):
                    await anext(reader)
                    answering.add(asyncio.create_task(transport.publish("answered", answer)))
                await asyncio.gather(*answering)
            await publisher.wait()
    return watch.microseconds


async def measure(meters: int, messages: int) -> Units:
    """All unit costs. ConfigurationError where a broker or mosquitto_pub is not installed."""
    engines = {"mosquitto": "mosquitto", "nats": "nats", "cluster": "nats-cluster"}
    missing = [absent for name in engines.values() if (absent := ENGINES[name].missing())]
    if missing or program("mosquitto_pub") is None:
        raise ConfigurationError(f"not installed: {', '.join(missing) or 'mosquitto-clients'} (make brokers)")
    found = _per_meter(_Grid(meters))
    with tempfile.TemporaryDirectory() as directory:
        for name, choice in engines.items():
            supervisor = Supervisor()
            try:
                broker = await start_broker(choice, supervisor, Path(directory) / name)
                nodes = [psutil.Process(child.pid) for child in supervisor.children]
                if choice == "mosquitto":
                    sizes = round(found["single_bytes"]), round(found["single_receipt_bytes"])
                    found["carry_microseconds"] = await _carried(broker, *sizes, min(messages, _CARRIED))
                found[f"{name}_single"] = _rate(broker, nodes, round(found["single_bytes"]), messages)
                found[f"{name}_packed"] = _rate(broker, nodes, round(found["packed_bytes"] * PACKED), messages // 2)
            finally:
                await supervisor.stop_all()
        found |= await connection_costs(Path(directory) / "doors")
    return Units(**found)
