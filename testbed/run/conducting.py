"""A conductor's work in one run: gather everybody, play the rounds, wait for the results."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass

from hushgrid.core.schedule import windows_within
from hushgrid.shell.transport import Transport
from hushgrid.wire.model import Mechanism
from testbed.brokers.broker import RunningBroker
from testbed.choices.layout import ConsumerWish
from testbed.choices.parameters import Parameters
from testbed.deployment import CONFIGURATOR, GRID, Deployment
from testbed.faults import BRINGS_BACK, LEAVES_BEHIND, Fault, Harm
from testbed.households import Truth
from testbed.run.conductor import Conductor, StalledError
from testbed.run.requests import LateAnswer, LateRequests, refusals
from testbed.run.waiting import Words, names_of, round_in_words
from testbed.verdict.sums import windows_of

_DRAIN_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class Conducted:
    """What the conductor saw. reports: what each agent last told it, counts by name; findings: what the configurator found about
    wrong points; stalled: why the run ended early, empty else; unsaid: one line for every request that no plan could follow any more.
    """

    reports: dict[str, dict[str, int]]
    findings: tuple[str, ...]
    answers: tuple[LateAnswer, ...]
    refused_rules: int
    rounds_seconds: float
    stalled: str
    unsaid: tuple[str, ...] = ()

    def total(self, name: str) -> int:
        """A count summed over what all agents last reported."""
        return sum(figures.get(name, 0) for figures in self.reports.values())

    @property
    def shares_sent(self) -> int:
        """Each once, however often it was sent again."""
        return self.total("shares")

    @property
    def shares_lost(self) -> int:
        """First sendings that the link lost."""
        return self.total("lost")

    @property
    def messages_per_share(self) -> float:
        """Sends and repair requests per share, each counted share by share however many travel together; receipts apart."""
        sends = sum(map(self.total, ("shares", "repaired", "repeated", "repair_requests")))
        return sends / self.shares_sent if self.shares_sent else 0.0

    def as_json(self) -> dict[str, object]:
        """The counts of shares, for the report's summary."""
        return {
            "shares_sent": self.shares_sent,
            "shares_lost": self.shares_lost,
            "shares_repaired": self.total("repaired"),
            "shares_repeated": self.total("repeated"),
            "repair_requests": self.total("repair_requests"),
            "messages_per_share": round(self.messages_per_share, 4),
        }


async def conduct(
    parameters: Parameters,
    truth: Truth,
    deployment: Deployment,
    broker: RunningBroker,
    hurt: Callable[[Harm, str], None],
    tell: Callable[[str], None],
    gone: Callable[[Collection[str]], list[str]] = lambda _heard: [],
) -> Conducted:
    """Conduct a deployment whose agents have been started, through all rounds, until the last result is there."""
    pseudonym = broker.entrance.conductor if broker.entrance else f"conductor-{secrets.token_hex(4)}"
    async with broker.connection(pseudonym) as transport:
        return await Conducting(parameters, truth, deployment, transport, hurt, tell, gone, broker.stall_seconds).run()


