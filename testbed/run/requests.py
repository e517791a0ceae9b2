"""Rules asked for and given up while a testbed's meters run, through the stores of its running consumers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from configurator.registry.registry import Registry
from consumer_node.wishes import Wish, Wishes
from hushgrid.statements.rules import RuleState
from testbed.choices.layout import LateRequest
from testbed.deployment import CONFIGURATOR, Deployment
from testbed.households import Truth
from testbed.run.conductor import LEAD_ROUNDS, Conductor, StalledError

_POLL_SECONDS = 0.05
_ANSWER_SECONDS = 60.0

Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class LateAnswer:
    """What came of it. plan_version: the first plan that follows from it; 0 after a refusal."""

    request: LateRequest
    wish: Wish
    plan_version: int
    valid_from_round: int

    def describe(self) -> str:
        """One line for a person."""
        asked = self.request
        said = f"asked for {asked.cohort} in windows of {asked.window_rounds}" if asked.cohort else "gave up its rule"
        plan = f"; plan {self.plan_version} from round {self.valid_from_round}" if self.plan_version else ""
        return f"after round {asked.after_round} {asked.consumer} {said}: {self.wish.describe()}{plan}"

    def as_json(self) -> dict[str, object]:
        """For the report."""
        wish, asked = self.wish, self.request
        return {
            "consumer": asked.consumer,
            "rule": asked.name,
            "after_round": asked.after_round,
            "cohort": asked.cohort,
            "window": asked.window_rounds,
            "state": wish.state.value if wish.state else None,
            "number": wish.number,
            "reason": wish.reason,
            "because_of": list(wish.because_of),
            "plan_version": self.plan_version,
        }


class LateRequests:
    """Speaks for the consumers between two rounds, and waits until everybody has the plan that follows."""

    def __init__(
        self,
        requests: Sequence[LateRequest],
        deployment: Deployment,
        truth: Truth,
        tell: Callable[[str], None],
    ) -> None:
        self._waiting = sorted(requests, key=lambda request: request.after_round)
        self._deployment = deployment
        self._meters = sorted(truth.meters)
        self._first_round = truth.first_round
        self._tell = tell
        self.answers: list[LateAnswer] = []

    @property
    def unsaid(self) -> tuple[str, ...]:
        """One line for every request that was not said, because no plan could follow it yet."""
        return tuple(f"{request}: the run ended before it could be said" for request in self._waiting)

    async def after(self, played_rounds: int, conductor: Conductor) -> None:
        """Everything that is due after this round, in the order given.

        A plan follows one that is in force: where the newest is not, the request waits a round, because no round is played here
        before its plan is there.
        """
        while self._waiting and self._waiting[0].after_round <= played_rounds and self._may_plan(played_rounds):
            answer = await self._say(self._waiting.pop(0), conductor)
            self.answers.append(answer)
            self._tell(answer.describe())

    def _may_plan(self, played_rounds: int) -> bool:
        """Whether the configurator makes a plan now: not while the newest holds from later, and the next from later still."""
        registry = Registry.read_only(self._deployment.state(CONFIGURATOR) / "registry.sqlite")
        newest = registry.plans.heads()[-1].valid_from_round
        registry.close()
        return not self._first_round + played_rounds < newest < self._first_round + played_rounds + LEAD_ROUNDS

    async def _say(self, request: LateRequest, conductor: Conductor) -> LateAnswer:
        store = Wishes(self._deployment.state(request.consumer))
        try:
            if request.cohort is None:
                store.withdraw(request.name)
            else:
                store.ask(request.section(self._meters))
            wish = await _until(lambda: _settled(store.find(request.name)), f"an answer about {request.name}")
        finally:
            store.close()
        if wish.state is RuleState.REFUSED:
            return LateAnswer(request, wish, 0, 0)
        version, valid_from = await _until(lambda: self._plan_with(request), f"a plan with {request.name}")
        await conductor.until(
            lambda: not conductor.behind(version),
            lambda: f"plan {version} at {', '.join(conductor.behind(version)[:5])}",
        )
        return LateAnswer(request, wish, version, valid_from)

    def _plan_with(self, request: LateRequest) -> tuple[int, int] | None:
        """The newest plan, once it says what the request changed."""
        registry = Registry.read_only(self._deployment.state(CONFIGURATOR) / "registry.sqlite")
        try:
            newest = registry.plans.heads()[-1]
            mine = [
                each.granted.rule
                for each in registry.plans.rules(newest.version)
                if each.granted.rule.consumer == request.consumer and each.granted.rule.name == request.name
            ]
        finally:
            registry.close()
        standing = any(rule.until_round is None for rule in mine)
        return (newest.version, newest.valid_from_round) if standing is (request.cohort is not None) else None


def refusals(deployment: Deployment) -> list[str]:
    """One line for every rule that was refused so far."""
    found = []
    for consumer in deployment.consumers:
        store = Wishes.read_only(deployment.state(consumer))
        found += [f"{consumer}: {wish.describe()}" for wish in store.all() if wish.state is RuleState.REFUSED]
        store.close()
    return found


def _settled(wish: Wish | None) -> Wish | None:
    return wish if wish is not None and not wish.open else None


async def _until(look: Callable[[], Found | None], waiting_for: str) -> Found:
    deadline = time.monotonic() + _ANSWER_SECONDS
    while (found := look()) is None:
        if time.monotonic() > deadline:
            raise StalledError(f"waited {_ANSWER_SECONDS:.0f} s for {waiting_for}")
        await asyncio.sleep(_POLL_SECONDS)
    return found
