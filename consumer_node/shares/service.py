"""The shell of aggregate shares at a consumer: collect, acknowledge, conclude, write down, observe."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from consumer_node.results.store import AskedCohort, ResultStore
from consumer_node.results.tables import ResultKind
from consumer_node.shares.collection import Aggregate, conclude, result_row
from consumer_node.shares.store import CollectedShares
from hushgrid.core.schedule import Window
from hushgrid.core.sealing import Kind
from hushgrid.errors import MessageError, RejectReason
from hushgrid.plan.following import AdoptedPlan
from hushgrid.plan.head import Head, PpnEntry
from hushgrid.plan.parts import ConsumerPart, Rule
from hushgrid.shell.agent import Agent
from hushgrid.shell.keyring import Way
from hushgrid.statements.rounds import Observation
from hushgrid.statements.statement import Body
from hushgrid.wire.aggregates import AggregateFrame, AggregateReceipt, AggregateText, aggregate_context
from hushgrid.wire.topics import Channel, Topic

log = logging.getLogger("hushgrid.consumer")


def _nobody_knows(_name: str, _number: int) -> None:
    """A cohort."""


class Collecting:
    """See the module.

    coverage_floor_fraction: of a rule by its name, what the consumer itself asks of its sums. cohort: of a rule by its name and
    number, as it was asked for. wake: there is something to do. now: seconds of one clock.
    """

    channel = Channel.AGGREGATE
    hears: tuple[type[Body], ...] = ()

    def __init__(
        self,
        agent: Agent,
        collected: CollectedShares,
        results: ResultStore,
        patience_seconds: float,
        coverage_floor_fraction: Callable[[str], float],
        wake: Callable[[], None],
        *,
        cohort: Callable[[str, int], AskedCohort | None] = _nobody_knows,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._agent = agent
        self._collected = collected
        self._results = results
        self._cohort = cohort
        self._patience_seconds = patience_seconds
        self._coverage_floor_fraction = coverage_floor_fraction
        self._wake = wake
        self._now = now
        self._rules: dict[int, dict[int, Rule]] = {}
        self._answers: dict[tuple[int, int], dict[int, AggregateText]] = {}
        self._since: dict[tuple[int, int], float] = {}
        self._observations: list[Observation] = []
        self._observed = 0

    def adopt(self, adopted: AdoptedPlan) -> None:
        """Take in the parts of kind "consumer" of a plan."""
        parts = [part for part in adopted.parts.get(self._agent.id, ()) if isinstance(part, ConsumerPart)]
        self._rules[adopted.head.version] = {rule.number: rule for part in parts for rule in part.rules}
        # After a restart: what was collected under this plan and is not concluded. Later plans are adopted later.
        for frame in map(AggregateFrame.from_bytes, self._collected.frames()):
            if self._concluded(frame.rule, frame.first_round):  # it was killed between the result and this
                self._collected.let_go(frame.rule, frame.first_round)
            elif frame.plan_version == adopted.head.version:
                self._take(frame, self._open(frame, *self._place(frame)))

    async def hear(self, parsed: Topic, payload: bytes) -> None:
        """An aggregate share: on disk before its receipt. What is concluded has its receipt again, and is not looked at."""
        frame = AggregateFrame.from_bytes(payload)
        head, ppn = self._place(frame)
        senders = {
            p.key.pseudonym for h, _ in self._agent.membership.plans for p in h.ppns if p.identity == ppn.identity
        }
        if parsed.sender not in senders:
            raise MessageError(RejectReason.WRONG_SENDER, f"point {frame.point}")
        if not self._concluded(frame.rule, frame.first_round):
            text = self._open(frame, head, ppn)
            self._collected.add(frame.rule, frame.first_round, frame.point, payload)
            self._take(frame, text)
        receipt = AggregateReceipt(frame.rule, frame.first_round, frame.point)
        await self._agent.send(Channel.RECEIPT, parsed.sender, receipt.to_bytes(self._agent.identity, parsed.sender))

    def hear_statement(self, body: Body) -> None:
        """None is for it."""
        raise MessageError(RejectReason.UNKNOWN_KIND, body.kind)

    async def advance(self) -> None:
        """Conclude what patience is over for; say what was observed."""
        for key in list(self._answers):
            self._conclude(*key)
        while self._observations:
            await self._agent.membership.tell(self._agent.id, self._observations.pop())

    # One aggregate share

    def _place(self, frame: AggregateFrame) -> tuple[Head, PpnEntry]:
        """The plan in force for the window's first round, and the PPN at the frame's point of this rule."""
        plan = self._agent.membership.plans.in_force(frame.first_round)
        if plan is None or plan[0].version != frame.plan_version:
            raise MessageError(RejectReason.WRONG_PLAN, f"plan {frame.plan_version} for round {frame.first_round}")
        rule = self._rules[plan[0].version].get(frame.rule)
        if rule is None or rule.window_rounds != frame.window_rounds or frame.first_round % frame.window_rounds:
            raise MessageError(RejectReason.UNKNOWN_RULE, f"rule {frame.rule}")
        if frame.point not in rule.points:
            raise MessageError(RejectReason.NOT_IN_PLAN, f"point {frame.point}")
        return plan[0], plan[0].ppn(frame.point)

    def _open(self, frame: AggregateFrame, head: Head, ppn: PpnEntry) -> AggregateText:
        key = self._agent.keys.with_(ppn.key.agreement, Kind.AGGREGATE, head.epoch, Way.IN)
        context = aggregate_context(head.digest, frame.rule, frame.first_round, frame.window_rounds, frame.point)
        plain = key.unseal(frame.sealed, context, stream=frame.rule, round_number=frame.first_round)
        return AggregateText.from_bytes(plain, head.slots, head.field)

    def _take(self, frame: AggregateFrame, text: AggregateText) -> None:
        key = (frame.rule, frame.first_round)
        self._answers.setdefault(key, {})[frame.point] = text
        self._since.setdefault(key, self._now())
        self._conclude(*key)

    # Results

    def _conclude(self, rule_number: int, first_round: int) -> None:
        plan = self._agent.membership.plans.in_force(first_round)
        if plan is None:
            return
        head = plan[0]
        rule = self._rules[head.version][rule_number]
        waited = self._now() - self._since[rule_number, first_round] >= self._patience_seconds
        result = conclude(
            head,
            rule,
            Window(first_round, rule.window_rounds),
            self._answers[rule_number, first_round],
            waited=waited,
            coverage_floor_fraction=self._coverage_floor_fraction(rule.name),
        )
        if result is None:
            return
        self._keep(rule, result, head.interval_seconds)
        del self._answers[rule_number, first_round], self._since[rule_number, first_round]
        self._say(rule, result)
        self._observe(result)
        self._agent.changed()

    def _keep(self, rule: Rule, result: Aggregate, interval_seconds: int) -> None:
        """The result is on disk before the shares it came from are let go of: a kill in between doubles nothing."""
        row = result_row(rule.name, result, interval_seconds)
        self._results.add(ResultKind.SUM, [row], self._cohort(rule.name, rule.number))
        self._collected.let_go(rule.number, result.window.first)

    def _concluded(self, rule_number: int, first_round: int) -> bool:
        return bool(self._results.concluded(ResultKind.SUM, rule_number, first_round, first_round))

    def _say(self, rule: Rule, result: Aggregate) -> None:
        window = result.window
        log.info("rule %s rounds %d to %d: %s, %d of %d pairs", rule.name, window.first, window.last, result.outcome.value,
                 result.included, result.expected)  # fmt: skip
        if result.wrong_points:
            log.warning("rule %s rounds %d to %d: the aggregate shares at points %s are wrong", rule.name, window.first,
                        window.last, ", ".join(map(str, result.wrong_points)))  # fmt: skip

    def _observe(self, result: Aggregate) -> None:
        """Tell the configurator whose aggregate shares fitted, where a wrong one would have been noticed."""
        if not result.detects or not (result.points or result.misfit_points):
            return
        self._observed += 1
        self._observations.append(
            Observation(
                rule=result.rule,
                first_round=result.window.first,
                right=result.points,
                wrong=result.wrong_points,
                misfit=result.misfit_points,
            )
        )
        self._wake()

    # Progress and the end of things

    def keeps_from_round(self, frozen_through: int) -> int:
        """The first round whose keys may still be needed: two of the longest windows back, and every window open."""
        longest = max((rule.window_rounds for rules in self._rules.values() for rule in rules.values()), default=1)
        return min([frozen_through - 2 * longest, *(first for _, first in self._answers)])

    def figures(self) -> dict[str, int]:
        """Counts for a testbed's conductor."""
        in_plan = len(self._rules[max(self._rules)]) if self._rules else 0
        return {"in_plan": in_plan, "results": self._results.count(ResultKind.SUM), "observed": self._observed}

    def close(self) -> None:
        """Close the store of what is collected."""
        self._collected.close()
