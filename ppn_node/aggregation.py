"""Adding shares modulo q over an agreed contributor set (docs/protocol.md, eq. 2). No I/O.

A sum is over the agreed set, never over what happened to arrive: a share that is missing makes the window unusable here.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from hushgrid import kernels
from hushgrid.bitmap import Bitmap
from hushgrid.field import Field
from hushgrid.messages import AggregateStatus, AggregateText, WithheldReason
from hushgrid.plan import Head, Mechanism, Rule
from hushgrid.schedule import Window


class HeldShare(NamedTuple):
    """A share on disk as aggregation needs it. elements: one per slot, None is "no reading"; attempt: 0 unless asked for."""

    sharing_id: bytes
    elements: tuple[int, ...] | None
    attempt: int = 0


#: The sum mod q, slot by slot, over (round, meters); None when some of these shares are not there.
Sums = Callable[[Mapping[int, Sequence[int]]], tuple[int, ...] | None]

_TRIPLE = struct.Struct(">IQ")


@dataclass(frozen=True, slots=True)
class DecidedRound:
    """One round's contributor decision, as bitmaps over meter numbers. Who is in none of them is lost."""

    included: Bitmap
    gaps: Bitmap
    inconsistent: Bitmap


def contributor_digest(triples: Iterable[tuple[int, int, bytes]]) -> bytes:
    """SHA-256 over the sorted (meter, round, sharing id) triples (invariant 2)."""
    digest = hashlib.sha256(b"hushgrid/1 contributors")
    for meter, round_number, sharing_id in sorted(triples):
        digest.update(_TRIPLE.pack(meter, round_number) + sharing_id)
    return digest.digest()


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


def below_floor(head: Head, rule: Rule, *, fewest: int, included: int, expected: int) -> WithheldReason:
    """Invariant 5: too few distinct meters in some round of the window, or too small a part of the cohort's pairs. Of readings
    that were masked before they were shared, any part but the whole keeps its masks and is no sum.

    fewest: contributors in the round that has fewest; included, expected: (meter, round) pairs.
    """
    if fewest < max(rule.minimum_contributors, head.minimum_contributors):
        return WithheldReason.BELOW_MINIMUM
    if included < head.coverage_floor_fraction * expected:
        return WithheldReason.BELOW_COVERAGE
    if rule.mechanism is Mechanism.BOTH and included < expected:
        return WithheldReason.INCOMPLETE
    return WithheldReason.NONE


def aggregate(
    head: Head,
    rule: Rule,
    cohort: Bitmap,
    *,
    window: Window,
    decisions: Mapping[int, DecidedRound],
    held: Mapping[int, Mapping[int, HeldShare]],
    withheld: WithheldReason,
    sums: Sums | None = None,
) -> AggregateText:
    """What this PPN has for one (rule, window): its aggregate share, or that it is unusable or withheld.

    decisions, held: by round; held then by meter number. cohort: of the plan in force for the window's first round.
    withheld: the decision's word about this window; the floors are checked here whatever it says. The window must be
    decided as a whole. sums: where the elements are, when not in `held`.
    """
    triples: list[tuple[int, int, bytes]] = []
    vectors: list[tuple[int, ...]] = []
    pairs: dict[int, list[int]] = {r: [] for r in window}
    included = gaps = inconsistent = repaired = 0
    fewest = len(cohort)
    meters = Bitmap(cohort.size)
    complete = True
    for round_number in window:
        decision = decisions[round_number]
        members = cohort & decision.included.resized(cohort.size)
        meters = meters | members
        fewest = min(fewest, len(members))
        included += len(members)
        gaps += len(cohort & decision.gaps.resized(cohort.size))
        inconsistent += len(cohort & decision.inconsistent.resized(cohort.size))
        shares = held.get(round_number, {})
        for number in members:
            share = shares.get(number)
            if share is None or share.elements is None:
                complete = False
                continue
            triples.append((number, round_number, share.sharing_id))
            vectors.append(share.elements)
            pairs[round_number].append(number)
            repaired += share.attempt > 0
    expected = len(cohort) * window.rounds
    if withheld is WithheldReason.NONE:
        withheld = below_floor(head, rule, fewest=fewest, included=included, expected=expected)
    if withheld is WithheldReason.NONE and complete and sums is not None:
        total = sums(pairs)
        complete, vectors = total is not None, [total] if total else []
    if withheld is not WithheldReason.NONE:
        status = AggregateStatus.WITHHELD
    elif not complete:
        status = AggregateStatus.UNUSABLE
    else:
        status = AggregateStatus.RELEASED
    released = status is AggregateStatus.RELEASED
    return AggregateText(
        status=status,
        reason=withheld,
        window_rounds=window.rounds,
        expected=expected,
        included=included,
        gaps=gaps,
        lost=expected - included - gaps - inconsistent,
        inconsistent=inconsistent,
        meters=len(meters),
        repaired=repaired,
        digest=contributor_digest(triples) if released else bytes(32),
        elements=weighted_sums(vectors, rule.weights, head.field) if released else (0,) * head.slots,
    )
