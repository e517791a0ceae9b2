"""PPNs whose last will was read: nothing is sent to them, nobody waits for them, and who comes back is served. Messages are counted."""

from __future__ import annotations

import asyncio
import contextlib

from support.village import FIRST, GRID, METERS, Village, until

from hushgrid.testing.memory_broker import MemoryBroker
from hushgrid.wire.presence import OFFLINE, ONLINE
from hushgrid.wire.shares import Envelope
from hushgrid.wire.topics import Channel, parse, topic

PPNS, THRESHOLD = 5, 3
RULES = ({"name": "all", "window_rounds": 1},)


class Grid:
    """Five PPNs that serve one rule over all meters, any three of which give its sum."""

    def __init__(self, directory, fault=None) -> None:
        self.broker = MemoryBroker(fault)
        self.village = Village(
            directory, self.broker, rules=RULES, ppns=PPNS, patience_seconds=0.5, width=PPNS, threshold=THRESHOLD
        )
        self.village.repeat_seconds = (
            50.0  # this broker loses nothing: messages are counted, not how slow the machine is
        )
        self.services = self.village.services()
        self.fleet, self.ppns = self.services["fleet"], [self.services[f"ppn-{n}"] for n in range(PPNS)]
        self.names = [ppn.agent.transport.pseudonym for ppn in self.ppns]
        self.running = {}
        self.next = FIRST

    @contextlib.asynccontextmanager
    async def up(self):
        async with asyncio.TaskGroup() as self.group:
            for name, service in self.services.items():
                self.running[name] = self.group.create_task(service.run())
            self.village.announce(-1, -1)
            everybody = [self.fleet.agent, self.services["consumer"].agent, *(ppn.agent for ppn in self.ppns)]
            await until(lambda: self.fleet._figures()["in_plan"] == METERS)
            newest = self.services["configurator"].history.newest.version
            await until(lambda: all(agent.membership.plans.version(newest) for agent in everybody))
            self.village.announce(FIRST - 1, FIRST - 1)
            yield self
            for task in self.running.values():
                task.cancel()

    async def kill(self, *numbers: int) -> None:
        before = self.fleet._figures()["gone"]
        for n in numbers:
            self.broker.kill(self.names[n])
            self.running.pop(f"ppn-{n}").cancel()
        await until(lambda: self.fleet._figures()["gone"] == before + len(numbers))

    def bring_back(self, n: int) -> None:
        self.running[f"ppn-{n}"] = self.group.create_task(self.village.ppn(n).run())

    async def play(self, rounds: int) -> None:
        """As a conductor does: a round is over when all its shares have an answer, or wait for PPNs that are gone."""
        for r in range(self.next, self.next + rounds):
            self.village.announce(r, r - 1)
            await until(lambda r=r: self.over(r))
            self.village.announce(r, r)
        self.next += rounds
        await until(lambda: len(self.village.results()) == self.next - FIRST)

    def over(self, r: int) -> bool:
        figures = self.fleet._figures()
        return figures["stated_through"] >= r and figures["waiting"] == figures["held_back"]

    def say(self, n: int, payload: bytes) -> None:
        self.broker.publish(topic(GRID, Channel.PRESENCE, self.names[n]), payload, retain=True)

    def shares_sent(self, since: int = 0) -> list[int]:
        """Shares that left for each PPN, however often."""
        sent = dict.fromkeys(self.names, 0)
        for name, payload in self.broker.capture[since:]:
            parsed = parse(name)
            if parsed.channel is Channel.SHARE:
                sent[parsed.recipient] += len(Envelope.from_bytes(payload).shares)
        return [sent[name] for name in self.names]

    def exact(self) -> None:
        for row in self.village.results():
            assert row["status"] == "released", row
            assert row["included"] == row["expected"] == METERS
            assert row["watt_hours"] == self.village.truth(row["first_round"], row["last_round"])

    def points(self) -> list[int]:
        """How many PPNs were in the sum of each round."""
        return [len(row["points"]) for row in sorted(self.village.results(), key=lambda row: row["first_round"])]


async def test_nothing_is_sent_to_ppns_that_are_gone_for_good_and_no_round_waits_for_them(tmp_path):
    grid = Grid(tmp_path)
    async with grid.up():
        await grid.play(1)
        await grid.kill(1, 3)
        since = len(grid.broker.capture)
        await grid.play(5)
        sent = grid.shares_sent(since)
        assert [sent[1], sent[3]] == [0, 0]
        assert [sent[0], sent[2], sent[4]] == [5 * METERS] * 3
        told = [parse(name) for name, _ in grid.broker.capture[since:]]
        late = {t.channel for t in told if t.recipient in (grid.names[1], grid.names[3])}
        assert late <= {Channel.CONTROL, Channel.RECEIPT}, "answers to what they had said"
        figures = grid.fleet._figures()
        sends = figures["shares"] + figures["repaired"] + figures["repeated"]
        assert sends / figures["shares"] == 1.0
        assert figures["held_back"] == 2 * 5 * METERS
    grid.exact()
    assert grid.points()[1:] == [3] * 5


async def test_a_ppn_that_comes_back_gets_what_waited_for_it_and_is_in_the_sums_again(tmp_path):
    grid = Grid(tmp_path)
    async with grid.up():
        await grid.play(1)
        await grid.kill(2)
        await grid.play(2)
        since = len(grid.broker.capture)
        grid.bring_back(2)
        await until(lambda: grid.fleet._figures()["gone"] == 0 == grid.fleet._figures()["waiting"])
        assert grid.shares_sent(since)[2] == 2 * METERS
        await grid.play(1)
        assert grid.shares_sent(since)[2] == 3 * METERS
    grid.exact()


async def test_a_last_will_that_is_false_is_contradicted_by_the_one_it_speaks_of(tmp_path):
    grid = Grid(tmp_path)
    async with grid.up():
        await grid.play(1)
        for _ in range(3):
            grid.say(0, OFFLINE)
            await until(lambda: grid.broker.retained[topic(GRID, Channel.PRESENCE, grid.names[0])] == ONLINE)
        await until(lambda: grid.fleet._figures()["gone"] == 0)
        since = len(grid.broker.capture)
        await grid.play(2)
        assert grid.shares_sent(since) == [2 * METERS] * PPNS
    grid.exact()


async def test_a_broker_that_insists_on_a_lie_delays_and_no_more(tmp_path, monkeypatch):
    """The contradiction never arrives. The PPN asks for what it misses, signed, and that is believed."""
    lied = []

    def fault(name: str, payload: bytes) -> list[bytes]:
        return [] if lied and name == lied[0] and payload == ONLINE else [payload]

    grid = Grid(tmp_path, fault)
    recipients = grid.fleet.mechanisms[0]._recipients
    hear, gone = recipients.hear, []

    def heard(pseudonym: str, payload: bytes) -> bool:
        """It may be believed for a moment only: the PPN asks at once."""
        back = hear(pseudonym, payload)
        gone.append(len(recipients.gone))
        return back

    monkeypatch.setattr(recipients, "hear", heard)
    async with grid.up():
        await grid.play(1)
        lied.append(topic(GRID, Channel.PRESENCE, grid.names[0]))
        for played in range(2, 5):
            gone.clear()
            grid.say(0, OFFLINE)
            await until(lambda: 1 in gone)
            await grid.play(1)
            await until(lambda: grid.fleet._figures()["waiting"] == 0)
            assert grid.fleet._figures()["gone"] == 0
            assert len(grid.village.results()) == played
    grid.exact()
