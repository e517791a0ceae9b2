"""The bytes of masked readings (docs/protocol.md, section Masked readings). Every frame begins with version and kind.

    MaskedEnvelope   meter or concentrator -> consumer   sealed masked readings of one round
    MaskedReceipt    consumer -> sender                  which of them are on disk, which will never count
    PairEnvelope     meter -> meter                      what two neighbours agree on for one period, sealed to each other
    OpenRequest      consumer -> sender                  the configurator's closing of a round: open these masks
    OpeningEnvelope  meter -> consumer                   the masks, sealed

What is sealed inside has one length per plan and kind, whatever it says.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from hushgrid.core.field import Field
from hushgrid.core.sealing import SIGNATURE_BYTES, Identity, Kind, fields, verify
from hushgrid.errors import MessageError, RejectReason
from hushgrid.wire.frames import VERSION, FrameKind, Reader, unsigned

#: Most entries of one envelope.
MOST_ENTRIES = 4096

_MASKED = struct.Struct(">IIQHH")
_RECEIPT = struct.Struct(">IQBHH")
_PAIR = struct.Struct(">IIQH")
_NUMBER = struct.Struct(">I")
_EDGE = struct.Struct(">IIB")
_CLOSING = struct.Struct(">IQ32sH")
_OPEN = struct.Struct(">IIQ32sHH")
_OPENING = struct.Struct(">IH")
_REASONS = tuple(RejectReason)


def _body(wire: bytes, kind: FrameKind, layout: struct.Struct) -> tuple[tuple[int, ...], bytes]:
    """The fixed fields behind version and kind, and what follows them."""
    reader = Reader(wire, kind)
    return reader.unpack(layout), reader.rest()


def _cut(body: bytes, count: int, size: int) -> list[bytes]:
    """`count` records of one size and nothing behind them."""
    if count > MOST_ENTRIES or len(body) != count * size:
        raise MessageError(RejectReason.MALFORMED, "records")
    return [body[at * size : (at + 1) * size] for at in range(count)]


@dataclass(frozen=True, slots=True)
class MaskedEnvelope:
    """Sealed masked readings of one round: meter number -> sealed text, of one length. A repetition may carry fewer, in other
    company; the sealed bytes of a (meter, round) are always the same.

    plan_version: of the plan in force for the billing period's first round.
    """

    plan_version: int
    stream: int
    round: int
    sealed: Mapping[int, bytes] = field(repr=False)

    def to_bytes(self) -> bytes:
        """Wire form; ValueError when it is empty, too large or its texts differ in length."""
        lengths = {len(text) for text in self.sealed.values()}
        if len(lengths) != 1 or len(self.sealed) > MOST_ENTRIES:
            raise ValueError("an envelope holds 1 to 4096 texts of one length")
        header = _MASKED.pack(self.plan_version, self.stream, self.round, len(self.sealed), lengths.pop())
        body = b"".join(_NUMBER.pack(number) + text for number, text in sorted(self.sealed.items()))
        return bytes((VERSION, FrameKind.MASKED)) + header + body

    @classmethod
    def from_bytes(cls, wire: bytes) -> MaskedEnvelope:
        """Back from the wire; MessageError otherwise."""
        (version, stream, round_number, count, size), body = _body(wire, FrameKind.MASKED, _MASKED)
        records = _cut(body, count, _NUMBER.size + size)
        sealed = {_NUMBER.unpack_from(record)[0]: record[_NUMBER.size :] for record in records}
        if len(sealed) != count:
            raise MessageError(RejectReason.MALFORMED, "a meter occurs twice")
        return cls(version, stream, round_number, sealed)


def masked_context(plan_digest: bytes, stream: int, meter: int, round_number: int) -> bytes:
    """What a sealed masked reading is bound to (invariant 7)."""
    return struct.pack(">BB32sIIQ", VERSION, Kind.MASKED, plan_digest, stream, meter, round_number)


@dataclass(frozen=True, slots=True, repr=False)
class MaskedText:
    """What a meter says about one round under the seal: one masked element per slot.

    reading: False says "no reading": the elements then hold masks only, so that the others' masks still cancel; the meter is
    in no contributor set.
    """

    elements: tuple[int, ...]
    reading: bool = True

    def to_bytes(self, q_field: Field) -> bytes:
        """1 + slots * element_bytes."""
        return (b"\x00" if self.reading else b"\x01") + b"".join(map(q_field.to_bytes, self.elements))

    @classmethod
    def from_bytes(cls, wire: bytes, slots: int, q_field: Field) -> MaskedText:
        """Back from under the seal; MessageError otherwise."""
        if len(wire) != 1 + slots * q_field.element_bytes or wire[0] > 1:
            raise MessageError(RejectReason.MALFORMED, "masked reading")
        return cls(elements_from(wire[1:], slots, q_field), wire[0] == 0)


def elements_from(wire: bytes, count: int, q_field: Field) -> tuple[int, ...]:
    """`count` field elements; MessageError(OUT_OF_RANGE) for one not below q, MALFORMED for another length."""
    width = q_field.element_bytes
    if len(wire) != count * width:
        raise MessageError(RejectReason.MALFORMED, "field elements")
    try:
        return tuple(q_field.from_bytes(wire[at : at + width]) for at in range(0, len(wire), width))
    except ValueError:
        raise MessageError(RejectReason.OUT_OF_RANGE, "field element") from None


@dataclass(frozen=True, slots=True)
class MaskedReceipt:
    """A consumer's signed answer: meters whose masked reading of a round is on its disk, and those it will never count.

    reason: of the first refused one.
    """

    stream: int
    round: int
    held: frozenset[int]
    refused: frozenset[int] = frozenset()
    reason: RejectReason | None = None

    def to_bytes(self, signer: Identity, recipient: str) -> bytes:
        """Signed for one recipient's pseudonym."""
        code = 0 if self.reason is None else 1 + _REASONS.index(self.reason)
        header = _RECEIPT.pack(self.stream, self.round, code, len(self.held), len(self.refused))
        numbers = b"".join(_NUMBER.pack(number) for number in (*sorted(self.held), *sorted(self.refused)))
        return signed(bytes((VERSION, FrameKind.MASKED_RECEIPT)) + header + numbers, signer, recipient)

    @classmethod
    def from_bytes(cls, wire: bytes, signer: bytes, recipient: str) -> MaskedReceipt:
        """Back from the wire, the signature of `signer` checked; MessageError otherwise."""
        unsigned = check_signed(wire, signer, recipient)
        (stream, round_number, code, held, refused), body = _body(unsigned, FrameKind.MASKED_RECEIPT, _RECEIPT)
        numbers = [_NUMBER.unpack(record)[0] for record in _cut(body, held + refused, _NUMBER.size)]
        if code > len(_REASONS):
            raise MessageError(RejectReason.MALFORMED, "receipt")
        reason = _REASONS[code - 1] if code else None
        return cls(stream, round_number, frozenset(numbers[:held]), frozenset(numbers[held:]), reason)


