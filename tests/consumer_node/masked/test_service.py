"""Masked readings at a consumer, from the wire to bills: receipts, a closing, openings, columns and bills, over a real store.

Five meters in a complete graph mask one period of five rounds; the fifth is silent in one of them, and that round is closed
without it. The masks are drawn here, so that what a bill must come to is known.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import random
import sqlite3

import pytest
from support.builders import FIELD, head
from support.consumer import opened_tables

from consumer_node.masked.service import Billing
from consumer_node.masked.store import BillingStore
from hushgrid.core import shamir
from hushgrid.core.sealing import Agreement, Identity, Kind, SealingKey
from hushgrid.errors import MessageError, RejectReason
from hushgrid.plan.parts import BillingPart, MaskedMeter, MaskTerms, Rule
from hushgrid.statements.masked import MaskedClosing, MaskedRoster
from hushgrid.wire.masked import (
    MaskedEnvelope,
    MaskedReceipt,
    MaskedText,
    OpeningEnvelope,
    OpeningText,
    OpenRequest,
    RoundClosing,
    masked_context,
    opening_context,
)
from hushgrid.wire.topics import Channel, Topic

Q, ROUNDS, METERS = FIELD.modulus, range(10, 15), range(5)
ABSENT, ITS_ROUND = 4, 12
HEAD = head(1, valid_from_round=0, minimum_contributors=3)
KEYS = {n: Agreement.from_bytes(bytes([60 + n]) * 32) for n in METERS}
EDGES = tuple(itertools.combinations(METERS, 2))
RULE = Rule(
    number=1, name="bills", consumer="supplier", window_rounds=5, minimum_contributors=3, mechanism="pairwise", points=(),
    from_round=0,
)  # fmt: skip
TERMS = MaskTerms(
    stream=1, mechanism="pairwise", variant="hardened", period_rounds=5, from_round=0, graph=b"g" * 32, self_masks=True,
    colluders=1,
)  # fmt: skip
PART = BillingPart(
    page=0,
    pages=1,
    rule=RULE,
    terms=TERMS,
    minimum_group=3,
    meters=tuple(MaskedMeter(number=n, id=f"m{n}", agreement=KEYS[n].public, sender=f"s{n}") for n in METERS),
    edges=EDGES,
)


class Meters:
    """What the meters read and mask with."""

    def __init__(self):
        rng = random.Random(5)
        self.truth = {(n, r): rng.randrange(-500, 1000) for n in METERS for r in ROUNDS}
        self.self_masks = {place: rng.randrange(Q) for place in self.truth}
        holders = {n: [other for other in METERS if other != n] for n in METERS}
        self.shares = {
            (owner, r): dict(zip(holders[owner], shamir.split(mask, range(1, 5), 2, FIELD, rng.randrange), strict=True))
            for (owner, r), mask in self.self_masks.items()
        }
        self.pair_terms = {}
        for low, high in EDGES:
            drawn = [rng.randrange(Q) for _ in ROUNDS[1:]]
            for r, term in zip(ROUNDS, [*drawn, -sum(drawn) % Q], strict=True):
                self.pair_terms[low, high, r], self.pair_terms[high, low, r] = term, -term % Q

    def element(self, n, r):
        terms = sum(self.pair_terms[n, other, r] for other in METERS if other != n)
        return (self.truth[n, r] + self.self_masks[n, r] + terms) % Q

    def opening(self, holder, r, absent):
        said = [
            (True, self.pair_terms[holder, about, r]) if about in absent else (False, self.shares[about, r][holder])
            for about in METERS
            if about != holder
        ]
        return OpeningText(tuple(said)).to_bytes(FIELD)


def sealed(agent, n, kind, text, context, r):
    own, to = KEYS[n], agent.own.public
    key = SealingKey.derive(own, to, kind=kind, grid="g", epoch=0, sender=own.public, recipient=to)
    return key.seal(text, context, stream=1, round_number=r)


class BillingDesk:
    """The mechanism over a real store, and the meters that send to it."""

    def __init__(self, agent, directory):
        self.agent, self.directory, self.meters, self.woken = agent, directory, Meters(), 0
        self.begin()

    def begin(self):
        """As after a kill: only the disk is left."""
        self.tables = opened_tables(self.directory)
        self.mechanism = Billing(self.agent, BillingStore(self.directory), self.tables, 0.0, self.wake)
        if self.agent.membership.plans.newest is None:
            self.agent.adopt(self.mechanism, HEAD, PART)
        else:
            self.mechanism.adopt(self.agent.membership.plans.newest[1])

    def wake(self):
        self.woken += 1

    async def state(self, n, r, *, version=1, element=None, reading=True):
        """One meter's round; the receipt it gets."""
        text = MaskedText((self.meters.element(n, r) if element is None else element,), reading).to_bytes(FIELD)
        wire = sealed(self.agent, n, Kind.MASKED, text, masked_context(HEAD.digest, 1, n, r), r)
        await self.mechanism.hear(
            Topic("g", Channel.MASKED, "c", f"s{n}"), MaskedEnvelope(version, 1, r, {n: wire}).to_bytes()
        )
        return [
            MaskedReceipt.from_bytes(payload, self.agent.identity.public, recipient)
            for channel, recipient, payload in self.agent.taken()
            if (channel, recipient) == (Channel.MASKED, f"s{n}")
        ]

    async def state_all(self):
        for n, r in itertools.product(METERS, ROUNDS):
            if (n, r) != (ABSENT, ITS_ROUND):
                assert await self.state(n, r) == [MaskedReceipt(1, r, frozenset({n}))]

    def close(self, r, signer=None, absent=None):
        out = ({ABSENT} if r == ITS_ROUND else set()) if absent is None else absent
        closing = RoundClosing(1, r, TERMS.graph, frozenset(out)).signed(signer or self.agent.configurator, "g")
        body = MaskedClosing(stream=1, round=r, graph=TERMS.graph, absent=tuple(out), signature=closing.signature)
        self.mechanism.hear_statement(body)

    async def disclose(self, holder, r, absent=None):
        out = ({ABSENT} if r == ITS_ROUND else set()) if absent is None else absent
        text = self.meters.opening(holder, r, out)
        wire = sealed(self.agent, holder, Kind.OPENING, text, opening_context(HEAD.digest, 1, holder, r), r)
        await self.mechanism.hear(
            Topic("g", Channel.MASKED, "c", f"s{holder}"), OpeningEnvelope(1, 1, r, {holder: wire}).to_bytes()
        )

    def rows(self, name):
        path = self.directory / f"{name}.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@pytest.fixture
