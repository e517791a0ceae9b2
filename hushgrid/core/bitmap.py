"""Sets of positions on the wire: bit i is bit (i mod 8) of byte (i div 8)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from hushgrid.errors import MessageError, RejectReason


@dataclass(frozen=True, slots=True)
class Bitmap:
    """An immutable subset of the positions [0, size)."""

    size: int
    bits: int = 0

    def __post_init__(self) -> None:
        if self.size < 0 or self.bits < 0 or self.bits >> self.size:
            raise ValueError("a bitmap has bits outside its size")

    @classmethod
    def of(cls, size: int, positions: Iterable[int]) -> Bitmap:
        """The bitmap with exactly these positions set."""
        octets = bytearray((size + 7) // 8)
        for position in positions:
            if not 0 <= position < size:
                raise ValueError("a position is outside the bitmap")
            octets[position >> 3] |= 1 << (position & 7)
        return cls(size, int.from_bytes(octets, "little"))

    @classmethod
    def full(cls, size: int) -> Bitmap:
        """All positions set."""
        return cls(size, (1 << size) - 1)

    @classmethod
    def from_bytes(cls, size: int, wire: bytes) -> Bitmap:
        """Back from the wire; MessageError(MALFORMED) for a wrong length or a stray bit."""
        if len(wire) != (size + 7) // 8:
            raise MessageError(RejectReason.MALFORMED, "bitmap length")
        bits = int.from_bytes(wire, "little")
        if bits >> size:
            raise MessageError(RejectReason.MALFORMED, "bitmap has bits outside its size")
        return cls(size, bits)

    def to_bytes(self) -> bytes:
        """ceil(size / 8) bytes."""
        return self.bits.to_bytes((self.size + 7) // 8, "little")

    def __iter__(self) -> Iterator[int]:
        for index, octet in enumerate(self.to_bytes()):
            if octet:
                base = index * 8
                for offset in range(8):
                    if octet >> offset & 1:
                        yield base + offset

    def __contains__(self, position: int) -> bool:
        return 0 <= position < self.size and bool(self.bits >> position & 1)

    def __len__(self) -> int:
        return self.bits.bit_count()

    def __and__(self, other: Bitmap) -> Bitmap:
        return Bitmap(self._common(other), self.bits & other.bits)

    def __or__(self, other: Bitmap) -> Bitmap:
        return Bitmap(self._common(other), self.bits | other.bits)

    def __sub__(self, other: Bitmap) -> Bitmap:
        return Bitmap(self._common(other), self.bits & ~other.bits)

    def resized(self, size: int) -> Bitmap:
        """The same positions in a bitmap of another size; positions beyond it are dropped."""
        return Bitmap(size, self.bits & ((1 << size) - 1))

    def page(self, first: int, count: int) -> Bitmap:
        """Positions [first, first + count), renumbered from 0."""
        count = max(0, min(count, self.size - first))
        return Bitmap(count, (self.bits >> first) & ((1 << count) - 1))

    @classmethod
    def joined(cls, pages: Iterable[Bitmap]) -> Bitmap:
        """Pages put one behind the other."""
        size, bits = 0, 0
        for page in pages:
            bits |= page.bits << size
            size += page.size
        return cls(size, bits)

    def _common(self, other: Bitmap) -> int:
        if self.size != other.size:
            raise ValueError("bitmaps of different sizes")
        return self.size
