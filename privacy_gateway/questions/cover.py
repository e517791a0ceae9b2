"""A rectangle of homes and rounds as disjoint recovered sums, or why there are none.

An exact cover, NP-hard in general. Here the first open cell, earliest round first, decides which sum comes next, the
largest before smaller ones; what failed once is not tried again. A search that exceeds its bound says so.
"""

from __future__ import annotations

import bisect
import functools
import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from privacy_gateway.questions.declined import DeclineCode, Declined
from privacy_gateway.questions.recovered import RecoveredSum, RoundSpan

#: Steps before the search gives up.
MOST_STEPS_OF_SEARCH = 200_000
_NAMED = 5


@dataclass(frozen=True, slots=True)
class _Cells:
    """Classes of homes that the same cohorts cover, times pieces of time between two boundaries; cell = piece *
    classes + class.
    """

    classes: tuple[tuple[str, ...], ...]
    pieces: tuple[RoundSpan, ...]

    @classmethod
    def of(cls, homes: frozenset[str], span: RoundSpan, sums: Sequence[RecoveredSum]) -> _Cells:
        classes = _classes(homes, tuple(dict.fromkeys(each.cohort for each in sums)))
        cuts = {span.first, span.until, *(each.span.first for each in sums), *(each.span.until for each in sums)}
        ordered = sorted(cuts)
        pieces = tuple(RoundSpan(a, b) for a, b in itertools.pairwise(ordered))
        return cls(classes, pieces)

    def mask(self, cohort: frozenset[str], span: RoundSpan) -> int:
        """Bit `cell` is set where cohort and span cover it."""
        row = sum(1 << at for at, homes in enumerate(self.classes) if homes[0] in cohort)
        begin = bisect.bisect_left(self.pieces, span.first, key=lambda piece: piece.first)
        end = bisect.bisect_left(self.pieces, span.until, key=lambda piece: piece.first)
        repeated = ((1 << (end - begin) * len(self.classes)) - 1) // ((1 << len(self.classes)) - 1)
        return row * repeated << begin * len(self.classes)

    def named(self, cell: int) -> str:
        """A cell for a person."""
        piece, homes = self.pieces[cell // len(self.classes)], self.classes[cell % len(self.classes)]
        more = f" and {len(homes) - _NAMED} more" if len(homes) > _NAMED else ""
        return f"rounds {piece.first} to {piece.until - 1} of {', '.join(homes[:_NAMED])}{more}"


@functools.lru_cache(maxsize=64)
def _classes(homes: frozenset[str], cohorts: tuple[frozenset[str], ...]) -> tuple[tuple[str, ...], ...]:
    """Homes that the same cohorts cover; the steps of a load curve ask for the same ones again and again."""
    by_signature: dict[tuple[bool, ...], list[str]] = {}
    for home in sorted(homes):
        by_signature.setdefault(tuple(home in cohort for cohort in cohorts), []).append(home)
    return tuple(tuple(each) for each in by_signature.values())


def cover(homes: frozenset[str], span: RoundSpan, sums: Iterable[RecoveredSum]) -> tuple[RecoveredSum, ...] | Declined:
    """Disjoint sums that together cover exactly these homes over exactly these rounds, in the order of time.

    The answer depends on cohorts, spans and counts only. Of several sums of one cohort and span the one with most
    pairs counts.
    """
    usable = _usable(homes, span, sums)
    if usable and usable[0].cohort == homes and usable[0].span == span:
        return (usable[0],)
    cells = _Cells.of(homes, span, usable)
    masks = [cells.mask(each.cohort, each.span) for each in usable]
    covered = 0
    for mask in masks:
        covered |= mask
    whole = cells.mask(homes, span)
    if covered != whole:
        missing = whole & ~covered
        first = (missing & -missing).bit_length() - 1
        return Declined(
            DeclineCode.NOT_SUMMED,
            f"Nothing was summed inside this question for {cells.named(first)}: only what was summed can be asked of "
            "the past.",
        )
    found = _search(whole, masks)
    if found is None:
        return Declined(
            DeclineCode.COVER_NOT_FOUND,
            "No way was found to put the question together from sums that do not overlap, within "
            f"{MOST_STEPS_OF_SEARCH} steps.",
        )
    if not found:
        return Declined(
            DeclineCode.NOT_SUMMED,
            "The sums inside this question overlap, and no choice of them covers every home and round exactly once.",
        )
    return tuple(sorted((usable[at] for at in found), key=lambda each: (each.span, each.rule)))


def _usable(homes: frozenset[str], span: RoundSpan, sums: Iterable[RecoveredSum]) -> list[RecoveredSum]:
    """Sums inside the question, one for each cohort and span, the largest first."""
    best: dict[tuple[frozenset[str], RoundSpan], RecoveredSum] = {}
    for each in sums:
        if span.holds(each.span) and each.cohort and each.cohort <= homes:
            key = (each.cohort, each.span)
            other = best.get(key)
            if other is None or (-each.included, each.rule) < (-other.included, other.rule):
                best[key] = each
    return sorted(best.values(), key=lambda each: (-each.expected, each.span, each.rule))


def _search(whole: int, masks: Sequence[int]) -> list[int] | None:
    """Positions of masks that partition `whole`; [] when none do, None when the search gave up."""
    holding: dict[int, list[int]] = {}
    for at, mask in enumerate(masks):
        holding.setdefault(mask & -mask, []).append(at)
    left, steps = whole, 0
    chosen: list[int] = []
    failed: set[int] = set()
    # A mask that covers the first open cell and nothing that is covered has this cell as its own first.
    stack: list[Iterator[int]] = [iter(holding.get(left & -left, ()))]
    while stack:
        steps += 1
        if steps > MOST_STEPS_OF_SEARCH:
            return None
        fitting = next((at for at in stack[-1] if masks[at] & ~left == 0 and left ^ masks[at] not in failed), None)
        if fitting is None:
            stack.pop()
            failed.add(left)
            if chosen:
                left |= masks[chosen.pop()]
            continue
        chosen.append(fitting)
        left ^= masks[fitting]
        if not left:
            return chosen
        stack.append(iter(holding.get(left & -left, ())))
    return []
