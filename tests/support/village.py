"""A grid whose services all run in this process, over a broker in memory: for tests."""

from __future__ import annotations

import asyncio
import json

from configurator.config import ConfiguratorConfig
from configurator.registry.registry import Registry
from configurator.sections import AgreementSection, PlanSection
from configurator.service import Configurator
from consumer_node.config import ConsumerConfig
from consumer_node.service import Consumer
from hushgrid.conducted.statements import Clock
from hushgrid.core.sealing import Agreement, Identity
from hushgrid.shell.config import AgentSection, ConfiguratorSection, FloorsSection, PaceSection
from hushgrid.shell.keyring import Keyring
from hushgrid.shell.membership import Member
from hushgrid.shell.transport import Will
from hushgrid.statements.statement import EVERYBODY, Statement
from hushgrid.wire.presence import OFFLINE
from hushgrid.wire.role import Role
from hushgrid.wire.topics import Channel, topic
from meter_agent.config import MeterConfig, OutboxSection
from meter_agent.service import MeterStation
from meter_agent.sources.constructed import ConstructedHouseholds
from meter_agent.sources.sections import SourceSection
from ppn_node.config import PpnConfig, PpnSection
from ppn_node.service import Ppn

GRID, INTERVAL, FIRST, ROUNDS, METERS, PPNS, SEED, MINIMUM = "memory", 1800, 1000, 2, 16, 4, 3, 10
SETTLE_SECONDS = 0.05
RULES = ({"name": "all", "window_rounds": 1}, {"name": "two", "window_rounds": 2})


async def until(condition, seconds: float = 240) -> None:
    """Poll a condition inside this process; its deadline fails the test, nothing else depends on the time it takes."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


class Village:
    """Four PPNs, one consumer, a fleet of meters. rules: what the consumer asks for; pairwise, plan: the configurator's sections;
    patience_seconds: everybody's, for PPNs that are not there.
    """

    def __init__(
        self,
        directory,
        broker,
        utc_seconds=None,
        rules=RULES,
        pairwise=None,
        *,
        ppns=PPNS,
        patience_seconds=30.0,
        **plan,
    ) -> None:
        self.ppns, self.patience_seconds, self.repeat_seconds = ppns, patience_seconds, 0.2
        self.directory, self.broker, self.rules, self.pairwise, self.plan = directory, broker, rules, pairwise, plan
        self.interval = utc_seconds or INTERVAL
        self.conductor, agreement = Identity.generate(), Agreement.generate()
        self.pace = PaceSection(mode="conducted", conductor=self.conductor.public, conductor_agreement=agreement.public)
        if utc_seconds is not None:
            self.pace = PaceSection(grace_seconds=2.0)
        self.meters = [f"m{n:02}" for n in range(METERS)]
        keyring = Keyring(directory / "configurator" / "keys.sqlite")
        self.identity = keyring.identity("configurator").public
        keyring.close()
        self.tokens = {}
        self.results_url: str | None = None
        self.apart: list[str] = []  # meters that the fleet does not carry
        agents = [(f"ppn-{n}", Role.PPN) for n in range(ppns)] + [("consumer", Role.CONSUMER), ("fleet", Role.CARRIER)]
        self.expect([*agents, *((meter, Role.METER) for meter in self.meters)])

    def expect(self, agents) -> None:
        """Tokens for (agent, role)s, from now on."""
        registry = Registry(self.directory / "configurator" / "registry.sqlite")
        self.tokens |= registry.agents.issue_tokens(agents)
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
        floors = FloorsSection(minimum_contributors=MINIMUM)
        return self.common(agent) | {"configurator": ConfiguratorSection(identity=self.identity), "floors": floors}

    def services(self) -> dict[str, object]:
        first = FIRST if self.pace.conductor else None
        plan = PlanSection(
            first_round=first,
            minimum_contributors=MINIMUM,
            settle_seconds=SETTLE_SECONDS,
            interval_seconds=self.interval,
            **self.plan,
        )
        agreement = AgreementSection(gone_patience_seconds=min(5.0, self.patience_seconds))
        config = ConfiguratorConfig(
            **self.common("configurator"), plan=plan, pairwise=self.pairwise, agreement=agreement
        )
        configurator = Configurator(config, self.broker.transport(Identity.generate().pseudonym(GRID, 0)))
        found: dict[str, object] = {"configurator": _named(configurator)}
        for n in range(self.ppns):
            found[f"ppn-{n}"] = self.ppn(n)
        consumer = {"rules": self.rules, "patience_seconds": self.patience_seconds}
        config = ConsumerConfig(**self.role("consumer"), consumer=consumer, results={"url": self.results_url})
        found["consumer"] = _named(Consumer(config, self.broker.transport("consumer")))
        found["fleet"] = self.station("fleet", [meter for meter in self.meters if meter not in self.apart])
        return found

    def ppn(self, n: int) -> Ppn:
        """A PPN whose last will says that it is gone."""
        config = PpnConfig(
            **self.role(f"ppn-{n}"),
            ppn=PpnSection(operator=f"o{n}", repair_pause_seconds=min(2.0, self.patience_seconds)),
        )
        will = Will(topic(GRID, Channel.PRESENCE, f"ppn{n}"), OFFLINE)
        return _named(Ppn(config, self.broker.transport(f"ppn{n}", will=will)))

    def station(self, name: str, meters) -> MeterStation:
        """A concentrator with its meters."""
        config = MeterConfig(
            **self.role(name),
            source=SourceSection(kind="constructed", seed=SEED),
            outbox=OutboxSection(repeat_seconds=self.repeat_seconds),
        )
        carrier = Member(name, Role.CARRIER, self.tokens[name])
        members = [Member(meter, Role.METER, self.tokens[meter], carrier=name) for meter in meters]
        return _named(MeterStation(config, members, carrier, self.broker.transport(name)))

    def announce(self, metered: int, frozen: int) -> None:
        statement = Statement(
            sender="conductor",
            recipient=EVERYBODY,
            sequence=0,
            body=Clock(metered_through=metered, frozen_through=frozen),
        )
        self.broker.publish(topic(GRID, Channel.CLOCK, "conductor"), statement.to_bytes(self.conductor), retain=True)

    def results(self, name="results") -> list[dict]:
        path = self.directory / "consumer" / f"{name}.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def truth(self, first: int, last: int, meters=None) -> int:
        households = ConstructedHouseholds(SEED, self.interval)
        return sum(households.watt_hours(m, r) for m in meters or self.meters for r in range(first, last + 1))


def _named(service):
    """Connected under the pseudonym of epoch 0, as over MQTT."""
    agent = service if isinstance(service, Configurator) else service.agent
    agent.transport.pseudonym = agent.identity.pseudonym(GRID, 0)
    return service


async def play(village: Village) -> None:
    """Every round of both rules, until all sums are written down."""
    services = village.services()
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(service.run()) for service in services.values()]
        village.announce(-1, -1)
        fleet, consumer = services["fleet"], services["consumer"]
        await until(lambda: consumer._figures()["in_plan"] == 2 and fleet._figures()["in_plan"] == METERS)
        await until(lambda: all(services[f"ppn-{n}"].agent.membership.plans.newest for n in range(4)))
        newest = services["configurator"].history.newest.version
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
