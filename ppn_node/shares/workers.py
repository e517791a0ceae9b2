"""A PPN's workers as the PPN sees them: starts them, asks them, starts them again when they die.

Opening shares is asked without waiting; everything else waits for its answer, from all workers at once. A worker that dies is
started again and told the plans again; what was asked and not answered is asked again, but for shares that were being opened:
those get no receipt, and their meters send them once more.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import select
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path

from hushgrid.core.field import Field
from hushgrid.core.sealing import Agreement
from hushgrid.errors import JournalError
from hushgrid.plan.parts import Part
from hushgrid.wire.shares import Envelope
from ppn_node.shares import partition
from ppn_node.shares.assignment import Assignment
from ppn_node.shares.partition import FRAME, Ask
from ppn_node.shares.store import Opened
from ppn_node.shares.sums import PartialSum, join
from ppn_node.shares.values import HeldShare, StoredShare

log = logging.getLogger("hushgrid.ppn")

#: Envelopes that may be with one worker unanswered; the PPN reads no further ones then.
_MOST_OPENING = 64
_ATTEMPTS = 5
_READ_BYTES = 1 << 18
_END_SECONDS = 10.0

#: What is done with an answer; None when the worker died before it answered.
_Done = Callable[[bytes | None], None]


class _Link:
    """One worker's process and the socket to it. Answers come in the order of the questions."""

    def __init__(self, journal: Path, greet: Callable[[_Link], None]) -> None:
        self._journal = journal
        self._greet = greet
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: deque[_Done] = deque()
        self._incoming = bytearray()
        self._deaths = 0
        self._start()

    @property
    def pid(self) -> int:
        """Of the newest incarnation."""
        return self._process.pid

    @property
    def unanswered(self) -> int:
        """How many questions are open."""
        return len(self._waiting)

    def _start(self) -> None:
        self._socket, theirs = socket.socketpair()
        with theirs:
            command = [sys.executable, "-m", "ppn_node.shares.worker", str(self._journal), str(theirs.fileno())]
            self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
        self._socket.setblocking(False)
        if self._loop is not None:
            self._loop.add_reader(self._socket, self.read)
        self._greet(self)

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """From now on answers are also taken in between other work."""
        self._loop = loop
        loop.add_reader(self._socket, self.read)

    def ask(self, ask: Ask, wire: bytes, done: _Done) -> None:
        """Send a question; `done` gets the answer in its turn. While the socket is full, answers are taken in."""
        outgoing = memoryview(FRAME.pack(len(wire), ask) + wire)
        self._waiting.append(done)
        link = self._socket
        while outgoing and link is self._socket:
            select.select([link], [link], [])
            try:
                outgoing = outgoing[link.send(outgoing) :]
            except BlockingIOError:
                self.read()
            except OSError:
                self._lost()

    def finish(self, unanswered: int = 0) -> None:
        """Wait until no more than so many questions are open."""
        while len(self._waiting) > unanswered:
            select.select([self._socket], [], [])
            self.read()

    def read(self) -> None:
        """Take in what has come."""
        try:
            piece = self._socket.recv(_READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            piece = b""
        if not piece:
            self._lost()
            return
        self._incoming += piece
        while len(self._incoming) >= FRAME.size:
            length, _ = FRAME.unpack_from(self._incoming)
            end = FRAME.size + length
            if len(self._incoming) < end:
                return
            answer = bytes(self._incoming[FRAME.size : end])
            del self._incoming[:end]
            self._deaths = 0
            self._waiting.popleft()(answer)

    def _lost(self) -> None:
        self._hang_up()
        status = self._process.wait()
        self._deaths += 1
        if self._deaths >= _ATTEMPTS:
            raise JournalError(f"worker {self._journal.stem} ends whenever it is started: status {status}")
        log.warning("worker %s ended with status %s and is started again", self._journal.stem, status)
        lost, self._waiting = self._waiting, deque()
        self._incoming.clear()
        self._start()
        for done in lost:
            done(None)

    def _hang_up(self) -> None:
        if self._loop is not None:
            self._loop.remove_reader(self._socket)
        self._socket.close()

    def close(self) -> None:
        """End the worker: it puts nothing on disk that it has not answered."""
        self._hang_up()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_END_SECONDS)
        self._process.kill()
        self._process.wait()


def _count(kept: list[int], at: int, answer: bytes | None) -> None:
    kept[at] = 0 if answer is None else partition.unpack_number(answer)


