"""The bytes of shares on their way to a PPN (docs/protocol.md, section Bytes).

    Envelope          meter or concentrator -> PPN   1 to N individually sealed shares of one round
    Receipt           PPN -> sender                  which of an envelope's shares are on disk, which are not counted
    Closing           PPN -> sender                  a round takes no more shares: whatever is left is not counted
    RepairRequest     PPN -> sender                  shares that are missing, to be sent again as the same bytes

What is sealed inside, `ShareText`, has one length per plan whatever it says.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise

from hushgrid.core.bitmap import Bitmap
from hushgrid.core.field import Field
from hushgrid.core.sealing import TAG_BYTES, Identity, Kind
from hushgrid.errors import MessageError, RejectReason
from hushgrid.wire.frames import VERSION, FrameKind, Reader, frame_head, unsigned

SHARING_ID_BYTES = 8


MAX_ENVELOPE = 4096


_ENVELOPE = struct.Struct(">IQHIHBH")


_NUMBER = struct.Struct(">I")


_RECEIPT = struct.Struct(">QHIHB")


_CLOSING = struct.Struct(">QH")


_REPAIR_REQUEST = struct.Struct(">QHBH")


@dataclass(frozen=True, slots=True)
class Envelope:
    """Sealed shares of one round for one PPN.

    sequence: the sender's number of this envelope within (round, point), the same in every repetition.
    size: positions in the envelope; receipts are bitmaps over them.
    shares: position -> (meter number, sealed share of share_bytes). A repetition may carry fewer positions, never others.
    attempt: 0, or the number of the repair request it answers.
    """

    plan_version: int
    round: int
    point: int
    sequence: int
    size: int
    attempt: int
    shares: Mapping[int, tuple[int, bytes]] = field(repr=False)

    def to_bytes(self) -> bytes:
        """Wire form; ValueError when it is empty, too large or its shares differ in length."""
        lengths = {len(sealed) for _, sealed in self.shares.values()}
        if not 1 <= self.size <= MAX_ENVELOPE or len(lengths) > 1:
            raise ValueError("an envelope holds 1 to 4096 positions with shares of one length")
        share_bytes = lengths.pop() if lengths else 0
        header = _ENVELOPE.pack(
            self.plan_version, self.round, self.point, self.sequence, self.size, self.attempt, share_bytes
        )
        present = Bitmap.of(self.size, self.shares)
        body = b"".join(_NUMBER.pack(self.shares[at][0]) + self.shares[at][1] for at in present)
        return frame_head(FrameKind.ENVELOPE) + header + present.to_bytes() + body

    @classmethod
    def from_bytes(cls, wire: bytes) -> Envelope:
        """Back from the wire; MessageError otherwise."""
        reader = Reader(wire, FrameKind.ENVELOPE)
        version, round_number, point, sequence, size, attempt, share_bytes = reader.unpack(_ENVELOPE)
        if not 1 <= size <= MAX_ENVELOPE:
            raise MessageError(RejectReason.OUT_OF_RANGE, f"envelope of {size} positions")
        present = reader.bitmap(size)
        shares = {}
        for position in present:
            (number,) = reader.unpack(_NUMBER)
            shares[position] = (number, reader.take(share_bytes))
        reader.end()
        return cls(version, round_number, point, sequence, size, attempt, shares)


def share_context(plan_digest: bytes, meter: int, point: int, round_number: int) -> bytes:
    """What a sealed share is bound to: version, kind, plan (and with it t, w, q, keys), meter, point, round (inv. 7)."""
    return struct.pack(">BB32sIHQ", VERSION, Kind.SHARE, plan_digest, meter, point, round_number)


@dataclass(frozen=True, slots=True, repr=False)
class ShareText:
    """What a meter says to one PPN about one round, under the seal.

    elements: one share per slot; None is "no reading", of the same length on the wire.
    sharing_id: 8 random bytes, the same at every PPN; two sharings of one reading never have the same.
    """

    sharing_id: bytes
    elements: tuple[int, ...] | None

    def to_bytes(self, slots: int, q_field: Field) -> bytes:
        """1 + 8 + slots * element_bytes."""
        if self.elements is None:
            return b"\x01" + self.sharing_id + bytes(slots * q_field.element_bytes)
        return b"\x00" + self.sharing_id + b"".join(map(q_field.to_bytes, self.elements))

    @classmethod
    def from_bytes(cls, wire: bytes, slots: int, q_field: Field) -> ShareText:
        """Back from under the seal; MessageError(OUT_OF_RANGE) for an element not below q."""
        width = q_field.element_bytes
        start = 1 + SHARING_ID_BYTES
        if len(wire) != start + slots * width or wire[0] > 1:
            raise MessageError(RejectReason.MALFORMED, "share")
        sharing_id = wire[1:start]
        if wire[0] == 1:
            if any(wire[start:]):
                raise MessageError(RejectReason.MALFORMED, "share")
            return cls(sharing_id, None)
        try:
            found = tuple(q_field.from_bytes(wire[at : at + width]) for at in range(start, len(wire), width))
        except ValueError:
            raise MessageError(RejectReason.OUT_OF_RANGE, "share") from None
        return cls(sharing_id, found)


def sealed_share_bytes(slots: int, q_field: Field) -> int:
    """Length of one sealed share under a plan."""
    return 1 + SHARING_ID_BYTES + slots * q_field.element_bytes + TAG_BYTES


@dataclass(frozen=True, slots=True)
class Receipt:
    """A PPN's signed answer to an envelope: what is on its disk, and what will never be counted.

    A share in neither bitmap is to be sent again. reason: of the first refused one, as an index into RejectReason.
    """

    round: int
    point: int
    sequence: int
    held: Bitmap
    refused: Bitmap
    reason: RejectReason | None = None

    def _body(self) -> bytes:
        reason = 0 if self.reason is None else 1 + list(RejectReason).index(self.reason)
        header = _RECEIPT.pack(self.round, self.point, self.sequence, self.held.size, reason)
        return frame_head(FrameKind.RECEIPT) + header + self.held.to_bytes() + self.refused.to_bytes()

    def to_bytes(self, signer: Identity, recipient: str) -> bytes:
        """Signed for one recipient's pseudonym."""
        body = self._body()
        return body + signer.sign(f"receipt to {recipient}", body)

    @classmethod
    def from_bytes(cls, wire: bytes, signer: bytes, recipient: str) -> Receipt:
        """Back from the wire, the signature of `signer` checked; MessageError otherwise."""
        body = unsigned(wire, signer, f"receipt to {recipient}")
        reader = Reader(body, FrameKind.RECEIPT)
        round_number, point, sequence, size, code = reader.unpack(_RECEIPT)
        held, refused = reader.bitmap(size), reader.bitmap(size)
        reader.end()
        reasons = list(RejectReason)
        if code > len(reasons) or held.bits & refused.bits:
            raise MessageError(RejectReason.MALFORMED, "receipt")
        return cls(round_number, point, sequence, held, refused, reasons[code - 1] if code else None)


