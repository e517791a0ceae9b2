"""Shares at a station, from the reading to the receipt: said once, kept as the same bytes, and keys let go of in time."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from support.builders import FIELD, IDENTITIES, head

from hushgrid.core import shamir
from hushgrid.core.bitmap import Bitmap
from hushgrid.core.encoding import lower
from hushgrid.core.schedule import Pace
from hushgrid.core.sealing import Agreement, Kind, SealingKey
from hushgrid.errors import MessageError, RejectReason
from hushgrid.plan.book import PlanBook
from hushgrid.plan.following import AdoptedPlan
from hushgrid.plan.head import EpochKey, PpnEntry
from hushgrid.plan.parts import MeterPart
from hushgrid.shell.keyring import Keyring
from hushgrid.shell.runtime import Backoff, Counters
from hushgrid.wire.shares import Closing, Envelope, Receipt, RepairRequest, ShareText, share_context
from hushgrid.wire.topics import Channel, Topic
from meter_agent.cover import Bare
from meter_agent.link import PERFECT
from meter_agent.shares.service import Sharing

METERS = ("m0", "m1", "m2")
POINTS = (1, 2, 3, 4)
PPN_KEYS = {n: Agreement.from_bytes(bytes([40 + n]) * 32) for n in IDENTITIES}


def plan_of(version, epoch=0, valid_from_round=10):
    ppns = tuple(
        PpnEntry(
            id=f"ppn-{n}", point=n, operator=f"o{n}", identity=identity.public,
            key=EpochKey.sign(identity, "g", epoch, PPN_KEYS[n].public),
        )
        for n, identity in IDENTITIES.items()
    )  # fmt: skip
    return head(version, epoch=epoch, valid_from_round=valid_from_round, ppns=ppns)


class HandFedStation:
    """What of `hushgrid.shell.agent.Agent` the sharing uses, and the sharing over a real keyring and a real outbox."""

    grid = "g"

    def __init__(self, directory):
        self.directory = directory
        self.keyring = Keyring(directory / "keys.sqlite")
        self.keyring.agreements(list(METERS), range(2))
        self.counters = Counters()
        self.pacing = SimpleNamespace(pace=None)
        self.membership = SimpleNamespace(plans=PlanBook())
        self.sent = []
        self.readings = {(meter, r): 100 * n + r for n, meter in enumerate(METERS) for r in range(40)}
        self.begin()

    def begin(self):
        """As after a kill: only the disk is left."""
        self.backoff = Backoff(first_seconds=3600.0)
        self.sharing = Sharing(
            self, self.directory / "outbox.sqlite", METERS, link=PERFECT, backoff=self.backoff, most=2, read=self._read,
            cover=lambda _meter, _round: Bare(), wake=lambda: None,
        )  # fmt: skip
        for _, adopted in self.membership.plans:
            self.sharing.adopt(adopted)

    def adopt(self, plan, meters=METERS):
        adopted = AdoptedPlan(plan, {m: (MeterPart(number=METERS.index(m), points=POINTS, rules=1),) for m in meters})
        self.membership.plans.add(plan, adopted)
        self.sharing.adopt(adopted)
        return self

    async def _read(self, meter, round_number):
        watt_hours = self.readings[meter, round_number]
        return None if watt_hours is None else (watt_hours,)

    async def send(self, channel, recipient, payload):
        assert channel is Channel.SHARE
        self.sent.append((recipient, Envelope.from_bytes(payload)))

    def changed(self):
        pass

    async def through(self, metered, frozen=None, *, again=True):
        """All that is due; what was sent. again: what has no answer is said again."""
        self.pacing.pace = Pace(metered, metered - 1 if frozen is None else frozen)
        if again:
            self.backoff.restart()
        return await self.advanced()

    async def advanced(self):
        self.sent.clear()
        await self.sharing.advance()
        return [envelope for _, envelope in self.sent]

    async def hear(self, said, point, signer=None):
        """A PPN's word; what is sent in answer."""
        self.sent.clear()
        sender = IDENTITIES[point].pseudonym("g", 0)
        payload = said.to_bytes(IDENTITIES[signer or point], "here")
        await self.sharing.hear(Topic("g", Channel.RECEIPT, "here", sender), payload)
        return [envelope for _, envelope in self.sent]

    async def receipt_all(self, envelopes):
        for each in envelopes:
            full, none = Bitmap.full(each.size), Bitmap(each.size)
            await self.hear(Receipt(each.round, each.point, each.sequence, full, none), each.point)


def reading(station, plan, envelopes, meter):
    """What t PPNs together make of a meter's shares; None for "no reading"."""
    number, own = METERS.index(meter), station.keyring.agreement(meter, plan.epoch).public
    texts = {}
    for envelope in envelopes:
        for found, sealed in envelope.shares.values():
            if found == number:
                to = PPN_KEYS[envelope.point]
                key = SealingKey.derive(
                    to, own, kind=Kind.SHARE, grid="g", epoch=plan.epoch, sender=own, recipient=to.public
                )
                context = share_context(plan.digest, number, envelope.point, envelope.round)
                text = key.unseal(sealed, context, stream=0, round_number=envelope.round)
                texts[envelope.point] = ShareText.from_bytes(text, 1, FIELD)
    assert set(texts) == set(POINTS)
    if any(text.elements is None for text in texts.values()):
        return None
    secret = shamir.recombine({p: text.elements[0] for p, text in texts.items()}, plan.threshold, FIELD)
    return lower(secret, plan.reading_bound_watt_hours, FIELD)


