"""Shares between their arrival and the disk: which are taken in, and what their senders are told. No I/O.

A receipt speaks of a whole envelope. It leaves when the shares it calls held are on disk; a share whose fate waits for the
round's decision is in no receipt, so that its sender tries again.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from hushgrid.core.bitmap import Bitmap
from hushgrid.errors import RejectReason
from hushgrid.wire.shares import Envelope, Receipt
from ppn_node.shares.values import HeldShare, OpenedShare, StoredShare

#: Refusals a sender hears of, so that its outbox drains: of shares whose seal was good, or of rounds long over. Anything else may
#: be a message that somebody changed on its way; its sender tries again until the round is closed.
ANSWERED = frozenset({RejectReason.CLOSED_ROUND, RejectReason.FORGOTTEN_ROUND, RejectReason.CONFLICTING})


class Admission(enum.Enum):
    """What becomes of a genuine share."""

    TAKEN = "taken"  # it goes to disk with the next commit
    WAITING = "waiting"  # this very share goes to disk with the next commit already
    KNOWN = "known"  # this very share is on disk already
    CONFLICTING = "conflicting"  # another sharing of this reading was there first
    CLOSED = "closed"  # it never counts
    NOT_YET = "not yet"  # whether it counts waits for the round's decision


_HELD = frozenset({Admission.TAKEN, Admission.WAITING, Admission.KNOWN})
_REFUSED = {Admission.CONFLICTING: RejectReason.CONFLICTING, Admission.CLOSED: RejectReason.CLOSED_ROUND}


def beside(share: StoredShare, held: HeldShare | None) -> Admission | None:
    """What a share is beside the one on disk; None when none is there."""
    if held is None:
        return None
    return Admission.KNOWN if held.sharing_id == share.sharing_id else Admission.CONFLICTING


@dataclass(slots=True)
class ReceiptDraft:
    """A receipt being made. held, refused: positions in the envelope."""

    envelope: Envelope
    sender: str
    held: set[int] = field(default_factory=set)
    refused: set[int] = field(default_factory=set)
    reason: RejectReason | None = None

    @property
    def due(self) -> bool:
        """Whether there is anything to say."""
        return bool(self.held or self.refused)

    @property
    def receipt(self) -> Receipt:
        """What is said."""
        envelope = self.envelope
        held, refused = Bitmap.of(envelope.size, self.held), Bitmap.of(envelope.size, self.refused)
        return Receipt(envelope.round, envelope.point, envelope.sequence, held, refused, self.reason)

    def refuse(self, position: int, reason: RejectReason) -> None:
        """Say that this share never counts, where that is for its sender to know; the first reason stands for all."""
        if reason in ANSWERED:
            self.refused.add(position)
            self.reason = self.reason or reason


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of one share of an envelope: an admission, or the reason why it is refused."""

    number: int
    admission: Admission | None
    refused: RejectReason | None


class Intake:
    """What has come and is not on disk yet. admission: what becomes of a share, but for what waits here."""

    def __init__(self, admission: Callable[[StoredShare], Admission]) -> None:
        self._admission = admission
        self._batch: dict[tuple[int, int], StoredShare] = {}
        self._drafts: list[ReceiptDraft] = []

    def refuse(self, envelope: Envelope, sender: str, reason: RejectReason) -> bool:
        """An envelope is refused as a whole; True when its sender is told."""
        if reason not in ANSWERED:
            return False
        self._drafts.append(ReceiptDraft(envelope, sender, refused=set(envelope.shares), reason=reason))
        return True

    def take(self, envelope: Envelope, sender: str, version: int, opened: Mapping[int, OpenedShare]) -> list[Taken]:
        """An envelope's shares were opened, those that were not lost on the way. version: of the plan they came under."""
        draft = ReceiptDraft(envelope, sender)
        found = [self._take(draft, position, version, outcome) for position, outcome in opened.items()]
        self._drafts.append(draft)
        return found

    def _take(self, draft: ReceiptDraft, position: int, version: int, outcome: OpenedShare) -> Taken:
        envelope = draft.envelope
        number, sealed = envelope.shares[position]
        if outcome.refused is not None:
            draft.refuse(position, outcome.refused)
            return Taken(number, None, outcome.refused)
        share = StoredShare(envelope.round, number, outcome.sharing_id, outcome.gap, version, sealed, envelope.attempt)
        admission = self._admit(share)
        reason = _REFUSED.get(admission)
        if reason is not None:
            draft.refuse(position, reason)
        elif admission in _HELD:
            draft.held.add(position)
        return Taken(number, admission, reason)

    def _admit(self, share: StoredShare) -> Admission:
        """Order matters: what is on disk, then what is on its way there, then whether the round takes anything."""
        admission = self._admission(share)
        if admission in (Admission.KNOWN, Admission.CONFLICTING):
            return admission
        waiting = self._batch.get((share.round, share.number))
        if waiting is not None:
            return Admission.WAITING if waiting.sharing_id == share.sharing_id else Admission.CONFLICTING
        if admission is Admission.TAKEN:
            self._batch[share.round, share.number] = share
        return admission

    def flush(self) -> tuple[list[StoredShare], list[ReceiptDraft]]:
        """What goes to disk in one commit, and what may be said once it is there.

        A round may have been frozen since a share came: then its roster has left without it, and it is not taken any more.
        """
        now = {key: self._admission(share) for key, share in self._batch.items()}
        for draft in self._drafts:
            for position in sorted(draft.held):
                admission = now.get((draft.envelope.round, draft.envelope.shares[position][0]), Admission.TAKEN)
                if admission not in _HELD:
                    draft.held.discard(position)
                    if admission in _REFUSED:
                        draft.refuse(position, _REFUSED[admission])
        batch = [share for key, share in self._batch.items() if now[key] in _HELD]
        drafts = [draft for draft in self._drafts if draft.due]
        self._batch.clear()
        self._drafts.clear()
        return batch, drafts
