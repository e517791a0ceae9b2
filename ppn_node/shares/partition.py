"""A PPN's meters divided among workers: who has which meter, and what is said between the PPN and a worker.

No I/O. A worker opens, keeps and adds the shares of its meters; the PPN knows of each share its meter, its sharing id and whether
it is "no reading", never the element. Both ends are one program on one machine: frames are read as they were written.
"""

from __future__ import annotations

import enum
import json
import struct
import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hushgrid.core.bitmap import Bitmap
from hushgrid.errors import RejectReason
from hushgrid.wire.shares import SHARING_ID_BYTES, Envelope
from ppn_node.shares.values import HeldShare, OpenedShare, StoredShare

#: Before every question and answer: its length, what is asked or answered.
FRAME = struct.Struct(">IB")
_REASONS = tuple(RejectReason)
_READING, _GAP = 0, 1
_OPENED = struct.Struct(f">B{SHARING_ID_BYTES}s")
_KEPT = struct.Struct(f">QIIBB{SHARING_ID_BYTES}sH")
_NAME = struct.Struct(f">QI{SHARING_ID_BYTES}s")
_HELD = struct.Struct(f">IBB{SHARING_ID_BYTES}s")
_NUMBER = struct.Struct(">Q")


class Ask(enum.IntEnum):
    """What a worker is asked."""

    PLAN = 1  # take in a plan: head, this PPN's parts, the epoch's key
    OPEN = 2  # unseal and check shares, keep nothing
    KEEP_OPENED = 8  # put shares on disk that were opened here, all or none
    KEEP = 3  # put shares on disk
    HELD = 4  # which shares of a round are on disk
    SUM = 5  # add those of these (round, meter) pairs that are here
    FORGET = 6  # erase the shares of rounds below
    ERASE = 7  # forget the keys of epochs up to


def worker_of(carrier: str, workers: int) -> int:
    """Which worker has the meters of a carrier, by its pseudonym: 0 to workers - 1."""
    return zlib.crc32(carrier.encode()) % workers


def pack_open(version: int, envelope: bytes) -> bytes:
    """An envelope as it came, under a plan."""
    return _NUMBER.pack(version) + envelope


def unpack_open(wire: bytes) -> tuple[int, Envelope]:
    """Version and envelope."""
    return unpack_number(wire[: _NUMBER.size]), Envelope.from_bytes(wire[_NUMBER.size :])


def pack_opened(shares: Iterable[OpenedShare]) -> bytes:
    """The answer to OPEN, in its order."""
    return b"".join(
        _OPENED.pack(
            (_GAP if share.gap else _READING) if share.refused is None else 2 + _REASONS.index(share.refused),
            share.sharing_id,
        )
        for share in shares
    )


def unpack_opened(wire: bytes) -> list[OpenedShare]:
    """The answer to OPEN."""
    return [
        OpenedShare(sharing_id, state == _GAP, _REASONS[state - 2] if state > _GAP else None)
        for state, sharing_id in _OPENED.iter_unpack(wire)
    ]


def pack_names(shares: Iterable[StoredShare]) -> bytes:
    """Which shares, by round, meter and sharing id."""
    return b"".join(_NAME.pack(s.round, s.number, s.sharing_id) for s in shares)


def unpack_names(wire: bytes) -> list[tuple[int, int, bytes]]:
    """Which shares."""
    return list(_NAME.iter_unpack(wire))


def pack_kept(shares: Iterable[StoredShare]) -> bytes:
    """Shares for the disk."""
    return b"".join(
        _KEPT.pack(s.round, s.number, s.version, s.gap, s.attempt, s.sharing_id, len(s.sealed)) + s.sealed
        for s in shares
    )


def unpack_kept(wire: bytes) -> list[StoredShare]:
    """Shares for the disk."""
    shares, at = [], 0
    while at < len(wire):
        round_number, number, version, gap, attempt, sharing_id, length = _KEPT.unpack_from(wire, at)
        at += _KEPT.size
        sealed = wire[at : at + length]
        shares.append(StoredShare(round_number, number, sharing_id, bool(gap), version, sealed, attempt))
        at += length
    return shares


def pack_held(shares: Mapping[int, HeldShare]) -> bytes:
    """The answer to HELD, by meter number."""
    return b"".join(_HELD.pack(number, s.gap, s.attempt, s.sharing_id) for number, s in shares.items())


def unpack_held(wire: bytes) -> dict[int, HeldShare]:
    """The answer to HELD."""
    return {
        number: HeldShare(sharing_id, bool(gap), attempt)
        for number, gap, attempt, sharing_id in _HELD.iter_unpack(wire)
    }


def pack_number(number: int) -> bytes:
    """A round or an epoch."""
    return _NUMBER.pack(number)


def unpack_number(wire: bytes) -> int:
    """A round or an epoch."""
    number: int = _NUMBER.unpack(wire)[0]
    return number


def pack_pairs(version: int, members: Mapping[int, Sequence[int]]) -> bytes:
    """The (round, meter) pairs of a window, under the plan of its first round."""
    rows = {r: Bitmap.of(max(numbers, default=-1) + 1, numbers) for r, numbers in members.items()}
    rounds = [[r, bitmap.size, bitmap.to_bytes().hex()] for r, bitmap in rows.items()]
    return json.dumps({"version": version, "rounds": rounds}).encode()


def unpack_pairs(wire: bytes) -> tuple[int, dict[int, Bitmap]]:
    """The plan's version and the meters of every round."""
    content: dict[str, Any] = json.loads(wire)
    return content["version"], {r: Bitmap.from_bytes(size, bytes.fromhex(bits)) for r, size, bits in content["rounds"]}
