"""All services in one process over a broker in memory that drops, duplicates, reorders and corrupts what it carries."""

from __future__ import annotations

import asyncio
import random

import pytest
from support.village import FIRST, METERS, SETTLE_SECONDS, Village, play, until

from configurator.registry.registry import Registry
from configurator.values import GrantedRule
from hushgrid.testing.memory_broker import MemoryBroker

FAULTS = {"none": 0.0, "drop": 0.15, "duplicate": 0.5, "corrupt": 0.1, "reorder": 0.3}


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=[pytest.mark.system] if kind == "drop" else []) for kind in FAULTS]
)
async def test_every_window_is_exact_whatever_the_broker_does(tmp_path, kind):
    rng, held = random.Random(11), []

    def fault(name: str, payload: bytes) -> list[bytes]:
        if rng.random() >= FAULTS[kind] or "/clock/" in name or "/card/" in name or "/head/" in name or not payload:
            return [payload]
        if kind == "drop":
            return []
        if kind == "duplicate":
            return [payload, payload]
        if kind == "corrupt":
            at = rng.randrange(len(payload))
            return [payload[:at] + bytes([payload[at] ^ 1]) + payload[at + 1 :]]
        held.append((name, payload))
        return []

    broker = MemoryBroker(fault)

    async def release() -> None:
        while True:
            await asyncio.sleep(0.05)
            late, held[:] = held[:], []
            rng.shuffle(late)
            for name, payload in late:
                for session in list(broker.sessions.values()):
                    session.deliver(name, payload)

    village = Village(tmp_path, broker)
    releasing = asyncio.create_task(release())
    try:
        await play(village)
    finally:
        releasing.cancel()
    for row in village.results():
        assert row["status"] == "released", row
        assert row["included"] == row["expected"]
        assert row["watt_hours"] == village.truth(row["first_round"], row["last_round"])


@pytest.mark.system
async def test_the_clock_on_the_wall_paces_rounds_without_a_conductor(tmp_path):
    village = Village(tmp_path, MemoryBroker(), utc_seconds=1)
    services = village.services()
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(service.run()) for service in services.values()]
        await until(lambda: len([row for row in village.results() if row["status"] == "released"]) >= 6)
        for task in tasks:
            task.cancel()
    released = [row for row in village.results() if row["status"] == "released"]
    for row in released:
        assert (
            row["watt_hours"] == village.truth(row["first_round"], row["last_round"])
            or row["included"] < row["expected"]
        )
    assert any(row["included"] == row["expected"] for row in released)


async def test_what_was_granted_before_a_kill_is_planned_after_it_and_what_was_given_up_ends_later(
    tmp_path, monkeypatch
):
    village = Village(tmp_path, MemoryBroker())
    services = village.services()
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(service.run()) for service in services.values()]
        village.announce(-1, -1)
        in_plan = {"consumer": 2, "fleet": METERS}
        await until(lambda: all(services[name]._figures()["in_plan"] == count for name, count in in_plan.items()))
        for task in tasks:
            task.cancel()
    plans = len(services["configurator"].history.heads)  # one, or more where somebody registered late
    registry = Registry(tmp_path / "configurator" / "registry.sqlite")
    found, _ = registry.rules.standing()
    standing, request = found.granted, found.request.model_copy(update={"name": "late"})
    late = registry.rules.draft(request, "consumer", FIRST, 10, standing.cohort)
    points = {"points": standing.rule.points}
    registry.rules.grant(GrantedRule(late.rule.model_copy(update=points), late.cohort), request)
    registry.rules.change(standing.rule.model_copy(update={"until_round": FIRST + 1}))
    registry.close()
    village.broker = MemoryBroker()
    services = village.services()
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(service.run()) for service in services.values()]
        configurator = services["configurator"]
        asked, plan_if_due = [], configurator.planner.plan_if_due
        monkeypatch.setattr(configurator.planner, "plan_if_due", lambda now: asked.append(now) or plan_if_due(now))
        await until(lambda: asked and asked[-1] - asked[0] > 10 * SETTLE_SECONDS)
        assert len(configurator.history.heads) == plans, "without the pace nobody knows which rounds are to come"
        village.announce(FIRST + 3, FIRST + 3)
        await until(lambda: services["consumer"].agent.membership.plans.version(plans + 1) is not None)
        newest = configurator.history.newest
        assert {each.granted.rule.name for each in configurator.history.planned(newest)} == {"two", "late"}
        ended = {
            each.granted.rule.name: each.granted.rule.until_round for each in configurator.registry.rules.standing()
        }
        assert ended == {"all": newest.valid_from_round, "two": None, "late": None}
        assert newest.valid_from_round == FIRST + 6
        for task in tasks:
            task.cancel()
