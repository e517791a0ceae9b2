"""Where a PPN's shares are opened, kept and added: what the rest of the PPN knows of that."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

from hushgrid.core.field import Field
from hushgrid.core.sealing import Agreement
from hushgrid.plan.parts import Part
from hushgrid.wire.shares import Envelope
from ppn_node.shares.assignment import Assignment
from ppn_node.shares.values import HeldShare, OpenedShare, StoredShare

#: Gets the outcome of opening, by position in the envelope; nothing when it was lost on the way (then no receipt is due).
Opened = Callable[[dict[int, OpenedShare]], None]


class ShareStore(Protocol):
    """`Here`: this process, beside its journal. `Workers`: processes of their own, with a journal each."""

    def attach(self) -> None:
        """Take part in the running event loop."""

    def adopt(self, plan: Assignment, parts: Iterable[Part], own: Agreement, /) -> None:
        """A plan by which shares may come from now on. parts: this PPN's; own: its private half of the plan's epoch."""

    def open(self, plan: Assignment, carrier: str, envelope: Envelope, wire: bytes, done: Opened, /) -> None:
        """Unseal and check an envelope's shares and keep nothing. carrier: its pseudonym; wire: the envelope as it came."""

    def drain(self) -> None:
        """Wait until everything that is being opened has been."""

    def keep(self, shares: Iterable[StoredShare], /) -> None:
        """On disk when this returns; a share that lies there already stays as it is."""

    def held(self, round_number: int, /) -> dict[int, HeldShare]:
        """The shares of a round that are on disk, by meter number."""

    def sums(self, version: int, members: Mapping[int, Sequence[int]], field: Field, /) -> tuple[int, ...] | None:
        """The sum mod q over these (round, meters), slot by slot; None when some of these shares are not there.

        version: of the plan in force for the first round.
        """

    def forget(self, floor: int, /) -> None:
        """Erase the shares of rounds below."""

    def erase(self, epoch: int, /) -> None:
        """Keys of epochs up to this one are over."""

    def close(self) -> None:
        """End whatever was started for it."""
