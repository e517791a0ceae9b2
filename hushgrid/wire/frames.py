"""How every frame of the data plane begins, is cut and is signed (docs/protocol.md, section Bytes).

All integers are big endian. Reading bytes never raises anything but MessageError.
"""

from __future__ import annotations

import enum
import struct
from typing import Any

from hushgrid.core.bitmap import Bitmap
from hushgrid.core.sealing import SIGNATURE_BYTES, verify
from hushgrid.errors import MessageError, RejectReason

VERSION = 1


class FrameKind(enum.IntEnum):
    """Second byte of every data-plane message."""

    ENVELOPE = 1
    RECEIPT = 2
    CLOSING = 3
    AGGREGATE = 4
    AGGREGATE_RECEIPT = 5
    REPAIR_REQUEST = 6
    # of masked readings (hushgrid.wire.masked)
    MASKED = 16
    MASKED_RECEIPT = 17
    PAIR = 18
    OPEN = 19
    OPENINGS = 20


def frame_kind(wire: bytes) -> FrameKind:
    """Which frame this is; MessageError for another version or kind."""
    if len(wire) < 2:
        raise MessageError(RejectReason.MALFORMED, "too short")
    if wire[0] != VERSION:
        raise MessageError(RejectReason.WRONG_VERSION, f"version {wire[0]}")
    try:
        return FrameKind(wire[1])
    except ValueError:
        raise MessageError(RejectReason.UNKNOWN_KIND, f"kind {wire[1]}") from None


class Reader:
    """Cuts a frame into its parts; every shortage or excess is MALFORMED."""

    __slots__ = ("_at", "_wire")

    def __init__(self, wire: bytes, kind: FrameKind) -> None:
        if frame_kind(wire) is not kind:
            raise MessageError(RejectReason.UNKNOWN_KIND, f"kind {wire[1]} where {kind.value} belongs")
        self._wire = wire
        self._at = 2

    def unpack(self, layout: struct.Struct) -> tuple[Any, ...]:
        """The fields of a layout, in its order."""
        return layout.unpack(self.take(layout.size))

    def take(self, count: int) -> bytes:
        """So many bytes; MessageError(MALFORMED) when there are fewer."""
        taken = self._wire[self._at : self._at + count]
        if len(taken) != count:
            raise MessageError(RejectReason.MALFORMED, "too short")
        self._at += count
        return taken

    def bitmap(self, size: int) -> Bitmap:
        """A set over so many positions."""
        return Bitmap.from_bytes(size, self.take((size + 7) // 8))

    def rest(self) -> bytes:
        """All that has not been taken yet."""
        taken, self._at = self._wire[self._at :], len(self._wire)
        return taken

    def end(self) -> None:
        """MessageError(MALFORMED) unless everything was taken."""
        if self._at != len(self._wire):
            raise MessageError(RejectReason.MALFORMED, "too long")


def frame_head(kind: FrameKind) -> bytes:
    """The two bytes every frame begins with."""
    return bytes((VERSION, kind))


def unsigned(wire: bytes, signer: bytes, label: str) -> bytes:
    """The frame without its signature; MessageError unless `signer` signed it under this label."""
    if len(wire) <= SIGNATURE_BYTES:
        raise MessageError(RejectReason.MALFORMED, "too short")
    body, signature = wire[:-SIGNATURE_BYTES], wire[-SIGNATURE_BYTES:]
    verify(signer, label, body, signature)
    return body
