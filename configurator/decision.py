"""The contributor decision of one round, for all rules at once (docs/protocol.md, section Rounds). No I/O.

It rests on rosters alone: who reported, never how much.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hushgrid.bitmap import Bitmap
from hushgrid.control import DecisionCore, DecisionPage, RosterPage, Withheld
from hushgrid.errors import MessageError, RejectReason
from hushgrid.messages import WithheldReason
from hushgrid.plan import PAGE_METERS, Head, Mechanism, Recovery, Rule
from hushgrid.schedule import Window


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


@dataclass(frozen=True, slots=True)
class Coverage:
    """One decided round: who is in, who said "no reading", who sent different sharings. All others of the plan are lost."""

    included: Bitmap
    gaps: Bitmap
    inconsistent: Bitmap


def contributors(head: Head, charges: Mapping[int, Bitmap], rosters: Mapping[int, Roster]) -> Coverage:
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
    if head.recovery is Recovery.NONE:
        return Coverage(everyone - gaps - inconsistent, gaps, inconsistent)
    included = served
    for point, roster in rosters.items():
        included = included - (charges[point] - roster.readings)
    return Coverage(included - inconsistent - gaps, gaps, inconsistent)


def _different_tags(charges: Mapping[int, Bitmap], rosters: Mapping[int, Roster], empty: Bitmap) -> Bitmap:
    """Meters whose shares at different PPNs come from different sharings."""
    first: dict[int, bytes] = {}
    different = set()
    for point, roster in rosters.items():
        for number, tag in roster.tags.items():
            if number in charges[point] and first.setdefault(number, tag) != tag:
                different.add(number)
    return Bitmap.of(empty.size, different)


def too_few(head: Head, rule: Rule, cohort: Bitmap, window: Window, coverage: Mapping[int, Coverage]) -> WithheldReason:
    """Invariant 5: whether some round of the window has too few meters, or the window too small a part of the cohort's pairs.

    coverage: by round, of every round of the window.
    """
    counts = [len(cohort & coverage[r].included.resized(cohort.size)) for r in window]
    if min(counts) < max(rule.minimum_contributors, head.minimum_contributors):
        return WithheldReason.BELOW_MINIMUM
    if sum(counts) < head.coverage_floor_fraction * len(cohort) * window.rounds:
        return WithheldReason.BELOW_COVERAGE
    if rule.mechanism is Mechanism.BOTH and min(counts) < len(cohort):
        return WithheldReason.INCOMPLETE
    return WithheldReason.NONE


def decision_pages(coverage: Coverage) -> tuple[DecisionPage, ...]:
    """The bitmaps cut into pages."""
    pages = []
    for first in range(0, max(1, coverage.included.size), PAGE_METERS):
        sets = [s.page(first, PAGE_METERS) for s in (coverage.included, coverage.gaps, coverage.inconsistent)]
        included, gaps, inconsistent = (s.to_bytes() for s in sets)
        pages.append(DecisionPage(size=sets[0].size, included=included, gaps=gaps, inconsistent=inconsistent))
    return tuple(pages)


def coverage_of(pages: Sequence[DecisionPage]) -> Coverage:
    """Back from the pages."""
    sets = [page.sets() for page in pages]
    return Coverage(*(Bitmap.joined(page[i] for page in sets) for i in range(3)))


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
