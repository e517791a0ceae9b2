"""What a meter says about one round: one sealed share per PPN of its part. No I/O; randomness is an argument.

The paper's step in code: lift the reading into Z_q, split it (eq. 1), seal each share to one PPN and bind it to its place.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence

from hushgrid.core import shamir
from hushgrid.core.encoding import lift_vector, with_terms
from hushgrid.core.sealing import Agreement, Kind, SealingKey
from hushgrid.plan.head import Head
from hushgrid.wire.shares import SHARING_ID_BYTES, ShareText, share_context
from meter_agent.cover import Bare, Cover, Masked, Silent


def derive_keys(own: Agreement, head: Head, points: Sequence[int], grid: str) -> dict[int, SealingKey]:
    """The AEAD key shared with each PPN of this meter's part, by point; once per epoch."""
    found = {}
    for point in points:
        peer = head.ppn(point).key.agreement
        found[point] = SealingKey.derive(
            own, peer, kind=Kind.SHARE, grid=grid, epoch=head.epoch, sender=own.public, recipient=peer
        )
    return found


def seal_statement(
    slots: Sequence[int] | None,
    *,
    number: int,
    round_number: int,
    head: Head,
    plan_digest: bytes,
    keys: Mapping[int, SealingKey],
    cover: Cover = Bare(),  # noqa: B008  # frozen and empty
    randbelow: Callable[[int], int] = secrets.randbelow,
    token_bytes: Callable[[int], bytes] = secrets.token_bytes,
) -> dict[int, bytes]:
    """point -> sealed share of one round. slots: watt-hours, one per slot of the plan; None says "no reading".

    cover: what goes under the reading; a silent one says "no reading" whatever the slots are.
    Must be called once per (meter, round) of an epoch, and its result kept: a second call would seal another plaintext
    under the same nonce. ValueError when a reading exceeds the plan's bound or has another number of slots.
    """
    terms: Sequence[Sequence[int]] = ()
    match cover:
        case Masked(terms=terms):
            pass
        case Silent():
            slots = None
        case Bare():
            pass
    sharing_id = token_bytes(SHARING_ID_BYTES)
    points = sorted(keys)
    q_field = head.field
    vectors: list[tuple[int, ...] | None] = [None] * len(points)
    if slots is not None:
        if len(slots) != head.slots:
            raise ValueError(f"a reading has {head.slots} slots")
        lifted = with_terms(lift_vector(slots, head.reading_bound_watt_hours, q_field), terms, q_field)
        per_slot = [shamir.split(element, points, head.threshold, q_field, randbelow) for element in lifted]
        vectors = list(zip(*per_slot, strict=True))
    sealed = {}
    for point, vector in zip(points, vectors, strict=True):
        context = share_context(plan_digest, number, point, round_number)
        text = ShareText(sharing_id, vector).to_bytes(head.slots, q_field)
        sealed[point] = keys[point].seal(text, context, stream=0, round_number=round_number)
    return sealed