def desk(agent, tmp_path):
    return BillingDesk(agent, tmp_path)


async def test_a_masked_reading_is_on_disk_when_it_is_receipted_and_is_receipted_again(desk):
    for _ in range(2):
        assert await desk.state(1, 11) == [MaskedReceipt(1, 11, frozenset({1}))]
    with sqlite3.connect(desk.directory / "billing.sqlite") as store:
        assert store.execute("SELECT round, meter, element FROM masked").fetchall() == [
            (11, "m1", str(desk.meters.element(1, 11)))
        ]
    assert desk.mechanism.keeps_from_round(100) == 10
    assert desk.woken == 2


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"version": 2}, RejectReason.WRONG_PLAN),
        ({"r": -1}, RejectReason.WRONG_PLAN),
        ({"r": 14}, RejectReason.FUTURE_ROUND),
    ],
)
async def test_what_is_under_no_plan_or_too_early_is_refused(desk, changes, reason):
    desk.agent.pace(12, 9)
    r = changes.pop("r", 11)
    envelope = MaskedEnvelope(changes.get("version", 1), 1, max(r, 0), {1: b"x" * 40}).to_bytes()
    if r < 0:
        desk.agent.membership.plans._entries.clear()
    with pytest.raises(MessageError) as refused:
        await desk.mechanism.hear(Topic("g", Channel.MASKED, "c", "s1"), envelope)
    assert refused.value.reason is reason
    assert desk.agent.sent == []


