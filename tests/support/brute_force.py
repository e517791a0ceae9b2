"""The audit's question answered by definition, for tests: all windows, all (meter, round) columns, all groups.

Ranks are the rational ones: Python's integers have no bound.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Sum:
    """A rule: a set of meters (numbers), windows of k rounds within [start, end)."""

    cohort: frozenset[int]
    window: int = 1
    start: int = 0
    end: int | None = None
    billing: bool = False


def rank(rows: Iterable[Sequence[int]]) -> int:
    """Plain elimination without fractions; equal rows count once."""
    basis: list[tuple[int, Sequence[int]]] = []
    for row in dict.fromkeys(map(tuple, rows)):
        left: Sequence[int] = row
        for pivot, other in basis:
            if factor := left[pivot]:
                scale = other[pivot]
                left = [scale * a - factor * b for a, b in zip(left, other, strict=True)]
        if common := math.gcd(*left):
            left = left if common == 1 else [value // common for value in left]
            basis.append((next(at for at, value in enumerate(left) if value), left))
    return len(basis)


def horizon(rules: Sequence[Sum]) -> int:
    """After the last change plus twice the common multiple everything repeats."""
    step = math.lcm(*(rule.window for rule in rules))
    last = max([rule.start for rule in rules] + [rule.end for rule in rules if rule.end is not None])
    return (-(-last // step) + 2) * step


def windows(rules: Sequence[Sum], until: int) -> list[tuple[Sum, int]]:
    """Every whole window of every rule."""
    return [
        (rule, start)
        for rule in rules
        for start in range(0, until, rule.window)
        if rule.start <= start and start + rule.window <= (until if rule.end is None else min(until, rule.end))
    ]


def expanded(rules: Sequence[Sum]) -> list[Sum]:
    """Billing rules of several meters taken apart."""
    out = []
    for rule in rules:
        if rule.billing:
            out += [Sum(frozenset([m]), rule.window, rule.start, rule.end, billing=True) for m in sorted(rule.cohort)]
        else:
            out.append(rule)
    return out


def matrix(rules: Sequence[Sum], meters: int, until: int) -> list[list[int]]:
    """Rows: windows; columns: meter * until + round."""
    return [
        [int(m in rule.cohort and start <= t < start + rule.window) for m in range(meters) for t in range(until)]
        for rule, start in windows(rules, until)
    ]


def _with(columns: Sequence[tuple[int, ...]], row: Sequence[int]) -> list[tuple[int, ...]]:
    """The columns of a matrix with one row more."""
    return [(*column, value) for column, value in zip(columns, row, strict=True)]


def leaking_group(rules: Sequence[Sum], meters: int, minimum: int) -> tuple[int, ...] | None:
    """Fewer than `minimum` meters that some vector of the row space touches, beyond their own bills."""
    rules = expanded(rules)
    until = horizon(rules)
    rows, listed = matrix(rules, meters, until), windows(rules, until)
    holders = [m for m in range(meters) for _ in range(until)]
    own = [rule.cohort if rule.billing else None for rule, _ in listed]
    return singled_out(rows, holders, own, meters, minimum)


def singled_out(
    rows: Sequence[Sequence[int]],
    holders: Sequence[int],
    own: Sequence[frozenset[int] | None],
    meters: int,
    minimum: int,
) -> tuple[int, ...] | None:
    """Fewer than `minimum` meters that some vector of the row space touches, beyond their own bills.

    holders: whose reading each column is; own: of each row that is a bill its meter.
    """
    # A matrix has the rank of its transpose, and equal columns count once.
    columns = list(zip(*rows, strict=True)) or [()] * len(holders)
    of_meter: list[dict[tuple[int, ...], None]] = [{} for _ in range(meters)]
    for holder, column in zip(holders, columns, strict=True):
        of_meter[holder][column] = None
    full = rank(columns)
    for group in itertools.combinations(range(meters), min(minimum - 1, meters)):
        outside = itertools.chain.from_iterable(of_meter[m] for m in range(meters) if m not in group)
        bills = [row for row, meter in zip(rows, own, strict=True) if meter is not None and meter <= set(group)]
        if full - rank(outside) > rank(bills):
            return group
    return None


def new_short_span(before: Sequence[Sum], after: Sequence[Sum], meters: int) -> Sum | None:
    """A rule whose cohort's sum becomes known, where it is in force, over fewer rounds than the shortest window for that cohort."""
    before, after = expanded(before), expanded(after)
    until = horizon(after)
    old = list(zip(*matrix(before, meters, until), strict=True)) or [()] * (meters * until)
    new = list(zip(*matrix(after, meters, until), strict=True))
    old_rank, new_rank = rank(old), rank(new)
    for cohort in {rule.cohort for rule in after if not rule.billing}:
        same = [rule for rule in after if rule.cohort == cohort and not rule.billing]
        shortest = min(rule.window for rule in same)
        in_force = {t for rule, first in windows(same, until) for t in range(first, first + rule.window)}
        for length in range(1, shortest):
            for start in range(until // 2):
                if in_force.isdisjoint(range(start, start + length)):
                    continue
                span = [int(m in cohort and start <= t < start + length) for m in range(meters) for t in range(until)]
                if rank(_with(new, span)) == new_rank and rank(_with(old, span)) > old_rank:
                    return next(rule for rule in after if rule.cohort == cohort)
    return None
