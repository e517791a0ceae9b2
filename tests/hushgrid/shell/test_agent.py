"""An agent on a broker in memory: what it is called, what others see of it, what it hears, and what stops it (nothing)."""

from __future__ import annotations

import asyncio
import contextlib
import time

import pytest
from support.builders import head
from support.village import until

from hushgrid.conducted.statements import Clock
from hushgrid.core.sealing import Identity
from hushgrid.errors import MessageError, RejectReason
from hushgrid.plan.following import AdoptedPlan
from hushgrid.plan.head import EpochKey, PpnEntry
from hushgrid.shell.agent import Agent
from hushgrid.shell.config import AgentSection, ConfiguratorSection, PaceSection, RoleConfig
from hushgrid.shell.membership import Member
from hushgrid.shell.runtime import Backoff
from hushgrid.shell.transport import Will
from hushgrid.statements.statement import EVERYBODY, Statement
from hushgrid.testing.memory_broker import MemoryBroker
from hushgrid.wire.role import Role
from hushgrid.wire.topics import ROOT, Channel, topic

GRID, SOMEBODY = "g", "somebody"
CONDUCTOR, CONFIGURATOR = Identity.from_bytes(b"d" * 32), Identity.from_bytes(b"c" * 32)


class Attended:
    """An agent of a role that hears receipts, and the broker it is on."""

    def __init__(self, directory):
        self.broker, self.heard, self.paces = MemoryBroker(), [], 0
        will = Will(topic(GRID, Channel.STATUS, "nobody"), b"offline")
        config = RoleConfig(
            agent=AgentSection(id="a", grid=GRID, state_directory=directory),
            pace=PaceSection(mode="conducted", conductor=CONDUCTOR.public, conductor_agreement=bytes(32)),
            configurator=ConfiguratorSection(identity=CONFIGURATOR.public),
        )
        self.agent = Agent(
            config,
            Role.METER,
            [Member("a", Role.METER)],
            hearers={Channel.RECEIPT: self.hear},
            on_plan=lambda _adopted: None,
            on_pace=self.move,
            transport=self.broker.transport("nobody", will=will),
        )

    async def hear(self, parsed, payload):
        if payload == b"bad":
            raise MessageError(RejectReason.BAD_SEAL)
        self.heard.append((parsed.recipient, payload))

    def move(self):
        self.paces += 1

    @contextlib.asynccontextmanager
    async def up(self, *loops):
        task = asyncio.create_task(self.agent.run(*loops))
        await until(lambda: self.status(0) == b"online")
        try:
            yield self
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    def status(self, epoch):
        """What everybody reads of it under its name of an epoch."""
        return self.broker.retained.get(topic(GRID, Channel.STATUS, self.agent.pseudonym(epoch)))

    def say(self, payload, epoch=0):
        self.broker.publish(topic(GRID, Channel.RECEIPT, SOMEBODY, self.agent.pseudonym(epoch)), payload)

    def announce(self, metered):
        body = Clock(metered_through=metered, frozen_through=metered - 1)
        statement = Statement(sender="conductor", recipient=EVERYBODY, sequence=0, body=body)
        self.broker.publish(topic(GRID, Channel.CLOCK, "conductor"), statement.to_bytes(CONDUCTOR), retain=True)

    def plan(self, version, epoch, valid_from):
        ppn = Identity.from_bytes(b"p" * 32)
        entries = tuple(
            PpnEntry(
                id=f"p{n}",
                point=n,
                operator=f"o{n}",
                identity=ppn.public,
                key=EpochKey.sign(ppn, GRID, epoch, b"k" * 32),
            )
            for n in range(1, 6)
        )
        found = head(version, epoch=epoch, valid_from_round=valid_from, ppns=entries)
        self.agent.keyring.agreements(["a"], range(epoch, epoch + 2))
        self.agent.membership.plans.add(found, AdoptedPlan(found, {}))


@pytest.fixture
def attended(tmp_path):
    return Attended(tmp_path)


async def test_everybody_sees_that_it_is_here_and_when_it_leaves_in_order(attended):
    async with attended.up():
        assert attended.agent.transport.pseudonym == attended.agent.pseudonym(0)
    assert attended.status(0) == b"offline"


async def test_its_last_will_is_said_when_it_is_cut_off_and_taken_back_when_it_returns(attended):
    async with attended.up():
        name = attended.agent.pseudonym(0)
        attended.broker.disconnect(name)
        assert attended.status(0) == b"offline"
        attended.broker.reconnect(name)
        await until(lambda: attended.status(0) == b"online")