async def test_one_bad_entry_spoils_no_other_and_another_value_never_replaces_the_first(desk):
    good = sealed(
        desk.agent, 1, Kind.MASKED, MaskedText((desk.meters.element(1, 11),)).to_bytes(FIELD),
        masked_context(HEAD.digest, 1, 1, 11), 11,
    )  # fmt: skip
    await desk.mechanism.hear(
        Topic("g", Channel.MASKED, "c", "s1"), MaskedEnvelope(1, 1, 11, {0: good, 1: good, 9: good}).to_bytes()
    )
    ((_, recipient, payload),) = desk.agent.taken()
    assert MaskedReceipt.from_bytes(payload, desk.agent.identity.public, recipient).held == {1}
    assert desk.agent.counters.counts == {"refused masked bad-seal": 1, "refused masked unknown-meter": 1}
    assert await desk.state(1, 11, element=7) == []
    assert desk.agent.counters.counts["refused masked conflicting"] == 1


async def test_a_complete_round_is_closed_at_once_and_a_round_with_a_gap_when_it_froze(desk):
    await desk.state_all()
    desk.agent.pace(14, 11)
    await desk.mechanism.advance()
    asked = {body.round: body for body in desk.agent.told}
    assert set(asked) == set(ROUNDS) - {ITS_ROUND}
    assert asked[10] == MaskedRoster(stream=1, round=10, version=1, missing=())
    desk.agent.pace(14, 12)
    await desk.mechanism.advance()
    assert desk.agent.told[-1] == MaskedRoster(stream=1, round=ITS_ROUND, version=1, missing=(ABSENT,))


async def test_a_closing_is_passed_on_to_the_holders_that_have_not_answered(desk):
    await desk.state_all()
    desk.close(ITS_ROUND)
    desk.agent.pace(14, 11)
    await desk.disclose(2, ITS_ROUND)
    await desk.mechanism.advance()
    requests = {recipient: OpenRequest.from_bytes(payload) for _, recipient, payload in desk.agent.taken()}
    assert {recipient: set(request.holders) for recipient, request in requests.items()} == {
        f"s{n}": {n} for n in METERS if n != 2
    }
    assert {request.closing.absent for request in requests.values()} == {frozenset({ABSENT})}
    for request in requests.values():
        request.closing.check(desk.agent.configurator.public, "g")


@pytest.mark.parametrize("kills", [False, True], ids=["at once", "killed after every step"])
async def test_columns_and_bills_are_exact_and_a_round_closed_without_a_meter_is_not_in_its_bill(desk, kills):
    await desk.state_all()
    for r in ROUNDS:
        if kills:
            desk.begin()
        desk.close(r)
        for holder in METERS:
            if (holder, r) != (ABSENT, ITS_ROUND):
                await desk.disclose(holder, r)
                if kills:
                    desk.begin()
    truth = desk.meters.truth
    columns = {row["first_round"]: row for row in desk.rows("columns")}
    for r in ROUNDS:
        present = [n for n in METERS if (n, r) != (ABSENT, ITS_ROUND)]
        assert (columns[r]["status"], columns[r]["watt_hours"]) == ("released", sum(truth[n, r] for n in present))
        assert columns[r]["omitted"] == [f"m{n}" for n in METERS if n not in present]
    bills = {row["meter"]: row for row in desk.rows("bills")}
    for n in METERS:
        counted = [r for r in ROUNDS if (n, r) != (ABSENT, ITS_ROUND)]
        assert (bills[f"m{n}"]["watt_hours"], bills[f"m{n}"]["rounds"]) == (
            sum(truth[n, r] for r in counted),
            len(counted),
        )
    (entry,) = desk.rows("double_entry")
    assert entry["bills_watt_hours"] == entry["columns_watt_hours"] == sum(truth.values()) - truth[ABSENT, ITS_ROUND]
    assert desk.mechanism.figures() == {"columns": 5, "bills": 5, "double_entry": 1}


