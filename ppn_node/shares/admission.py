"""Whether a share is genuine and in its place: a decision about one share and the time. No I/O."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from hushgrid.core.schedule import Pace
from hushgrid.core.sealing import SealingKey
from hushgrid.errors import MessageError, RejectReason, ShareRejectedError
from hushgrid.wire.shares import Envelope, ShareText, share_context
from ppn_node.shares.assignment import Assignment
from ppn_node.shares.values import StoredShare

#: Rounds that a sender's clock may be ahead of this PPN's.
SKEW_ROUNDS = 1
#: One element per slot, None for "no reading".
Elements = tuple[int, ...] | None


@dataclass(frozen=True, slots=True, repr=False)
class AdmittedShare:
    """A genuine share with its elements. sealed: what is kept on disk; attempt: of the envelope that brought it."""

    round: int
    number: int
    sharing_id: bytes
    elements: Elements
    sealed: bytes
    attempt: int = 0

    def stored(self, version: int) -> StoredShare:
        """What is kept of it. version: of the plan under which it was sealed."""
        gap = self.elements is None
        return StoredShare(self.round, self.number, self.sharing_id, gap, version, self.sealed, self.attempt)


def check_envelope(envelope: Envelope, assignment: Assignment | None, pace: Pace | None) -> Assignment:
    """Refuse an envelope as a whole: ShareRejectedError for another plan, another PPN, or a round still to come."""
    if assignment is None:
        raise ShareRejectedError(RejectReason.NOT_IN_PLAN, f"round {envelope.round}")
    if envelope.plan_version != assignment.head.version:
        detail = f"plan {envelope.plan_version}, in force for round {envelope.round} is {assignment.head.version}"
        raise ShareRejectedError(RejectReason.WRONG_PLAN, detail)
    if envelope.point != assignment.point:
        raise ShareRejectedError(RejectReason.WRONG_RECIPIENT, f"point {envelope.point}")
    if pace is None or envelope.round > pace.metered_through + SKEW_ROUNDS:
        raise ShareRejectedError(RejectReason.FUTURE_ROUND, f"round {envelope.round}")
    return assignment


def open_share(
    number: int,
    sealed: bytes,
    round_number: int,
    assignment: Assignment,
    key_of: Callable[[int], SealingKey],
    attempt: int = 0,
) -> AdmittedShare:
    """Unseal and check one share; ShareRejectedError with the reason.

    key_of: the AEAD key shared with a meter of this plan, by its number.
    """
    if number not in assignment.meters:
        raise ShareRejectedError(RejectReason.UNKNOWN_METER, f"meter {number}")
    if len(sealed) != assignment.share_bytes:
        raise ShareRejectedError(RejectReason.MALFORMED, f"meter {number}")
    context = share_context(assignment.digest, number, assignment.point, round_number)
    try:
        plain = key_of(number).unseal(sealed, context, stream=0, round_number=round_number)
        text = ShareText.from_bytes(plain, assignment.head.slots, assignment.head.field)
    except MessageError as error:
        raise ShareRejectedError(error.reason, f"meter {number} round {round_number}") from None
    return AdmittedShare(round_number, number, text.sharing_id, text.elements, sealed, attempt)
