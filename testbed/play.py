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
from hushgrid.plan import Mechanism, Recovery
from testbed.broker import RunningBroker, start_broker
from testbed.conducting import Outcome, conduct
from testbed.containers.places import HOME
from testbed.deployment import GRID, Deployer, Deployment
from testbed.households import Truth
from testbed.layout import ConsumerWish
from testbed.losses import Comparison, compare
from testbed.masked_verdict import judge_run
from testbed.parameters import Parameters
from testbed.processes import Supervisor
from testbed.requests import LateAnswer
from testbed.secure_broker import start_secure_broker
from testbed.verdict import Verdict

if TYPE_CHECKING:
    from testbed.containers.engine import Containers


@dataclass(frozen=True, slots=True)
class Run:
    """What came of a run. left_running: pids that outlived it; stalled: why it ended early, empty else.

    reports: what each agent last told the conductor, counts by name; findings: what
    the configurator found about wrong points.
    """

    parameters: Parameters
    broker: str
    processes: list[dict[str, object]]
    verdict: Verdict
    shares_sent: int
    shares_lost: int
    shares_repaired: int
    shares_repeated: int
    repair_requests: int
    refused_rules: int
    answers: tuple[LateAnswer, ...]
    wall_seconds: float
    rounds_seconds: float
    left_running: list[int]
    stalled: str
    reports: dict[str, dict[str, int]]
    findings: tuple[str, ...]
    losses: Comparison | None = None

    @property
    def succeeded(self) -> bool:
        """Nothing wrong, nothing left running, nothing stuck."""
        wrong = self.verdict.counts["wrong"] + self.verdict.counts.get("bills_wrong", 0)
        return not (wrong or self.left_running or self.stalled or self.refused_rules)

    def total(self, name: str) -> int:
        """A count summed over what all agents last reported."""
        return sum(figures.get(name, 0) for figures in self.reports.values())

    @property
    def messages_per_share(self) -> float:
        """Sends and repair requests per share, each counted share by share however many travel together; receipts apart."""
        sends = self.shares_sent + self.shares_repaired + self.shares_repeated + self.repair_requests
        return sends / self.shares_sent if self.shares_sent else 0.0

    def as_json(self) -> dict[str, object]:
        """The report."""
        summary: dict[str, object] = dict(self.verdict.counts)
        coverage = self.verdict.coverage
        shares_only = self.parameters.mechanism is Mechanism.SHARES
        if not shares_only:
            summary |= {"masked_sent": self.total("masked"), "masked_lost": self.total("masked_lost")}
        summary |= {
            "shares_sent": self.shares_sent,
            "shares_lost": self.shares_lost,
            "shares_repaired": self.shares_repaired,
            "shares_repeated": self.shares_repeated,
            "repair_requests": self.repair_requests,
            "messages_per_share": round(self.messages_per_share, 4),
            "coverage": None if coverage is None else round(coverage, 6),
            "wall_seconds": round(self.wall_seconds, 3),
            "rounds_seconds": round(self.rounds_seconds, 3),
        }
        if self.losses is not None and shares_only:
            summary["shares_missed"] = len(self.losses.missed)
            summary["missed_unexplained"] = len(self.losses.unexplained)
            summary["lost_yet_held"] = len(self.losses.held_anyway)
        return {
            "parameters": self.parameters.as_json(),
            "broker": self.broker,
            "processes": self.processes,
            "requests": [answer.as_json() for answer in self.answers],
            "plans": list(self.verdict.plans),
            "aggregates": [row.as_json() for row in self.verdict.rows],
            **({} if shares_only else {"bills": [bill.as_json() for bill in self.verdict.bills]}),
            "summary": summary,
            "findings": list(self.findings),
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
    every byte, for tests). ConfigurationError when an agent refuses its configuration or the broker cannot be had.
    """
    began = time.monotonic()
    supervisor = _containers(directory) if parameters.runtime == "docker" else Supervisor()
    outcome = Outcome()
    try:
        broker, inside, home = await _start_broker(parameters, supervisor, directory)
        tell(f"broker: {broker.label}")
        async with broker_started(broker.url) if broker_started else contextlib.nullcontext():
            deployer = Deployer(parameters, truth, wishes, directory, inside, home)
            deployer.prepare()
            for launch in deployer.write():
                await supervisor.launch(launch, directory)
            tell(f"{len(supervisor.children)} {'containers' if home else 'processes'} started")
            played = asyncio.create_task(
                conduct(parameters, truth, deployer.deployment, broker, supervisor.hurt, tell, outcome)
            )
            await _first(played, supervisor)
    finally:
        await supervisor.stop_all()
    return run_of(
        parameters,
        broker.label,
        supervisor.rows(),
        judge_run(deployer.deployment, truth),
        outcome,
        wall_seconds=time.monotonic() - began,
        left_running=supervisor.left_running(),
        losses=_losses(parameters, deployer.deployment),
    )


def _containers(directory: Path) -> Containers:
    try:
        from testbed.containers.engine import Containers  # noqa: PLC0415  # an extra that only this runtime needs
    except ModuleNotFoundError as error:
        raise ConfigurationError(f"--runtime docker needs {error.name}: pip install 'hushgrid[docker]'") from None
    return Containers(directory)


async def _start_broker(
    parameters: Parameters, supervisor: Supervisor | Containers, directory: Path
) -> tuple[RunningBroker, RunningBroker, Path | None]:
    """The broker as the conductor and as the agents reach it, and where agents see their directories if not where they are."""
    if not isinstance(supervisor, Supervisor):
        inside, outside = await supervisor.start_broker(secure=parameters.secure)
        return outside, inside, HOME
    if parameters.secure:
        life_seconds = parameters.certificate_seconds
        broker = await start_secure_broker(supervisor, directory, GRID, parameters.port, life_seconds)
    else:
        broker = await start_broker(parameters.broker, supervisor, directory / "broker", parameters.port)
    return broker, broker, None


def _losses(parameters: Parameters, deployment: Deployment) -> Comparison:
    """What the links wrote down as lost beside what the PPNs missed; of those PPNs that were there to the end."""
    stopped = {agent for agent, _ in parameters.stops}
    ppns = tuple(ppn for ppn in deployment.ppns if ppn not in stopped)
    attempts = parameters.repair_attempts if parameters.recovery is Recovery.REPAIR else 0
    return compare(deployment.directory, ppns, tuple(deployment.stations), attempts)


def run_of(
    parameters: Parameters,
    broker: str,
    processes: list[dict[str, object]],
    verdict: Verdict,
    outcome: Outcome,
    *,
    wall_seconds: float,
    left_running: list[int],
    losses: Comparison | None = None,
) -> Run:
    """A run from its pieces. broker: what a person is told of it; losses: None where nobody looked."""
    return Run(
        parameters=parameters,
        broker=broker,
        processes=processes,
        verdict=verdict,
        shares_sent=outcome.shares,
        shares_lost=outcome.lost,
        shares_repaired=outcome.repaired,
        shares_repeated=outcome.repeated,
        repair_requests=outcome.requests,
        refused_rules=outcome.refused,
        answers=tuple(outcome.answers),
        wall_seconds=wall_seconds,
        rounds_seconds=outcome.rounds_seconds,
        left_running=left_running,
        stalled=outcome.stalled,
        reports=outcome.reports,
        findings=outcome.findings,
        losses=losses,
    )


async def _first(played: asyncio.Task[None], supervisor: Supervisor | Containers) -> None:
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
