"""The contributor decision of one round, for all rules at once (docs/protocol.md, section Rounds). No I/O.

It rests on rosters alone: who reported, never how much.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hushgrid.core.bitmap import Bitmap
from hushgrid.core.minimum import WithheldReason
from hushgrid.core.schedule import Window
from hushgrid.errors import MessageError, RejectReason
from hushgrid.plan.head import Head
from hushgrid.plan.minimum import below_floor
from hushgrid.plan.parts import Rule
from hushgrid.statements.rounds import Contributors, DecisionCore, DecisionPage, RosterPage, Withheld
from hushgrid.wire.model import PAGE_METERS


@dataclass(frozen=True, slots=True)
class Roster:
    """What one PPN holds on disk of a round: bitmaps over meter numbers, and the sharing tag of each held share."""

    readings: Bitmap
    gaps: Bitmap
    tags: Mapping[int, bytes]

    @classmethod
    def of(cls, pages: Sequence[RosterPage], meters: int) -> Roster:
        """From all pages, in order; MessageError(MALFORMED) when they do not cover the plan's meter numbers."""
        parts = [page.held() for page in pages]
        readings = Bitmap.joined(part[0] for part in parts)
        gaps = Bitmap.joined(part[1] for part in parts)
        if readings.size != meters:
            raise MessageError(RejectReason.MALFORMED, f"roster over {readings.size} of {meters} meters")
        tags = {i * PAGE_METERS + at: tag for i, part in enumerate(parts) for at, tag in part[2].items()}
        return cls(readings, gaps, tags)


def contributors(head: Head, charges: Mapping[int, Bitmap], rosters: Mapping[int, Roster]) -> Contributors:
    """Who is in the sums of a round, everywhere.

    charges: point -> the meters that send to it; rosters: point -> what arrived there, of the PPNs that were punctual. With
    recovery `none` no meter is left out for loss: all but the stated gaps are in. Otherwise a meter is in when every
    punctual PPN in its charge holds the same sharing of a reading.
    """
    empty = Bitmap(head.meters)
    everyone = served = said_gap = said_reading = empty
    for point, charge in charges.items():
        everyone = everyone | charge
        if point in rosters:
            served = served | charge
            said_gap = said_gap | (rosters[point].gaps & charge)
            said_reading = said_reading | (rosters[point].readings & charge)
    inconsistent = (said_gap & said_reading) | _different_tags(charges, rosters, empty)
    gaps = said_gap - inconsistent
    if not head.recovery.agrees:
        return Contributors(everyone - gaps - inconsistent, gaps, inconsistent)
    included = served
    for point, roster in rosters.items():
        included = included - (charges[point] - roster.readings)
    return Contributors(included - inconsistent - gaps, gaps, inconsistent)


def _different_tags(charges: Mapping[int, Bitmap], rosters: Mapping[int, Roster], empty: Bitmap) -> Bitmap:
    """Meters whose shares at different PPNs come from different sharings."""
    first: dict[int, bytes] = {}
    different = set()
    for point, roster in rosters.items():
        for number, tag in roster.tags.items():
            if number in charges[point] and first.setdefault(number, tag) != tag:
                different.add(number)
    return Bitmap.of(empty.size, different)


def too_few(
    head: Head, rule: Rule, cohort: Bitmap, window: Window, coverage: Mapping[int, Contributors]
) -> WithheldReason:
    """Invariant 5: whether some round of the window has too few meters, or the window too small a part of the cohort's pairs.

    coverage: by round, of every round of the window.
    """
    counts = [len(cohort & coverage[r].included.resized(cohort.size)) for r in window]
    expected = len(cohort) * window.rounds
    return below_floor(head, rule, fewest=min(counts), included=sum(counts), expected=expected)


def decision_core(
    head: Head,
    round_number: int,
    pages: Sequence[DecisionPage],
    withheld: tuple[Withheld, ...],
    punctual: Sequence[int],
) -> DecisionCore:
    """The part that is signed and countersigned."""
    return DecisionCore(
        round=round_number,
        version=head.version,
        pages=tuple(page.digest for page in pages),
        withheld=withheld,
        punctual=tuple(sorted(punctual)),
    )