async def test_between_the_last_bill_and_the_end_of_its_period_a_kill_doubles_nothing(desk, monkeypatch):
    killed_at = []

    def killed(*place):
        killed_at.append(place)
        raise InterruptedError

    monkeypatch.setattr(BillingStore, "finish", killed)
    await desk.state_all()
    for r in ROUNDS[:-1]:
        desk.close(r)
        for holder in METERS:
            await desk.disclose(holder, r)
    desk.close(ROUNDS[-1])
    for holder in METERS:
        with contextlib.suppress(InterruptedError):
            await desk.disclose(holder, ROUNDS[-1])
    assert killed_at
    assert len(desk.rows("bills")) == 5
    monkeypatch.undo()
    desk.begin()
    assert desk.mechanism.figures() == {"columns": 5, "bills": 5, "double_entry": 1}
    assert [len(desk.rows(name)) for name in ("columns", "bills", "double_entry")] == [5, 5, 1]
    with sqlite3.connect(desk.directory / "billing.sqlite") as store:
        assert store.execute("SELECT count(*) FROM masked").fetchone() == (0,)


async def test_what_comes_after_a_period_is_done_is_answered_and_not_kept(desk):
    await desk.state_all()
    for r in ROUNDS:
        desk.close(r)
        for holder in METERS:
            await desk.disclose(holder, r)
    assert len(desk.rows("bills")) == 5
    assert desk.mechanism.keeps_from_round(100) == 100
    assert await desk.state(1, 11) == [MaskedReceipt(1, 11, frozenset({1}))]
    late = MaskedReceipt(1, ITS_ROUND, frozenset(), frozenset({ABSENT}), RejectReason.CLOSED_ROUND)
    assert await desk.state(ABSENT, ITS_ROUND) == [late]
    with sqlite3.connect(desk.directory / "billing.sqlite") as store:
        assert store.execute("SELECT count(*) FROM masked").fetchone() == (0,)
        assert store.execute("SELECT count(*) FROM opening").fetchone() == (0,)


async def test_what_comes_late_for_a_closed_round_stays_shut(desk):
    await desk.state_all()
    desk.close(ITS_ROUND)
    assert await desk.state(ABSENT, ITS_ROUND) == [
        MaskedReceipt(1, ITS_ROUND, frozenset(), frozenset({ABSENT}), RejectReason.CLOSED_ROUND)
    ]
    with sqlite3.connect(desk.directory / "billing.sqlite") as store:
        kept = store.execute("SELECT count(*) FROM masked WHERE round = ? AND meter = ?", (ITS_ROUND, f"m{ABSENT}"))
        assert kept.fetchone() == (0,)


async def test_nobody_but_the_configurator_closes_a_round_and_one_decision_stands(desk):
    await desk.state_all()
    with pytest.raises(MessageError) as refused:
        desk.close(ITS_ROUND, signer=Identity.from_bytes(b"s" * 32))
    assert refused.value.reason is RejectReason.BAD_SIGNATURE
    desk.close(ITS_ROUND)
    desk.close(ITS_ROUND, absent=set())  # said twice: the first stands
    assert desk.mechanism.store.closings(1, 10, 14)[ITS_ROUND].absent == {ABSENT}


async def test_an_opening_that_contradicts_the_closing_is_counted_and_not_kept(desk):
    await desk.state_all()
    desk.close(ITS_ROUND)
    await desk.disclose(0, ITS_ROUND, absent=set())
    assert desk.agent.counters.counts == {"refused openings conflicting": 1}
    await desk.disclose(0, ITS_ROUND)
    with sqlite3.connect(desk.directory / "billing.sqlite") as store:
        assert store.execute("SELECT count(*), sum(left_out) FROM opening").fetchone() == (4, 1)
