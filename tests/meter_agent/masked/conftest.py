"""Four meters behind three connections that mask one stream, by the code that agents run, without a line.

What a station publishes is kept until the test lets it pass; pace, plans and what meters read are set by hand. Keys and stores
are real.
"""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from support.builders import FIELD, head

from hushgrid.core.schedule import Pace
from hushgrid.core.sealing import Agreement, Identity, Kind, SealingKey
from hushgrid.plan.book import PlanBook
from hushgrid.plan.following import AdoptedPlan
from hushgrid.plan.head import EpochKey
from hushgrid.plan.parts import ConsumerEntry, MaskingPart, MaskTerms, Neighbour
from hushgrid.shell.keyring import Keyring
from hushgrid.shell.runtime import Backoff, Counters
from hushgrid.wire.masked import (
    MaskedEnvelope,
    MaskedText,
    OpeningEnvelope,
    OpeningText,
    OpenRequest,
    RoundClosing,
    masked_context,
    opening_context,
)
from hushgrid.wire.topics import Channel, Topic
from meter_agent.link import PERFECT
from meter_agent.masked.service import Masking

GRID, FIRST, PERIOD_ROUNDS = "g", 10, 5
CONFIGURATOR = Identity.from_bytes(b"c" * 32)
SUPPLIER, SUPPLIER_KEY = Identity.from_bytes(b"s" * 32), Agreement.from_bytes(b"o" * 32)
#: Connections and the meters they carry; a meter's number is its place among all.
STATIONS = {"here": ("m0", "m1"), "there": ("m2",), "yonder": ("m3",)}
METERS = tuple(meter for meters in STATIONS.values() for meter in meters)
GRAPH = b"g" * 32


class HandFedStation:
    """What of `hushgrid.shell.agent.Agent` the masking uses, and the masking over it."""

    grid = GRID

    def __init__(self, name, meters, directory):
        self.meters, self.directory = meters, directory
        directory.mkdir()
        self.config = SimpleNamespace(configurator=SimpleNamespace(identity=CONFIGURATOR.public))
        self.keyring = Keyring(directory / "keys.sqlite")
        self.keyring.agreements(list(meters), range(2))
        self.counters = Counters()
        self.pacing = SimpleNamespace(pace=None)
        self.membership = SimpleNamespace(plans=PlanBook(), current=True)
        self.transport = SimpleNamespace(pseudonym=name)
        self.published, self.readings, self.asked = [], {}, []
        self.begin()

    def begin(self):
        """As after a kill: only the disk is left."""
        self.backoff = Backoff(first_seconds=3600.0)
        self.masking = Masking(
            self,
            self.directory / "masking.sqlite",
            self.meters,
            link=PERFECT,
            backoff=self.backoff,
            most=100,
            read=self._read,
            wake=lambda: None,
        )
        for _, adopted in self.membership.plans:
            self.masking.adopt(adopted)

    def adopt(self, adopted):
        self.membership.plans.add(adopted.head, adopted)
        self.masking.adopt(adopted)

    async def send(self, channel, recipient, payload):
        self.published.append((channel, recipient, payload))

    async def _read(self, meter, round_number):
        self.asked.append((meter, round_number))
        watt_hours = self.readings.get((meter, round_number), 0)
        return None if watt_hours is None else (watt_hours,)

    def changed(self):
        pass

    def taken(self, channel):
        """What was published on a channel since the last look."""
        found = [(recipient, payload) for where, recipient, payload in self.published if where is channel]
        self.published = [said for said in self.published if said[0] is not channel]
        return found

    async def through(self, round_number):
        """All that is due when a round has been metered; everything without an answer is said again."""
        self.pacing.pace = Pace(round_number, round_number - 1)
        self.backoff.restart()
        await self.masking.advance()