async def test_what_it_sends_goes_from_the_name_in_use_to_one_pseudonym(attended):
    async with attended.up():
        await attended.agent.send(Channel.RECEIPT, SOMEBODY, b"there")
    name = topic(GRID, Channel.RECEIPT, attended.agent.pseudonym(0), SOMEBODY)
    assert (name, b"there") in attended.broker.capture
    assert name not in attended.broker.retained


async def test_messages_it_knows_nothing_of_are_counted_and_stop_nothing(attended):
    own = attended.agent.pseudonym(0)
    async with attended.up():
        await attended.agent.transport.subscribe(f"{ROOT}/#")
        broker = attended.broker
        broker.publish(topic("other", Channel.RECEIPT, SOMEBODY, own), b"another grid")
        broker.publish(f"{ROOT}/{GRID}/gossip/{SOMEBODY}", b"no such channel")
        broker.publish(f"{ROOT}/{GRID}", b"no such topic")
        broker.publish(topic(GRID, Channel.PAIR, SOMEBODY, own), b"not for this role")
        broker.publish(topic(GRID, Channel.HEAD, SOMEBODY), b"no statement")
        broker.publish(topic(GRID, Channel.CONTROL, SOMEBODY, own), b"no box")
        broker.publish(topic(GRID, Channel.CLOCK, SOMEBODY), b"no clock")
        broker.publish(topic(GRID, Channel.RECEIPT, SOMEBODY, own), b"")  # as if a retained message were cleared
        attended.say(b"bad")
        attended.say(b"good")
        await until(lambda: attended.heard)
    assert attended.heard == [(own, b"good")]
    counts = attended.agent.counters.counts
    for name in ("receipt malformed", "topic unknown-kind", "topic malformed", "pair unknown-kind", "head malformed",
                 "control malformed", "clock malformed", "receipt bad-seal"):  # fmt: skip
        assert counts[f"refused {name}"] == 1, (name, counts)


async def test_the_pace_is_heard_and_the_role_told(attended):
    async with attended.up():
        attended.announce(7)
        await until(lambda: attended.paces)
        assert attended.agent.pacing.pace.metered_through == 7
        attended.announce(7)
        attended.say(b"after")
        await until(lambda: attended.heard)
        assert attended.paces == 1


async def test_in_a_new_epoch_it_speaks_under_its_new_name_and_hears_the_old_one_while_that_may_be_needed(attended):
    agent = attended.agent
    attended.plan(1, 0, 0)
    async with attended.up():
        attended.plan(2, 1, 10)
        attended.announce(5)
        await until(lambda: 1 in agent._listening)
        assert agent.transport.pseudonym == agent.pseudonym(0), "the plan is announced, its first round has not come"
        attended.say(b"ahead", epoch=1)
        await until(lambda: attended.heard)
        attended.announce(10)
        await until(lambda: attended.status(1) == b"online")
        assert agent.transport.pseudonym == agent.pseudonym(1)
        assert attended.status(0) is None, "nothing stands under the old name"
        attended.say(b"late", epoch=0)
        await until(lambda: len(attended.heard) == 2)
        assert attended.heard == [(agent.pseudonym(1), b"ahead"), (agent.pseudonym(0), b"late")]
        agent.erase_keys_through(0)
        attended.plan(3, 2, 20)
        attended.announce(20)
        await until(lambda: attended.status(2) == b"online")
        await until(lambda: 0 not in agent._listening)
        attended.say(b"too late", epoch=0)
        attended.say(b"late", epoch=1)
        await until(lambda: len(attended.heard) == 3)
        assert attended.heard[-1] == (agent.pseudonym(1), b"late")
    assert attended.status(2) == b"offline"


async def test_what_has_no_answer_is_repeated_after_a_reconnection_whatever_pause_it_was_in(attended):
    agent, sent = attended.agent, []
    backoff, work = Backoff(first_seconds=3600.0), asyncio.Event()

    async def step():
        if backoff.due("asked", time.monotonic()):
            sent.append("asked")

    async with attended.up(lambda: agent.keep_working(step, work, backoff)):
        await until(lambda: sent)
        work.set()
        await until(lambda: not work.is_set())
        assert sent == ["asked"], "work is no reason to repeat"
        attended.broker.disconnect(agent.pseudonym(0))
        attended.broker.reconnect(agent.pseudonym(0))
        work.set()
        await until(lambda: len(sent) == 2)
