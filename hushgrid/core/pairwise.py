"""Pairwise noise: a reading is sent as w = d + s mod q, where s cancels over the grid and over the billing period.

Two meters that share an edge of the connection graph derive one key and from it one mask per round, which one of them adds
and the other subtracts: it vanishes from every column (all meters, one round). In the last round of a billing period each
pair takes back what it used before: it vanishes from every row (one meter, all rounds). What a consumer receives is then
uniform in Z_q but for exactly these sums (paper 002, section V; docs/pairwise.md).

Three things are not decided here, and belong to the shell: that one (meter, round, stream) has *one* reading for ever,
which is on disk before it is masked; that retries send the stored bytes; that the graph is the one the plan names.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from hushgrid.core.encoding import lift
from hushgrid.core.field import Field
from hushgrid.core.schedule import Window
from hushgrid.core.sealing import KEY_BYTES, Agreement, fields
from hushgrid.errors import ConfigurationError

__all__ = ["DrawnNoise", "Noise", "Pair", "Scope", "SelfMask", "balanced", "keyed_element", "mask_reading"]

_SALT = b"hushgrid/1"
_WIDE_BYTES = 64  # 512 bits reduced mod q < 2**127: within 2**-385 of uniform
#: Which mask of a pair: the smaller public key adds it, the larger one subtracts it. The byte keeps room for a second.
_RISING = b"\x01"


class Noise(Protocol):
    """What a meter adds to its readings on behalf of one neighbour (or, isolated, of nobody)."""

    def term(self, round_number: int, period: Window, slot: int = 0) -> int:
        """The signed integer for one slot of a round; over a whole period the terms add up to 0 (mod q, where masks live
        there).

        ValueError when the round is outside the period, or the noise has no such slot.
        """
        ...


@dataclass(frozen=True, slots=True)
class Scope:
    """What a pair key is for: two scopes never share a mask, so the same round may be masked once in each.

    stream: the number of the rule that the masked readings serve. graph: digest of the connection graph
    (`configurator.masked.graphs.ConnectionGraph.digest`): a re-drawn graph never meets masks of the old one.
    """

    grid: str
    epoch: int
    stream: int
    graph: bytes

    def to_bytes(self) -> bytes:
        """Injective byte form, for key labels."""
        return fields(self.grid.encode(), struct.pack(">QI", self.epoch, self.stream), self.graph)


def keyed_element(secret: bytes, label: bytes, round_number: int, slot: int, field: Field) -> int:
    """An element of Z_q, indistinguishable from uniform: BLAKE2b-512 keyed with `secret` over (label, round, slot), mod q.

    The slot is part of what is hashed: one mask over two slots of a reading would give away their difference.
    """
    said = fields(label, struct.pack(">QH", round_number, slot))
    return int.from_bytes(hashlib.blake2b(said, key=secret, digest_size=_WIDE_BYTES).digest(), "big") % field.modulus


def balanced(round_number: int, period: Window, earlier: Callable[[int], int]) -> int:
    """earlier(round), or in the period's last round minus the sum of all the rounds before it (paper 002, fig. 2).

    ValueError when the round is outside the period.
    """
    if not period.first <= round_number <= period.last:
        raise ValueError(f"round {round_number} is outside the period {period.first}..{period.last}")
    if round_number < period.last:
        return earlier(round_number)
    return -sum(earlier(before) for before in range(period.first, period.last))


@dataclass(frozen=True, slots=True, repr=False)
class Pair:
    """One meter's side of a pair: the `hardened` noise. Both sides hold one secret and opposite signs."""

    secret: bytes
    sign: int  # +1 for the smaller public key, -1 for the larger
    field: Field

    @classmethod
    def derive(cls, own: Agreement, peer: bytes, scope: Scope, field: Field) -> Pair:
        """HKDF over X25519(own, peer) under a label of its own: protocol, grid, epoch, stream, graph, both public keys.

        peer: the neighbour's public agreement key of the same epoch. ValueError for one's own key (the signs would not
        cancel); MessageError(BAD_SEAL) for a key of low order.
        """
        if peer == own.public:
            raise ValueError("a meter is no pair with itself")
        low, high = sorted((own.public, peer))
        label = fields(b"pairwise", scope.to_bytes(), low, high)
        secret = HKDF(hashes.SHA256(), KEY_BYTES, salt=_SALT, info=label).derive(own.shared_with(peer))
        return cls(secret, 1 if own.public == low else -1, field)

    def mask(self, round_number: int, slot: int = 0) -> int:
        """The pair's mask of one slot of a round, an element of Z_q, before sign and balance; equal on both sides."""
        return keyed_element(self.secret, b"mask" + _RISING, round_number, slot, self.field)

    def term(self, round_number: int, period: Window, slot: int = 0) -> int:
        """What this side adds: sign * mask, balanced over the period; an element of Z_q. See `Noise`."""
        return self.sign * balanced(round_number, period, lambda r: self.mask(r, slot)) % self.field.modulus


@dataclass(frozen=True, slots=True, repr=False)
class DrawnNoise:
    """Noise drawn beforehand and kept: one integer for each round of a period but the last, which balances.

    For fresh noise that no key can reproduce. It has to be on disk before the first reading it masks is sent.
    """

    period: Window
    earlier: tuple[int, ...]

    def __post_init__(self) -> None:
        if len(self.earlier) != self.period.rounds - 1:
            raise ValueError("a period of n rounds takes n - 1 drawn terms")

    def term(self, round_number: int, period: Window, slot: int = 0) -> int:
        """See `Noise`; ValueError also for another period than the one it was drawn for. It has one slot."""
        if period != self.period or slot:
            raise ValueError("noise of another period or slot")
        return balanced(round_number, period, lambda before: self.earlier[before - period.first])


@dataclass(frozen=True, slots=True, repr=False)
class SelfMask:
    """A meter's second mask, for periods in which columns may be released without a silent meter (Bonawitz et al.).

    Of one (meter, round) either the pair masks are disclosed or this value, never both: see `meter_agent.masked.disclosure`.
    It does not balance over a period: what was not disclosed stays in no sum.
    """

    secret: bytes
    field: Field

    @classmethod
    def derive(cls, own: bytes, scope: Scope, field: Field) -> SelfMask:
        """From 32 secret bytes that never leave the meter."""
        label = fields(b"pairwise self", scope.to_bytes())
        return cls(HKDF(hashes.SHA256(), KEY_BYTES, salt=_SALT, info=label).derive(own), field)

    def value(self, round_number: int, slot: int = 0) -> int:
        """The element of Z_q that is added to one slot in this round."""
        return keyed_element(self.secret, b"self", round_number, slot, self.field)


def mask_reading(
    watt_hours: int,
    round_number: int,
    period: Window,
    noises: Sequence[Noise],
    *,
    bound_watt_hours: int,
    field: Field,
    self_mask: SelfMask | None = None,
    slot: int = 0,
) -> int:
    """The masked reading w_ij = d_ij + sum_k s_ij^k (+ b_ij) mod q: what leaves the meter, an element of Z_q.

    noises: one per neighbour, or the isolated meter's own (`meter_agent.masked.isolated`). ConfigurationError when there are none:
    a bare reading is never sent. ValueError for a reading beyond the plan's bound or a round outside the period.
    """
    if not noises:
        raise ConfigurationError("this meter has no neighbour: it sends nothing without noise of its own")
    total = lift(watt_hours, bound_watt_hours, field) + sum(noise.term(round_number, period, slot) for noise in noises)
    if self_mask is not None:
        total += self_mask.value(round_number, slot)
    return total % field.modulus