@dataclass(frozen=True, slots=True)
class Closing:
    """A PPN's signed word that a round takes no more shares: what it has not receipted is not counted."""

    round: int
    point: int

    def to_bytes(self, signer: Identity, recipient: str) -> bytes:
        """Signed for one recipient's pseudonym."""
        body = frame_head(FrameKind.CLOSING) + _CLOSING.pack(self.round, self.point)
        return body + signer.sign(f"receipt to {recipient}", body)

    @classmethod
    def from_bytes(cls, wire: bytes, signer: bytes, recipient: str) -> Closing:
        """Back from the wire, signature checked; MessageError otherwise."""
        reader = Reader(unsigned(wire, signer, f"receipt to {recipient}"), FrameKind.CLOSING)
        round_number, point = reader.unpack(_CLOSING)
        reader.end()
        return cls(round_number, point)


@dataclass(frozen=True, slots=True)
class RepairRequest:
    """A PPN's signed word that it lacks shares of a round.

    attempt: 1 for the first request of the round, and so on; the answer carries it, so that the link's fate is drawn anew.
    numbers: of the meters, 1 to 4096 of them, rising; all of them are carried by the recipient.
    """

    round: int
    point: int
    attempt: int
    numbers: tuple[int, ...]

    def to_bytes(self, signer: Identity, recipient: str) -> bytes:
        """Signed for one recipient's pseudonym; ValueError for no numbers, or too many."""
        if not 1 <= len(self.numbers) <= MAX_ENVELOPE:
            raise ValueError("a repair request names 1 to 4096 meters")
        header = _REPAIR_REQUEST.pack(self.round, self.point, self.attempt, len(self.numbers))
        body = frame_head(FrameKind.REPAIR_REQUEST) + header + b"".join(map(_NUMBER.pack, self.numbers))
        return body + signer.sign(f"receipt to {recipient}", body)

    @classmethod
    def from_bytes(cls, wire: bytes, signer: bytes, recipient: str) -> RepairRequest:
        """Back from the wire, signature checked; MessageError otherwise."""
        reader = Reader(unsigned(wire, signer, f"receipt to {recipient}"), FrameKind.REPAIR_REQUEST)
        round_number, point, attempt, count = reader.unpack(_REPAIR_REQUEST)
        numbers = tuple(reader.unpack(_NUMBER)[0] for _ in range(count))
        reader.end()
        if not 1 <= count <= MAX_ENVELOPE or attempt < 1 or any(a >= b for a, b in pairwise(numbers)):
            raise MessageError(RejectReason.MALFORMED, "repair request")
        return cls(round_number, point, attempt, numbers)