class Street:
    """The stations, the configurator and the consumer, which is played by the test."""

    def __init__(self, directory):
        self.stations = {name: HandFedStation(name, meters, directory / name) for name, meters in STATIONS.items()}
        self.here, self.there, self.yonder = self.stations.values()

    def part(self, meter, terms, *, neighbours_of=None, isolated_epsilon=None):
        """What the plan says to a meter. neighbours_of: number -> neighbours' numbers; all meters are neighbours without it."""
        own = METERS.index(meter)
        everybody = set(range(len(METERS)))
        chosen = (everybody if neighbours_of is None else neighbours_of.get(own, set())) - {own}
        neighbours = [
            Neighbour(number=n, identity=self._identity(n).public, key=self._epoch_key(n), sender=self._station(n)[0])
            for n in sorted(chosen)
        ]
        key = EpochKey.sign(SUPPLIER, GRID, 0, SUPPLIER_KEY.public)
        consumer = ConsumerEntry(id="supplier", identity=SUPPLIER.public, key=key) if terms.stream else None
        return MaskingPart(
            number=own, terms=terms, consumer=consumer, neighbours=tuple(neighbours),
            isolated_epsilon=isolated_epsilon,
        )  # fmt: skip

    def adopt(self, *terms, version=1, valid_from_round=FIRST, without=(), **changes):
        """A plan with these streams for every meter but some."""
        self.head = head(version, valid_from_round=valid_from_round, meters=len(METERS))
        for station in self.stations.values():
            meters = [meter for meter in station.meters if meter not in without]
            parts = {meter: tuple(self.part(meter, each, **changes) for each in terms) for meter in meters}
            station.adopt(AdoptedPlan(self.head, parts))
        return self

    def _station(self, number):
        return next(each for each in self.stations.items() if METERS[number] in each[1].meters)

    def _identity(self, number):
        return self._station(number)[1].keyring.identity(METERS[number])

    def _epoch_key(self, number):
        return EpochKey.sign(self._identity(number), GRID, 0, self.agreement(number).public)

    def agreement(self, number):
        return self._station(number)[1].keyring.agreement(METERS[number], 0)

    async def pass_pairs(self):
        """Let pass what neighbours say to each other until nobody says anything."""
        while said := [
            (name, *each) for name, station in self.stations.items() for each in station.taken(Channel.PAIR)
        ]:
            for sender, recipient, payload in said:
                await self.stations[recipient].masking.hear(Topic(GRID, Channel.PAIR, recipient, sender), payload)

    async def through(self, *rounds):
        """Meter these rounds at every station, and let the neighbours agree."""
        for round_number in rounds:
            for station in self.stations.values():
                await station.through(round_number)
            await self.pass_pairs()

    def _opened(self, number, kind, sealed, context, round_number):
        own, consumer = self.agreement(number).public, SUPPLIER_KEY.public
        key = SealingKey.derive(SUPPLIER_KEY, own, kind=kind, grid=GRID, epoch=0, sender=own, recipient=consumer)
        return key.unseal(sealed, context, stream=1, round_number=round_number)

    def masked(self, station):
        """(round, number) -> sealed, of what a station sent to the consumer since the last look."""
        envelopes = [MaskedEnvelope.from_bytes(payload) for _, payload in station.taken(Channel.MASKED)]
        return {(each.round, number): sealed for each in envelopes for number, sealed in each.sealed.items()}

    def text(self, number, round_number, sealed):
        """What the consumer finds under the seal of a masked reading."""
        context = masked_context(self.head.digest, 1, number, round_number)
        return MaskedText.from_bytes(self._opened(number, Kind.MASKED, sealed, context, round_number), 1, FIELD)

    def disclosed(self, number, round_number, sealed):
        """Neighbour -> (whether it is left out, the element), of what a holder discloses."""
        context = opening_context(self.head.digest, 1, number, round_number)
        text = self._opened(number, Kind.OPENING, sealed, context, round_number)
        others = [n for n in range(len(METERS)) if n != number]
        return dict(zip(others, OpeningText.from_bytes(text, len(others), FIELD).openings, strict=True))

    def opening(self, number, round_number, sealed):
        """Which neighbours a holder says are left out."""
        return {n for n, (left_out, _) in self.disclosed(number, round_number, sealed).items() if left_out}

    async def receipt(self, station, receipt, *, signer=SUPPLIER, sender=None, addressed=None):
        """The consumer's receipt comes to a station."""
        name = station.transport.pseudonym
        parsed = Topic(GRID, Channel.MASKED, name, sender or SUPPLIER.pseudonym(GRID, 0))
        await station.masking.hear(parsed, receipt.to_bytes(signer, addressed or name))

    async def ask(self, station, round_number, absent=(), *, holders=None, signer=CONFIGURATOR, graph=GRAPH):
        """The consumer passes a closing on; holder -> what it discloses, sealed."""
        closing = RoundClosing(1, round_number, graph, frozenset(absent)).signed(signer, GRID)
        numbers = [METERS.index(meter) for meter in station.meters] if holders is None else holders
        request = OpenRequest(1, closing, frozenset(numbers))
        station.taken(Channel.MASKED)
        name = station.transport.pseudonym
        parsed = Topic(GRID, Channel.MASKED, name, SUPPLIER.pseudonym(GRID, 0))
        await station.masking.hear(parsed, request.to_bytes())
        envelopes = [OpeningEnvelope.from_bytes(payload) for _, payload in station.taken(Channel.MASKED)]
        return {number: sealed for envelope in envelopes for number, sealed in envelope.sealed.items()}


@pytest.fixture
def street(tmp_path):
    """Before any plan."""
    return Street(tmp_path)


@pytest.fixture
def terms():
    """Makes the terms of a stream, but for the changes."""

    def make(**changes):
        content = {
            "stream": 1,
            "mechanism": "pairwise",
            "variant": "hardened",
            "period_rounds": PERIOD_ROUNDS,
            "from_round": FIRST,
            "graph": GRAPH,
            "self_masks": True,
            "colluders": 1,
        }
        return MaskTerms(**(content | changes))

    return make
