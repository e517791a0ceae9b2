"""When the conductor goes on, and when it gives up."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from hushgrid.control import Report, Role, Statement, box_context
from hushgrid.sealing import Agreement, Identity, seal_box
from hushgrid.topics import Channel, parse, topic
from testbed import conductor as conductor_module
from testbed.conductor import Conductor, StalledError


class Nowhere:
    """A transport whose messages go nowhere."""

    pseudonym = "conductor"

    async def publish(self, *_: Any, **__: Any) -> None:
        """Gone."""


@pytest.fixture
def conductor() -> Conductor:
    return Conductor(
        Nowhere(),  # type: ignore[arg-type]
        Identity.generate(),
        Agreement.generate(),
        "g",
        configurator="configurator",
        stations=["fleet-1", "fleet-2"],
        adopters=["fleet-1", "fleet-2"],
        stall_seconds=0.5,
    )


def report(conductor: Conductor, agent: str, plan_version: int = 1, **figures: int) -> None:
    """What an agent says arrives."""
    role = Role.CONFIGURATOR if agent == "configurator" else Role.CARRIER
    body = Report(role=role, plan_version=plan_version, figures=figures)
    statement = Statement(sender=agent, recipient="conductor", sequence=0, body=body)
    wire = statement.to_bytes(Identity.generate())
    box = seal_box(conductor._agreement.public, wire, box_context("g", agent, "conductor"))
    conductor._hear(parse(topic("g", Channel.CONTROL, agent, "conductor")), box)


async def test_trying_again_is_no_movement(conductor: Conductor) -> None:
    async def try_again() -> None:
        for count in range(1000):
            report(conductor, "fleet-1", stated_through=1, waiting=3, repeated=count, **{"refused share late": count})
            await asyncio.sleep(0.1)

    trying = asyncio.create_task(try_again())
    with pytest.raises(StalledError, match=r"nothing moved .* the shares of round 1 from fleet-1, fleet-2"):
        async with asyncio.timeout(20):
            await conductor.until(lambda: conductor.settled(1), lambda: conductor.unsettled(1))
    trying.cancel()


async def test_what_gets_on_is_waited_for(conductor: Conductor) -> None:
    async def get_on() -> None:
        for left in range(15, -1, -1):
            report(conductor, "fleet-1", stated_through=1, waiting=left)
            report(conductor, "fleet-2", stated_through=1, waiting=0)
            await asyncio.sleep(0.1)

    getting_on = asyncio.create_task(get_on())
    async with asyncio.timeout(20):
        await conductor.until(lambda: conductor.settled(1), lambda: conductor.unsettled(1))
    await getting_on


async def test_a_round_without_somebody_ends_in_silence_once_all_others_have_stated_it(
    conductor: Conductor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conductor_module, "_QUIET_SECONDS", 0.3)
    conductor._stall_seconds = 60.0
    conductor.leave_behind("fleet-2")
    report(conductor, "fleet-1", stated_through=0, waiting=2)
    ending = asyncio.create_task(
        conductor.until(
            lambda: conductor.settled(1), lambda: conductor.unsettled(1), lambda: conductor._done_without_some(1)
        )
    )
    await asyncio.sleep(1.5)
    assert not ending.done()
    report(conductor, "fleet-1", stated_through=1, waiting=2)
    async with asyncio.timeout(20):
        await ending


async def test_no_round_begins_that_a_plan_still_to_come_may_begin_with(conductor: Conductor) -> None:
    await conductor.announce(9, 9)
    for agent in ("fleet-1", "fleet-2"):
        report(conductor, agent)
    report(conductor, "configurator", planned_through=99, heard_through=7)
    assert not conductor.planned(10)  # it may yet plan from round 10 on, two rounds behind the pace it has heard
    report(conductor, "configurator", planned_through=99, heard_through=8)
    assert conductor.planned(10)


async def test_rounds_go_on_while_the_broker_itself_is_away(conductor: Conductor) -> None:
    report(conductor, "fleet-1")
    report(conductor, "fleet-2")
    report(conductor, "configurator", planned_through=99, heard_through=1)
    await conductor.announce(9, 9)
    assert not conductor.planned(10)
    conductor.leave_behind("broker")
    assert conductor.planned(10)
    assert conductor._done_without_some(10)
    conductor.welcome("broker")
    assert not conductor.planned(10)
