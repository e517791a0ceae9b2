"""Adding shares modulo q over an agreed contributor set (docs/protocol.md, eq. 2). No I/O.

A sum is over the agreed set, never over what happened to arrive: a share that is missing makes the window unusable here.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence

from hushgrid.core.bitmap import Bitmap
from hushgrid.core.minimum import WithheldReason
from hushgrid.core.schedule import Window
from hushgrid.plan.head import Head
from hushgrid.plan.minimum import below_floor
from hushgrid.plan.parts import Rule
from hushgrid.statements.rounds import Contributors
from hushgrid.wire.aggregates import AggregateStatus, AggregateText
from ppn_node.shares.sums import weighted_sums
from ppn_node.shares.values import HeldShare

#: The sum mod q, slot by slot, over (round, meters); None when some of these shares are not there.
Sums = Callable[[Mapping[int, Sequence[int]]], tuple[int, ...] | None]

_TRIPLE = struct.Struct(">IQ")


def contributor_digest(triples: Iterable[tuple[int, int, bytes]]) -> bytes:
    """SHA-256 over the sorted (meter, round, sharing id) triples (invariant 2)."""
    digest = hashlib.sha256(b"hushgrid/1 contributors")
    for meter, round_number, sharing_id in sorted(triples):
        digest.update(_TRIPLE.pack(meter, round_number) + sharing_id)
    return digest.digest()


def aggregate(
    head: Head,
    rule: Rule,
    cohort: Bitmap,
    *,
    window: Window,
    decisions: Mapping[int, Contributors],
    held: Mapping[int, Mapping[int, HeldShare]],
    withheld: WithheldReason,
    sums: Sums,
) -> AggregateText:
    """What this PPN has for one (rule, window): its aggregate share, or that it is unusable or withheld.

    decisions, held: by round; held then by meter number. cohort: of the plan in force for the window's first round.
    withheld: the decision's word about this window; the floors are checked here whatever it says. The window must be
    decided as a whole. sums: who adds the elements.
    """
    triples: list[tuple[int, int, bytes]] = []
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
            if share is None or share.gap:
                complete = False
                continue
            triples.append((number, round_number, share.sharing_id))
            pairs[round_number].append(number)
            repaired += share.attempt > 0
    expected = len(cohort) * window.rounds
    if withheld is WithheldReason.NONE:
        withheld = below_floor(head, rule, fewest=fewest, included=included, expected=expected)
    total = sums(pairs) if withheld is WithheldReason.NONE and complete else None
    if withheld is not WithheldReason.NONE:
        status = AggregateStatus.WITHHELD
    elif total is None:
        status = AggregateStatus.UNUSABLE
    else:
        status = AggregateStatus.RELEASED
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
        digest=bytes(32) if total is None else contributor_digest(triples),
        elements=(0,) * head.slots if total is None else weighted_sums([total], rule.weights, head.field),
    )
