"""What an agent believes about the plan: the configurator's signature, its own floors, and versions that only rise (P20, P21)."""

from __future__ import annotations

import pytest
from support.builders import IDENTITIES, head, ppn_entries

from hushgrid.core.sealing import Identity, seal_box
from hushgrid.errors import MessageError, RejectReason
from hushgrid.plan.digest_tree import DigestTree, leaf
from hushgrid.plan.floors import Floors
from hushgrid.plan.head import EpochKey
from hushgrid.plan.parts import MeterPart
from hushgrid.shell.keyring import Keyring
from hushgrid.shell.membership import Member, Membership
from hushgrid.shell.plan_store import PlanStore
from hushgrid.statements.joining import Card, Enrolled, KeysKnown
from hushgrid.statements.plans import NoPart, PartPage, PublishedHead, RequestHead, RequestParts
from hushgrid.statements.statement import EVERYBODY, Statement, box_context
from hushgrid.wire.role import Role
from hushgrid.wire.topics import Channel, Topic

CONFIGURATOR, STRANGER = Identity.from_bytes(b"c" * 32), Identity.from_bytes(b"s" * 32)
FLOORS = Floors(threshold=3, minimum_contributors=15)


class Line:
    """A line that keeps what is sent: (to which pseudonym, statement)."""

    grid = "g"
    generation = 1

    def __init__(self):
        self.transport, self.sent = self, []

    async def send_sealed(self, recipient, _agreement, statement, _sender):
        self.sent.append((recipient, statement))


class Meter:
    """One meter's membership, fed by hand."""

    def __init__(self, directory, floors=FLOORS):
        self.now = 0.0
        self.keyring = Keyring(directory / "keys.sqlite")
        self.keyring.agreements(["m1"], range(2))
        self.adopted = []
        self.line, self.directory, self.on_disk = Line(), directory, []
        self.membership = Membership(
            self.line,
            self.keyring,
            directory / "plans.sqlite",
            configurator=CONFIGURATOR.public,
            members=[Member("m1", Role.METER)],
            floors=floors,
            on_plan=self.adopt,
            now=lambda: self.now,
        )

    def adopt(self, adopted):
        self.adopted.append(adopted.head.version)
        self.on_disk = PlanStore(self.directory / "plans.sqlite").adopted()

    def publish(self, found, signer=CONFIGURATOR, recipient=EVERYBODY):
        statement = Statement(sender="configurator", recipient=recipient, sequence=0, body=PublishedHead(head=found))
        self.membership.hear(Topic("g", Channel.HEAD, None, "c"), statement.to_bytes(signer))

    def show(self, card, sender=None):
        statement = Statement(sender="configurator", recipient=EVERYBODY, sequence=0, body=card)
        self.membership.hear(
            Topic("g", Channel.CARD, None, sender or card.key.pseudonym), statement.to_bytes(CONFIGURATOR)
        )

    async def asked(self):
        """What it says to the configurator when it looks around now: (to which pseudonym, body)."""
        del self.line.sent[:]
        await self.membership._ask()
        return [(recipient, statement.body) for recipient, statement in self.line.sent]

    def hand_over(self, version, points, tree, signer=CONFIGURATOR):
        body = PartPage(version=version, recipient="m1", page=0, pages=1, leaf=0, path=tree.path(0), part=part(points))
        self.answer(body, signer)

    def answer(self, body, signer=CONFIGURATOR, recipient="m1"):
        wire = Statement(sender="configurator", recipient=recipient, sequence=0, body=body).to_bytes(signer)
        key = self.keyring.agreement("m1", 0)
        box = seal_box(key.public, wire, box_context("g", "c", "m"))
        self.membership.hear(Topic("g", Channel.CONTROL, "m", "c"), box)

    @property
    def versions(self):
        return [found.version for found, _ in self.membership.plans]


def part(points):
    return MeterPart(number=0, points=points, rules=1).to_json().decode()


def card(epoch, grid="g", signer=CONFIGURATOR):
    return Card(grid=grid, key=EpochKey.sign(signer, grid, epoch, bytes([epoch]) * 32))


def plan(version=1, points=(1, 2, 3, 4), **changes):
    tree = DigestTree.over([leaf("m1", 0, part(points).encode())])
    return head(version, parts_root=tree.root, valid_from_round=10 * version, **changes), tree


def adopt(meter, version=1, points=(1, 2, 3, 4), **changes):
    found, tree = plan(version, points, **changes)
    meter.publish(found)
    meter.hand_over(version, points, tree)


@pytest.fixture
def meter(tmp_path):
    found = Meter(tmp_path)
    adopt(found)
    assert found.adopted == [1]
    return found


def refused(reason):
    return pytest.raises(MessageError, match=f"^{reason.value}")


