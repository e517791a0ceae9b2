"""One worker of a PPN: opens, keeps and adds the shares of its meters. Its own process, its own journal; no network, no identity.

Started by the PPN, which it serves over one socket until that closes: `python -m ppn_node.worker JOURNAL FD`. What was kept is on
disk before the answer; after a kill the next incarnation goes on from there. Keys are in memory only.
"""

from __future__ import annotations

import json
import signal
import socket
import struct
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from pydantic import TypeAdapter

from hushgrid.errors import HushgridError, MessageError
from hushgrid.messages import SHARING_ID_BYTES
from hushgrid.plan import Head, PpnPart
from hushgrid.sealing import Agreement, Kind, SealingKey
from ppn_node import partition
from ppn_node.admission import open_share
from ppn_node.aggregation import weighted_sums
from ppn_node.assignment import Assignment
from ppn_node.journal import Journal, StoredShare
from ppn_node.partition import Ask, Opened, PartialSum

#: A frame: its length, what is asked or answered.
FRAME = struct.Struct(">IB")
_PARTS = TypeAdapter(list[PpnPart])
_Elements = tuple[int, ...] | None


class Worker:
    """Answers what is asked. Elements are kept in memory beside the journal, and unsealed again after a restart."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._plans: dict[int, Assignment] = {}
        self._own: dict[int, tuple[str, Agreement]] = {}
        self._keys: dict[tuple[int, bytes], SealingKey] = {}
        self._opened: dict[tuple[int, int, bytes], tuple[StoredShare, _Elements]] = {}
        self._held: dict[int, dict[int, _Elements]] = {}
        self._kept: dict[int, set[int]] = {}
        self._answers: dict[Ask, Callable[[bytes], bytes]] = {
            Ask.PLAN: self._plan,
            Ask.OPEN: self._open,
            Ask.KEEP_OPENED: self._keep_opened,
            Ask.KEEP: self._keep,
            Ask.HELD: lambda wire: partition.pack_held(journal.shares(partition.unpack_number(wire))),
            Ask.SUM: self._sum,
            Ask.FORGET: self._forget,
            Ask.ERASE: self._erase,
        }

    def answer(self, ask: Ask, wire: bytes) -> bytes:
        """What is answered; nothing is refused here but single shares."""
        return self._answers[ask](wire)

    def _plan(self, wire: bytes) -> bytes:
        content = json.loads(wire)
        head = Head.model_validate(content["head"])
        assignment = Assignment.of(head, content["ppn"], tuple(_PARTS.validate_python(content["parts"])))
        if assignment is not None:
            self._plans[head.version] = assignment
            self._own[head.epoch] = content["grid"], Agreement.from_bytes(bytes.fromhex(content["key"]))
        return b""

    def _key(self, plan: Assignment, number: int) -> SealingKey:
        peer = plan.meters[number].agreement
        found = self._keys.get((plan.head.epoch, peer))
        if found is None:
            grid, own = self._own[plan.head.epoch]
            found = SealingKey.derive(
                own, peer, kind=Kind.SHARE, grid=grid, epoch=plan.head.epoch, sender=peer, recipient=own.public
            )
            self._keys[plan.head.epoch, peer] = found
        return found

    def _open(self, wire: bytes) -> bytes:
        version, envelope = partition.unpack_open(wire)
        plan, key = self._plans[version], partial(self._key, self._plans[version])
        answers = []
        for number, sealed in envelope.shares.values():
            try:
                share = open_share(number, sealed, envelope.round, plan, key, envelope.attempt)
            except MessageError as error:
                answers.append(Opened(bytes(SHARING_ID_BYTES), gap=False, refused=error.reason))
                continue
            gap = share.elements is None
            stored = StoredShare(envelope.round, number, share.sharing_id, gap, version, sealed, envelope.attempt)
            self._opened[envelope.round, number, share.sharing_id] = stored, share.elements
            answers.append(Opened(share.sharing_id, gap))
        return partition.pack_opened(answers)

    def _keep_opened(self, wire: bytes) -> bytes:
        names = partition.unpack_names(wire)
        found = [opened for name in names if (opened := self._opened.get(name)) is not None]
        if len(found) < len(names):
            return partition.pack_number(0)
        fresh = [opened for opened in found if opened[0].number not in self._numbers(opened[0].round)]
        self._journal.add_shares(share for share, _ in fresh)
        for share, elements in fresh:
            self._kept[share.round].add(share.number)
            self._held.setdefault(share.round, {})[share.number] = elements
        for name in names:
            del self._opened[name]
        return partition.pack_number(len(names))

    def _keep(self, wire: bytes) -> bytes:
        # A question that was answered by nobody is asked again: what it was about may be here.
        fresh = [share for share in partition.unpack_kept(wire) if share.number not in self._numbers(share.round)]
        self._journal.add_shares(fresh)
        for share in fresh:
            self._kept[share.round].add(share.number)
        return b""

    def _numbers(self, round_number: int) -> set[int]:
        """The meters of which a share of this round is on disk."""
        if round_number not in self._kept:
            self._kept[round_number] = {share.number for share in self._journal.shares(round_number)}
        return self._kept[round_number]

    def _elements(self, round_number: int) -> dict[int, _Elements]:
        """The elements of a round's shares, by meter; those that are not in memory are unsealed from the journal."""
        held = self._held.setdefault(round_number, {})
        missing = self._numbers(round_number) - held.keys()
        for stored in self._journal.shares(round_number) if missing else ():
            if stored.number in missing:
                plan = self._plans[stored.version]
                share = open_share(
                    stored.number, stored.sealed, round_number, plan, partial(self._key, plan), stored.attempt
                )
                held[stored.number] = share.elements
        return held

    def _sum(self, wire: bytes) -> bytes:
        version, members = partition.unpack_pairs(wire)
        plan = self._plans[version]
        vectors = []
        for round_number, numbers in members.items():
            held = self._elements(round_number)
            vectors += [elements for number, elements in held.items() if elements is not None and number in numbers]
        ones = (1,) * plan.head.slots
        return PartialSum(len(vectors), weighted_sums(vectors, ones, plan.head.field)).to_bytes()

    def _forget(self, wire: bytes) -> bytes:
        floor = partition.unpack_number(wire)
        self._journal.raise_floor(floor)
        self._held = {r: held for r, held in self._held.items() if r >= floor}
        self._kept = {r: numbers for r, numbers in self._kept.items() if r >= floor}
        self._opened = {name: opened for name, opened in self._opened.items() if name[0] >= floor}
        return b""

    def _erase(self, wire: bytes) -> bytes:
        epoch = partition.unpack_number(wire)
        self._own = {e: own for e, own in self._own.items() if e > epoch}
        self._keys = {key: value for key, value in self._keys.items() if key[0] > epoch}
        self._plans = {version: plan for version, plan in self._plans.items() if plan.head.epoch > epoch}
        return b""


def serve(worker: Worker, ppn: socket.socket) -> None:
    """Answer in order until the PPN closes."""
    with ppn.makefile("rb") as requests:
        while len(header := requests.read(FRAME.size)) == FRAME.size:
            length, ask = FRAME.unpack(header)
            answer = worker.answer(Ask(ask), requests.read(length))
            ppn.sendall(FRAME.pack(len(answer), ask) + answer)


def main() -> None:
    """Entry of the process. The PPN ends it by closing the socket; a terminal's Ctrl-C is the PPN's to answer."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    path, descriptor = sys.argv[1:]
    try:
        journal = Journal(Path(path))
    except HushgridError as error:
        sys.exit(f"hushgrid-ppn: {error}")
    try:
        with socket.socket(fileno=int(descriptor)) as ppn:
            serve(Worker(journal), ppn)
    except (BrokenPipeError, ConnectionResetError):
        pass
    finally:
        journal.close()


if __name__ == "__main__":
    main()
