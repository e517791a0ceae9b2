"""The plan's head: what everybody knows of a plan, signed by the configurator (docs/protocol.md, section Plan).

It is equal for all, and no larger for a million meters than for ten.
"""

from __future__ import annotations

import hashlib
from fractions import Fraction
from typing import Annotated

from pydantic import Field, model_validator

from hushgrid.core import sealing
from hushgrid.core.field import Field as PrimeField
from hushgrid.core.field import is_prime
from hushgrid.core.minimum import as_written
from hushgrid.core.recovery import Recovery
from hushgrid.errors import MessageError, RejectReason
from hushgrid.wire.model import (
    MAX_REPAIR_ATTEMPTS,
    PAGE_METERS,
    Count,
    Hex,
    Key,
    Model,
    Modulus,
    Name,
    PointNumber,
    Pseudonym,
    Round,
    Signature,
)


class EpochKey(Model):
    """An agent's agreement key and pseudonym for one epoch, signed by its identity."""

    epoch: Count
    agreement: Key
    pseudonym: Pseudonym
    signature: Signature

    @classmethod
    def sign(cls, identity: sealing.Identity, grid: str, epoch: int, agreement: bytes) -> EpochKey:
        """The announcement an agent makes of its own key."""
        pseudonym = identity.pseudonym(grid, epoch)
        payload = cls._payload(grid, epoch, agreement, pseudonym)
        return cls(epoch=epoch, agreement=agreement, pseudonym=pseudonym, signature=identity.sign("epoch key", payload))

    def check(self, identity: bytes, grid: str) -> None:
        """MessageError(BAD_SIGNATURE) unless this identity announced it for this grid."""
        payload = self._payload(grid, self.epoch, self.agreement, self.pseudonym)
        sealing.verify(identity, "epoch key", payload, self.signature)

    @staticmethod
    def _payload(grid: str, epoch: int, agreement: bytes, pseudonym: str) -> bytes:
        return sealing.fields(grid.encode(), epoch.to_bytes(8, "big"), agreement, pseudonym.encode())


class PpnEntry(Model):
    """One PPN of the plan. Its point is never given to another."""

    id: Name
    point: PointNumber
    operator: Name
    identity: Key
    key: EpochKey


class Head(Model):
    """What everybody knows of a plan. Its digest is what every share and aggregate share is bound to.

    A plan without PPNs serves rules of masked readings only (mechanism pairwise).
    """

    grid: Pseudonym
    version: Count
    previous: Hex  # digest of the head before, empty for the first
    epoch: Count
    valid_from_round: Round
    interval_seconds: Annotated[int, Field(ge=1)]
    threshold: Annotated[int, Field(ge=1)]
    width: Annotated[int, Field(ge=1)]
    modulus: Modulus
    slots: Annotated[int, Field(ge=1, le=64)]
    reading_bound_watt_hours: Annotated[int, Field(ge=1)]
    recovery: Recovery
    repair_attempts: Annotated[int, Field(ge=0, le=MAX_REPAIR_ATTEMPTS)] = 0  # how often a missing share is asked for
    minimum_contributors: Annotated[int, Field(ge=1)]
    coverage_floor_fraction: Annotated[float, Field(ge=0, le=1)]
    ppns: tuple[PpnEntry, ...]
    meters: Count  # length of every bitmap over meter numbers
    parts: Count
    parts_root: Hex

    @model_validator(mode="after")
    def _sound(self) -> Head:
        points = [ppn.point for ppn in self.ppns]
        if len(set(points)) != len(points) or len({ppn.id for ppn in self.ppns}) != len(points):
            raise ValueError("a point or a PPN occurs twice")
        if self.threshold > self.width or (points and self.width > len(points)):
            raise ValueError("threshold <= width <= number of PPNs does not hold")
        if self.recovery.agrees and 2 * self.threshold <= self.width:
            raise ValueError("threshold <= width / 2 is for recovery none only")
        if self.recovery.asks != (self.repair_attempts > 0):
            raise ValueError("repair_attempts is for recovery repair, and at least 1 there")
        if not is_prime(self.modulus) or self.modulus <= max(points, default=1):
            raise ValueError("the modulus is not a prime above every point")
        if any(ppn.key.epoch != self.epoch for ppn in self.ppns):
            raise ValueError("a PPN's key is of another epoch")
        return self

    @property
    def digest(self) -> bytes:
        """SHA-256 of the signed JSON form: 32 bytes."""
        return hashlib.sha256(self.to_json()).digest()

    @property
    def coverage_floor(self) -> Fraction:
        """The coverage floor exactly as it was written (0.8 is 4/5)."""
        return as_written(self.coverage_floor_fraction)

    @property
    def field(self) -> PrimeField:
        """Z_q of this plan."""
        return PrimeField(self.modulus)

    def ppn(self, point: int) -> PpnEntry:
        """The PPN at a point; MessageError(NOT_IN_PLAN)."""
        for entry in self.ppns:
            if entry.point == point:
                return entry
        raise MessageError(RejectReason.NOT_IN_PLAN, f"point {point}")

    @property
    def pages(self) -> int:
        """Pages that a bitmap over all meter numbers takes."""
        return max(1, -(-self.meters // PAGE_METERS))
