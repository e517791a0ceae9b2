"""What an agent insists on, whatever a configurator signs (P21)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hushgrid.errors import MessageError, RejectReason
from hushgrid.plan.head import Head
from hushgrid.plan.parts import MaskingPart
from hushgrid.wire.model import Variant


@dataclass(frozen=True, slots=True)
class Floors:
    """What an agent insists on, whatever a configurator signs (P21). Part of the agent's own configuration."""

    threshold: int = 2
    minimum_contributors: int = 15
    pinned_ppns: tuple[tuple[str, bytes], ...] = ()
    unsafe_published: bool = False


def check_head(head: Head, floors: Floors) -> None:
    """Refuse a head below the agent's floors or with a PPN key its identity did not sign: MessageError."""
    if head.threshold < floors.threshold:
        raise MessageError(RejectReason.BELOW_FLOOR, f"threshold {head.threshold}, floor {floors.threshold}")
    if head.minimum_contributors < floors.minimum_contributors:
        detail = f"minimum contributors {head.minimum_contributors}, floor {floors.minimum_contributors}"
        raise MessageError(RejectReason.BELOW_FLOOR, detail)
    pinned = dict(floors.pinned_ppns)
    for ppn in head.ppns:
        ppn.key.check(ppn.identity, head.grid)
        if pinned.get(ppn.id, ppn.identity) != ppn.identity:
            raise MessageError(RejectReason.BELOW_FLOOR, f"{ppn.id} is not the pinned identity")


def check_roofs(head: Head, points: Sequence[int]) -> None:
    """A meter's own check of invariant 12: fewer than t of its shares under one operator. MessageError(BELOW_FLOOR)."""
    operators = [head.ppn(point).operator for point in points]
    for operator in set(operators):
        if operators.count(operator) >= head.threshold:
            raise MessageError(
                RejectReason.BELOW_FLOOR, f"operator {operator} would hold {operators.count(operator)} shares"
            )


def check_masking(head: Head, part: MaskingPart, floors: Floors) -> None:
    """A meter's own check of what it is to mask with: MessageError(BELOW_FLOOR) for the published noise without the unsafe
    flag, and for too few neighbours for the stated colluders; (BAD_SIGNATURE) for a key its owner did not announce.
    """
    if part.terms.variant is Variant.PUBLISHED and not floors.unsafe_published:
        raise MessageError(RejectReason.BELOW_FLOOR, "the published noise, without floors.unsafe_published")
    if part.neighbours and len(part.neighbours) <= part.terms.colluders:
        raise MessageError(RejectReason.BELOW_FLOOR, f"{len(part.neighbours)} neighbours may all collude")
    if not part.neighbours and part.isolated_epsilon is None and part.terms.variant is not Variant.PUBLISHED:
        raise MessageError(RejectReason.BELOW_FLOOR, "no neighbours, and no stated epsilon")
    for neighbour in part.neighbours:
        neighbour.key.check(neighbour.identity, head.grid)
        if neighbour.key.epoch != head.epoch:
            raise MessageError(RejectReason.BELOW_FLOOR, "a neighbour's key is of another epoch")
