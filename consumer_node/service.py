"""The consumer's shell: asks for its rules; what is summed how, its mechanisms know."""

from __future__ import annotations

import asyncio
import logging
import time

from consumer_node.config import ConsumerConfig
from consumer_node.masked.service import Billing
from consumer_node.masked.store import BillingStore
from consumer_node.mechanism import ConsumerMechanism
from consumer_node.results.files import ResultFiles
from consumer_node.results.former import take_over_masked, take_over_sums
from consumer_node.results.store import AskedCohort, ResultStore
from consumer_node.shares.service import Collecting
from consumer_node.shares.store import CollectedShares
from consumer_node.wishes import Wishes
from hushgrid.errors import MessageError, RejectReason
from hushgrid.plan.following import AdoptedPlan
from hushgrid.plan.parts import ConsumerPart
from hushgrid.shell.agent import Agent
from hushgrid.shell.config import read_token
from hushgrid.shell.membership import Member
from hushgrid.shell.runtime import Backoff
from hushgrid.shell.transport import Transport
from hushgrid.statements.rules import RuleAnswer, RuleState
from hushgrid.statements.statement import Body
from hushgrid.wire.role import Role
from hushgrid.wire.topics import Topic

log = logging.getLogger("hushgrid.consumer")


class Consumer:
    """One consumer with its rules."""

    def __init__(self, config: ConsumerConfig, transport: Transport | None = None) -> None:
        section = config.agent
        member = Member(section.id, Role.CONSUMER, read_token(section.token_file))
        self.agent = Agent(
            config,
            Role.CONSUMER,
            [member],
            hearers=dict.fromkeys((Collecting.channel, Billing.channel), self._hear),
            on_plan=self._adopt,
            on_pace=self._wake,
            hears=(RuleAnswer, *Collecting.hears, *Billing.hears),
            on_statement=self._hear_statement,
            figures=self._figures,
            transport=transport,
        )
        self.wishes = Wishes(section.state_directory)
        self.wishes.configure(config.consumer.rules)
        #: Rules that a plan has and that were refused: their answer was lost, and is asked for again.
        self._doubtful: set[str] = set()
        self._backoff = Backoff()
        self._work = asyncio.Event()
        patience = config.consumer.patience_seconds
        collected, masked = CollectedShares(section.state_directory), BillingStore(section.state_directory)
        self._results = opened_results(config, collected, masked)
        self.mechanisms: tuple[ConsumerMechanism, ...] = (
            Collecting(
                self.agent,
                collected,
                self._results,
                patience,
                self._coverage_floor_fraction,
                self._wake,
                cohort=self._cohort,
            ),
            Billing(self.agent, masked, self._results, patience, self._wake, cohort=self._cohort),
        )

    async def run(self) -> None:
        """Serve until cancelled."""
        try:
            await self.agent.run(self._keep_working)
        finally:
            for mechanism in self.mechanisms:
                mechanism.close()
            self._results.close()
            self.wishes.close()
            self.agent.close()

    async def _keep_working(self) -> None:
        await self.agent.keep_working(self._advance, self._work, self._backoff)

    def _wake(self) -> None:
        self._work.set()

    # What comes in

    def _adopt(self, adopted: AdoptedPlan) -> None:
        for mechanism in self.mechanisms:
            mechanism.adopt(adopted)
        parts = [part for part in adopted.parts.get(self.agent.id, ()) if isinstance(part, ConsumerPart)]
        self._doubtful |= {rule.name for part in parts for rule in part.rules if rule.until_round is None}
        self._wake()

    async def _hear(self, parsed: Topic, payload: bytes) -> None:
        for mechanism in self.mechanisms:
            if mechanism.channel is parsed.channel:
                await mechanism.hear(parsed, payload)

    def _hear_statement(self, _member: str, body: Body) -> None:
        for mechanism in self.mechanisms:
            if isinstance(body, mechanism.hears):
                mechanism.hear_statement(body)
                return
        if not isinstance(body, RuleAnswer):
            raise MessageError(RejectReason.UNKNOWN_KIND, body.kind)
        self._hear_answer(body)

    def _hear_answer(self, body: RuleAnswer) -> None:
        if body.state is not RuleState.PENDING:
            self._doubtful.discard(body.name)
        if not self.wishes.answered(body):
            return
        if body.state is RuleState.PENDING:
            log.info("rule %s: not yet, because %s", body.name, body.reason)
            return
        self._backoff.settle((body.name, body.state is RuleState.WITHDRAWN))
        if body.state is RuleState.REFUSED:
            causes = f" (because of {', '.join(body.because_of)})" if body.because_of else ""
            log.warning("rule %s is refused: %s%s", body.name, body.reason, causes)
        else:
            log.info("rule %s is %s as number %d", body.name, body.state.value, body.number)
        self.agent.changed()

    # What is due

    async def _advance(self) -> None:
        if self.agent.membership.enrolled:
            await self._ask_due()
        for mechanism in self.mechanisms:
            await mechanism.advance()
        self._erase_keys()

    async def _ask_due(self) -> None:
        """Say what has no last word; the store is read again because a person may have added to it."""
        for wish in self.wishes.all():
            doubtful = wish.state is RuleState.REFUSED and wish.section.name in self._doubtful
            if (wish.open or doubtful) and self._backoff.due((wish.section.name, wish.withdrawn), time.monotonic()):
                await self.agent.membership.tell(self.agent.id, wish.statement, ordered=True)

    def _coverage_floor_fraction(self, rule: str) -> float:
        wish = self.wishes.find(rule)
        return wish.section.coverage_floor_fraction if wish else 0.0

    def _cohort(self, rule: str, number: int) -> AskedCohort | None:
        wish = self.wishes.find(rule)
        return wish.section.cohort if wish and wish.number == number else None

    def _erase_keys(self) -> None:
        """Destroy the key of an epoch once nothing of it is waited for: two plans' epochs on, and no window open."""
        pace = self.agent.pacing.pace
        if pace is None:
            return
        reached = min(mechanism.keeps_from_round(pace.frozen_through) for mechanism in self.mechanisms)
        plan = self.agent.membership.plans.in_force(reached)
        if plan is not None and plan[0].epoch > 0:
            kept = self.agent.keyring.epochs(self.agent.id)
            if kept and min(kept) < plan[0].epoch - 1:
                self.agent.erase_keys_through(plan[0].epoch - 2)

    def _figures(self) -> dict[str, int]:
        states = [wish.state for wish in self.wishes.all()]
        counted = {name: count for mechanism in self.mechanisms for name, count in mechanism.figures().items()}
        return counted | {"granted": states.count(RuleState.GRANTED), "refused": states.count(RuleState.REFUSED)}


def opened_results(config: ConsumerConfig, collected: CollectedShares, masked: BillingStore) -> ResultStore:
    """The tables of results, with all that an earlier version left elsewhere, and the files made from them.

    Errors: see `hushgrid.relational.opening.RelationalDatabase`.
    """
    section = config.agent
    results = ResultStore.at(
        config.results_url,
        section.grid,
        section.id,
        password=config.results_password(),
        files=ResultFiles(section.state_directory),
    )
    take_over_sums(section.state_directory, results, collected.add)
    take_over_masked(masked.with_former_results(), results)
    results.write_files()
    return results


async def serve(config: ConsumerConfig) -> None:
    """Run one consumer."""
    await Consumer(config).run()
