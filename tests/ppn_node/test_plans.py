"""The keys a PPN uses are of one kind each, whoever announces whose public key; a consumer is told once under each name."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from hushgrid.core.sealing import Agreement, Identity, Kind, SealingKey
from hushgrid.plan.head import EpochKey
from hushgrid.shell.keyring import EpochKeys
from ppn_node.plans import Assignments

GRID = "g"


def test_a_meter_that_announces_a_consumers_public_key_changes_nothing_for_the_consumer():
    own, consumer, identity = Agreement.generate(), Agreement.generate(), Identity.generate()
    plans = Assignments(SimpleNamespace(grid=GRID, keys=EpochKeys({0: own}.get, GRID)))
    entry = SimpleNamespace(identity=identity.public, key=EpochKey.sign(identity, GRID, 0, consumer.public))
    plan = SimpleNamespace(head=SimpleNamespace(epoch=0), meters={7: SimpleNamespace(agreement=consumer.public)})
    plans.meter_key(plan, 7)  # the meter's share comes first
    theirs = SealingKey.derive(
        consumer, own.public, kind=Kind.AGGREGATE, grid=GRID, epoch=0, sender=own.public, recipient=consumer.public
    )
    wire = plans.consumer_key(plan, entry).seal(b"text", b"context", stream=0, round_number=1)
    assert theirs.unseal(wire, b"context", stream=0, round_number=1) == b"text"


@pytest.mark.parametrize(
    ("names", "told"), [({1: "a"}, ["a"]), ({1: "a", 2: "a"}, ["a"]), ({1: "a", 2: "b"}, ["b", "a"])]
)
def test_a_consumer_has_each_of_its_addresses_once(names, told):
    in_force = SimpleNamespace(
        newest=(SimpleNamespace(version=max(names)),), in_force=lambda _r: (SimpleNamespace(version=1),)
    )
    plans = Assignments(SimpleNamespace(membership=SimpleNamespace(plans=in_force)))
    for version, name in names.items():
        entry = SimpleNamespace(key=SimpleNamespace(pseudonym=name))
        plans._by_version[version] = SimpleNamespace(consumers={"utility": entry})
    assert plans.addresses("utility", 10) == told
