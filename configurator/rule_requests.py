"""Rules asked for and given up while the grid runs: each is answered once it can be judged. No network.

What is granted is in the registry before it is said.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import dataclass, replace

from configurator.config import ConfiguratorConfig
from configurator.granting import approve, policy_of
from configurator.history import PlanHistory
from configurator.planner import Planner, lasting, shared
from configurator.planning import GrantedRule
from configurator.registry import Registry
from hushgrid.control import RequestRule, Role, RuleAnswer, RuleState, Statement, WithdrawRule
from hushgrid.errors import ConfigurationError, MessageError, RefusedError, RejectReason
from hushgrid.plan import Mechanism

log = logging.getLogger("hushgrid.configurator")


@dataclass(frozen=True, slots=True)
class Asked:
    """A statement that was opened and believed, and the pseudonym its answer goes to."""

    statement: Statement
    pseudonym: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What a consumer is told, and whom it answers."""

    asked: Asked
    body: RuleAnswer


@dataclass(frozen=True, slots=True)
class _Waiting:
    asked: Asked
    body: RequestRule
    since_seconds: float


class RuleRequests:
    """See the module. Times are seconds of one clock, as the caller has it."""

    def __init__(self, config: ConfiguratorConfig, registry: Registry, history: PlanHistory, planner: Planner) -> None:
        self._config = config
        self._registry = registry
        self._history = history
        self._planner = planner
        self._waiting: dict[tuple[str, str], _Waiting] = {}
        #: Consumers that asked for a rule since the start.
        self._heard: set[str] = set()

    @property
    def waiting(self) -> bool:
        """Whether anybody waits for an answer: no plan is made before it is given."""
        return bool(self._waiting)

    def request(self, asked: Asked, body: RequestRule, now_seconds: float) -> list[Answer]:
        """Take in a request, and answer all that can be answered. MessageError when it was said before."""
        agent = self._registry.agent(asked.statement.sender)
        if agent is None or agent.role is not Role.CONSUMER:
            return [Answer(asked, RuleAnswer(name=body.name, state=RuleState.REFUSED, reason="not a consumer"))]
        self._heard.add(agent.id)
        for granted, request in self._registry.rules():
            rule = granted.rule
            if (rule.consumer, rule.name, rule.until_round) == (agent.id, body.name, None):
                return [Answer(asked, _of_standing(rule.number, request, body))]
        if not self._registry.raise_sequence(agent.id, asked.statement.sequence):
            raise MessageError(RejectReason.REPLAYED, f"rule request of {agent.id}")
        before = self._waiting.get((agent.id, body.name))
        since = before.since_seconds if before is not None else now_seconds
        self._waiting[agent.id, body.name] = _Waiting(asked, body, since)
        return self.due(now_seconds)

    def due(self, now_seconds: float) -> list[Answer]:
        """Answer the requests that can be answered.

        Those that may name meters still to enrol wait a while. So do all before the first plan, for every consumer to have asked
        once: what is granted then depends on no race between consumers. Shorter windows are judged first, since they grant what
        longer ones of the same cohort need.
        """
        if not self._planner.knows_the_time or not self._waiting:
            return []
        answers, patience = [], self._config.agreement.pending_seconds
        somebody_is_missing = self._somebody_is_missing()
        for key, each in sorted(self._waiting.items(), key=lambda item: (item[1].body.window_rounds, item[0])):
            if somebody_is_missing and now_seconds - each.since_seconds < patience:
                continue
            del self._waiting[key]
            answers.append(Answer(each.asked, self._judge(each.asked.statement.sender, each.body, now_seconds)))
        return answers

    def withdraw(self, asked: Asked, body: WithdrawRule, now_seconds: float) -> list[Answer]:
        """A rule ends with the window that is open. MessageError when it cannot be said yet, or was said before."""
        consumer = asked.statement.sender
        if not self._planner.knows_the_time:
            raise MessageError(RejectReason.FUTURE_ROUND, f"withdrawal by {consumer}")  # it is said again
        if not self._registry.raise_sequence(consumer, asked.statement.sequence):
            raise MessageError(RejectReason.REPLAYED, f"withdrawal by {consumer}")
        for granted, _ in self._registry.rules():
            rule = granted.rule
            if (rule.consumer, rule.name, rule.until_round) == (consumer, body.name, None):
                k = rule.window_rounds
                until = -(-self._planner.next_valid_round() // k) * k
                self._registry.change_rule(rule.model_copy(update={"until_round": until}))
                log.info("rule %s of %s is withdrawn and ends with round %d", body.name, rule.consumer, until - 1)
                self._planner.note_change(now_seconds)
        self._waiting.pop((consumer, body.name), None)
        return [Answer(asked, RuleAnswer(name=body.name, state=RuleState.WITHDRAWN))]

    def _somebody_is_missing(self) -> bool:
        expected = self._registry.expected
        if expected(Role.METER) or expected(Role.PPN):
            return True
        if self._history.newest is not None:
            return False
        return bool(expected(Role.CONSUMER) or self._registry.enrolled(Role.CONSUMER) - self._heard)

    def _judge(self, consumer: str, body: RequestRule, now_seconds: float) -> RuleAnswer:
        try:
            granted = self._grant(consumer, body, self._planner.next_valid_round())
        except RefusedError as error:
            log.info("rule %s of %s is refused: %s", body.name, consumer, error.reason)
            return RuleAnswer(name=body.name, state=RuleState.REFUSED, reason=error.reason, because_of=error.because_of)
        log.info("rule %s of %s is granted as number %d", body.name, consumer, granted.rule.number)
        self._planner.note_change(now_seconds)
        return RuleAnswer(name=body.name, state=RuleState.GRANTED, number=granted.rule.number)

    def _grant(self, consumer: str, body: RequestRule, from_round: int) -> GrantedRule:
        meters = self._registry.meters()
        known = [self._planner.as_planned(_with_all(*each, meters.values())) for each in self._registry.rules()]
        approved = approve(
            body,
            consumer,
            meters=meters,
            granted=known,
            policy=policy_of(self._config.plan, self._config.policy, meters, self._planner.modulus()),
            from_round=from_round,
            pairwise=self._config.pairwise,
        )
        granted = self._registry.grant(body, consumer, from_round, approved.minimum_contributors, approved.cohort)
        if body.mechanism is Mechanism.PAIRWISE:
            return granted  # served by no PPN
        beside = shared(lasting(known, from_round))
        try:
            return self._planner.place([*beside, granted], self._registry.agents(None))[-1]
        except ConfigurationError as error:
            self._registry.revoke(granted.rule.number)
            raise RefusedError(f"no PPNs can serve it: {error}") from None


def _with_all(granted: GrantedRule, request: RequestRule, numbers: Collection[int]) -> GrantedRule:
    """A stream of masked readings of all meters takes in those who enrolled since (`MaskedRules.parts`)."""
    if request.mechanism is Mechanism.PAIRWISE and request.cohort == "all":
        return replace(granted, cohort=frozenset(numbers))
    return granted


def _of_standing(number: int, standing: RequestRule, asked: RequestRule) -> RuleAnswer:
    """The answer to a request whose name stands already: the same again, or a refusal."""
    if standing == asked:
        return RuleAnswer(name=asked.name, state=RuleState.GRANTED, number=number)
    return RuleAnswer(
        name=asked.name,
        state=RuleState.REFUSED,
        reason="another rule of this name stands",
        because_of=(asked.name,),
    )
