"""The bytes of aggregate shares on their way to a consumer (docs/protocol.md, section Bytes).

    AggregateFrame    PPN -> consumer                one sealed aggregate share of a (rule, window)
    AggregateReceipt  consumer -> PPN                it is on disk

What is sealed inside, `AggregateText`, has one length per plan whatever it says.
"""

from __future__ import annotations

import enum
import struct
from dataclasses import dataclass, field

from hushgrid.core.field import Field
from hushgrid.core.minimum import WithheldReason
from hushgrid.core.sealing import TAG_BYTES, Identity, Kind
from hushgrid.errors import MessageError, RejectReason
from hushgrid.wire.frames import VERSION, FrameKind, Reader, frame_head, unsigned

DIGEST_BYTES = 32


_AGGREGATE = struct.Struct(">IIQHH")


_AGGREGATE_RECEIPT = struct.Struct(">IQH")


_AGGREGATE_TEXT = struct.Struct(">BBHIIIIIII")


class AggregateStatus(enum.IntEnum):
    """What a PPN has for a consumer's (rule, window)."""

    RELEASED = 0
    UNUSABLE = 1  # it lacks a share of the contributor set
    WITHHELD = 2  # the decision withholds the window


@dataclass(frozen=True, slots=True, repr=False)
class AggregateText:
    """A PPN's aggregate share with its coverage, under the seal to the consumer.

    digest: over the sorted (meter, round, sharing id) triples that were added (invariant 2).
    expected = included + gaps + lost + inconsistent, all in (meter, round) pairs; repaired: included pairs whose share this
    PPN had to ask for.
    """

    status: AggregateStatus
    reason: WithheldReason
    window_rounds: int
    expected: int
    included: int
    gaps: int
    lost: int
    inconsistent: int
    meters: int
    repaired: int
    digest: bytes
    elements: tuple[int, ...]

    def to_bytes(self, q_field: Field) -> bytes:
        """Fixed part, digest, slots * element_bytes."""
        fixed = _AGGREGATE_TEXT.pack(
            self.status,
            self.reason,
            self.window_rounds,
            self.expected,
            self.included,
            self.gaps,
            self.lost,
            self.inconsistent,
            self.meters,
            self.repaired,
        )
        return fixed + self.digest + b"".join(map(q_field.to_bytes, self.elements))

    @classmethod
    def from_bytes(cls, wire: bytes, slots: int, q_field: Field) -> AggregateText:
        """Back from under the seal; MessageError otherwise."""
        start, width = _AGGREGATE_TEXT.size + DIGEST_BYTES, q_field.element_bytes
        if len(wire) != start + slots * width:
            raise MessageError(RejectReason.MALFORMED, "aggregate share")
        fixed: tuple[int, ...] = _AGGREGATE_TEXT.unpack_from(wire)
        status, reason, window_rounds, expected, included, gaps, lost, inconsistent, meters, repaired = fixed
        try:
            elements = tuple(q_field.from_bytes(wire[at : at + width]) for at in range(start, len(wire), width))
            return cls(
                status=AggregateStatus(status),
                reason=WithheldReason(reason),
                window_rounds=window_rounds,
                expected=expected,
                included=included,
                gaps=gaps,
                lost=lost,
                inconsistent=inconsistent,
                meters=meters,
                repaired=repaired,
                digest=wire[_AGGREGATE_TEXT.size : start],
                elements=elements,
            )
        except ValueError:
            raise MessageError(RejectReason.OUT_OF_RANGE, "aggregate share") from None


def aggregate_context(plan_digest: bytes, rule: int, first_round: int, window_rounds: int, point: int) -> bytes:
    """What a sealed aggregate share is bound to (invariant 7)."""
    return struct.pack(">BB32sIQHH", VERSION, Kind.AGGREGATE, plan_digest, rule, first_round, window_rounds, point)


@dataclass(frozen=True, slots=True)
class AggregateFrame:
    """One sealed aggregate share; the plan is the one in force for the window's first round."""

    plan_version: int
    rule: int
    first_round: int
    window_rounds: int
    point: int
    sealed: bytes = field(repr=False)

    def to_bytes(self) -> bytes:
        """Wire form."""
        header = _AGGREGATE.pack(self.plan_version, self.rule, self.first_round, self.window_rounds, self.point)
        return frame_head(FrameKind.AGGREGATE) + header + self.sealed

    @classmethod
    def from_bytes(cls, wire: bytes) -> AggregateFrame:
        """Back from the wire; MessageError otherwise."""
        reader = Reader(wire, FrameKind.AGGREGATE)
        plan_version, rule, first_round, window_rounds, point = reader.unpack(_AGGREGATE)
        sealed = wire[2 + _AGGREGATE.size :]
        if len(sealed) <= TAG_BYTES:
            raise MessageError(RejectReason.MALFORMED, "too short")
        return cls(plan_version, rule, first_round, window_rounds, point, sealed)


@dataclass(frozen=True, slots=True)
class AggregateReceipt:
    """A consumer's signed word that an aggregate share is on its disk."""

    rule: int
    first_round: int
    point: int

    def to_bytes(self, signer: Identity, recipient: str) -> bytes:
        """Signed for one PPN's pseudonym."""
        body = frame_head(FrameKind.AGGREGATE_RECEIPT) + _AGGREGATE_RECEIPT.pack(
            self.rule, self.first_round, self.point
        )
        return body + signer.sign(f"receipt to {recipient}", body)

    @classmethod
    def from_bytes(cls, wire: bytes, signer: bytes, recipient: str) -> AggregateReceipt:
        """Back from the wire, signature checked; MessageError otherwise."""
        reader = Reader(unsigned(wire, signer, f"receipt to {recipient}"), FrameKind.AGGREGATE_RECEIPT)
        found = reader.unpack(_AGGREGATE_RECEIPT)
        reader.end()
        return cls(*found)
