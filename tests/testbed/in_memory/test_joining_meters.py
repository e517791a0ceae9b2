"""Meters that come and go while masked readings flow: in a graph drawn anew, and over outages. Services, no processes."""

from __future__ import annotations

import asyncio

import pytest
from support.village import METERS, Village, until

from configurator.masked.section import PairwiseSection
from hushgrid.statements.rules import RuleState
from hushgrid.testing.memory_broker import MemoryBroker
from hushgrid.wire.role import Role

PERIOD = 4
#: The first round that is a multiple of PERIOD in the village.
BEGIN, PERIODS = 1000, 4
RULES = ({"name": "bills", "mechanism": "pairwise", "window_rounds": PERIOD},)


async def test_a_meter_that_joins_is_in_the_graph_and_the_sums_from_the_next_period_on(tmp_path):
    village = Village(
        tmp_path, MemoryBroker(), rules=RULES, pairwise=PairwiseSection(period_rounds=PERIOD, colluders=2)
    )
    services = village.services()
    configurator, stations, joined = services["configurator"], [services["fleet"]], "m99"
    graphs = []

    def settled() -> bool:
        newest = configurator.history.newest
        heard = all(station.agent.membership.plans.version(newest.version) for station in stations)
        return heard and services["consumer"].agent.membership.plans.version(newest.version) is not None

    def drawn() -> int:
        return sum(map(len, configurator.masked.graphs.newest(1).areas))

    def stated(r: int) -> bool:
        figures = [station._figures() for station in stations]
        ready = [each for each in figures if each["in_plan"]]
        return all(each["stated_through"] >= r and each["waiting"] == 0 for each in ready)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(service.run()) for service in services.values()]
        village.announce(-1, -1)
        await until(lambda: configurator.history.newest is not None and settled())
        graphs.append(configurator.masked.graphs.newest(1))
        for r in range(BEGIN, BEGIN + PERIODS * PERIOD):
            village.announce(r, r - 1)
            await until(lambda r=r: stated(r))
            village.announce(r, r)
            if r == BEGIN + 1:
                village.expect([("late", Role.CARRIER), (joined, Role.METER)])
                stations.append(village.station("late", [joined]))
                tasks.append(group.create_task(stations[-1].run()))
                await until(lambda: joined in configurator.registry.agents.meters())
                # It may be planned for as a member of no graph first: what counts is the plan that has it in one.
                await until(lambda: drawn() == METERS + 1 and settled())
                graphs.append(configurator.masked.graphs.newest(1))
        columns = PERIODS * PERIOD
        await until(lambda: len(village.results("columns")) == columns)
        for task in tasks:
            task.cancel()

    first_with = graphs[1].period.first
    assert first_with % PERIOD == 0
    assert BEGIN + PERIOD <= first_with < BEGIN + columns
    assert [sum(map(len, graph.areas)) for graph in graphs] == [METERS, METERS + 1]
    everybody = [*village.meters, joined]
    for row in village.results("columns"):
        r = row["first_round"]
        meters = everybody if r >= first_with else village.meters
        assert row["expected"] == len(meters), row
        assert row["watt_hours"] == village.truth(r, r, meters)
    bills = village.results("bills")
    assert len(bills) == METERS * PERIODS + (BEGIN + columns - first_with) // PERIOD
    for row in bills:
        assert row["watt_hours"] == village.truth(row["first_round"], row["last_round"], [row["meter"]])
    assert min(row["first_round"] for row in bills if row["meter"] == joined) == first_with


async def test_an_outage_over_a_change_of_plan_and_keys_loses_no_reading(tmp_path):
    """The meter comes back under a plan that no longer holds: it masks nothing before it knows the one that does."""
    village = Village(
        tmp_path,
        MemoryBroker(),
        rules=RULES,
        pairwise=PairwiseSection(period_rounds=PERIOD, colluders=2),
        epoch_rounds=2 * PERIOD,
    )
    village.apart = ["m15"]
    village.expect([("late", Role.CARRIER)])
    services = village.services()
    configurator, fleet = services["configurator"], services["fleet"]
    away = range(BEGIN + 5, BEGIN + 11)  # the epoch changes in it
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(service.run()) for service in services.values()]
        late = village.station("late", village.apart)
        running = group.create_task(late.run())
        village.announce(-1, -1)
        await until(lambda: configurator.history.newest is not None and configurator.history.newest.meters == METERS)
        for r in range(BEGIN, BEGIN + PERIODS * PERIOD):
            newest = configurator.history.newest.version
            here = [fleet] if r in away or r == away.stop else [fleet, late]
            await until(lambda here=here, v=newest: all(s.agent.membership.plans.version(v) for s in here))
            if r == away.start:
                running.cancel()
                await asyncio.wait([running])
            if r == away.stop:
                late = village.station("late", village.apart)
                running = group.create_task(late.run())
            village.announce(r, r - 1)
            await until(lambda r=r, here=here: all(s._figures()["stated_through"] >= r for s in here))
            village.announce(r, r)
            await until(lambda r=r: configurator.planner.planned_through >= r + 1)
        await until(lambda: len(village.results("columns")) == PERIODS * PERIOD)
        await until(lambda: len(village.results("bills")) == PERIODS * METERS)
        for task in (*tasks, running):
            task.cancel()
    assert len({head.epoch for head in configurator.history.heads}) >= 2
    for row in village.results("columns"):
        assert row["watt_hours"] == village.truth(row["first_round"], row["last_round"])
    for row in village.results("bills"):
        assert row["watt_hours"] == village.truth(row["first_round"], row["last_round"], [row["meter"]])


@pytest.mark.parametrize("lost", [False, True], ids=["answered", "answer-lost"])
async def test_a_rule_refused_for_a_meter_that_was_late_is_granted_when_it_comes(tmp_path, lost):
    named = ({"name": "named", "cohort": ("m00..m15", "m99")},)
    village = Village(tmp_path, MemoryBroker(), rules=named)
    services = village.services()
    consumer = services["consumer"]
    hear, dropped = consumer._hear_answer, []

    def hear_but_the_first_grant(body) -> None:
        if lost and not dropped and (body.name, body.state) == ("named", RuleState.GRANTED):
            dropped.append(body)
        else:
            hear(body)

    consumer._hear_answer = hear_but_the_first_grant
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(service.run()) for service in services.values()]
        village.announce(-1, -1)
        await until(lambda: consumer.wishes.find("named").state is RuleState.REFUSED)
        assert "unknown meter m99" in consumer.wishes.find("named").reason
        village.expect([("late", Role.CARRIER), ("m99", Role.METER)])
        tasks.append(group.create_task(village.station("late", ["m99"]).run()))
        await until(lambda: consumer.wishes.find("named").state is RuleState.GRANTED)
        assert bool(dropped) is lost
        for task in tasks:
            task.cancel()
