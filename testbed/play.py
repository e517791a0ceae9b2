"""One whole run: start everything, play the rounds, compare, stop everything."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hushgrid.errors import ConfigurationError
from hushgrid.schedule import windows_within
from hushgrid.transport import MqttTransport
from testbed.broker import RunningBroker, start_broker
from testbed.conductor import Conductor, StalledError
from testbed.deployment import CONFIGURATOR, GRID, Deployer, Deployment
from testbed.households import Truth
from testbed.layout import ConsumerWish
from testbed.parameters import Parameters
from testbed.processes import Supervisor
from testbed.verdict import Verdict, judge

_DRAIN_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class Run:
    """What came of a run. left_running: pids that outlived it; stalled: why it ended early, empty else.

    reports: what each agent last told the conductor, counts by name.
    """

    parameters: Parameters
    broker: RunningBroker
    processes: list[dict[str, object]]
    verdict: Verdict
    shares_sent: int
    shares_lost: int
    refused_rules: int
    wall_seconds: float
    rounds_seconds: float
    left_running: list[int]
    stalled: str
    reports: dict[str, dict[str, int]]

    @property
    def succeeded(self) -> bool:
        """Nothing wrong, nothing left running, nothing stuck."""
        return not (self.verdict.counts["wrong"] or self.left_running or self.stalled or self.refused_rules)

    def as_json(self) -> dict[str, object]:
        """The report."""
        summary: dict[str, object] = dict(self.verdict.counts)
        summary |= {
            "shares_sent": self.shares_sent,
            "shares_lost": self.shares_lost,
            "wall_seconds": round(self.wall_seconds, 3),
            "rounds_seconds": round(self.rounds_seconds, 3),
        }
        return {
            "parameters": self.parameters.as_json(),
            "broker": self.broker.label,
            "processes": self.processes,
            "aggregates": [row.as_json() for row in self.verdict.rows],
            "summary": summary,
        }


@dataclass(slots=True)
class _Outcome:
    shares: int = 0
    lost: int = 0
    refused: int = 0
    stalled: str = ""
    rounds_seconds: float = 0.0
    reports: dict[str, dict[str, int]] = field(default_factory=dict)


async def play(
    parameters: Parameters,
    truth: Truth,
    wishes: list[ConsumerWish],
    directory: Path,
    tell: Callable[[str], None] = lambda _text: None,
    broker_started: Callable[[str], contextlib.AbstractAsyncContextManager[object]] | None = None,
) -> Run:
    """Run a testbed in a directory of its own; whatever happens, everything it started is stopped again.

    tell: live progress, one short line each. broker_started: a context around the run, given the broker's URL (a capture of
    every byte, for tests). ConfigurationError when an agent refuses its configuration or the broker cannot be had.
    """
    began = time.monotonic()
    supervisor = Supervisor()
    outcome = _Outcome()
    try:
        broker = await start_broker(parameters.broker, supervisor, directory / "broker", parameters.port)
        tell(f"broker: {broker.label}")
        async with broker_started(broker.url) if broker_started else contextlib.nullcontext():
            deployer = Deployer(parameters, truth, wishes, directory, broker.url)
            deployer.prepare()
            await deployer.start(supervisor)
            tell(f"{len(supervisor.children)} processes started")
            played = asyncio.create_task(
                _conduct(parameters, truth, deployer.deployment, broker, supervisor, tell, outcome)
            )
            await _first(played, supervisor)
    finally:
        await supervisor.stop_all()
    return Run(
        parameters=parameters,
        broker=broker,
        processes=supervisor.rows(),
        verdict=judge(deployer.deployment, truth),
        shares_sent=outcome.shares,
        shares_lost=outcome.lost,
        refused_rules=outcome.refused,
        wall_seconds=time.monotonic() - began,
        rounds_seconds=outcome.rounds_seconds,
        left_running=supervisor.left_running(),
        stalled=outcome.stalled,
        reports=outcome.reports,
    )


async def _first(played: asyncio.Task[None], supervisor: Supervisor) -> None:
    """Wait for the run, or for a child that cannot go on."""
    try:
        watched: set[asyncio.Future[Any]] = {played, supervisor.failure}
        await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
        if supervisor.failure.done() and not played.done():
            raise ConfigurationError(supervisor.failure.result())
        await played
    finally:
        played.cancel()
        with contextlib.suppress(asyncio.CancelledError, Exception):
            await played


async def _conduct(
    parameters: Parameters,
    truth: Truth,
    deployment: Deployment,
    broker: RunningBroker,
    supervisor: Supervisor,
    tell: Callable[[str], None],
    outcome: _Outcome,
) -> None:
    kills = {
        round_number: [a for a, r in parameters.kills if r == round_number] for _, round_number in parameters.kills
    }
    played_rounds = 0

    def moved(text: str) -> None:
        nonlocal played_rounds
        played_rounds += 1
        tell(text)
        for agent in kills.get(played_rounds, []):
            tell(f"kill -9 {agent}")
            supervisor.kill(agent)

    pseudonym = f"conductor-{secrets.token_hex(4)}"
    async with MqttTransport(broker.url, pseudonym) as transport:
        conductor = Conductor(
            transport,
            deployment.conductor,
            deployment.conductor_agreement,
            GRID,
            configurator=CONFIGURATOR,
            stations=list(deployment.stations),
            adopters=deployment.everybody,
            moved=moved,
        )
        listening = asyncio.create_task(conductor.listen())
        try:
            rules = {consumer: len(wishes) for consumer, wishes in deployment.consumers.items()}
            meters = {station: len(carried) for station, carried in deployment.stations.items()}
            await conductor.gather(rules, meters, truth.first_round)
            outcome.refused = sum(conductor.progress.figure(c, "refused", 0) for c in rules)
            tell(f"{len(truth.meters)} meters enrolled, {sum(rules.values()) - outcome.refused} rules granted")
            began = time.monotonic()
            await conductor.play(truth.first_round, truth.last_round, parameters.round_seconds)
            await _until_concluded(conductor, deployment, truth)
            outcome.rounds_seconds = time.monotonic() - began
        except StalledError as error:
            outcome.stalled = str(error)
        finally:
            outcome.reports = {agent: report.figures for agent, report in conductor.progress.reports.items()}
            outcome.shares, outcome.lost = conductor.progress.total("shares"), conductor.progress.total("lost")
            listening.cancel()


async def _until_concluded(conductor: Conductor, deployment: Deployment, truth: Truth) -> None:
    """Wait until every consumer has a result for each of its windows, and no outbox holds anything."""
    expected = {
        consumer: sum(len(windows_within(truth.first_round, truth.last_round, w.window_rounds)) for w in wishes)
        for consumer, wishes in deployment.consumers.items()
    }
    figure = conductor.progress.figure

    def late() -> list[str]:
        return [c for c, n in expected.items() if figure(c, "refused", 0) == 0 and figure(c, "results", 0) < n]

    await conductor.until(lambda: not late(), lambda: f"results at {', '.join(late()[:5])}")
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_DRAIN_SECONDS):
            await conductor.until(lambda: conductor.progress.total("outbox") == 0, lambda: "outboxes to drain")