@pytest.fixture
def station(tmp_path):
    return HandFedStation(tmp_path)


async def test_a_round_is_shared_for_every_meter_and_comes_out_as_it_was_read(station):
    plan = plan_of(1)
    station.adopt(plan).readings["m2", 10] = None
    sent = await station.through(10)
    assert [reading(station, plan, sent, meter) for meter in METERS] == [10, 110, None]
    assert {to for to, _ in station.sent} == {plan.ppn(point).key.pseudonym for point in POINTS}
    assert all(len(envelope.shares) <= 2 for envelope in sent)
    assert station.sharing.figures() == {
        "outbox": 8,
        "waiting": 12,
        "held_back": 0,
        "gone": 0,
        "shares": 12,
        "repaired": 0,
        "repeated": 0,
    }


async def test_what_has_no_receipt_is_said_again_as_the_same_bytes_and_over_a_kill(station):
    station.adopt(plan_of(1))
    sent = await station.through(10)
    assert await station.through(10, again=False) == []
    assert await station.through(10) == sent
    station.readings["m0", 10] = 999
    station.begin()
    assert await station.through(10) == sent
    await station.receipt_all(sent)
    assert await station.through(10) == []
    assert station.sharing.figures()["repeated"] == 12


def shares_of(envelopes):
    return {share for envelope in envelopes for share in envelope.shares.values()}


async def test_a_ppn_that_lacks_shares_gets_the_same_ones_under_its_attempt(station):
    station.adopt(plan_of(1))
    sent = await station.through(10)
    again = await station.hear(RepairRequest(10, 2, 3, (0, 2)), 2)
    assert {envelope.attempt for envelope in again} == {3}
    assert {number for number, _ in shares_of(again)} == {0, 2}
    assert shares_of(again) <= shares_of(envelope for envelope in sent if envelope.point == 2)
    assert station.sharing.figures()["repaired"] == 2
    assert await station.hear(RepairRequest(99, 2, 1, (0,)), 2) == []


async def test_a_closing_ends_what_waits_at_that_ppn_only(station):
    station.adopt(plan_of(1))
    await station.through(10)
    await station.hear(Closing(10, 3), 3)
    assert {envelope.point for envelope in await station.through(10)} == {1, 2, 4}


@pytest.mark.parametrize(
    "said",
    [Receipt(10, 2, 0, Bitmap.full(2), Bitmap(2)), Closing(10, 2), RepairRequest(10, 2, 1, (0,))],
    ids=["receipt", "closing", "request"],
)
async def test_a_ppn_speaks_for_its_own_point_and_in_its_own_name(station, said):
    station.adopt(plan_of(1))
    sent = await station.through(10)
    with pytest.raises(MessageError) as refusal:
        await station.hear(said, 1)
    assert refusal.value.reason is RejectReason.WRONG_SENDER
    with pytest.raises(MessageError) as refusal:
        await station.hear(said, 2, signer=1)
    assert refusal.value.reason is RejectReason.BAD_SIGNATURE
    assert await station.through(10) == sent


async def test_nobody_who_is_in_no_plan_is_heard(station):
    with pytest.raises(MessageError) as refusal:
        await station.hear(Closing(10, 2), 2)
    assert refusal.value.reason is RejectReason.UNKNOWN_SENDER


async def test_what_is_frozen_is_not_shared_any_more_and_not_owed(station):
    station.adopt(plan_of(1))
    assert list(station.sharing.stated_through()) == [9, 9, 9]
    sent = await station.through(14, frozen=12)
    assert {envelope.round for envelope in sent} == {13, 14}
    assert list(station.sharing.stated_through()) == [14, 14, 14]
    station.pacing.pace = Pace(20, 18)
    assert list(station.sharing.stated_through()) == [18, 18, 18]


async def test_a_meter_that_no_plan_asks_owes_nothing(station):
    station.adopt(plan_of(1), meters=["m1"])
    assert station.sharing.in_plan(1) == {"m1"}
    station.pacing.pace = Pace(12, 9)
    assert list(station.sharing.stated_through()) == [12, 9, 12]
    assert {number for number, _ in shares_of(await station.through(12, 9))} == {1}


async def test_a_round_is_under_the_plan_in_force_for_it(station):
    first, second = plan_of(1), plan_of(2, epoch=1, valid_from_round=11)
    station.adopt(first).adopt(second)
    sent = await station.through(11, frozen=9)
    for plan, r in ((first, 10), (second, 11)):
        of_round = [envelope for envelope in sent if envelope.round == r]
        assert {envelope.plan_version for envelope in of_round} == {plan.version}
        assert reading(station, plan, of_round, "m1") == 100 + r


async def test_keys_are_let_go_of_when_a_later_epoch_has_begun_and_all_is_said(station):
    station.adopt(plan_of(1)).adopt(plan_of(2, epoch=1, valid_from_round=11))
    assert station.sharing.let_go(9) is None, "no plan has begun"
    sent = await station.through(10)
    assert station.sharing.let_go(10) == 0
    assert station.sharing.let_go(11) == 1
    assert list(station.sharing._keys) == [2]
    assert station.sharing.in_plan(1) == set(METERS)
    assert await station.through(10) == sent, "what is sealed already needs no key"
