"""A station holds a mechanism for each way of saying readings that some plan asks of its meters, and no other."""

from __future__ import annotations

import pytest
from support.builders import head

from hushgrid.core.sealing import Agreement, Identity
from hushgrid.errors import MessageError, RejectReason
from hushgrid.plan.following import AdoptedPlan
from hushgrid.plan.head import EpochKey
from hushgrid.plan.parts import ConsumerEntry, MaskingPart, MaskTerms, MeterPart
from hushgrid.shell.config import AgentSection, ConfiguratorSection
from hushgrid.shell.membership import Member
from hushgrid.testing.memory_broker import MemoryBroker
from hushgrid.wire.role import Role
from hushgrid.wire.topics import Channel, Topic
from meter_agent.config import MeterConfig
from meter_agent.cover import Bare, Silent
from meter_agent.service import MeterStation
from meter_agent.shares.service import Sharing
from meter_agent.sources.sections import SourceSection

SUPPLIER = Identity.from_bytes(b"s" * 32)
HEAD = head(1, valid_from_round=10)


@pytest.fixture
def station(tmp_path):
    config = MeterConfig(
        agent=AgentSection(id="m0", grid="g", state_directory=tmp_path),
        configurator=ConfiguratorSection(identity=Identity.from_bytes(b"c" * 32).public),
        source=SourceSection(kind="constructed"),
    )
    made = MeterStation(config, [Member("m0", Role.METER, None)], None, MemoryBroker().transport("m0"))
    made.agent.keyring.agreements(["m0"], range(2))
    return made


def asks(station, *parts):
    """A plan with these parts for the meter."""
    adopted = AdoptedPlan(HEAD, {"m0": parts})
    station.agent.membership.plans.add(HEAD, adopted)
    station._adopt(adopted)


def masking(mechanism):
    terms = MaskTerms(
        stream=0 if mechanism == "both" else 1, mechanism=mechanism, variant="hardened", period_rounds=5, from_round=10,
        graph=b"g" * 32, self_masks=False, colluders=1,
    )  # fmt: skip
    key = EpochKey.sign(SUPPLIER, "g", 0, Agreement.from_bytes(b"o" * 32).public)
    consumer = None if mechanism == "both" else ConsumerEntry(id="supplier", identity=SUPPLIER.public, key=key)
    return MaskingPart(number=0, terms=terms, consumer=consumer, neighbours=(), isolated_epsilon="1/2")


SHARES = MeterPart(number=0, points=(1, 2, 3, 4), rules=1)


def test_a_station_that_masks_nothing_shares_bare(station):
    asks(station, SHARES)
    assert [type(each) for each in station.mechanisms] == [Sharing]
    assert station._cover("m0", 10) == Bare()


@pytest.mark.parametrize("channel", [Channel.MASKED, Channel.PAIR])
async def test_as_long_as_no_plan_asks_to_mask_nobody_has_to_say_anything_about_it(station, channel):
    asks(station, SHARES)
    with pytest.raises(MessageError) as refusal:
        await station._hear(Topic("g", channel, "m0", "somebody"), b"")
    assert refusal.value.reason is RejectReason.NOT_IN_PLAN


def test_a_plan_that_asks_to_mask_brings_the_mechanism_once_and_first(station):
    asks(station, SHARES)
    asks(station, SHARES, masking("both"))
    asks(station, SHARES, masking("both"))
    masked, shared = station.mechanisms
    assert type(masked).__module__ == "meter_agent.masked.service"
    assert isinstance(shared, Sharing)
    assert station._cover("m0", 9) == Silent(), "it masks what it shares, and has nothing to mask this round with"


@pytest.mark.parametrize(
    ("parts", "in_plan"), [((SHARES,), 1), ((masking("pairwise"),), 1), ((SHARES, masking("both")), 1), ((), 0)]
)
def test_a_meter_is_in_a_plan_once_however_often_it_is_asked(station, parts, in_plan):
    asks(station, *parts)
    assert station._figures()["in_plan"] == in_plan


def test_figures_of_all_mechanisms_are_added_up_and_say_how_far_the_slowest_is(station):
    asks(station, SHARES, masking("pairwise"))
    figures = station._figures()
    assert (figures["outbox"], figures["waiting"], figures["stated_through"]) == (0, 0, 9)
    assert {"shares", "masked", "pairs_open", "repaired", "repeated"} <= figures.keys()
