"""Shares in: from the envelope to the receipt. What becomes of a share is `intake`'s to say, where it lies the store's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

from hushgrid.errors import RejectReason, ShareRejectedError
from hushgrid.shell.agent import Agent
from hushgrid.wire.shares import Envelope
from hushgrid.wire.topics import Channel, Topic
from ppn_node.intake import Admission, Intake, ReceiptDraft, Taken
from ppn_node.plans import Assignments
from ppn_node.rounds import Rounds
from ppn_node.shares.admission import check_envelope
from ppn_node.shares.store import ShareStore
from ppn_node.shares.values import OpenedShare

_COUNTED = {Admission.KNOWN: "duplicate share", Admission.NOT_YET: "share after the roster"}


class Reception:
    """Takes shares in and answers for them. heard: gets the rounds of shares that went to disk."""

    def __init__(
        self,
        agent: Agent,
        store: ShareStore,
        rounds: Rounds,
        assignments: Assignments,
        *,
        commit_delay_seconds: float,
        heard: Callable[[set[int]], None],
    ) -> None:
        self._agent = agent
        self._store = store
        self._rounds = rounds
        self._assignments = assignments
        self._commit_delay_seconds = commit_delay_seconds
        self._heard = heard
        self._intake = Intake(rounds.admission)
        self._committing = asyncio.Event()

    async def hear_envelope(self, parsed: Topic, payload: bytes) -> None:
        """Have its shares opened, when it is in its place."""
        envelope = Envelope.from_bytes(payload)
        try:
            if envelope.round < self._rounds.floor:
                raise ShareRejectedError(RejectReason.FORGOTTEN_ROUND, f"round {envelope.round}")
            in_force = self._assignments.of_round(envelope.round)
            plan = check_envelope(envelope, in_force, self._agent.pacing.pace)
        except ShareRejectedError as error:
            self._agent.counters.refuse("share", error)
            if self._intake.refuse(envelope, parsed.sender, error.reason):
                self._committing.set()
            return
        done = partial(self._opened, envelope, parsed.sender, plan.head.version)
        self._store.open(plan, parsed.sender, envelope, payload, done)

    def _opened(self, envelope: Envelope, sender: str, version: int, opened: dict[int, OpenedShare]) -> None:
        for taken in self._intake.take(envelope, sender, version, opened):
            self._count(envelope.round, taken)
        self._committing.set()

    def _count(self, round_number: int, taken: Taken) -> None:
        if taken.refused is not None:
            error = ShareRejectedError(taken.refused, f"meter {taken.number} round {round_number}")
            self._agent.counters.refuse("share", error)
        elif taken.admission in _COUNTED:
            self._agent.counters.add(_COUNTED[taken.admission])

    def _flush(self) -> list[ReceiptDraft]:
        """Everything taken in goes to disk in one commit; the receipts that may be sent now."""
        batch, drafts = self._intake.flush()
        if batch:
            self._rounds.keep(batch)
            self._agent.counters.add("share", len(batch))
            self._heard({share.round for share in batch})
        return drafts

    async def commit(self) -> None:
        """For ever: what comes within a short while goes to disk together."""
        while True:
            await self._committing.wait()
            await asyncio.sleep(self._commit_delay_seconds)
            self._committing.clear()
            await self._answer()

    async def commit_all(self) -> None:
        """Nothing that has come is in hand only when this returns."""
        self._store.drain()
        await self._answer()

    async def _answer(self) -> None:
        for draft in self._flush():
            receipt = draft.receipt.to_bytes(self._agent.identity, draft.sender)
            await self._agent.send(Channel.RECEIPT, draft.sender, receipt)
