"""When the conductor goes on, and when it gives up."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from hushgrid.conducted.statements import Report
from hushgrid.core.sealing import Agreement, Identity, seal_box
from hushgrid.statements.statement import Statement, box_context
from hushgrid.wire.role import Role
from hushgrid.wire.topics import Channel, parse, topic
from testbed.run import conductor as conductor_module
from testbed.run import waiting
from testbed.run.conductor import Conductor, StalledError


class Deaf:
    """A broker that takes nothing."""

    pseudonym = "conductor"

    async def publish(self, *_: Any, **__: Any) -> None:
        """Never acknowledged."""
        await asyncio.Event().wait()


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
    with pytest.raises(StalledError, match=r"nothing moved .* the readings of round 1 from fleet-1, fleet-2"):
        async with asyncio.timeout(120):
            await conductor.until(lambda: conductor.settled(1), lambda: conductor.unsettled(1))
    trying.cancel()


async def test_what_gets_on_is_waited_for(conductor: Conductor) -> None:
    async def get_on() -> None:
        for left in range(15, -1, -1):
            report(conductor, "fleet-1", stated_through=1, waiting=left)
            report(conductor, "fleet-2", stated_through=1, waiting=0)
            await asyncio.sleep(0.1)

    getting_on = asyncio.create_task(get_on())
    async with asyncio.timeout(120):
        await conductor.until(lambda: conductor.settled(1), lambda: conductor.unsettled(1))
    await getting_on


async def test_a_round_without_somebody_ends_in_silence_once_all_others_have_stated_it(
    conductor: Conductor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conductor_module, "_QUIET_SECONDS", 0.3)
    conductor._stall_seconds = 60.0
    conductor.leave_behind("fleet-2")
    report(conductor, "fleet-1", stated_through=0, waiting=2)
    asked: asyncio.Queue[bool] = asyncio.Queue()  # once it has been quiet for so long

    def over() -> bool:
        asked.put_nowait(conductor._done_without_some(1))
        return conductor._done_without_some(1)

    ending = asyncio.create_task(conductor.until(lambda: conductor.settled(1), lambda: conductor.unsettled(1), over))
    async with asyncio.timeout(120):
        assert not await asked.get()
    assert not ending.done()
    report(conductor, "fleet-1", stated_through=1, waiting=2)
    async with asyncio.timeout(120):
        await ending


async def test_shares_held_back_for_who_is_away_hold_up_neither_a_round_nor_the_end(conductor: Conductor) -> None:
    report(conductor, "fleet-1", stated_through=1, waiting=4, held_back=4, gone=1, outbox=2)
    report(conductor, "fleet-2", stated_through=1, waiting=0, held_back=0, gone=1)
    assert not conductor.settled(1), "nobody is away: whoever is gone comes back"
    assert not conductor.drained()
    conductor.leave_behind("ppn-1", for_good=False)
    assert not conductor.settled(1), "it comes back: until nothing moves its shares are waited for"
    assert conductor.drained()
    conductor.welcome("ppn-1")
    assert not conductor.drained()
    conductor.leave_behind("ppn-1")
    assert conductor.settled(1)
    assert conductor.drained()
    assert not conductor.settled(2)
    report(conductor, "fleet-2", stated_through=1, waiting=3, held_back=3, gone=2)
    assert not conductor.settled(1), "one of the two that are gone comes back"
    report(conductor, "fleet-2", stated_through=1, waiting=3, held_back=2, gone=1)
    assert not conductor.settled(1), "a share is on its way to somebody who is here"


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


async def test_the_pace_is_said_again_while_a_round_of_fixed_length_goes_by(
    conductor: Conductor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conductor_module, "_REPEAT_SECONDS", 0.05)
    said: list[bytes] = []
    often = asyncio.Event()

    async def publish(_name: str, payload: bytes, *, retain: bool) -> None:
        assert retain
        said.append(payload)
        if said.count(payload) == 4:
            often.set()

    conductor._transport.publish = publish  # type: ignore[method-assign,assignment]
    report(conductor, "configurator", planned_through=99, heard_through=9)
    report(conductor, "fleet-1")
    report(conductor, "fleet-2")
    round_by_round = asyncio.create_task(conductor.play(9, 9, 3600.0))
    async with asyncio.timeout(300):
        await often.wait()
    assert len(set(said)) == 2, "before the round, and while it goes by"
    round_by_round.cancel()


async def test_a_broker_that_takes_nothing_is_named_and_not_waited_for_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(waiting, "FIRST_WORD_SECONDS", 1.0)
    said: list[str] = []
    deaf = Conductor(
        Deaf(),  # type: ignore[arg-type]
        Identity.generate(),
        Agreement.generate(),
        "g",
        configurator="configurator",
        stations=[],
        adopters=[],
        stall_seconds=3.0,
        words=waiting.Words(said.append, lambda: ["broker (ended with status -9)"]),
    )
    with pytest.raises(StalledError, match=r"the broker to take the pace; gone: broker \(ended with status -9\)"):
        async with asyncio.timeout(120):
            await deaf.announce(1, 1)
    assert said
    assert said[0].startswith("waiting for the broker to take the pace; gone: broker")
