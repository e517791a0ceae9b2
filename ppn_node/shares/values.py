"""What a PPN keeps, as values. The stores take them in and give them out; whoever decides needs no store for that."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import NamedTuple

from hushgrid.errors import RejectReason
from hushgrid.statements.rounds import Countersignature, DecisionCore, ReleaseCertificate


class RoundState(enum.IntEnum):
    """How far a round has come at this PPN."""

    OPEN = 0
    FROZEN = 1
    ROSTERED = 2
    DECIDED = 3
    RELEASED = 4


@dataclass(frozen=True, slots=True, repr=False)
class StoredShare:
    """One sealed share as it lies on disk.

    gap: it says "no reading".
    version: of the plan under which it was sealed.
    attempt: of the envelope that brought it, 0 unless it was asked for.
    """

    round: int
    number: int
    sharing_id: bytes
    gap: bool
    version: int
    sealed: bytes
    attempt: int = 0


class HeldShare(NamedTuple):
    """What is known of a share on disk without opening it. gap: it says "no reading"; attempt: 0 unless asked for."""

    sharing_id: bytes
    gap: bool
    attempt: int = 0


@dataclass(frozen=True, slots=True)
class OpenedShare:
    """What became of one share: its sharing id and whether it is "no reading", or why it is refused."""

    sharing_id: bytes
    gap: bool
    refused: RejectReason | None = None


@dataclass(frozen=True, slots=True)
class StoredRound:
    """How far a round has come, with what was agreed about it."""

    round: int
    state: RoundState
    core: DecisionCore | None
    countersignature: Countersignature | None
    certificate: ReleaseCertificate | None


@dataclass(frozen=True, slots=True, repr=False)
class StoredRelease:
    """An aggregate share that was released, as the bytes that were and will be published."""

    rule: int
    first_round: int
    consumer: str
    frame: bytes
