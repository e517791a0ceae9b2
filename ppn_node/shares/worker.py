"""One worker of a PPN: opens, keeps and adds the shares of its meters. Its own process, its own journal; no network, no identity.

Started by the PPN, which it serves over one socket until that closes: `python -m ppn_node.shares.worker JOURNAL FD`. What was kept is on
disk before the answer; after a kill the next incarnation goes on from there. Keys are in memory only.
"""

from __future__ import annotations

import json
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path

from pydantic import TypeAdapter

from hushgrid.core.sealing import Agreement, Kind, SealingKey
from hushgrid.errors import HushgridError, MessageError, RejectReason
from hushgrid.plan.head import Head
from hushgrid.plan.parts import PpnPart
from hushgrid.shell.keyring import EpochKeys, Way
from ppn_node.shares import partition
from ppn_node.shares.assignment import Assignment
from ppn_node.shares.here import Here
from ppn_node.shares.journal import Journal
from ppn_node.shares.partition import FRAME, Ask

_PARTS = TypeAdapter(list[PpnPart])


class Worker:
    """Answers what is asked: the PPN's own way of keeping shares (`Here`), at the end of a socket."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._plans: dict[int, Assignment] = {}
        self._own: dict[int, Agreement] = {}
        self._keys: EpochKeys | None = None
        self._here = Here(journal, plan_of=self._plans.__getitem__, key_of=self._key)
        self._answers: dict[Ask, Callable[[bytes], bytes]] = {
            Ask.PLAN: self._plan,
            Ask.OPEN: self._open,
            Ask.KEEP_OPENED: self._keep_opened,
            Ask.KEEP: self._keep,
            Ask.HELD: lambda wire: partition.pack_held(self._here.held(partition.unpack_number(wire))),
            Ask.SUM: lambda wire: self._here.partial_sum(*partition.unpack_pairs(wire)).to_bytes(),
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
            self._own[head.epoch] = Agreement.from_bytes(bytes.fromhex(content["key"]))
            self._keys = self._keys or EpochKeys(self._own.get, content["grid"])
        return b""

    def _key(self, plan: Assignment, number: int) -> SealingKey:
        if self._keys is None:
            raise MessageError(RejectReason.BAD_SEAL, "no plan")
        return self._keys.with_(plan.meters[number].agreement, Kind.SHARE, plan.head.epoch, Way.IN)

    def _open(self, wire: bytes) -> bytes:
        version, envelope = partition.unpack_open(wire)
        return partition.pack_opened(self._here.opened(self._plans[version], envelope))

    def _keep_opened(self, wire: bytes) -> bytes:
        names = partition.unpack_names(wire)
        return partition.pack_number(len(names) if self._here.keep_opened(names) else 0)

    def _keep(self, wire: bytes) -> bytes:
        # A question that was answered by nobody is asked again: what it was about may be here.
        self._here.keep(partition.unpack_kept(wire))
        return b""

    def _forget(self, wire: bytes) -> bytes:
        floor = partition.unpack_number(wire)
        self._journal.raise_floor(floor)
        self._here.forget(floor)
        return b""

    def _erase(self, wire: bytes) -> bytes:
        epoch = partition.unpack_number(wire)
        for ended in [e for e in self._own if e <= epoch]:
            del self._own[ended]
        for version in [v for v, plan in self._plans.items() if plan.head.epoch <= epoch]:
            del self._plans[version]
        if self._keys is not None:
            self._keys.forget_through(epoch)
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