def test_a_plan_is_adopted_with_its_part_and_a_later_one_too(meter):
    adopt(meter, 2, (2, 3, 4, 5))
    assert meter.adopted == meter.versions == [1, 2]
    assert meter.membership.plans.in_force(15)[0].version == 1
    assert meter.membership.plans.in_force(20)[0].version == 2


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"threshold": 2, "width": 3}, RejectReason.BELOW_FLOOR),
        ({"minimum_contributors": 14}, RejectReason.BELOW_FLOOR),
        ({"ppns": (ppn_entries()[0].model_copy(update={"identity": STRANGER.public}), *ppn_entries()[1:])}, RejectReason.BAD_SIGNATURE),
    ],
)  # fmt: skip
def test_a_plan_below_the_meters_own_floors_is_refused_and_the_old_one_stays(meter, changes, reason):
    with refused(reason):
        meter.publish(plan(2, **changes)[0])
    assert meter.versions == [1]


def test_a_plan_that_the_configurator_did_not_sign_is_refused(meter):
    with refused(RejectReason.BAD_SIGNATURE):
        meter.publish(plan(2)[0], signer=STRANGER)
    found, tree = plan(2)
    meter.publish(found)
    with refused(RejectReason.BAD_SIGNATURE):
        meter.hand_over(2, (1, 2, 3, 4), tree, signer=STRANGER)
    assert meter.versions == [1]


def test_a_part_that_is_not_under_the_signed_root_is_refused(meter):
    found, tree = plan(2)
    meter.publish(found)
    with refused(RejectReason.BAD_SIGNATURE):
        meter.hand_over(2, (1, 2, 3, 5), tree)
    assert meter.versions == [1]


def test_a_part_that_gives_one_operator_t_shares_is_refused(meter):
    entries = ppn_entries()
    north = tuple(ppn.model_copy(update={"operator": "north"}) for ppn in entries[:3]) + entries[3:]
    found, tree = plan(2, ppns=north)
    meter.publish(found)
    with refused(RejectReason.BELOW_FLOOR):
        meter.hand_over(2, (1, 2, 3, 4), tree)
    assert meter.versions == [1]
    adopt(meter, 3, (1, 2, 4, 5), ppns=north)
    assert meter.versions == [1, 3]


def test_a_plan_that_came_and_went_while_the_meter_was_away_is_asked_for_and_adopted_first(meter, tmp_path):
    missed, its_tree = plan(2, (2, 3, 4, 5))
    newest, tree = plan(3)
    meter.publish(newest)
    meter.hand_over(3, (1, 2, 3, 4), tree)
    assert meter.versions == [1], "parts of a plan are taken in order"
    meter.answer(PublishedHead(head=newest))
    meter.answer(PublishedHead(head=missed))
    meter.hand_over(2, (2, 3, 4, 5), its_tree)
    assert not meter.membership.current
    meter.hand_over(3, (1, 2, 3, 4), tree)
    assert meter.adopted == [1, 2, 3]
    assert meter.membership.plans.in_force(25)[0].version == 2
    assert Meter(tmp_path).versions == [1, 2, 3]


def test_a_missed_plan_of_which_the_configurator_has_nothing_left_holds_nobody_up(meter):
    newest, tree = plan(3)
    meter.publish(newest)
    meter.answer(PublishedHead(head=plan(2)[0]))
    meter.answer(NoPart(version=2, recipient="m1"))
    meter.hand_over(3, (1, 2, 3, 4), tree)
    assert meter.adopted == [1, 2, 3]


@pytest.mark.parametrize("when", ["its head", "its part", "its part, before"])
def test_a_missed_plan_that_the_meter_refuses_is_passed_over(meter, when):
    entries = ppn_entries()
    north = tuple(ppn.model_copy(update={"operator": "north"}) for ppn in entries[:3]) + entries[3:]
    missed, its_tree = plan(2, ppns=north)
    newest, tree = plan(3)
    if when == "its part, before":
        meter.publish(missed)
        with refused(RejectReason.BELOW_FLOOR):
            meter.hand_over(2, (1, 2, 3, 4), its_tree)
        meter.publish(newest)
    else:
        meter.publish(newest)
        with refused(RejectReason.BELOW_FLOOR):
            if when == "its head":
                meter.answer(PublishedHead(head=plan(2, minimum_contributors=14)[0]))
            else:
                meter.answer(PublishedHead(head=missed))
                meter.hand_over(2, (1, 2, 3, 4), its_tree)
    meter.hand_over(3, (1, 2, 3, 4), tree)
    assert meter.adopted == [1, 3]


def test_what_is_known_is_current_once_the_newest_head_was_heard_on_this_connection(meter, tmp_path):
    assert meter.membership.current
    again = Meter(tmp_path)
    assert not again.membership.current
    again.publish(plan()[0])
    assert again.membership.current
    again.publish(plan(2)[0])
    assert not again.membership.current, "its parts are still to come"
    alone = Meter(tmp_path)
    alone.now = 5.1
    assert alone.membership.current, "no head came: the broker keeps none"


def test_versions_only_rise_and_one_version_is_one_plan_after_a_restart_too(meter, tmp_path):
    adopt(meter, 2)
    adopt(meter, 3)
    for held in (meter, Meter(tmp_path)):
        for version, changes in ((2, {}), (1, {}), (3, {"width": 5})):
            with refused(RejectReason.ROLLED_BACK):
                held.publish(plan(version, **changes)[0])
        assert held.versions == [1, 2, 3]