class Workers:
    """All workers of one PPN; together they implement `ShareStore`.

    Where more journals lie than are asked for, each of them has a worker: it may hold shares.
    """

    def __init__(self, directory: Path, count: int) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._plans: dict[int, tuple[int, bytes]] = {}
        self._opener: dict[tuple[int, int], int] = {}
        present = len(list(directory.glob("journal-worker-*.sqlite")))
        self._links = [
            _Link(directory / f"journal-worker-{number}.sqlite", self._greet)
            for number in range(1, max(count, present) + 1)
        ]

    @staticmethod
    def needed(directory: Path, count: int) -> bool:
        """Whether there are workers: asked for, or once asked for."""
        return count > 0 or any(directory.glob("journal-worker-*.sqlite"))

    @property
    def pids(self) -> list[int]:
        """The workers' processes."""
        return [link.pid for link in self._links]

    def attach(self) -> None:
        """Take part in the running event loop."""
        for link in self._links:
            link.attach(asyncio.get_running_loop())

    def close(self) -> None:
        """End all workers."""
        for link in self._links:
            link.close()

    # Plans and keys

    def _greet(self, link: _Link) -> None:
        for _, wire in self._plans.values():
            link.ask(Ask.PLAN, wire, lambda _answer: None)

    def adopt(self, plan: Assignment, parts: Iterable[Part], own: Agreement, /) -> None:
        """See `ShareStore`. The private half of the epoch stays in the workers' memory."""
        head = plan.head
        content = {
            "head": head.model_dump(mode="json"),
            "ppn": head.ppn(plan.point).id,
            "parts": [part.model_dump(mode="json") for part in parts],
            "grid": head.grid,
            "key": own.to_bytes().hex(),
        }
        wire = json.dumps(content).encode()
        self._plans[head.version] = head.epoch, wire
        self._ask_all(Ask.PLAN, [wire] * len(self._links))

    def erase(self, epoch: int, /) -> None:
        """Keys of epochs up to this one are over."""
        self._plans = {version: plan for version, plan in self._plans.items() if plan[0] > epoch}
        self._ask_all(Ask.ERASE, [partition.pack_number(epoch)] * len(self._links))

    # Shares

    def open(self, plan: Assignment, carrier: str, envelope: Envelope, wire: bytes, done: Opened, /) -> None:
        """See `ShareStore`; done gets nothing when the worker died meanwhile."""
        at = partition.worker_of(carrier, len(self._links))

        def answered(answer: bytes | None) -> None:
            opened = [] if answer is None else partition.unpack_opened(answer)
            for number, _ in envelope.shares.values() if opened else ():
                self._opener[envelope.round, number] = at
            done(dict(zip(envelope.shares, opened, strict=bool(opened))))

        self._links[at].finish(_MOST_OPENING)
        self._links[at].ask(Ask.OPEN, partition.pack_open(plan.head.version, wire), answered)

    def drain(self) -> None:
        """Wait until everything that is being opened has been."""
        for link in self._links:
            link.finish()

    def keep(self, shares: Iterable[StoredShare], /) -> None:
        """On disk when this returns, with the worker that opened them where it still has them."""
        divided: list[list[StoredShare]] = [[] for _ in self._links]
        for share in shares:
            at = self._opener.pop((share.round, share.number), share.number % len(self._links))
            divided[at].append(share)
        kept: list[int] = [0] * len(divided)
        for at, part in enumerate(divided):
            if part:
                self._links[at].ask(Ask.KEEP_OPENED, partition.pack_names(part), partial(_count, kept, at))
        for link, part in zip(self._links, divided, strict=True):
            if part:
                link.finish()
        left = [part if len(part) > kept[at] else [] for at, part in enumerate(divided)]
        if any(left):
            self._ask_all(Ask.KEEP, [partition.pack_kept(part) if part else None for part in left])

    def held(self, round_number: int, /) -> dict[int, HeldShare]:
        """See `ShareStore`."""
        found: dict[int, HeldShare] = {}
        for answer in self._ask_all(Ask.HELD, [partition.pack_number(round_number)] * len(self._links)):
            found |= partition.unpack_held(answer)
        return found

    def sums(self, version: int, members: Mapping[int, Sequence[int]], field: Field, /) -> tuple[int, ...] | None:
        """See `ShareStore`."""
        wire = partition.pack_pairs(version, members)
        partials = map(PartialSum.from_bytes, self._ask_all(Ask.SUM, [wire] * len(self._links)))
        return join(list(partials), sum(map(len, members.values())), field)

    def forget(self, floor: int, /) -> None:
        """Erase the shares of rounds below."""
        self._opener = {pair: at for pair, at in self._opener.items() if pair[0] >= floor}
        self._ask_all(Ask.FORGET, [partition.pack_number(floor)] * len(self._links))

    def _ask_all(self, ask: Ask, wires: Sequence[bytes | None]) -> list[bytes]:
        """Every worker's answer, of those with a question; asked again of one that died. JournalError when it keeps dying."""
        answers: dict[int, bytes] = {}
        for _ in range(2 * _ATTEMPTS):
            open_ = [at for at, wire in enumerate(wires) if wire is not None and at not in answers]
            for at in open_:

                def answered(wire: bytes | None, at: int = at) -> None:
                    if wire is not None:
                        answers[at] = wire

                self._links[at].ask(ask, wires[at] or b"", answered)
            for at in open_:
                self._links[at].finish()
            if all(at in answers for at in open_):
                return [answers[at] for at in sorted(answers)]
        raise JournalError(f"a worker dies of {ask.name} again and again")
