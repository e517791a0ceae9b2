"""One whole run: start everything, play the rounds, compare, stop everything."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hushgrid.errors import ConfigurationError
from hushgrid.extras import not_installed
from hushgrid.wire.model import Mechanism
from testbed.brokers.broker import RunningBroker, start_broker
from testbed.brokers.secure import start_secure_broker
from testbed.choices.layout import ConsumerWish
from testbed.choices.parameters import Parameters
from testbed.deployment import GRID, Deployer, Deployment
from testbed.households import Truth
from testbed.places import HOME
from testbed.processes import Supervisor
from testbed.run.conducting import Conducted, conduct
from testbed.verdict.bills import judge_run
from testbed.verdict.losses import Comparison, compare
from testbed.verdict.sums import Verdict
from testbed.verdict.unrecovered import Shortfall, notes, shortfalls

if TYPE_CHECKING:
    from testbed.run.containers import Containers


@dataclass(frozen=True, slots=True)
class Run:
    """What came of a run. broker: what a person is told of it; left_running: pids that outlived it; losses: None where nobody
    looked.
    """

    parameters: Parameters
    broker: str
    processes: list[dict[str, object]]
    verdict: Verdict
    outcome: Conducted
    wall_seconds: float
    left_running: list[int]
    losses: Comparison | None = None

    @property
    def succeeded(self) -> bool:
        """Nothing wrong, nothing left running, nothing stuck, and everything recovered that should have been."""
        wrong = self.verdict.counts["wrong"] + self.verdict.counts.get("bills_wrong", 0)
        short = any(shortfall.due for shortfall in self.shortfalls)
        return not (wrong or short or self.left_running or self.outcome.stalled or self.outcome.refused_rules)

    @property
    def shortfalls(self) -> list[Shortfall]:
        """What was not recovered, and why."""
        return shortfalls(self.verdict, self.parameters, self.losses)

    @property
    def notes(self) -> list[str]:
        """What is to be said of what was done to agents, and of what was asked for too late."""
        return [*notes(self.verdict, self.parameters), *self.outcome.unsaid]

    def as_json(self) -> dict[str, object]:
        """The report."""
        summary: dict[str, object] = dict(self.verdict.counts)
        coverage = self.verdict.coverage
        shares_only, outcome = self.parameters.masking.mechanism is Mechanism.SHARES, self.outcome
        if not shares_only:
            summary |= {"masked_sent": outcome.total("masked"), "masked_lost": outcome.total("masked_lost")}
        summary |= outcome.as_json() | {
            "coverage": None if coverage is None else round(coverage, 6),
            "wall_seconds": round(self.wall_seconds, 3),
            "rounds_seconds": round(outcome.rounds_seconds, 3),
        }
        if self.losses is not None and shares_only:
            summary["shares_missed"] = len(self.losses.missed)
            summary["missed_unexplained"] = len(self.losses.unexplained)
            summary["lost_yet_held"] = len(self.losses.held_anyway)
        return {
            "parameters": self.parameters.as_json(),
            "broker": self.broker,
            "processes": self.processes,
            "requests": [answer.as_json() for answer in outcome.answers],
            "plans": list(self.verdict.plans),
            "aggregates": [row.as_json() for row in self.verdict.rows],
            **({} if shares_only else {"bills": [bill.as_json() for bill in self.verdict.bills]}),
            "summary": summary,
            "findings": list(outcome.findings),
            "unrecovered": [shortfall.as_json() for shortfall in self.shortfalls],
            "notes": self.notes,
        }


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
    every byte, for tests). ConfigurationError when something cannot be done to somebody, an agent refuses its
    configuration or the broker cannot be had.
    """
    parameters.check_harms(truth.meters, wishes)
    began = time.monotonic()
    supervisor = _containers(directory) if parameters.machine.runtime == "docker" else Supervisor()
    try:
        if isinstance(supervisor, Supervisor):
            await supervisor.warm_up()
        broker, inside, home = await _start_broker(parameters, supervisor, directory)
        tell(f"broker: {broker.label}")
        for line in parameters.lies_come_to:
            tell(line)
        async with broker_started(broker.url) if broker_started else contextlib.nullcontext():
            deployer = Deployer(parameters, truth, wishes, directory, inside, home)
            deployer.prepare()
            for launch in deployer.write():
                await supervisor.launch(launch, directory)
            tell(f"{len(supervisor.children)} {'containers' if home else 'processes'} started")
            played = asyncio.create_task(
                conduct(
                    parameters, truth, deployer.deployment, broker, supervisor.hurt, tell, lambda _: supervisor.gone()
                )
            )
            outcome = await _first(played, supervisor)
    finally:
        await supervisor.stop_all()
    return Run(
        parameters,
        broker.label,
        supervisor.rows(),
        judge_run(deployer.deployment, truth, parameters.masking.period),
        outcome,
        wall_seconds=time.monotonic() - began,
        left_running=supervisor.left_running(),
        losses=_losses(parameters, deployer.deployment),
    )


def _containers(directory: Path) -> Containers:
    try:
        from testbed.run.containers import Containers  # noqa: PLC0415  # an extra that only this runtime needs
    except ModuleNotFoundError as error:
        raise not_installed("--runtime docker", error, "docker") from None
    return Containers(directory)


async def _start_broker(
    parameters: Parameters, supervisor: Supervisor | Containers, directory: Path
) -> tuple[RunningBroker, RunningBroker, Path | None]:
    """The broker as the conductor and as the agents reach it, and where agents see their directories if not where they are."""
    if not isinstance(supervisor, Supervisor):
        inside, outside = await supervisor.start_broker(secure=parameters.machine.secure)
        return outside, inside, HOME
    if parameters.machine.secure:
        life_seconds = parameters.machine.certificate_seconds
        broker = await start_secure_broker(supervisor, directory, GRID, parameters.machine.port, life_seconds)
    else:
        broker = await start_broker(
            parameters.machine.broker, supervisor, directory / "broker", parameters.machine.port
        )
    return broker, broker, None


def _losses(parameters: Parameters, deployment: Deployment) -> Comparison:
    """What the links wrote down as lost beside what the PPNs missed; of those PPNs that were there to the end."""
    stopped = {agent for agent, _ in parameters.harms.stops}
    ppns = tuple(ppn for ppn in deployment.ppns if ppn not in stopped)
    attempts = parameters.grid.repair_attempts if parameters.grid.recovery.asks else 0
    return compare(deployment.directory, ppns, tuple(deployment.stations), attempts)


async def _first(played: asyncio.Task[Conducted], supervisor: Supervisor | Containers) -> Conducted:
    """Wait for the run, or for a child that cannot go on."""
    try:
        watched: set[asyncio.Future[Any]] = {played, supervisor.failure}
        await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
        if supervisor.failure.done() and not played.done():
            raise ConfigurationError(supervisor.failure.result())
        return await played
    finally:
        played.cancel()
        with contextlib.suppress(asyncio.CancelledError, Exception):
            await played
