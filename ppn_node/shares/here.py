"""Shares opened, kept and added in one process: a journal, and the elements in memory beside it.

What is not in memory after a restart is unsealed from the journal again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

from hushgrid.core.field import Field
from hushgrid.core.sealing import Agreement, SealingKey
from hushgrid.errors import MessageError
from hushgrid.plan.parts import Part
from hushgrid.wire.shares import SHARING_ID_BYTES, Envelope
from ppn_node.shares.admission import Elements, open_share
from ppn_node.shares.assignment import Assignment
from ppn_node.shares.journal import Journal
from ppn_node.shares.store import Opened
from ppn_node.shares.sums import PartialSum, join, weighted_sums
from ppn_node.shares.values import HeldShare, OpenedShare, StoredShare

ShareName = tuple[int, int, bytes]  # round, meter's number, sharing id


class Here:
    """See the module. It implements `ShareStore`; a worker has one, too.

    plan_of: the plan of a version, KeyError when there is none any more. key_of: the AEAD key shared with a meter of a plan.
    """

    def __init__(
        self,
        journal: Journal,
        *,
        plan_of: Callable[[int], Assignment],
        key_of: Callable[[Assignment, int], SealingKey],
    ) -> None:
        self._journal = journal
        self._plan_of = plan_of
        self._key_of = key_of
        #: By round and meter, the first sharing only: whoever sends others of one reading takes no memory.
        self._opened: dict[tuple[int, int], tuple[StoredShare, Elements]] = {}
        self._elements: dict[int, dict[int, Elements]] = {}
        self._numbers: dict[int, set[int]] = {}

    def attach(self) -> None:
        """Nothing is done in between other work."""

    def adopt(self, _plan: Assignment, _parts: Iterable[Part], _own: Agreement, /) -> None:
        """Plans and keys are asked for when they are needed."""

    def erase(self, _epoch: int, /) -> None:
        """The keys are whose `key_of` gives them."""

    def drain(self) -> None:
        """Nothing is open when `open` returns."""

    def close(self) -> None:
        """The journal is closed by whoever opened it."""

    # Shares

    def open(self, plan: Assignment, _carrier: str, envelope: Envelope, _wire: bytes, done: Opened, /) -> None:
        """See `ShareStore`; done is called before this returns."""
        done(dict(zip(envelope.shares, self.opened(plan, envelope), strict=True)))

    def opened(self, plan: Assignment, envelope: Envelope) -> list[OpenedShare]:
        """The outcome for each of an envelope's shares, in its order; the elements of those that are good stay at hand."""
        return [self._open(plan, envelope, number, sealed) for number, sealed in envelope.shares.values()]

    def _open(self, plan: Assignment, envelope: Envelope, number: int, sealed: bytes) -> OpenedShare:
        try:
            share = open_share(
                number, sealed, envelope.round, plan, partial(self._key_of, plan), attempt=envelope.attempt
            )
        except MessageError as error:
            return OpenedShare(bytes(SHARING_ID_BYTES), gap=False, refused=error.reason)
        stored = share.stored(plan.head.version)
        self._opened.setdefault((envelope.round, number), (stored, share.elements))
        return OpenedShare(share.sharing_id, stored.gap)

    def keep(self, shares: Iterable[StoredShare], /) -> None:
        """See `ShareStore`. One commit."""
        fresh: dict[tuple[int, int], StoredShare] = {}
        for share in shares:
            if share.number not in self._on_disk(share.round):
                fresh.setdefault((share.round, share.number), share)
        self._journal.add_shares(fresh.values())
        for share in fresh.values():
            self._on_disk(share.round).add(share.number)
            opened = self._opened.pop((share.round, share.number), None)
            if opened is not None and opened[0].sharing_id == share.sharing_id:
                self._elements.setdefault(share.round, {})[share.number] = opened[1]

    def keep_opened(self, names: Sequence[ShareName]) -> bool:
        """Put shares on disk that were opened here, all or none; False when some of them are not at hand."""
        at_hand = [opened[0] for name in names if (opened := self._opened.get(name[:2])) is not None]
        if [(share.round, share.number, share.sharing_id) for share in at_hand] != list(names):
            return False
        self.keep(at_hand)
        for share in at_hand:
            self._opened.pop((share.round, share.number), None)
        return True

    def held(self, round_number: int, /) -> dict[int, HeldShare]:
        """See `ShareStore`."""
        kept = self._journal.shares(round_number)
        return {share.number: HeldShare(share.sharing_id, share.gap, share.attempt) for share in kept}

    def _on_disk(self, round_number: int) -> set[int]:
        """The meters of which a share of this round is on disk."""
        if round_number not in self._numbers:
            self._numbers[round_number] = {share.number for share in self._journal.shares(round_number)}
        return self._numbers[round_number]

    # Sums

    def sums(self, version: int, members: Mapping[int, Sequence[int]], field: Field, /) -> tuple[int, ...] | None:
        """See `ShareStore`."""
        return join([self.partial_sum(version, members)], sum(map(len, members.values())), field)

    def partial_sum(self, version: int, members: Mapping[int, Iterable[int]]) -> PartialSum:
        """The sum over those of these (round, meters) whose shares are here."""
        head = self._plan_of(version).head
        vectors = []
        for round_number, numbers in members.items():
            elements = self._elements_of(round_number)
            vectors += [found for number in numbers if (found := elements.get(number)) is not None]
        return PartialSum(len(vectors), weighted_sums(vectors, (1,) * head.slots, head.field))

    def _elements_of(self, round_number: int) -> dict[int, Elements]:
        """The elements of a round's shares, by meter; those that are not in memory are unsealed from the journal."""
        elements = self._elements.setdefault(round_number, {})
        missing = self._on_disk(round_number) - elements.keys()
        for stored in self._journal.shares(round_number) if missing else ():
            if stored.number in missing:
                plan = self._plan_of(stored.version)
                share = open_share(stored.number, stored.sealed, round_number, plan, partial(self._key_of, plan))
                elements[stored.number] = share.elements
        return elements

    def forget(self, floor: int, /) -> None:
        """Let go of rounds below; whoever raises the journal's floor erases their shares on disk."""
        self._opened = {name: opened for name, opened in self._opened.items() if name[0] >= floor}
        self._elements = {r: elements for r, elements in self._elements.items() if r >= floor}
        self._numbers = {r: numbers for r, numbers in self._numbers.items() if r >= floor}
