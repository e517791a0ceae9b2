"""Aggregate shares at a consumer, from the wire to the files: what is believed, what is receipted, what survives a kill."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal

import pytest
from support.builders import FIELD, IDENTITIES, head
from support.consumer import opened_tables
from support.gateway.stored import Instants, forked

from consumer_node.results.tables import ResultKind
from consumer_node.shares.service import Collecting
from consumer_node.shares.store import CollectedShares
from hushgrid.core import shamir
from hushgrid.core.encoding import lift_vector
from hushgrid.core.minimum import WithheldReason
from hushgrid.core.sealing import Agreement, Kind, SealingKey
from hushgrid.errors import JournalError, MessageError, RejectReason
from hushgrid.plan.head import EpochKey, PpnEntry
from hushgrid.plan.parts import ConsumerPart, Rule
from hushgrid.statements.rounds import Observation
from hushgrid.statements.rules import RuleAnswer
from hushgrid.wire.aggregates import AggregateFrame, AggregateReceipt, AggregateStatus, AggregateText, aggregate_context
from hushgrid.wire.topics import Channel, Topic

PPN_KEYS = {n: Agreement.from_bytes(bytes([40 + n]) * 32) for n in IDENTITIES}
PPNS = tuple(
    PpnEntry(
        id=f"ppn-{n}", point=n, operator=f"o{n}", identity=i.public, key=EpochKey.sign(i, "g", 0, PPN_KEYS[n].public)
    )
    for n, i in IDENTITIES.items()
)
HEAD = head(1, ppns=PPNS, valid_from_round=10, minimum_contributors=2)
RULE = Rule(
    number=1,
    name="all",
    consumer="supplier",
    window_rounds=1,
    minimum_contributors=2,
    points=(1, 2, 3, 4),
    from_round=0,
)
PART = ConsumerPart(rules=(RULE,), cohort_sizes=(20,))
WATT_HOURS = 12_345
KILLS = 10


class Desk:
    """The mechanism over a real store."""

    def __init__(self, agent, directory, patience_seconds=0.0):
        self.agent, self.directory, self.woken = agent, directory, 0
        self.tables = opened_tables(directory)
        self.collected = CollectedShares(directory)
        self.mechanism = Collecting(agent, self.collected, self.tables, patience_seconds, lambda _rule: 0.0, self.wake)

    def wake(self):
        self.woken += 1

    def close(self):
        self.mechanism.close()
        self.tables.close()

    def frame(self, point, round_number=12, watt_hours=WATT_HOURS, rule=RULE, wrong=0, version=1):
        secret = lift_vector((watt_hours,), 20 * HEAD.reading_bound_watt_hours, FIELD)[0]
        shares = dict(
            enumerate(shamir.split(secret, range(1, 6), 3, FIELD, random.Random(round_number).randrange), start=1)
        )
        text = AggregateText(
            AggregateStatus.RELEASED, WithheldReason.NONE, 1, 20, 20, 0, 0, 0, 20, 0, b"d" * 32,
            ((shares[point] + wrong) % FIELD.modulus,),
        )  # fmt: skip
        own, to = PPN_KEYS[point], self.agent.own.public
        key = SealingKey.derive(own, to, kind=Kind.AGGREGATE, grid="g", epoch=0, sender=own.public, recipient=to)
        context = aggregate_context(HEAD.digest, rule.number, round_number, 1, point)
        sealed = key.seal(text.to_bytes(FIELD), context, stream=rule.number, round_number=round_number)
        return AggregateFrame(version, rule.number, round_number, 1, point, sealed).to_bytes()

    async def hear(self, point, sender=None, **changes):
        """What is sent in answer."""
        name = sender or PPNS[point - 1].key.pseudonym
        await self.mechanism.hear(Topic("g", Channel.AGGREGATE, "c", name), self.frame(point, **changes))
        ((channel, recipient, payload),) = self.agent.taken()
        assert (channel, recipient) == (Channel.RECEIPT, name)
        return AggregateReceipt.from_bytes(payload, self.agent.identity.public, name)

    def results(self):
        path = self.directory / "results.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def desk(agent, tmp_path):
    found = Desk(agent, tmp_path)
    agent.adopt(found.mechanism, HEAD, PART)
    return found


async def test_a_sum_is_recovered_from_threshold_shares_and_written_down_and_every_share_is_receipted(desk):
    for point in (1, 2, 3, 4):
        assert await desk.hear(point) == AggregateReceipt(1, 12, point)
    (row,) = desk.results()
    assert (row["rule"], row["first_round"], row["status"], row["watt_hours"]) == ("all", 12, "released", WATT_HOURS)
    assert desk.mechanism.figures() == {"in_plan": 1, "results": 1, "observed": 0}
    await desk.mechanism.advance()
    assert desk.agent.told == [], "from three shares nobody can tell whether one is wrong"
    assert desk.agent.changes == 1


async def test_who_adds_wrongly_is_told_to_the_configurator(agent, tmp_path):
    desk = Desk(agent, tmp_path, patience_seconds=3600.0)
    agent.adopt(desk.mechanism, HEAD, PART)
    for point in (1, 2, 3, 4):
        await desk.hear(point)
    await desk.mechanism.advance()
    assert agent.told == [Observation(rule=1, first_round=12, right=(1, 2, 3, 4), wrong=(), misfit=())]
    assert desk.woken
    for point in (1, 2, 3, 4):
        await desk.hear(point, round_number=13, wrong=int(point == 2))
    await desk.mechanism.advance()
    assert (agent.told[-1].first_round, agent.told[-1].misfit) == (13, (1, 2, 3, 4))
    assert desk.results()[-1]["watt_hours"] is None


async def test_an_aggregate_share_is_unsealed_once(desk, monkeypatch):
    opened, unseal = [], SealingKey.unseal

    def counted(self, sealed, context, **place):
        opened.append(place["round_number"])
        return unseal(self, sealed, context, **place)

    monkeypatch.setattr(SealingKey, "unseal", counted)
    await desk.hear(1)
    assert opened == [12]


async def test_what_is_concluded_is_receipted_again_and_not_looked_at(desk, monkeypatch):
    for point in (1, 2, 3, 4):
        await desk.hear(point)
    monkeypatch.setattr(SealingKey, "unseal", None)
    assert await desk.hear(4, watt_hours=1) == AggregateReceipt(1, 12, 4)
    assert [row["watt_hours"] for row in desk.results()] == [WATT_HOURS]


async def test_what_was_collected_before_a_kill_is_taken_up_with_its_plan(agent, tmp_path):
    before = Desk(agent, tmp_path, patience_seconds=3600.0)
    agent.adopt(before.mechanism, HEAD, PART)
    for point in (1, 2, 3):
        await before.hear(point)
    assert before.results() == []
    after = Desk(agent, tmp_path, patience_seconds=3600.0)
    assert after.mechanism.keeps_from_round(100) == 98
    agent.adopt(after.mechanism, HEAD, PART)
    assert after.mechanism.keeps_from_round(100) == 12, "its window is open: its keys stay"
    await after.hear(4)
    assert [row["watt_hours"] for row in after.results()] == [WATT_HOURS]
    assert after.mechanism.keeps_from_round(100) == 98


def conclude_two(agent, directory, instants):
    """Two windows. instants: at one of them it may be killed."""
    desk = Desk(agent, directory)
    agent.adopt(desk.mechanism, HEAD, PART)
    let_go = desk.collected.let_go

    def ticking(*window):
        instants.tick()
        let_go(*window)
        instants.tick()

    desk.collected.let_go = ticking
    for round_number in (12, 13):
        for point in (1, 2, 3, 4):
            asyncio.run(desk.hear(point, round_number=round_number))
    desk.close()


def test_killed_at_any_instant_it_loses_no_result_and_doubles_none(agent, tmp_path, part):
    """At 10 instants that another commit draws anew; with --long at every one."""
    instants = Instants()
    conclude_two(agent, tmp_path / "whole", instants)
    instants.close()
    everything = range(1, instants.seen + 1)
    assert len(everything) > 50
    for last in part.sample(everything, KILLS) if part else everything:
        directory = tmp_path / str(last)
        pid = forked(lambda last=last, directory=directory: conclude_two(agent, directory, Instants(last)))
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
        after = Desk(agent, directory)
        agent.adopt(after.mechanism, HEAD, PART)
        written = [row["first_round"] for row in after.results()]
        assert written in ([], [12], [12, 13])
        frames = map(AggregateFrame.from_bytes, after.collected.frames())
        assert not {frame.first_round for frame in frames}.intersection(written)
        for round_number in (12, 13):  # whoever has no receipt says it again
            for point in (1, 2, 3, 4):
                asyncio.run(after.hear(point, round_number=round_number))
        results = [(row["first_round"], row["watt_hours"]) for row in after.results()]
        assert results == [(12, WATT_HOURS), (13, WATT_HOURS)]
        assert after.collected.frames() == []
        after.close()


async def test_between_a_result_and_what_it_came_from_a_kill_leaves_both_and_the_next_start_one(
    agent, tmp_path, monkeypatch
):
    before = Desk(agent, tmp_path, patience_seconds=3600.0)
    agent.adopt(before.mechanism, HEAD, PART)
    for point in (1, 2, 3):
        await before.hear(point)

    def killed(*_):
        raise InterruptedError

    monkeypatch.setattr(before.collected, "let_go", killed)
    with pytest.raises(InterruptedError):
        await before.hear(4)
    assert len(before.collected.frames()) == 4
    assert before.tables.count(ResultKind.SUM) == 1
    before.close()
    after = Desk(agent, tmp_path)
    agent.adopt(after.mechanism, HEAD, PART)
    assert after.collected.frames() == []
    assert [row["watt_hours"] for row in after.results()] == [WATT_HOURS]
    assert await after.hear(4) == AggregateReceipt(1, 12, 4)
    assert after.mechanism.figures()["results"] == 1
    after.close()


async def test_what_the_tables_do_not_take_is_not_receipted_and_its_shares_stay(desk, monkeypatch):
    def full(*_):
        raise JournalError("results.sqlite: database or disk is full")

    monkeypatch.setattr(desk.tables, "add", full)
    for point in (1, 2):
        await desk.hear(point)
    with pytest.raises(JournalError, match="disk is full"):
        await desk.hear(3)
    assert desk.agent.sent == []
    assert len(desk.collected.frames()) == 3
    monkeypatch.undo()
    await desk.mechanism.advance()
    assert [row["watt_hours"] for row in desk.results()] == [WATT_HOURS]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"sender": "somebody"}, RejectReason.WRONG_SENDER),
        ({"sender": PPNS[1].key.pseudonym}, RejectReason.WRONG_SENDER),
        ({"version": 2}, RejectReason.WRONG_PLAN),
        ({"round_number": 9}, RejectReason.WRONG_PLAN),
        ({"rule": RULE.model_copy(update={"number": 2})}, RejectReason.UNKNOWN_RULE),
    ],
)
async def test_what_is_not_at_its_place_is_refused_and_not_receipted(desk, changes, reason):
    with pytest.raises(MessageError) as refused:
        await desk.hear(1, **changes)
    assert refused.value.reason is reason
    assert desk.agent.sent == []


async def test_a_point_that_the_rule_does_not_name_and_a_seal_of_another_are_refused(desk):
    with pytest.raises(MessageError) as refused:
        await desk.hear(5)
    assert refused.value.reason is RejectReason.NOT_IN_PLAN
    forged = AggregateFrame.from_bytes(desk.frame(2))
    wire = AggregateFrame(1, 1, 12, 1, 1, forged.sealed).to_bytes()
    with pytest.raises(MessageError) as refused:
        await desk.mechanism.hear(Topic("g", Channel.AGGREGATE, "c", PPNS[0].key.pseudonym), wire)
    assert refused.value.reason is RejectReason.BAD_SEAL
    assert desk.mechanism.keeps_from_round(100) == 98, "nothing of it is kept"


def test_no_statement_of_the_configurator_is_for_it(desk):
    with pytest.raises(MessageError):
        desk.mechanism.hear_statement(RuleAnswer(name="all", state="granted"))
