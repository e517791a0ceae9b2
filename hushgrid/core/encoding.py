"""Signed watt-hours in Z_q and back: the centred lift (docs/protocol.md, eq. 4)."""

from __future__ import annotations

from collections.abc import Sequence

from hushgrid.core.field import Field
from hushgrid.errors import RecoveryError


def lift(watt_hours: int, bound_watt_hours: int, field: Field) -> int:
    """A signed quantity as an element of Z_q: feed-in (negative) is counted down from q.

    ValueError when |watt_hours| exceeds the plan's bound of a reading: such a value could make an aggregate wrap.
    """
    if abs(watt_hours) > bound_watt_hours:
        raise ValueError("the reading exceeds the plan's bound")
    return watt_hours % field.modulus


def lower(element: int, bound_watt_hours: int, field: Field) -> int:
    """The signed quantity an element stands for: the representative in (-q/2, q/2).

    RecoveryError when it exceeds the bound. The bound is that of the aggregate, |included pairs| * reading bound; a
    random element, which is what shares of different contributor sets give, exceeds it but for one case in 2**20.
    """
    signed = element - field.modulus if element > field.modulus // 2 else element
    if abs(signed) > bound_watt_hours:
        raise RecoveryError("the recombined value exceeds what its contributors can add up to")
    return signed


def lift_vector(slots: Sequence[int], bound_watt_hours: int, field: Field) -> tuple[int, ...]:
    """`lift` for every slot of a reading."""
    return tuple(lift(slot, bound_watt_hours, field) for slot in slots)


def with_terms(lifted: Sequence[int], terms: Sequence[Sequence[int]], field: Field) -> tuple[int, ...]:
    """A lifted reading plus further terms (noise, masks), slot by slot in Z_q, before it is shared.

    terms: any number of vectors as long as the reading; none today.
    """
    total = list(lifted)
    for term in terms:
        for slot, (value, addend) in enumerate(zip(total, term, strict=True)):
            total[slot] = (value + addend) % field.modulus
    return tuple(total)