def test_a_pinned_ppn_keeps_its_identity(tmp_path):
    pinned = Meter(tmp_path, Floors(3, 15, (("ppn-1", IDENTITIES[1].public), ("ppn-2", STRANGER.public))))
    with refused(RejectReason.BELOW_FLOOR):
        pinned.publish(plan()[0])


def test_a_key_of_another_epoch_or_grid_is_no_key(meter):
    foreign = ppn_entries()[0].model_copy(update={"key": EpochKey.sign(IDENTITIES[1], "other", 0, b"k" * 32)})
    with refused(RejectReason.BAD_SIGNATURE):
        meter.publish(plan(2, ppns=(foreign, *ppn_entries()[1:]))[0])


def test_a_plan_is_on_disk_when_it_is_first_spoken_of(meter):
    assert [kept.head for kept in meter.on_disk] == [plan()[0]]
    assert meter.on_disk[0].parts == meter.membership.plans.newest[1].parts


def test_what_is_said_to_another_is_not_taken(meter):
    found, tree = plan(2)
    with refused(RejectReason.WRONG_RECIPIENT):
        meter.publish(found, recipient="m1")
    meter.publish(found)
    body = PartPage(version=2, recipient="m1", page=0, pages=1, leaf=0, path=tree.path(0), part=part((1, 2, 3, 4)))
    for recipient in ("m2", EVERYBODY):
        with refused(RejectReason.WRONG_RECIPIENT):
            meter.answer(body, recipient=recipient)
    meter.answer(body.model_copy(update={"recipient": "m2"}))
    assert meter.versions == [1]
    meter.answer(body)
    assert meter.versions == [1, 2]


def test_a_head_of_another_grid_is_refused(meter):
    with refused(RejectReason.UNKNOWN_KIND):
        meter.publish(plan(2, grid="other", ppns=())[0])
    assert meter.membership.current


async def test_the_configurator_is_spoken_to_under_its_newest_card(meter):
    assert not await meter.membership.tell("m1", KeysKnown(epoch=0)), "no card yet"
    for epoch in (1, 0):
        meter.show(card(epoch))
    assert await meter.membership.tell("m1", KeysKnown(epoch=0))
    assert meter.line.sent[-1][0] == CONFIGURATOR.pseudonym("g", 1)
    assert meter.membership.epoch == 1
    meter.show(card(2))
    await meter.membership.tell("m1", KeysKnown(epoch=0))
    assert meter.line.sent[-1][0] == CONFIGURATOR.pseudonym("g", 2)


def test_a_card_that_is_not_the_configurators_own_is_refused(meter):
    with refused(RejectReason.UNKNOWN_KIND):
        meter.show(card(1, grid="other"))
    with refused(RejectReason.BAD_SIGNATURE):
        meter.show(card(1, signer=STRANGER))
    with refused(RejectReason.WRONG_SENDER):
        meter.show(card(1), sender=CONFIGURATOR.pseudonym("g", 0))
    assert meter.membership.epoch == 0


async def test_it_asks_for_the_missed_head_then_for_its_parts_and_repeats_what_has_no_answer(meter):
    meter.show(card(0))
    meter.answer(Enrolled(number=3, epoch=1))
    name = CONFIGURATOR.pseudonym("g", 0)
    meter.publish(plan(3)[0])
    assert await meter.asked() == [(name, RequestHead(version=2))]
    assert await meter.asked() == []
    meter.now = 1.0
    assert await meter.asked() == [(name, RequestHead(version=2))]
    meter.answer(PublishedHead(head=plan(2)[0]))
    assert await meter.asked() == [(name, RequestParts(version=2, agents=("m1",)))]
    meter.hand_over(2, (1, 2, 3, 4), plan(2)[1])
    assert await meter.asked() == [(name, RequestParts(version=3, agents=("m1",)))]
    meter.hand_over(3, (1, 2, 3, 4), plan(3)[1])
    meter.now = 60.0
    assert await meter.asked() == []


async def test_a_missed_head_that_is_refused_is_not_asked_for_again(meter):
    meter.show(card(0))
    meter.answer(Enrolled(number=3, epoch=1))
    meter.publish(plan(3)[0])
    await meter.asked()
    with refused(RejectReason.BELOW_FLOOR):
        meter.answer(PublishedHead(head=plan(2, minimum_contributors=14)[0]))
    meter.now = 60.0
    assert [body for _, body in await meter.asked()] == [RequestParts(version=3, agents=("m1",))]
    assert meter.membership._backoff.seconds_to_next(meter.now) == 1.0, "nothing old is waited for"


def test_a_plan_that_would_go_back_is_not_kept(meter, tmp_path):
    """On the old shape it was on disk before it was refused, and the next start ended there."""
    back, tree = plan(2)
    back = back.model_copy(update={"valid_from_round": 9})
    meter.publish(back)
    with refused(RejectReason.ROLLED_BACK):
        meter.hand_over(2, (1, 2, 3, 4), tree)
    assert Meter(tmp_path).versions == [1]