def signed(body: bytes, signer: Identity, recipient: str) -> bytes:
    """A frame with its signature, which serves one recipient only."""
    return body + signer.sign(f"masked to {recipient}", body)


def check_signed(wire: bytes, signer: bytes, recipient: str) -> bytes:
    """The frame without its signature; MessageError unless `signer` said it to `recipient`."""
    return unsigned(wire, signer, f"masked to {recipient}")


@dataclass(frozen=True, slots=True)
class PairEntry:
    """One direction of one pair. acknowledges: the text is the answer to a set-up, else the set-up itself."""

    sender: int
    recipient: int
    acknowledges: bool
    sealed: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class PairEnvelope:
    """What meters of one connection say to meters of another about one period of one stream."""

    plan_version: int
    stream: int
    first_round: int
    entries: tuple[PairEntry, ...]

    def to_bytes(self) -> bytes:
        """Wire form; entries carry their own length, since answers are shorter than set-ups."""
        header = _PAIR.pack(self.plan_version, self.stream, self.first_round, len(self.entries))
        body = b"".join(
            _EDGE.pack(entry.sender, entry.recipient, entry.acknowledges)
            + struct.pack(">I", len(entry.sealed))
            + entry.sealed
            for entry in self.entries
        )
        return bytes((VERSION, FrameKind.PAIR)) + header + body

    @classmethod
    def from_bytes(cls, wire: bytes) -> PairEnvelope:
        """Back from the wire; MessageError otherwise."""
        (version, stream, first_round, count), body = _body(wire, FrameKind.PAIR, _PAIR)
        entries, at = [], 0
        for _ in range(count):
            fixed = body[at : at + _EDGE.size + 4]
            if len(fixed) != _EDGE.size + 4:
                raise MessageError(RejectReason.MALFORMED, "too short")
            sender, recipient, acknowledges, length = struct.unpack(">IIBI", fixed)
            at += len(fixed)
            text = body[at : at + length]
            if len(text) != length or acknowledges > 1:
                raise MessageError(RejectReason.MALFORMED, "pair entry")
            entries.append(PairEntry(sender, recipient, bool(acknowledges), text))
            at += length
        if at != len(body):
            raise MessageError(RejectReason.MALFORMED, "too long")
        return cls(version, stream, first_round, tuple(entries))


@dataclass(frozen=True, slots=True)
class RoundClosing:
    """The configurator's word on one round of one stream, given once: who is left out for ever; of all others the self-mask is
    opened. absent: meter numbers. signature: over all of it, for this grid.
    """

    stream: int
    round: int
    graph: bytes
    absent: frozenset[int]
    signature: bytes = b""

    def _payload(self, grid: str) -> bytes:
        numbers = b"".join(map(_NUMBER.pack, sorted(self.absent)))
        return fields(grid.encode(), _CLOSING.pack(self.stream, self.round, self.graph, len(self.absent)), numbers)

    def signed(self, signer: Identity, grid: str) -> RoundClosing:
        """The same, said by the configurator."""
        return replace(self, signature=signer.sign("round closing", self._payload(grid)))

    def check(self, configurator: bytes, grid: str) -> None:
        """MessageError(BAD_SIGNATURE) unless the configurator of this grid said it."""
        verify(configurator, "round closing", self._payload(grid), self.signature)


