"""Rules asked for and given up while the grid runs: each is answered at once, if only with what it waits for. No network.

What is granted is in the registry before it is said. What is refused stays there too, and is judged anew when others enrol.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from configurator.audit.registered import policy_of
from configurator.config import ConfiguratorConfig
from configurator.plans.planner import Planner, lasting, shared
from configurator.registry.history import PlanHistory
from configurator.registry.registry import Registry
from configurator.rules.granting import approve
from configurator.values import GrantedRule, StandingRule
from hushgrid.errors import ConfigurationError, MessageError, RefusedError, RejectReason
from hushgrid.statements.rules import RequestRule, RuleAnswer, RuleState, WithdrawRule
from hushgrid.statements.statement import Statement
from hushgrid.wire.model import Mechanism
from hushgrid.wire.role import Role

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
        #: When the newest of them came.
        self._newest_seconds = 0.0
        #: Consumers that asked for a rule since the start.
        self._heard: set[str] = set()
        #: Since when a refused request is to be judged anew, by consumer and name.
        self._again: dict[tuple[str, str], float] = {}

    @property
    def waiting(self) -> bool:
        """Whether anybody waits for a first answer: no plan is made before it is given."""
        return bool(self._waiting)

    def request(self, asked: Asked, body: RequestRule, now_seconds: float) -> list[Answer]:
        """Take in a request, and answer it and all that can be answered. MessageError when it was said before."""
        agent = self._registry.agents.find(asked.statement.sender)
        if agent is None or agent.role is not Role.CONSUMER:
            return [Answer(asked, RuleAnswer(name=body.name, state=RuleState.REFUSED, reason="not a consumer"))]
        self._heard.add(agent.id)
        for standing in self._registry.rules.standing():
            rule = standing.granted.rule
            if (rule.consumer, rule.name, rule.until_round) == (agent.id, body.name, None):
                return [Answer(asked, _of_standing(rule.number, standing.request, body))]
        if not self._registry.agents.raise_sequence(agent.id, asked.statement.sequence):
            raise MessageError(RejectReason.REPLAYED, f"rule request of {agent.id}")
        before = self._waiting.get((agent.id, body.name))
        since = before.since_seconds if before is not None else now_seconds
        self._waiting[agent.id, body.name] = _Waiting(asked, body, since)
        if before is None:
            self._newest_seconds = now_seconds
        answers = self.due(now_seconds)
        if (agent.id, body.name) in self._waiting:
            answers.append(Answer(asked, RuleAnswer(name=body.name, state=RuleState.PENDING, reason=self._not_yet())))
        return answers

    def due(self, now_seconds: float) -> list[Answer]:
        """Judge the requests that can be judged.

        Those that may name meters still to enrol wait a while. So do all before the first plan, for every consumer to have asked
        once, and for requests to come no more: what is granted then depends on no race between consumers, nor between the
        requests of one. Shorter windows are judged first, since they grant what
        longer ones of the same cohort need. A request that was refused is judged anew, after the same wait, when other meters
        or PPNs are enrolled than when it was judged.
        """
        if not self._planner.knows_the_time:
            return []
        asked = self._to_judge_anew(now_seconds) | self._waiting
        if not asked:
            return []
        answers, patience = [], self._config.agreement.pending_seconds
        too_soon = bool(self._missing()) or self._still_coming(now_seconds)
        for key, each in sorted(asked.items(), key=lambda item: (item[1].body.window_rounds, item[0])):
            if too_soon and now_seconds - each.since_seconds < patience:
                continue
            self._waiting.pop(key, None)
            self._again.pop(key, None)
            answers.append(Answer(each.asked, self._judge(each.asked.statement.sender, each.body, now_seconds)))
        return answers

    def withdraw(self, asked: Asked, body: WithdrawRule, now_seconds: float) -> list[Answer]:
        """A rule ends with the window that is open. MessageError when it cannot be said yet, or was said before."""
        consumer = asked.statement.sender
        if not self._planner.knows_the_time:
            raise MessageError(RejectReason.FUTURE_ROUND, f"withdrawal by {consumer}")  # it is said again
        if not self._registry.agents.raise_sequence(consumer, asked.statement.sequence):
            raise MessageError(RejectReason.REPLAYED, f"withdrawal by {consumer}")
        for standing in self._registry.rules.standing():
            rule = standing.granted.rule
            if (rule.consumer, rule.name, rule.until_round) == (consumer, body.name, None):
                k = rule.window_rounds
                until = -(-self._planner.next_valid_round() // k) * k
                self._registry.rules.change(rule.model_copy(update={"until_round": until}))
                log.info("rule %s of %s is withdrawn and ends with round %d", body.name, rule.consumer, until - 1)
                self._planner.note_change(now_seconds)
        self._waiting.pop((consumer, body.name), None)
        self._again.pop((consumer, body.name), None)
        self._registry.refusals.drop(consumer, body.name)
        return [Answer(asked, RuleAnswer(name=body.name, state=RuleState.WITHDRAWN))]

    def _to_judge_anew(self, now_seconds: float) -> dict[tuple[str, str], _Waiting]:
        found, agents = {}, self._registry.agents
        for consumer, body in self._registry.refusals.judged_by_others(agents.enrolled_so_far()):
            agent = agents.find(consumer, self._planner.epoch)
            key = agent.key if agent is not None else None
            if key is None:
                continue
            since = self._again.setdefault((consumer, body.name), now_seconds)
            statement = Statement(sender=consumer, recipient=self._config.agent.id, sequence=0, body=body)
            found[consumer, body.name] = _Waiting(Asked(statement, key.pseudonym), body, since)
        return found

    def _missing(self) -> dict[str, set[str]]:
        """Who is waited for, by a word for what they are."""
        expected = self._registry.agents.expected
        missing = {"meters": expected(Role.METER), "PPNs": expected(Role.PPN)}
        if self._history.newest is None:
            silent = self._registry.agents.enrolled(Role.CONSUMER) - self._heard
            missing["the requests of consumers"] = expected(Role.CONSUMER) | silent
        return {what: who for what, who in missing.items() if who}

    def _still_coming(self, now_seconds: float) -> bool:
        """Whether, before the first plan, another request may follow the newest: a consumer says each of its rules by itself."""
        return self._history.newest is None and now_seconds < self._newest_seconds + self._config.plan.settle_seconds

    def _not_yet(self) -> str:
        """What a request waits for that is not judged yet."""
        if not self._planner.knows_the_time:
            return "the configurator does not know yet which round it is"
        if not self._missing():
            return f"other requests may follow; it is judged {self._config.plan.settle_seconds:g} s after the last one"
        waited_for = " and ".join(f"{what} ({_some(sorted(who))})" for what, who in self._missing().items())
        return f"{waited_for} are expected; it is judged without them {self._config.agreement.pending_seconds:g} s after it came"

    def _judge(self, consumer: str, body: RequestRule, now_seconds: float) -> RuleAnswer:
        try:
            granted = self._grant(consumer, body, self._planner.next_valid_round())
        except RefusedError as error:
            log.info("rule %s of %s is refused: %s", body.name, consumer, error.described)
            self._registry.refusals.keep(consumer, body, self._registry.agents.enrolled_so_far())
            return RuleAnswer(name=body.name, state=RuleState.REFUSED, reason=error.reason, because_of=error.because_of)
        log.info("rule %s of %s is granted as number %d", body.name, consumer, granted.rule.number)
        self._registry.refusals.drop(consumer, body.name)
        self._planner.note_change(now_seconds)
        return RuleAnswer(name=body.name, state=RuleState.GRANTED, number=granted.rule.number)

    def _grant(self, consumer: str, body: RequestRule, from_round: int) -> GrantedRule:
        meters = self._registry.agents.meters()
        known = [self._planner.as_planned(_with_all(each, meters.values())) for each in self._registry.rules.standing()]
        approved = approve(
            body,
            consumer,
            meters=meters,
            granted=known,
            policy=policy_of(self._config.plan, self._config.policy, meters, self._planner.modulus()),
            from_round=from_round,
            pairwise=self._config.pairwise,
        )
        rules = self._registry.rules
        drafted = rules.draft(body, consumer, from_round, approved.minimum_contributors, approved.cohort)
        if body.mechanism is Mechanism.PAIRWISE:  # served by no PPN
            rules.grant(drafted, body)
            return drafted
        beside = shared(lasting(known, from_round))
        try:
            *placed, granted = self._planner.place([*beside, drafted], self._registry.agents.listed(None))
        except ConfigurationError as error:
            raise RefusedError(f"no PPNs can serve it: {error}") from None
        with self._registry.transaction():
            rules.grant(granted, body)
            rules.move(beside, placed)
        return granted


def _some(names: Sequence[str], most: int = 3) -> str:
    shown, rest = ", ".join(names[:most]), len(names) - most
    return f"{shown} and {rest} more" if rest > 0 else shown


def _with_all(standing: StandingRule, numbers: Collection[int]) -> GrantedRule:
    """A stream of masked readings of all meters takes in those who enrolled since (`MaskedRules.parts`)."""
    if standing.request.mechanism is Mechanism.PAIRWISE and standing.request.cohort == "all":
        return replace(standing.granted, cohort=frozenset(numbers))
    return standing.granted


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
