"""Whether some combination of everything answered touches too few homes (docs/gateway.md, section Differencing).

A combination adds and subtracts answers with rational coefficients. Over (home, round) it has a coefficient for each
pair; a home is touched when one of its coefficients is not zero, in whatever round. Asked is whether some combination
touches at least one home and fewer than the minimum. Two steps, both built on the audit of rules
(`configurator.audit.rowspace`, `configurator.audit.modular`):

1. Round by round: a combination that is not zero is not zero in some round, and there it is one of the cohorts that
   cover the round. Where none of these touches too few, nothing does. It is what the audit of losses asks, and
   settles nearly everything.
2. Otherwise exactly, over all rounds together: homes that the same rows cover are a class; a class is touched when a
   combination does not vanish on all of its columns. A search over classes, cut short where they are too heavy or
   everything vanishes. When it gives up, the answer is refused: never hope.

Homes whose readings are missing in a sum are in no answer. How many those are is known, and who is not: so as many
homes more than the minimum are needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from configurator.audit.modular import Bits, Echelon, best_echelon, covering_primes, rank
from privacy_gateway.differencing.disclosed import DisclosedRow, SmallGroup
from privacy_gateway.differencing.moments import classes_of, concurrent, moments, smallest_of

#: Steps of the exact search before it gives up.
NODE_LIMIT = 2_000

Positions = NDArray[np.int64]


def small_group(
    new: Sequence[DisclosedRow], before: Sequence[DisclosedRow], minimum: int, *, node_limit: int = NODE_LIMIT
) -> SmallGroup | None:
    """Homes that would be singled out if `new` were answered beside `before`; None when none are.

    `before` is taken to be harmless. The answer depends on homes and rounds alone, never on a reading.
    """
    known = {(row.homes, row.span) for row in before}
    if all((row.homes, row.span) in known for row in new):
        return None
    rows = concurrent(new, before)
    if _accused(rows, minimum) is None:
        return None
    rows = _connected(new, rows)
    accused = _accused(rows, minimum)
    if accused is None or len({row.span for row in rows}) == 1:
        return accused
    return _Table.of(rows).altogether(minimum, node_limit)


def _accused(rows: Sequence[DisclosedRow], minimum: int) -> SmallGroup | None:
    """Step 1: the first round in which the cohorts that cover it have a combination of too few."""
    found = (smallest_of(cohorts, minimum + absent) for cohorts, absent in moments(rows))
    return next((group for group in found if group is not None), None)


def _connected(new: Sequence[DisclosedRow], before: Sequence[DisclosedRow]) -> list[DisclosedRow]:
    """The new rows and all that meet them, directly or through others, each (homes, span) once.

    Other rows share no (home, round) with these: to add them to a combination only touches more homes.
    """
    waiting = list({(row.homes, row.span): row for row in before}.values())
    reached = list({(row.homes, row.span): row for row in new}.values())
    at = 0
    while at < len(reached):
        apart: list[DisclosedRow] = []
        for row in waiting:
            (reached if row.meets(reached[at]) else apart).append(row)
        waiting, at = apart, at + 1
    return list({(row.homes, row.span): row for row in reached}.values())


@dataclass
class _Search:
    """Steps that are left."""

    nodes: int
    gave_up: bool = field(default=False)


@dataclass(frozen=True)
class _Table:
    """Rows against classes of homes and pieces of time.

    members: shape (classes, rows), whether a row's cohort covers the class. covering: shape (pieces, rows), whether
    its span covers the piece. weights: shape (classes,), homes. absent: homes that may be missing in some piece.
    """

    classes: tuple[tuple[str, ...], ...]
    members: Bits
    covering: Bits
    weights: Positions
    absent: int

    @classmethod
    def of(cls, rows: Sequence[DisclosedRow]) -> _Table:
        """The classes and pieces that these rows tell apart."""
        cohorts = list({row.homes: None for row in rows})
        classes, by_cohort = classes_of(cohorts)
        number = {cohort: at for at, cohort in enumerate(cohorts)}
        first, until = np.array([(row.span.first, row.span.until) for row in rows], dtype=np.int64).T
        cuts = np.unique(np.concatenate([first, until]))
        covering = (first <= cuts[:-1, None]) & (until >= cuts[1:, None])
        weights = np.array([len(homes) for homes in classes], dtype=np.int64)
        absent = sum(absent for _, absent in moments(rows))
        return cls(classes, by_cohort[:, [number[row.homes] for row in rows]], covering, weights, absent)

    def altogether(self, minimum: int, node_limit: int) -> SmallGroup | None:
        """Step 2, over all pieces."""
        blocks = [self._columns(at) for at in range(len(self.classes))]
        every = np.vstack(blocks)
        independent = sorted(best_echelon(every).pivots)
        blocks = [np.ascontiguousarray(block[:, independent]) for block in blocks]
        needed = minimum + self.absent
        search = _Search(node_limit)
        start = Echelon(len(independent), covering_primes(1)[0])
        touched = _descend(
            start, blocks, np.argsort(-self.weights, kind="stable").tolist(), self.weights, needed - 1, search
        )
        if touched is None:
            return SmallGroup((), needed, proven=False) if search.gave_up else None
        outside = [block for at, block in enumerate(blocks) if at not in touched]
        proven = not outside or rank(np.vstack(outside)) < len(independent)
        return SmallGroup(self._homes(np.array(sorted(touched), dtype=np.int64)), needed, proven)

    def _columns(self, at: int) -> Bits:
        """The columns of one class, shape (pieces, rows), without those that are equal or nothing."""
        columns: Bits = np.unique(self.covering & self.members[at], axis=0)
        return columns[columns.any(axis=1)]

    def _homes(self, classes: Positions) -> tuple[str, ...]:
        return tuple(sorted(home for at in classes for home in self.classes[at]))


def _descend(
    vanishing: Echelon, blocks: Sequence[Bits], open_: Sequence[int], weights: Positions, limit: int, search: _Search
) -> set[int] | None:
    """Classes of weight at most `limit` that some combination may touch; None when none does, or the search gave up.

    vanishing: what the columns span on which a combination has to vanish; open_: classes it may touch, heaviest first.
    """
    search.nodes -= 1
    if search.nodes < 0:
        search.gave_up = True
        return None
    vanishing = vanishing.copy()
    for at in open_:
        if weights[at] > limit:
            vanishing.extend(blocks[at])
    full = vanishing.rows.shape[1]
    left = [at for at in open_ if weights[at] <= limit]
    if vanishing.rank == full:
        return None
    # Whatever does not vanish on all of these touches one of them: the first that it touches is one of as many cases.
    spanning, together = [], vanishing.copy()
    for at in left:
        if together.extend(blocks[at]):
            spanning.append(at)
        if together.rank == full:
            break
    else:
        return set()
    for at in spanning:
        left.remove(at)
        found = _descend(vanishing, blocks, left, weights, limit - int(weights[at]), search)
        if found is not None:
            return found | {at}
        vanishing.extend(blocks[at])
        if vanishing.rank == full:
            return None
    return None
