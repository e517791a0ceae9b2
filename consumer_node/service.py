"""The consumer's shell: asks for its rules, collects, acknowledges, concludes, writes down."""

from __future__ import annotations

import asyncio
import logging
import time

from consumer_node.billing_service import Billing
from consumer_node.billing_store import BillingStore
from consumer_node.collection import conclude
from consumer_node.config import ConsumerConfig
from consumer_node.results import Results
from consumer_node.wishes import Wishes
from hushgrid import control
from hushgrid.agent import Agent
from hushgrid.config import read_token
from hushgrid.control import Role, RuleState
from hushgrid.errors import MessageError, RejectReason
from hushgrid.membership import AdoptedPlan, Member
from hushgrid.messages import AggregateFrame, AggregateReceipt, AggregateText, aggregate_context
from hushgrid.plan import ConsumerPart, Head, PpnEntry, Rule
from hushgrid.runtime import Backoff
from hushgrid.schedule import Window
from hushgrid.sealing import Kind, SealingKey
from hushgrid.topics import Channel, Topic, topic
from hushgrid.transport import Transport

log = logging.getLogger("hushgrid.consumer")


class Consumer:
    """One consumer with its rules."""

    def __init__(self, config: ConsumerConfig, transport: Transport | None = None) -> None:
        self.config = config
        section = config.agent
        member = Member(section.id, Role.CONSUMER, read_token(section.token_file))
        self.agent = Agent(
            config,
            Role.CONSUMER,
            [member],
            hearers={Channel.AGGREGATE: self._hear_aggregate, Channel.MASKED: self._hear_masked},
            on_plan=self._adopt,
            on_pace=self._wake,
            on_statement=self._hear_statement,
            figures=self._figures,
            transport=transport,
        )
        self.results = Results(section.state_directory)
        self._rules: dict[int, dict[int, Rule]] = {}
        self._keys: dict[tuple[int, bytes], SealingKey] = {}
        self._answers: dict[tuple[int, int], dict[int, AggregateText]] = {}
        self._since: dict[tuple[int, int], float] = {}
        self.wishes = Wishes(section.state_directory)
        self.wishes.configure(config.consumer.rules)
        self._observations: list[control.Observation] = []
        self._observed = 0
        self._backoff = Backoff()
        self.billing = Billing(self.agent, BillingStore(section.state_directory), config.consumer.patience_seconds)
        self._work = asyncio.Event()

    async def run(self) -> None:
        """Serve until cancelled."""
        try:
            await self.agent.run(self._keep_working)
        finally:
            self.results.close()
            self.billing.close()
            self.wishes.close()
            self.agent.keyring.close()

    async def _keep_working(self) -> None:
        await self.agent.keep_working(self._advance, self._work, self._backoff)

    def _wake(self) -> None:
        self._work.set()

    # Rules

    def _adopt(self, adopted: AdoptedPlan) -> None:
        parts = [part for part in adopted.parts.get(self.agent.id, ()) if isinstance(part, ConsumerPart)]
        self._rules[adopted.head.version] = {rule.number: rule for part in parts for rule in part.rules}
        # After a restart: what was collected under this plan and is not concluded. Later plans are adopted later.
        for frame in map(AggregateFrame.from_bytes, self.results.answers()):
            if frame.plan_version == adopted.head.version:
                self._take(frame)
        self.billing.adopt(adopted)
        self._work.set()

    async def _hear_masked(self, parsed: Topic, payload: bytes) -> None:
        await self.billing.hear(parsed, payload)
        self._work.set()

    def _hear_statement(self, _member: str, body: control.Body) -> None:
        if isinstance(body, control.MaskedClosing):
            self.billing.hear_closing(body)
            self._work.set()
            return
        if not isinstance(body, control.RuleAnswer):
            raise MessageError(RejectReason.UNKNOWN_KIND, body.kind)
        if self.wishes.answered(body):
            self._backoff.settle((body.name, body.state is RuleState.WITHDRAWN))
            if body.state is RuleState.REFUSED:
                causes = f" (because of {', '.join(body.because_of)})" if body.because_of else ""
                log.warning("rule %s is refused: %s%s", body.name, body.reason, causes)
            else:
                log.info("rule %s is %s as number %d", body.name, body.state.value, body.number)
            self.agent.changed()

    async def _advance(self) -> None:
        if self.agent.membership.enrolled:
            await self._ask_due()
        for key in list(self._answers):
            self._conclude(*key)
        await self.billing.advance()
        self._erase_keys()
        while self._observations:
            await self.agent.membership.tell(self.agent.id, self._observations.pop())

    async def _ask_due(self) -> None:
        """Say what was not answered; the store is read again because a person may have added to it."""
        for wish in self.wishes.all():
            if wish.state is None and self._backoff.due((wish.section.name, wish.withdrawn), time.monotonic()):
                await self.agent.membership.tell(self.agent.id, wish.statement, ordered=True)

    # Aggregate shares

    async def _hear_aggregate(self, parsed: Topic, payload: bytes) -> None:
        frame = AggregateFrame.from_bytes(payload)
        head, ppn = self._place(frame)
        senders = {
            p.key.pseudonym for h, _ in self.agent.membership.plans for p in h.ppns if p.identity == ppn.identity
        }
        if parsed.sender not in senders:
            raise MessageError(RejectReason.WRONG_SENDER, f"point {frame.point}")
        if not self.results.concluded(frame.rule, frame.first_round):
            self._open(frame, head, ppn)
            self.results.add_answer(frame.rule, frame.first_round, frame.point, payload)
            self._take(frame)
        receipt = AggregateReceipt(frame.rule, frame.first_round, frame.point)
        name = topic(self.agent.grid, Channel.RECEIPT, self.agent.transport.pseudonym, parsed.sender)
        await self.agent.transport.publish(name, receipt.to_bytes(self.agent.identity, parsed.sender))

    def _place(self, frame: AggregateFrame) -> tuple[Head, PpnEntry]:
        """The plan in force for the window's first round, and the PPN at the frame's point of this rule."""
        plan = self.agent.membership.plans.in_force(frame.first_round)
        if plan is None or plan[0].version != frame.plan_version:
            raise MessageError(RejectReason.WRONG_PLAN, f"plan {frame.plan_version} for round {frame.first_round}")
        rule = self._rules[plan[0].version].get(frame.rule)
        if rule is None or rule.window_rounds != frame.window_rounds or frame.first_round % frame.window_rounds:
            raise MessageError(RejectReason.UNKNOWN_RULE, f"rule {frame.rule}")
        if frame.point not in rule.points:
            raise MessageError(RejectReason.NOT_IN_PLAN, f"point {frame.point}")
        return plan[0], plan[0].ppn(frame.point)

    def _open(self, frame: AggregateFrame, head: Head, ppn: PpnEntry) -> AggregateText:
        key = self._keys.get((head.epoch, ppn.key.agreement))
        if key is None:
            own = self.agent.keyring.agreement(self.agent.id, head.epoch)
            if own is None:
                raise MessageError(RejectReason.BAD_SEAL, f"the key of epoch {head.epoch} is erased")
            key = SealingKey.derive(
                own,
                ppn.key.agreement,
                kind=Kind.AGGREGATE,
                grid=self.agent.grid,
                epoch=head.epoch,
                sender=ppn.key.agreement,
                recipient=own.public,
            )
            self._keys[head.epoch, ppn.key.agreement] = key
        context = aggregate_context(head.digest, frame.rule, frame.first_round, frame.window_rounds, frame.point)
        plain = key.unseal(frame.sealed, context, stream=frame.rule, round_number=frame.first_round)
        return AggregateText.from_bytes(plain, head.slots, head.field)

    def _take(self, frame: AggregateFrame) -> None:
        head, ppn = self._place(frame)
        key = (frame.rule, frame.first_round)
        self._answers.setdefault(key, {})[frame.point] = self._open(frame, head, ppn)
        self._since.setdefault(key, time.monotonic())
        self._conclude(*key)

    def _conclude(self, rule_number: int, first_round: int) -> None:
        plan = self.agent.membership.plans.in_force(first_round)
        if plan is None:
            return
        head = plan[0]
        rule = self._rules[head.version][rule_number]
        window = Window(first_round, rule.window_rounds)
        waited = time.monotonic() - self._since[rule_number, first_round] >= self.config.consumer.patience_seconds
        wish = self.wishes.find(rule.name)
        result = conclude(
            head,
            rule,
            window,
            self._answers[rule_number, first_round],
            waited=waited,
            coverage_floor_fraction=wish.section.coverage_floor_fraction if wish else 0.0,
        )
        if result is None:
            return
        self.results.conclude(rule.name, result, head.interval_seconds)
        del self._answers[rule_number, first_round], self._since[rule_number, first_round]
        log.info("rule %s rounds %d to %d: %s, %d of %d pairs", rule.name, window.first, window.last, result.outcome.value,
                 result.included, result.expected)  # fmt: skip
        if result.wrong_points:
            log.warning("rule %s rounds %d to %d: the aggregate shares at points %s are wrong", rule.name, window.first,
                        window.last, ", ".join(map(str, result.wrong_points)))  # fmt: skip
        if result.detects and (result.points or result.misfit_points):
            self._observed += 1
            self._observations.append(
                control.Observation(
                    rule=rule.number,
                    first_round=window.first,
                    right=result.points,
                    wrong=result.wrong_points,
                    misfit=result.misfit_points,
                )
            )
            self._work.set()
        self.agent.changed()

    def _erase_keys(self) -> None:
        """Destroy the key of an epoch once nothing of it is waited for: two plans' epochs on, and no window open."""
        newest = self.agent.membership.plans.newest
        pace = self.agent.pacing.pace
        if newest is None or pace is None:
            return
        open_rounds = [first for _, first in self._answers]
        longest = max((rule.window_rounds for rules in self._rules.values() for rule in rules.values()), default=1)
        unbilled = self.billing.oldest_open_round()
        if unbilled is not None:
            open_rounds.append(unbilled)
        reached = min([pace.frozen_through - 2 * longest, *open_rounds])
        plan = self.agent.membership.plans.in_force(reached)
        if plan is not None and plan[0].epoch > 0:
            kept = self.agent.keyring.epochs(self.agent.id)
            if kept and min(kept) < plan[0].epoch - 1:
                self.agent.keyring.erase_through([self.agent.id], plan[0].epoch - 2)

    def _in_plan(self) -> int:
        return len(self._rules[max(self._rules)]) if self._rules else 0

    def _figures(self) -> dict[str, int]:
        states = [wish.state for wish in self.wishes.all()]
        return self.billing.figures() | {
            "in_plan": self._in_plan(),
            "results": self.results.count(),
            "observed": self._observed,
            "granted": states.count(RuleState.GRANTED),
            "refused": states.count(RuleState.REFUSED),
        }


async def serve(config: ConsumerConfig) -> None:
    """Run one consumer."""
    await Consumer(config).run()
