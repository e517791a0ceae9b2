"""Which cohorts answers cover at the same time, and the smallest group that those of one moment single out.

A moment is a piece of time in which the same rows are on. Many moments have the same cohorts, so that equal questions
are answered once.
"""

from __future__ import annotations

import functools
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

import numpy as np

from configurator.audit.modular import Bits
from configurator.audit.rowspace import smallest_group
from privacy_gateway.differencing.disclosed import DisclosedRow, SmallGroup
from privacy_gateway.questions.recovered import RoundSpan, SumLoss

Cohort = frozenset[str]


def concurrent(new: Sequence[DisclosedRow], before: Sequence[DisclosedRow]) -> list[DisclosedRow]:
    """The new rows and those before that share rounds with them, directly or through others; each (homes, span)
    once.
    """
    rows = {(row.homes, row.span): row for row in (*before, *new)}
    asked = {(row.homes, row.span) for row in new}
    run: list[DisclosedRow] = []
    found: list[DisclosedRow] = []
    until = -1
    for row in sorted(rows.values(), key=lambda each: each.span):
        if row.span.first >= until:
            found += run if any((each.homes, each.span) in asked for each in run) else ()
            run = []
        run.append(row)
        until = max(until, row.span.until)
    found += run if any((each.homes, each.span) in asked for each in run) else ()
    return found


def moments(rows: Sequence[DisclosedRow]) -> Iterator[tuple[frozenset[Cohort], int]]:
    """For each moment its cohorts, and the most homes of them that may be missing there."""
    changes: defaultdict[int, list[tuple[Cohort | SumLoss, int]]] = defaultdict(list)
    spans: list[tuple[Cohort | SumLoss, RoundSpan]] = [(row.homes, row.span) for row in rows]
    spans += [(loss, loss.span) for loss in {loss for row in rows for loss in row.losses}]
    for what, span in spans:
        changes[span.first].append((what, 1))
        changes[span.until].append((what, -1))
    on: Counter[Cohort | SumLoss] = Counter()
    begun = 0
    for at in sorted(changes):
        cohorts = frozenset(each for each in on if isinstance(each, frozenset))
        if cohorts:
            piece = RoundSpan(begun, at)
            yield cohorts, sum(each.absent_in(piece) for each in on if isinstance(each, SumLoss))
        for what, change in changes[at]:
            on[what] += change
            if not on[what]:
                del on[what]
        begun = at


def classes_of(cohorts: Sequence[Cohort]) -> tuple[tuple[tuple[str, ...], ...], Bits]:
    """Homes that the same cohorts cover, and which ones: shape (classes, cohorts)."""
    by_signature: defaultdict[int, list[str]] = defaultdict(list)
    signature: defaultdict[str, int] = defaultdict(int)
    for at, cohort in enumerate(cohorts):
        for home in cohort:
            signature[home] |= 1 << at
    for home, mask in signature.items():
        by_signature[mask].append(home)
    members = [[bool(mask >> at & 1) for at in range(len(cohorts))] for mask in by_signature]
    return tuple(tuple(homes) for homes in by_signature.values()), np.array(members, dtype=np.bool_)


@functools.lru_cache(maxsize=4096)
def smallest_of(cohorts: frozenset[Cohort], needed: int) -> SmallGroup | None:
    """Fewer homes than needed, but one at least, that some combination of cohorts touches; None when there is none."""
    ordered = sorted(cohorts, key=lambda cohort: (len(cohort), sorted(cohort)))
    classes, members = classes_of(ordered)
    group = smallest_group(members, np.array([len(homes) for homes in classes], dtype=np.int64), needed)
    if group is None:
        return None
    return SmallGroup(tuple(sorted(home for at in group.classes for home in classes[at])), needed, group.proven)
