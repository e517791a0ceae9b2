"""All services in one process over a broker in memory that drops, duplicates, reorders and corrupts what it carries."""

from __future__ import annotations

import asyncio
import json
import random
from pathlib import Path

import pytest

from configurator.config import ConfiguratorConfig, PlanSection
from configurator.registry import Registry
from configurator.service import Configurator
from consumer_node.config import ConsumerConfig
from consumer_node.service import Consumer
from hushgrid.config import AgentSection, ConfiguratorSection, PaceSection
from hushgrid.control import EVERYBODY, Clock, Role, Statement
from hushgrid.keyring import Keyring
from hushgrid.membership import Member
from hushgrid.sealing import Agreement, Identity
from hushgrid.testing import MemoryBroker
from hushgrid.topics import Channel, topic
from meter_agent.config import MeterConfig, OutboxSection, SourceSection
from meter_agent.service import MeterStation
from ppn_node.config import PpnConfig, PpnSection
from ppn_node.service import Ppn

GRID, INTERVAL, FIRST, ROUNDS, METERS = "memory", 1800, 1000, 2, 16


class Village:
    """Four PPNs, one consumer, a fleet: everybody in this process."""

    def __init__(self, directory: Path, broker: MemoryBroker, utc_seconds: int | None = None) -> None:
        self.directory, self.broker = directory, broker
        self.interval = utc_seconds or INTERVAL
        self.conductor, agreement = Identity.generate(), Agreement.generate()
        self.pace = PaceSection(mode="conducted", conductor=self.conductor.public, conductor_agreement=agreement.public)
        if utc_seconds is not None:
            self.pace = PaceSection(grace_seconds=2.0)
        self.meters = [f"m{n:02}" for n in range(METERS)]
        keyring = Keyring(directory / "configurator" / "keys.sqlite")
        self.identity = keyring.identity("configurator").public
        keyring.close()
        registry = Registry(directory / "configurator" / "registry.sqlite")
        agents = [(f"ppn-{n}", Role.PPN) for n in range(4)] + [("consumer", Role.CONSUMER), ("fleet", Role.CARRIER)]
        self.tokens = registry.issue_tokens([*agents, *((m, Role.METER) for m in self.meters)])
        registry.close()

    def common(self, agent: str) -> dict:
        state = self.directory / agent
        state.mkdir(parents=True, exist_ok=True)
        section = AgentSection(id=agent, grid=GRID, state_directory=state)
        if agent in self.tokens:
            (state / "token").write_text(self.tokens[agent])
            section = AgentSection(id=agent, grid=GRID, state_directory=state, token_file=state / "token")
        return {"agent": section, "pace": self.pace}

    def role(self, agent: str) -> dict:
        return self.common(agent) | {"configurator": ConfiguratorSection(identity=self.identity)}

    def services(self) -> dict[str, object]:
        first = FIRST if self.pace.conductor else None
        plan = PlanSection(
            first_round=first, minimum_contributors=10, settle_seconds=0.05, interval_seconds=self.interval
        )
        found: dict[str, object] = {}
        config = ConfiguratorConfig(**self.common("configurator"), plan=plan)
        found["configurator"] = Configurator(config, self.broker.transport(Identity.generate().pseudonym(GRID, 0)))
        for n in range(4):
            config = PpnConfig(**self.role(f"ppn-{n}"), ppn=PpnSection(operator=f"o{n}"))
            found[f"ppn-{n}"] = Ppn(config, self.broker.transport(f"ppn{n}"))
        rules = {"rules": [{"name": "all", "window_rounds": 1}, {"name": "two", "window_rounds": 2}]}
        found["consumer"] = Consumer(
            ConsumerConfig(**self.role("consumer"), consumer=rules), self.broker.transport("consumer")
        )
        config = MeterConfig(
            **self.role("fleet"),
            source=SourceSection(kind="constructed", seed=3),
            outbox=OutboxSection(repeat_seconds=0.2),
        )
        carrier = Member("fleet", Role.CARRIER, self.tokens["fleet"])
        meters = [Member(m, Role.METER, self.tokens[m], carrier="fleet") for m in self.meters]
        found["fleet"] = MeterStation(config, meters, carrier, self.broker.transport("fleet"))
        # Everybody connects under the pseudonym of epoch 0, as over MQTT.
        for name, service in found.items():
            transport = service.transport if name == "configurator" else service.agent.transport
            identity = service.identity if name == "configurator" else service.agent.identity
            transport.pseudonym = identity.pseudonym(GRID, 0)
        return found

    def announce(self, metered: int, frozen: int) -> None:
        statement = Statement(
            sender="conductor",
            recipient=EVERYBODY,
            sequence=0,
            body=Clock(metered_through=metered, frozen_through=frozen),
        )
        self.broker.publish(topic(GRID, Channel.CLOCK, "conductor"), statement.to_bytes(self.conductor), retain=True)

    def results(self) -> list[dict]:
        path = self.directory / "consumer" / "results.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def truth(self, first: int, last: int) -> int:
        from meter_agent.sources import ConstructedHouseholds  # noqa: PLC0415

        households = ConstructedHouseholds(3, self.interval)
        return sum(households.watt_hours(m, r) for m in self.meters for r in range(first, last + 1))


async def until(condition, seconds: float = 60) -> None:
    """Poll a condition inside this process; its deadline fails the test, nothing else depends on the time it takes."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def play(village: Village) -> None:
    services = village.services()
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(service.run()) for service in services.values()]
        village.announce(-1, -1)
        fleet, consumer = services["fleet"], services["consumer"]
        await until(lambda: consumer._figures()["in_plan"] == 2 and fleet._figures()["in_plan"] == METERS)
        await until(lambda: all(services[f"ppn-{n}"].agent.membership.plans.newest for n in range(4)))
        newest = services["configurator"]._heads[-1].version
        agents = [fleet.agent, consumer.agent, *(services[f"ppn-{n}"].agent for n in range(4))]
        await until(lambda: all(agent.membership.plans.version(newest) for agent in agents))
        village.announce(FIRST - 1, FIRST - 1)
        for r in range(FIRST, FIRST + ROUNDS):
            village.announce(r, r - 1)
            await until(lambda r=r: fleet._figures()["stated_through"] >= r and fleet._figures()["waiting"] == 0)
            village.announce(r, r)
        await until(lambda: len(village.results()) == ROUNDS + ROUNDS // 2)
        for task in tasks:
            task.cancel()


FAULTS = {"none": 0.0, "drop": 0.15, "duplicate": 0.5, "corrupt": 0.1, "reorder": 0.3}


@pytest.mark.parametrize("kind", FAULTS)
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
