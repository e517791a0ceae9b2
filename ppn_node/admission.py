"""Whether a share is counted: a decision about one share, its place and the time. No I/O."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from hushgrid.errors import MessageError, RejectReason, ShareRejectedError
from hushgrid.messages import Envelope, ShareText, share_context
from hushgrid.schedule import Pace
from hushgrid.sealing import SealingKey
from ppn_node.assignment import Assignment

#: Rounds that a sender's clock may be ahead of this PPN's.
SKEW_ROUNDS = 1


@dataclass(frozen=True, slots=True, repr=False)
class AdmittedShare:
    """A genuine share. elements: one per slot, None for "no reading"; sealed: what the journal keeps; attempt: of the envelope
    that brought it, 0 unless it was asked for."""

    round: int
    number: int
    sharing_id: bytes
    elements: tuple[int, ...] | None
    sealed: bytes
    attempt: int = 0


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
