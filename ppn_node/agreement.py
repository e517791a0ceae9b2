"""One contributor decision per round: the PPN's side (docs/protocol.md, section Rounds). No I/O.

    open --freeze--> frozen --roster sent--> rostered --decision countersigned--> decided --certificate--> released

Nothing here goes back, and nothing is said twice with different bytes.
"""

from __future__ import annotations

from collections.abc import Mapping

from hushgrid.core.bitmap import Bitmap
from hushgrid.core.minimum import WithheldReason
from hushgrid.errors import MessageError, RejectReason
from hushgrid.statements.rounds import Contributors, DecisionCore, DecisionPage, RosterPage
from hushgrid.wire.model import PAGE_METERS
from ppn_node.shares.assignment import Assignment
from ppn_node.shares.values import HeldShare


def roster_pages(round_number: int, assignment: Assignment, held: Mapping[int, HeldShare]) -> list[RosterPage]:
    """What is on disk of a frozen round, page by page; the same bytes whenever it is asked for."""
    head = assignment.head
    readings = Bitmap.of(head.meters, (n for n, share in held.items() if not share.gap))
    gaps = Bitmap.of(head.meters, (n for n, share in held.items() if share.gap))
    pages = []
    for page in range(head.pages):
        first = page * PAGE_METERS
        here, none = readings.page(first, PAGE_METERS), gaps.page(first, PAGE_METERS)
        tags = b"".join(held[first + at].sharing_id for at in here | none)
        pages.append(
            RosterPage(
                round=round_number,
                version=head.version,
                point=assignment.point,
                page=page,
                pages=head.pages,
                size=here.size,
                readings=here.to_bytes(),
                gaps=none.to_bytes(),
                tags=tags,
            )
        )
    return pages


def assemble(core: DecisionCore, pages: Mapping[int, DecisionPage]) -> Contributors | None:
    """The decision's sets once all pages are there, each checked against the signed core; None until then."""
    if len(pages) < len(core.pages):
        return None
    for index, digest in enumerate(core.pages):
        if pages[index].digest != digest:
            raise MessageError(RejectReason.BAD_SIGNATURE, f"decision of round {core.round}, page {index}")
    return Contributors.from_pages(pages[index] for index in range(len(core.pages)))


def check_decision(
    core: DecisionCore, decided: Contributors, assignment: Assignment, held: Mapping[int, HeldShare]
) -> None:
    """Whether this PPN stands by a decision: MessageError names what does not fit.

    It fits when it is for the plan in force and when this PPN, if its roster was in time, holds every included share that it
    should hold (but for recovery `none`). Minimum and coverage are checked again where a window is summed (invariant 5).
    """
    head = assignment.head
    if core.version != head.version or decided.included.size != head.meters:
        raise MessageError(RejectReason.WRONG_PLAN, f"decision of round {core.round}")
    if head.recovery.agrees and assignment.point in core.punctual:
        readings = Bitmap.of(head.meters, (n for n, share in held.items() if not share.gap))
        if len((decided.included & assignment.expected) - readings):
            raise MessageError(RejectReason.CONFLICTING, f"decision of round {core.round} includes shares not held")


def withheld_reason(core: DecisionCore, rule: int, first_round: int) -> WithheldReason:
    """The decision's word about one (rule, window) that ends with its round."""
    for entry in core.withheld:
        if entry.rule == rule and entry.first_round == first_round:
            return entry.reason
    return WithheldReason.NONE
