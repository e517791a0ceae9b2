"""The digest tree that binds every part to the head (docs/protocol.md, section Plan)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from hushgrid.core import sealing
from hushgrid.errors import MessageError, RejectReason

_TREE_LABEL = b"hushgrid/1 plan"


def leaf(recipient: str, page: int, part: bytes) -> bytes:
    """The digest of one part in the tree: it names whose it is."""
    return hashlib.sha256(
        b"\x00" + sealing.fields(_TREE_LABEL, recipient.encode(), page.to_bytes(4, "big"), part)
    ).digest()


def _parent(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


@dataclass(frozen=True, slots=True)
class DigestTree:
    """A Merkle tree over the parts' leaves; an odd node moves up as it is."""

    levels: tuple[tuple[bytes, ...], ...]

    @classmethod
    def over(cls, leaves: Sequence[bytes]) -> DigestTree:
        """The tree over one or more leaves."""
        levels = [tuple(leaves)]
        while len(levels[-1]) > 1:
            row = levels[-1]
            pairs = [_parent(row[i], row[i + 1]) for i in range(0, len(row) - 1, 2)]
            levels.append(tuple(pairs) + (row[-1:] if len(row) % 2 else ()))
        return cls(tuple(levels))

    @property
    def root(self) -> bytes:
        """32 bytes; of an empty tree, the digest of nothing."""
        return self.levels[-1][0] if self.levels[0] else hashlib.sha256(b"").digest()

    def path(self, index: int) -> tuple[bytes, ...]:
        """The siblings from leaf to root; empty bytes where a node moved up alone."""
        siblings = []
        for row in self.levels[:-1]:
            sibling = index ^ 1
            siblings.append(row[sibling] if sibling < len(row) else b"")
            index //= 2
        return tuple(siblings)


def check_path(root: bytes, digest: bytes, index: int, path: Sequence[bytes]) -> None:
    """MessageError(BAD_SIGNATURE) unless the leaf is the index-th under this root."""
    for sibling in path:
        if sibling:
            digest = _parent(sibling, digest) if index % 2 else _parent(digest, sibling)
        elif index % 2:  # only a left node moves up alone
            raise MessageError(RejectReason.BAD_SIGNATURE, "part is not in the plan")
        index //= 2
    if digest != root or index:
        raise MessageError(RejectReason.BAD_SIGNATURE, "part is not in the plan")
