"""Adding elements modulo q, slot by slot (docs/protocol.md, eq. 2), in one place or in several. No I/O."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hushgrid.core import kernels
from hushgrid.core.field import Field


def weighted_sums(vectors: Sequence[tuple[int, ...]], weights: Sequence[int], field: Field) -> tuple[int, ...]:
    """Slot by slot, weight * the sum of elements mod q; one public integer weight per slot."""
    if not vectors:
        return (0,) * len(weights)
    columns = zip(*vectors, strict=True)
    return tuple(
        weight * sum_slot(column, field) % field.modulus for weight, column in zip(weights, columns, strict=True)
    )


def sum_slot(elements: Sequence[int], field: Field) -> int:
    """The sum of one slot's elements mod q, by the array kernel where q fits 64 bits."""
    if field.modulus < 2**64:
        return kernels.sum_elements(np.array(elements, dtype=np.uint64), field)
    return sum(elements) % field.modulus


@dataclass(frozen=True, slots=True)
class PartialSum:
    """The sum mod q, slot by slot, over those of the asked pairs that lie in one place. pairs: how many these are."""

    pairs: int
    elements: tuple[int, ...]

    def to_bytes(self) -> bytes:
        """For the PPN."""
        return json.dumps({"pairs": self.pairs, "elements": [str(element) for element in self.elements]}).encode()

    @classmethod
    def from_bytes(cls, wire: bytes) -> PartialSum:
        """From a worker."""
        content = json.loads(wire)
        return cls(content["pairs"], tuple(map(int, content["elements"])))


def join(partials: Sequence[PartialSum], pairs: int, field: Field) -> tuple[int, ...] | None:
    """The sum over all places mod q; None unless together they hold exactly the asked pairs.

    Every pair lies in one place: a total that is right is no double with a lack.
    """
    if sum(partial.pairs for partial in partials) != pairs:
        return None
    return tuple(sum(column) % field.modulus for column in zip(*(p.elements for p in partials), strict=True))