@dataclass(frozen=True, slots=True)
class OpenRequest:
    """A consumer passes a closing on and asks meters of one connection, as holders, for what they hold of their neighbours.

    plan_version: of the plan in force for the billing period's first round. holders: meter numbers.
    """

    plan_version: int
    closing: RoundClosing
    holders: frozenset[int]

    def to_bytes(self) -> bytes:
        """Wire form; the closing carries its own signature."""
        closing = self.closing
        header = _OPEN.pack(
            self.plan_version, closing.stream, closing.round, closing.graph, len(closing.absent), len(self.holders)
        )
        numbers = b"".join(_NUMBER.pack(number) for number in (*sorted(closing.absent), *sorted(self.holders)))
        return bytes((VERSION, FrameKind.OPEN)) + header + closing.signature + numbers

    @classmethod
    def from_bytes(cls, wire: bytes) -> OpenRequest:
        """Back from the wire; MessageError otherwise. The closing is not believed yet: see `RoundClosing.check`."""
        reader = Reader(wire, FrameKind.OPEN)
        version, stream, round_number, graph, absent, holders = reader.unpack(_OPEN)
        signature, body = reader.take(SIGNATURE_BYTES), reader.rest()
        numbers = [_NUMBER.unpack(record)[0] for record in _cut(body, absent + holders, _NUMBER.size)]
        closing = RoundClosing(stream, round_number, graph, frozenset(numbers[:absent]), signature)
        return cls(version, closing, frozenset(numbers[absent:]))


@dataclass(frozen=True, slots=True)
class OpeningEnvelope:
    """What holders disclose of one closed round: holder's meter number -> sealed text, given once for ever."""

    plan_version: int
    stream: int
    round: int
    sealed: Mapping[int, bytes] = field(repr=False)

    def to_bytes(self) -> bytes:
        """Wire form; texts differ in length with the number of neighbours."""
        header = _PAIR.pack(self.plan_version, self.stream, self.round, len(self.sealed))
        body = b"".join(_OPENING.pack(number, len(text)) + text for number, text in sorted(self.sealed.items()))
        return bytes((VERSION, FrameKind.OPENINGS)) + header + body

    @classmethod
    def from_bytes(cls, wire: bytes) -> OpeningEnvelope:
        """Back from the wire; MessageError otherwise."""
        (version, stream, round_number, count), body = _body(wire, FrameKind.OPENINGS, _PAIR)
        sealed, at = {}, 0
        for _ in range(count):
            if len(body) < at + _OPENING.size:
                raise MessageError(RejectReason.MALFORMED, "too short")
            number, length = _OPENING.unpack_from(body, at)
            at += _OPENING.size
            sealed[number] = body[at : at + length]
            at += length
        if at != len(body):
            raise MessageError(RejectReason.MALFORMED, "openings")
        return cls(version, stream, round_number, sealed)


def opening_context(plan_digest: bytes, stream: int, holder: int, round_number: int) -> bytes:
    """What sealed openings are bound to."""
    return struct.pack(">BB32sIIQ", VERSION, Kind.OPENING, plan_digest, stream, holder, round_number)


@dataclass(frozen=True, slots=True, repr=False)
class OpeningText:
    """Under the seal: for each of the holder's neighbours in the order of numbers, whether it is left out, and one element: the
    holder's own term of their pair when it is, else the holder's share of the neighbour's self-mask.
    """

    openings: tuple[tuple[bool, int], ...]

    def to_bytes(self, q_field: Field) -> bytes:
        """(1 + element_bytes) per neighbour."""
        return b"".join((b"\x01" if left_out else b"\x00") + q_field.to_bytes(e) for left_out, e in self.openings)

    @classmethod
    def from_bytes(cls, wire: bytes, neighbours: int, q_field: Field) -> OpeningText:
        """Back from under the seal; MessageError otherwise."""
        size = 1 + q_field.element_bytes
        if len(wire) != neighbours * size or any(wire[at] > 1 for at in range(0, len(wire), size)):
            raise MessageError(RejectReason.MALFORMED, "opening")
        records = [wire[at : at + size] for at in range(0, len(wire), size)]
        return cls(tuple((record[0] == 1, elements_from(record[1:], 1, q_field)[0]) for record in records))


def pair_context(plan_digest: bytes, stream: int, first_round: int, sender: int, recipient: int) -> bytes:
    """What a sealed set-up or its answer is bound to."""
    return struct.pack(">B32sIQII", VERSION, plan_digest, stream, first_round, sender, recipient)
