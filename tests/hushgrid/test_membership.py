"""What an agent believes about the plan: the configurator's signature, its own floors, and versions that only rise (P20, P21)."""

from __future__ import annotations

import pytest
from builders import IDENTITIES, head, ppn_entries

from hushgrid import control
from hushgrid.control import EVERYBODY, Role, Statement, box_context
from hushgrid.errors import MessageError, RejectReason
from hushgrid.keyring import Keyring
from hushgrid.membership import Member, Membership
from hushgrid.plan import DigestTree, EpochKey, Floors, MeterPart, leaf
from hushgrid.sealing import Identity, seal_box
from hushgrid.topics import Channel, Topic

CONFIGURATOR, STRANGER = Identity.from_bytes(b"c" * 32), Identity.from_bytes(b"s" * 32)
FLOORS = Floors(threshold=3, minimum_contributors=15)


class Line:
    """A transport on which nothing is sent."""

    generation = 1


class Meter:
    """One meter's membership, fed by hand."""

    def __init__(self, directory, floors=FLOORS):
        self.now = 0.0
        self.keyring = Keyring(directory / "keys.sqlite")
        self.keyring.agreements(["m1"], range(2))
        self.adopted = []
        self.membership = Membership(
            Line(),
            self.keyring,
            directory / "plans.sqlite",
            grid="g",
            configurator=CONFIGURATOR.public,
            members=[Member("m1", Role.METER)],
            floors=floors,
            on_plan=lambda adopted: self.adopted.append(adopted.head.version),
            now=lambda: self.now,
        )

    def publish(self, found, signer=CONFIGURATOR):
        statement = Statement(
            sender="configurator", recipient=EVERYBODY, sequence=0, body=control.PublishedHead(head=found)
        )
        self.membership.hear(Topic("g", Channel.HEAD, None, "c"), statement.to_bytes(signer))

    def hand_over(self, version, points, tree, signer=CONFIGURATOR):
        body = control.PartPage(
            version=version, recipient="m1", page=0, pages=1, leaf=0, path=tree.path(0), part=part(points)
        )
        self.answer(body, signer)

    def answer(self, body, signer=CONFIGURATOR):
        wire = Statement(sender="configurator", recipient="m1", sequence=0, body=body).to_bytes(signer)
        key = self.keyring.agreement("m1", 0)
        box = seal_box(key.public, wire, box_context("g", "c", "m"))
        self.membership.hear(Topic("g", Channel.CONTROL, "m", "c"), box)

    @property
    def versions(self):
        return [found.version for found, _ in self.membership.plans]


def part(points):
    return MeterPart(number=0, points=points, rules=1).to_json().decode()


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
    meter.answer(control.PublishedHead(head=newest))
    meter.answer(control.PublishedHead(head=missed))
    meter.hand_over(2, (2, 3, 4, 5), its_tree)
    assert not meter.membership.current
    meter.hand_over(3, (1, 2, 3, 4), tree)
    assert meter.adopted == [1, 2, 3]
    assert meter.membership.plans.in_force(25)[0].version == 2
    assert Meter(tmp_path).versions == [1, 2, 3]


def test_a_missed_plan_of_which_the_configurator_has_nothing_left_holds_nobody_up(meter):
    newest, tree = plan(3)
    meter.publish(newest)
    meter.answer(control.PublishedHead(head=plan(2)[0]))
    meter.answer(control.NoPart(version=2, recipient="m1"))
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
                meter.answer(control.PublishedHead(head=plan(2, minimum_contributors=14)[0]))
            else:
                meter.answer(control.PublishedHead(head=missed))
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
