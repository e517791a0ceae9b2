"""A conductor's work in one run: gather everybody, play the rounds, wait for the results."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from hushgrid.plan import Mechanism
from hushgrid.schedule import windows_within
from testbed.broker import RunningBroker
from testbed.conductor import Conductor, StalledError
from testbed.deployment import CONFIGURATOR, GRID, Deployment
from testbed.faults import BRINGS_BACK, LEAVES_BEHIND, Harm
from testbed.households import Truth
from testbed.layout import ConsumerWish
from testbed.parameters import Parameters
from testbed.requests import LateAnswer, LateRequests, refusals
from testbed.verdict import windows_of

_DRAIN_SECONDS = 15.0


@dataclass(slots=True)
class Outcome:
    """What the conductor saw; filled in whatever becomes of the run."""

    shares: int = 0
    lost: int = 0
    repaired: int = 0
    repeated: int = 0
    requests: int = 0
    refused: int = 0
    answers: list[LateAnswer] = field(default_factory=list)
    stalled: str = ""
    rounds_seconds: float = 0.0
    reports: dict[str, dict[str, int]] = field(default_factory=dict)
    findings: tuple[str, ...] = ()


async def conduct(
    parameters: Parameters,
    truth: Truth,
    deployment: Deployment,
    broker: RunningBroker,
    hurt: Callable[[Harm, str], None],
    tell: Callable[[str], None],
    outcome: Outcome,
) -> None:
    """Conduct a deployment whose agents have been started, through all rounds, until the last result is there."""
    played_rounds = 0

    def moved(text: str) -> None:
        nonlocal played_rounds
        played_rounds += 1
        tell(text)
        for fault in parameters.faults:
            if fault.round == played_rounds:
                tell(f"{fault.agent}: {fault.harm.value}")
                hurt(fault.harm, fault.agent)
                # A node of a cluster that is stopped is missed by nobody; a broker that is cut off, by everybody.
                if fault.harm in LEAVES_BEHIND and (fault.agent in deployment.everybody or fault.harm is not Harm.STOP):
                    conductor.leave_behind(fault.agent)
                elif fault.harm in BRINGS_BACK:
                    conductor.welcome(fault.agent)

    requests = LateRequests(parameters.requests, deployment, truth, tell)
    outcome.answers = requests.answers
    pseudonym = broker.entrance.conductor if broker.entrance else f"conductor-{secrets.token_hex(4)}"
    stages = parameters.link_stages(truth.first_round)

    async def between(played: int) -> None:
        await requests.after(played, conductor)
        begun = [stage for stage in stages if stage.from_round <= truth.first_round + played]
        if begun[-1].from_round == truth.first_round + played:
            tell(f"the link changes from round {played + 1}")
            conductor.change_link(begun)

    async with broker.connection(pseudonym) as transport:
        conductor = Conductor(
            transport,
            deployment.conductor,
            deployment.conductor_agreement,
            GRID,
            configurator=CONFIGURATOR,
            stations=list(deployment.stations),
            adopters=deployment.everybody,
            moved=moved,
            between=between,
        )
        listening = asyncio.create_task(conductor.listen())
        try:
            rules = {consumer: len(wishes) for consumer, wishes in deployment.consumers.items()}
            meters = {station: len(carried) for station, carried in deployment.stations.items()}
            await conductor.gather(rules, meters, truth.first_round)
            outcome.refused = sum(conductor.progress.figure(c, "refused", 0) for c in rules)
            tell(f"{len(truth.meters)} meters enrolled, {sum(rules.values()) - outcome.refused} rules granted")
            for line in refusals(deployment) if outcome.refused else ():
                tell(line)
            began = time.monotonic()
            await conductor.play(truth.first_round, truth.last_round, parameters.round_seconds)
            await _until_concluded(conductor, deployment, truth)
            outcome.rounds_seconds = time.monotonic() - began
        except StalledError as error:
            outcome.stalled = str(error)
        finally:
            outcome.findings = conductor.progress.notes(CONFIGURATOR)
            outcome.reports = {agent: report.figures for agent, report in conductor.progress.reports.items()}
            total = conductor.progress.total
            outcome.shares, outcome.lost = total("shares"), total("lost")
            outcome.repaired, outcome.repeated = total("repaired"), total("repeated")
            outcome.requests = total("repair_requests")
            listening.cancel()


async def _until_concluded(conductor: Conductor, deployment: Deployment, truth: Truth) -> None:
    """Wait until every consumer has a result for each of its windows, no outbox holds anything, and what consumers observed of wrong
    shares has reached the configurator.
    """
    figure = conductor.progress.figure
    expected = Counter((rule.consumer, "results") for rule, _, _ in windows_of(deployment, truth))
    for consumer, wishes in deployment.consumers.items():
        for wish in wishes:
            if wish.mechanism is Mechanism.PAIRWISE and figure(consumer, "refused", 0) == 0:
                expected.update({(consumer, name): count for name, count in _masked_results(wish, truth)})

    def late() -> list[str]:
        return sorted({consumer for (consumer, name), count in expected.items() if figure(consumer, name, 0) < count})

    await conductor.until(lambda: not late(), lambda: f"results at {', '.join(late()[:5])}")
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_DRAIN_SECONDS):
            await conductor.until(lambda: conductor.progress.total("outbox") == 0, lambda: "outboxes to drain")
            observed = sum(figure(consumer, "observed", 0) for consumer in deployment.consumers)
            await conductor.until(
                lambda: figure(CONFIGURATOR, "observations", 0) >= observed, lambda: "what was observed to be heard"
            )


def _masked_results(wish: ConsumerWish, truth: Truth) -> list[tuple[str, int]]:
    """How many results of each kind a rule of masked readings comes to in a run, by the name of the consumer's figure."""
    windows = windows_within(truth.first_round, truth.last_round, wish.window_rounds)
    # Columns come from the first whole period on, the one that the run ends in included.
    begun = -(-truth.first_round // wish.window_rounds) * wish.window_rounds
    columns = max(0, truth.last_round + 1 - begun)
    return [("columns", columns), ("bills", len(windows) * len(truth.meters))]
