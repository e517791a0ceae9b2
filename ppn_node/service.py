"""The PPN's shell: who hears what, and what is opened and closed. Shares in: `reception`; rounds on: `progress`."""

from __future__ import annotations

import logging
from collections.abc import Callable

from hushgrid.errors import MessageError, RejectReason
from hushgrid.plan.following import AdoptedPlan
from hushgrid.shell.agent import Agent
from hushgrid.shell.config import read_token
from hushgrid.shell.membership import Member
from hushgrid.shell.transport import Transport
from hushgrid.statements.joining import Refusal
from hushgrid.statements.rounds import DecisionMessage, Forgotten, ReleaseCertificate
from hushgrid.statements.statement import Body
from hushgrid.wire.aggregates import AggregateReceipt, AggregateText
from hushgrid.wire.role import Role
from hushgrid.wire.topics import Channel, Topic
from ppn_node.aggregation import aggregate
from ppn_node.config import PpnConfig
from ppn_node.link import PERFECT, PpnLink, Reach
from ppn_node.plans import Assignments
from ppn_node.progress import RoundProgress
from ppn_node.reception import Reception
from ppn_node.rounds import Rounds
from ppn_node.shares.choice import share_store
from ppn_node.shares.journal import Journal

log = logging.getLogger("hushgrid.ppn")


class Ppn:
    """One PPN.

    add: how it makes aggregate shares (see `Rounds`).
    link: whom it reaches; another than PERFECT is for showing what happens when it does not.
    """

    def __init__(
        self,
        config: PpnConfig,
        transport: Transport | None = None,
        *,
        add: Callable[..., AggregateText] = aggregate,
        link: PpnLink = PERFECT,
    ) -> None:
        self.config = config
        section = config.agent
        member = Member(section.id, Role.PPN, read_token(section.token_file), operator=config.ppn.operator)
        self.agent = Agent(
            config,
            Role.PPN,
            [member],
            hearers={
                Channel.SHARE: self._hear_envelope,
                Channel.RECEIPT: self._hear_receipt,
                Channel.PRESENCE: self._hear_presence,
            },
            on_plan=self._adopt,
            on_pace=self._wake,
            hears=(DecisionMessage, ReleaseCertificate, Forgotten),
            on_statement=self._hear_statement,
            figures=lambda: self._progress.figures,
            transport=transport,
        )
        self._reach = Reach(link, self.agent.id, lambda: self.agent.pacing.pace)
        self._assignments = plans = Assignments(self.agent)
        self.journal = Journal(section.state_directory / "journal.sqlite")
        self._store = share_store(
            section.state_directory,
            config.ppn.workers,
            self.journal,
            plan_of=plans.of_version,
            key_of=plans.meter_key,
        )
        self.rounds = Rounds(
            self.journal,
            self._store,
            self.agent.identity,
            config.configurator.identity,
            assignment_of=plans.of_round,
            consumer_key=plans.consumer_key,
            add=add,
        )
        self._reception = Reception(
            self.agent,
            self._store,
            self.rounds,
            plans,
            commit_delay_seconds=config.ppn.commit_delay_seconds,
            heard=self._heard_shares,
        )
        self._progress = RoundProgress(
            self.agent,
            self.journal,
            self.rounds,
            plans,
            self._reach,
            repair_pause_seconds=config.ppn.repair_pause_seconds,
            commit_all=self._reception.commit_all,
            let_go=self._erase_keys,
        )

    async def run(self) -> None:
        """Serve until cancelled."""
        self._store.attach()
        try:
            await self.agent.run(self._reception.commit, self._progress.work)
        finally:
            self._store.close()
            self.journal.close()
            self.agent.close()

    def _adopt(self, adopted: AdoptedPlan) -> None:
        assignment = self._assignments.adopt(adopted)
        own = self.agent.keyring.agreement(self.agent.id, adopted.head.epoch)
        if assignment is not None and own is not None:
            self._store.adopt(assignment, adopted.parts.get(self.agent.id, ()), own)
        self._wake()

    # Who hears what: these are handed out before the rooms they lead to are there.

    def _wake(self) -> None:
        self._progress.wake()

    async def _hear_envelope(self, parsed: Topic, payload: bytes) -> None:
        await self._reception.hear_envelope(parsed, payload)

    async def _hear_presence(self, parsed: Topic, payload: bytes) -> None:
        self.agent.hear_presence(parsed, payload)

    def _heard_shares(self, rounds: set[int]) -> None:
        self._progress.heard_shares(rounds)

    def _hear_statement(self, _member: str, body: Body) -> None:
        if not self._reach(Role.CONFIGURATOR.value):
            return
        match body:
            case DecisionMessage():
                self._progress.roster_heard(body.core.round)
                if self.rounds.hear_decision(body) is not None:
                    self._progress.decided(body.core.round)
            case ReleaseCertificate():
                if self.rounds.hear_certificate(body):
                    self._progress.certified(body.round)
            case Forgotten(through=through):
                if self.rounds.forget(through):
                    log.warning("rounds up to %d are over everywhere: their shares are erased unused", through)
            case Refusal():
                raise MessageError(RejectReason.WRONG_SENDER, f"refused: {body.of}: {body.reason}")
            case _:
                raise MessageError(RejectReason.UNKNOWN_KIND, body.kind)
        self._wake()

    async def _hear_receipt(self, parsed: Topic, payload: bytes) -> None:
        senders = {e.identity: e.id for e in self._assignments.consumers() if e.key.pseudonym == parsed.sender}
        if not senders or parsed.recipient is None:
            raise MessageError(RejectReason.UNKNOWN_SENDER, "receipt")
        identity, consumer = senders.popitem()
        if self._reach(consumer):
            receipt = AggregateReceipt.from_bytes(payload, identity, parsed.recipient)
            self._progress.received(receipt.rule, receipt.first_round)

    def _erase_keys(self) -> None:
        ended = self._assignments.erase_keys(self.rounds.floor)
        if ended is not None:
            self._store.erase(ended)


async def serve(config: PpnConfig) -> None:
    """Run one PPN."""
    await Ppn(config).run()