class Conducting:
    """One run over a connection of its own.

    hurt: does a harm to an agent. tell: live progress, one short line each. gone: which agents do not
    run, in words, given those that were heard. stall_seconds: see `Conductor`.
    """

    def __init__(
        self,
        parameters: Parameters,
        truth: Truth,
        deployment: Deployment,
        transport: Transport,
        hurt: Callable[[Harm, str], None],
        tell: Callable[[str], None],
        gone: Callable[[Collection[str]], list[str]] = lambda _heard: [],
        stall_seconds: float = 60.0,
    ) -> None:
        self._parameters = parameters
        self._truth = truth
        self._deployment = deployment
        self._hurt = hurt
        self._tell = tell
        self._transport = transport
        self._gone = gone
        self._stages = parameters.link_stages(truth.first_round)
        self._requests = LateRequests(parameters.play.requests, deployment, truth, tell)
        self._rules = {consumer: len(wishes) for consumer, wishes in deployment.consumers.items()}
        self._played_rounds = 0
        self._refused_rules = 0
        self._rounds_seconds = 0.0
        self._conductor = Conductor(
            transport,
            deployment.conductor,
            deployment.conductor_agreement,
            GRID,
            configurator=CONFIGURATOR,
            stations=list(deployment.stations),
            adopters=deployment.everybody,
            stall_seconds=stall_seconds,
            moved=self._moved,
            between=self._between,
            words=Words(tell, self._absent),
            named=lambda r: round_in_words(r, truth.first_round, truth.rounds, truth.interval_seconds),
        )

    def _absent(self) -> list[str]:
        broker = [] if self._transport.reachable else ["no answer from the broker"]
        return [*broker, *self._gone(self._conductor.reported.by_agent)]  # the first few are named

    async def run(self) -> Conducted:
        """All of it; a run in which nothing moves any more ends early, and says so."""
        listening = asyncio.create_task(self._conductor.listen())
        stalled = ""
        try:
            await self._gather()
            await self._play()
        except StalledError as error:
            stalled = str(error)
        finally:
            listening.cancel()
        reported = self._conductor.reported
        return Conducted(
            reports={agent: report.figures for agent, report in reported.by_agent.items()},
            findings=reported.notes(CONFIGURATOR),
            answers=tuple(self._requests.answers),
            refused_rules=self._refused_rules,
            rounds_seconds=self._rounds_seconds,
            stalled=stalled,
            unsaid=self._requests.unsaid,
        )

    async def _gather(self) -> None:
        meters = {station: len(carried) for station, carried in self._deployment.stations.items()}
        await self._conductor.gather(self._rules, meters, self._truth.first_round)
        self._refused_rules = sum(self._conductor.reported.figure(c, "refused", 0) for c in self._rules)
        granted = sum(self._rules.values()) - self._refused_rules
        self._tell(f"{len(self._truth.meters)} meters enrolled, {granted} rules granted")
        for line in refusals(self._deployment) if self._refused_rules else ():
            self._tell(line)

    async def _play(self) -> None:
        began = time.monotonic()
        truth = self._truth
        await self._conductor.play(truth.first_round, truth.last_round, self._parameters.play.round_seconds)
        await self._until_concluded()
        self._rounds_seconds = time.monotonic() - began

    # Between two rounds

    def _moved(self, text: str) -> None:
        """A round has been played: whatever is to be done to somebody then is done."""
        self._played_rounds += 1
        self._tell(text)
        for fault in self._parameters.harms.faults:
            if fault.round == self._played_rounds:
                self._harm(fault)

    def _harm(self, fault: Fault) -> None:
        self._tell(f"{fault.agent}: {fault.harm.value}")
        self._hurt(fault.harm, fault.agent)
        # A node of a cluster that is stopped is missed by nobody; a broker that is cut off, by everybody.
        missed = fault.agent in self._deployment.everybody or fault.harm is not Harm.STOP
        if fault.harm in LEAVES_BEHIND and missed:
            self._conductor.leave_behind(fault.agent, for_good=fault.harm is Harm.STOP)
        elif fault.harm in BRINGS_BACK:
            self._conductor.welcome(fault.agent)

    async def _between(self, played: int) -> None:
        await self._requests.after(played, self._conductor)
        following = self._truth.first_round + played
        begun = [stage for stage in self._stages if stage.from_round <= following]
        if begun[-1].from_round == following:
            self._tell(f"the link changes from round {played + 1}")
            self._conductor.change_link(begun)

    # The end

    async def _until_concluded(self) -> None:
        """Wait until every consumer has a result for each of its windows, no outbox holds anything, and what consumers observed
        of wrong shares has reached the configurator.
        """
        conductor, figure = self._conductor, self._conductor.reported.figure
        expected = self._expected()

        def late() -> list[str]:
            return sorted({c for (c, name), count in expected.items() if figure(c, name, 0) < count})

        await conductor.until(lambda: not late(), lambda: f"results at {names_of(late())}")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_DRAIN_SECONDS):
                await conductor.until(conductor.drained, lambda: "outboxes to drain")
                observed = sum(figure(consumer, "observed", 0) for consumer in self._deployment.consumers)
                await conductor.until(
                    lambda: figure(CONFIGURATOR, "observations", 0) >= observed, lambda: "what was observed to be heard"
                )

    def _expected(self) -> Counter[tuple[str, str]]:
        """(consumer, name of its figure) -> how many results of the kind the run comes to."""
        figure = self._conductor.reported.figure
        expected = Counter((each.rule.consumer, "results") for each in windows_of(self._deployment, self._truth))
        for consumer, wishes in self._deployment.consumers.items():
            for wish in wishes:
                if wish.mechanism is Mechanism.PAIRWISE and figure(consumer, "refused", 0) == 0:
                    expected.update({(consumer, name): count for name, count in _masked_results(wish, self._truth)})
        return expected


def _masked_results(wish: ConsumerWish, truth: Truth) -> list[tuple[str, int]]:
    """How many results of each kind a rule of masked readings comes to in a run, by the name of the consumer's figure."""
    windows = windows_within(truth.first_round, truth.last_round, wish.window_rounds)
    # Columns come from the first whole period on, the one that the run ends in included.
    begun = -(-truth.first_round // wish.window_rounds) * wish.window_rounds
    columns = max(0, truth.last_round + 1 - begun)
    return [("columns", columns), ("bills", len(windows) * len(truth.meters))]
