"""Cohorts as masks over a census, and the classes of meters that the same cohorts cover.

A cohort is a mask of shape (meters,) in the order of the census, so that a million meters and a hundred rules are 100 MB.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hushgrid.errors import RefusedError

MeterId = str | int
Mask = NDArray[np.bool_]
Counts = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Census:
    """All meters that rules may name; ids are opaque and in a fixed order."""

    meters: tuple[MeterId, ...]
    position_of: Mapping[MeterId, int]

    @classmethod
    def of(cls, meters: Iterable[MeterId]) -> Census:
        """A census of these meters, in their order. ValueError when one occurs twice."""
        listed = tuple(meters)
        positions = {meter: at for at, meter in enumerate(listed)}
        if len(positions) != len(listed):
            raise ValueError("a meter occurs twice in the census")
        return cls(listed, positions)

    @property
    def size(self) -> int:
        """Number of meters."""
        return len(self.meters)

    def mask(self, meters: Iterable[MeterId]) -> Mask:
        """The cohort of these meters. RefusedError naming the first that is unknown."""
        cohort = self.nobody()
        for meter in meters:
            if meter not in self.position_of:
                raise RefusedError(f"unknown meter {meter}")
            cohort[self.position_of[meter]] = True
        return cohort

    def everyone(self) -> Mask:
        """The cohort of all meters."""
        return np.ones(self.size, dtype=np.bool_)

    def nobody(self) -> Mask:
        """The empty cohort."""
        return np.zeros(self.size, dtype=np.bool_)

    def named(self, cohort: Mask) -> list[MeterId]:
        """The ids in a cohort, in census order."""
        return [self.meters[at] for at in np.flatnonzero(cohort)]


def fingerprint(cohort: Mask) -> bytes:
    """Equal for equal cohorts of one census."""
    return hashlib.blake2b(np.packbits(cohort).tobytes(), digest_size=16).digest()


@dataclass(frozen=True, slots=True, eq=False)
class Partition:
    """The classes of meters that the same cohorts cover.

    class_of: shape (meters,); signatures: shape (classes, cohorts), which cohorts cover the class.
    """

    class_of: NDArray[np.int64]
    signatures: Mask

    @classmethod
    def whole(cls, meters: int) -> Partition:
        """One class, no cohort."""
        return cls(np.zeros(meters, dtype=np.int64), np.zeros((1 if meters else 0, 0), dtype=np.bool_))

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(self.signatures)

    def refined(self, cohort: Mask) -> Partition:
        """With one more cohort: every class is split into what it covers and what it does not."""
        key = 2 * self.class_of + cohort
        present = np.bincount(key, minlength=2 * self.classes) > 0
        kept = np.flatnonzero(present)
        renumbered = np.cumsum(present) - 1
        cohorts = self.signatures.shape[1]
        signatures = np.empty((kept.size, cohorts + 1), dtype=np.bool_)
        signatures[:, :cohorts] = self.signatures[kept >> 1]
        signatures[:, cohorts] = kept & 1
        return Partition(renumbered[key], signatures)

    def restricted(self, cohorts: Sequence[int]) -> Partition:
        """The classes under some of the cohorts only, in the order given."""
        if list(cohorts) == list(range(self.signatures.shape[1])):
            return self
        signatures = np.ascontiguousarray(self.signatures[:, list(cohorts)])
        if not signatures.size:
            return Partition.whole(self.class_of.size)
        packed = np.ascontiguousarray(np.packbits(signatures, axis=1))
        keys = packed.view(np.dtype((np.void, packed.shape[1]))).reshape(-1)
        _, first, merged = np.unique(keys, return_index=True, return_inverse=True)
        return Partition(merged.reshape(-1)[self.class_of], signatures[first])

    def weights(self, counted: Mask) -> Counts:
        """How many of each class's meters are counted; shape (classes,)."""
        weights: Counts = np.bincount(self.class_of[counted], minlength=self.classes)
        return weights

    def holding(self, meters: Mask) -> Mask:
        """Which classes hold at least one of these meters; shape (classes,)."""
        held: Mask = self.weights(meters) > 0
        return held
