"""Rounds on their way from open to released: carries out what `freezing` says, asks for what is missing, says what is due."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from hushgrid.shell.agent import Agent
from hushgrid.shell.runtime import Backoff
from hushgrid.wire.role import Role
from hushgrid.wire.shares import MAX_ENVELOPE, Closing, RepairRequest
from hushgrid.wire.topics import Channel
from ppn_node import freezing
from ppn_node.freezing import Step
from ppn_node.link import Reach
from ppn_node.plans import Assignments
from ppn_node.repair import Repairs
from ppn_node.rounds import Rounds
from ppn_node.shares.journal import Journal
from ppn_node.shares.values import StoredRelease

log = logging.getLogger("hushgrid.ppn")


class RoundProgress:
    """See the module.

    commit_all: puts everything on disk that has come. let_go: is told when rounds may have been forgotten. now: seconds of one
    clock.
    """

    def __init__(
        self,
        agent: Agent,
        journal: Journal,
        rounds: Rounds,
        assignments: Assignments,
        reach: Reach,
        *,
        repair_pause_seconds: float,
        commit_all: Callable[[], Awaitable[None]],
        let_go: Callable[[], None],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._agent = agent
        self._journal = journal
        self._rounds = rounds
        self._assignments = assignments
        self._reach = reach
        self._commit_all = commit_all
        self._let_go = let_go
        self._now = now
        self._repairs = Repairs(repair_pause_seconds)
        self._backoff = Backoff()
        self._work = asyncio.Event()
        self._outstanding = {(r.rule, r.first_round): r for r in journal.outstanding()}
        self._asked = journal.asked()
        self._resuming = True

    @property
    def figures(self) -> dict[str, int]:
        """For the conductor of a testbed."""
        return {
            "outstanding": len(self._outstanding),
            "floor": self._rounds.floor,
            "repair_requests": self._asked,
        }

    async def work(self) -> None:
        """For ever."""
        await self._agent.keep_working(self._advance, self._work, self._backoff)

    def wake(self) -> None:
        """There may be something to do."""
        self._work.set()

    async def _advance(self) -> None:
        await self._freeze_due()
        await self._repair_due()
        await self._say_what_is_due()

    # What happened

    def heard_shares(self, rounds: set[int]) -> None:
        """Shares of these rounds have come: whoever waits for more of them waits anew, or not at all."""
        now = self._now()
        for round_number in rounds:
            if round_number in self._repairs:
                self._repairs.heard(round_number, now)
                if not self._rounds.lacks(round_number):
                    self.wake()

    def roster_heard(self, round_number: int) -> None:
        """The configurator answered a roster."""
        self._backoff.settle(("roster", round_number))

    def decided(self, round_number: int) -> None:
        """This PPN has countersigned a round's decision."""
        if freezing.once_decided(self._rounds.recovery(round_number)) is Step.REPAIR:
            self._catch_up(round_number)

    def certified(self, round_number: int) -> None:
        """A round may be released."""
        self._backoff.settle(("countersignature", round_number))
        self._release(round_number)

    def received(self, rule: int, first_round: int) -> None:
        """The consumer has this aggregate share."""
        if self._outstanding.pop((rule, first_round), None) is not None:
            self._journal.received(rule, first_round)
            self._backoff.settle(("release", (rule, first_round)))
            self._agent.changed()

    # Freeze

    async def _freeze_due(self) -> None:
        pace, plans = self._agent.pacing.pace, list(self._agent.membership.plans)
        if pace is None or not plans:
            return
        if self._resuming:
            self._resuming = False
            await self._resume()
        first = max(self._rounds.floor, plans[0][0].valid_from_round)
        fresh = freezing.over(range(first, pace.frozen_through + 1), self._rounds.state, lambda r: r in self._repairs)
        if fresh:
            await self._commit_all()
        for round_number in fresh:
            lacks = self._rounds.lacks(round_number)
            await self._take(freezing.at_its_end(self._rounds.recovery(round_number), lacks=lacks), round_number)

    async def _resume(self) -> None:
        """After a restart: closings are said again (they may not have left), and what was certified is released."""
        for round_number, _ in self._rounds.in_hand():
            match freezing.after_a_restart(self._rounds.standing(round_number)):
                case Step.FREEZE_AND_CLOSE:
                    await self._close(round_number)
                case Step.REPAIR:
                    self._catch_up(round_number)
        for round_number in self._rounds.certified():
            self._release(round_number)

    async def _take(self, step: Step, round_number: int) -> None:
        match step:
            case Step.FREEZE:
                self._rounds.freeze(round_number)
            case Step.FREEZE_AND_CLOSE:
                self._rounds.freeze(round_number)
                await self._close(round_number)
            case Step.REPAIR:
                now, most = self._now(), self._repair_attempts(round_number)
                self._repairs.begin(round_number, now, after=0, most=most)
            case Step.SETTLE:
                await self._close(round_number)
                self._rounds.settle(round_number)
                self._release(round_number)

    def _repair_attempts(self, round_number: int) -> int:
        assignment = self._assignments.of_round(round_number)
        return assignment.head.repair_attempts if assignment else 0

    async def _close(self, round_number: int) -> None:
        """Tell whoever carries a meter whose share is missing that it will not be counted."""
        assignment = self._assignments.of_round(round_number)
        if assignment is not None:
            for sender in self._rounds.missing(round_number):
                closing = Closing(round_number, assignment.point).to_bytes(self._agent.identity, sender)
                await self._agent.send(Channel.RECEIPT, sender, closing)

    # Repair

    def _catch_up(self, round_number: int) -> None:
        if round_number not in self._repairs:
            self._repairs.catch_up(round_number, self._now(), self._repair_attempts(round_number))

    async def _repair_due(self) -> None:
        now = self._now()
        for round_number in list(self._repairs):
            repair = self._repairs.step(round_number, now) if self._rounds.lacks(round_number) else None
            step = freezing.in_repair(self._rounds.state(round_number), repair)
            if step is Step.ASK and repair is not None:
                await self._ask(round_number, repair.attempt)
            if step in (Step.ASK, Step.WAIT):
                self._backoff.remind(("repair", round_number), self._repairs.next_step(round_number))
                continue
            self._repairs.end(round_number)
            self._backoff.settle(("repair", round_number))
            await self._take(step, round_number)

    async def _ask(self, round_number: int, attempt: int) -> None:
        """Ask for what is missing, once."""
        assignment = self._assignments.of_round(round_number)
        wanted = self._rounds.wanted(round_number)
        count = sum(map(len, wanted.values()))
        if assignment is None or not count:
            return
        log.info("round %d: %d shares are missing, request %d", round_number, count, attempt)
        self._journal.add_asked(count)
        self._asked += count
        for sender, numbers in wanted.items():
            for start in range(0, len(numbers), MAX_ENVELOPE):
                asked = tuple(sorted(numbers[start : start + MAX_ENVELOPE]))
                request = RepairRequest(round_number, assignment.point, attempt, asked)
                await self._agent.send(Channel.RECEIPT, sender, request.to_bytes(self._agent.identity, sender))
        self._agent.changed()

    # Release

    def _release(self, round_number: int) -> None:
        """Whatever is complete around a round leaves now."""
        for release in self._rounds.release_around(round_number):
            self._outstanding[release.rule, release.first_round] = release
        self._let_go()
        self.wake()
        self._agent.changed()

    async def _say_what_is_due(self) -> None:
        now = self._now()
        if self._reach(Role.CONFIGURATOR.value):
            await self._tell_configurator(now)
        for key, release in list(self._outstanding.items()):
            if self._reach(release.consumer) and self._backoff.due(("release", key), now):
                await self._publish(release)

    async def _tell_configurator(self, now_seconds: float) -> None:
        membership, ppn = self._agent.membership, self._agent.id
        for round_number in self._rounds.waiting():
            signature = self._rounds.countersignature(round_number)
            if signature is not None:
                if self._backoff.due(("countersignature", round_number), now_seconds):
                    await membership.tell(ppn, signature)
            elif self._backoff.due(("roster", round_number), now_seconds):
                for page in self._rounds.roster(round_number):
                    await membership.tell(ppn, page)

    async def _publish(self, release: StoredRelease) -> None:
        for pseudonym in self._assignments.addresses(release.consumer, release.first_round):
            await self._agent.send(Channel.AGGREGATE, pseudonym, release.frame)
