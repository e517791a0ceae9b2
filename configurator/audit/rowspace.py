"""The smallest group of meters that a combination of sums can single out (docs/configurator.md, section Audit).

Meters that the same rules cover are one *class*: every combination of the rules gives them equal coefficients. A class is a
0/1 vector over the rules (its signature) with a weight (how many of its meters count). A combination of the rules, with
coefficients y, touches the classes whose signature s has y . s != 0. The question is whether some combination touches meters,
but fewer than `minimum` of them: the minimum distance of a weighted linear code, NP-hard in general. What is exact here:

1. A combination that touches a class of `minimum` meters or more is harmless; only those that vanish on all such classes
   matter. They are often none: then the answer is "safe", after one elimination.
2. If the other classes hold `minimum` disjoint bases of what is left, every combination touches each of them: safe.
3. Otherwise a search: each class is touched or not, with classes merged that are touched together, pruned by 1 and 2.

"Safe" rests on vectors that are independent modulo a prime, which proves them independent over the rationals. "Leaks"
is checked against the rational rank (`modular.rank`). When the search gives up after `node_limit` steps the answer is
"leaks", marked unproven: the documented bound, never hope.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from configurator.audit.bases import disjoint_bases, lightest_of_few
from configurator.audit.modular import (
    Bits,
    Echelon,
    Residues,
    best_echelon,
    covering_primes,
    inverses,
    rank,
    spread_order,
)

Weights = NDArray[np.int64]

#: Steps of the search before the audit falls back on refusing.
NODE_LIMIT = 400
#: Entries (classes x dimensions) above which a search is not begun.
_LARGEST_SEARCH = 20_000_000
#: Steps x classes x dimensions^2 that a search may cost.
_LARGEST_WORK = 100_000_000


@dataclass(frozen=True, slots=True)
class Group:
    """A combination that touches too few meters.

    classes: positions of the classes it touches (at most; empty when unproven); rules: positions of the rules it combines;
    proven: False when the search gave up, so that there may be no such combination.
    """

    classes: tuple[int, ...]
    rules: tuple[int, ...]
    proven: bool


@dataclass(slots=True)
class _Budget:
    nodes: int


@dataclass(frozen=True, slots=True)
class _Points:
    """Classes merged where they are touched together.

    vectors: shape (points, dimension); weights, forced, critical: shape (points,); point_of: shape (classes,), -1 where a
    class is not touched.
    """

    vectors: Residues
    weights: Weights
    forced: Bits
    critical: Bits
    point_of: NDArray[np.int64]
    prime: int

    @property
    def spent(self) -> int:
        return int(self.weights[self.forced].sum())


def smallest_group(
    signatures: Bits,
    weights: Weights,
    minimum: int,
    *,
    critical: Bits | None = None,
    untouched: Bits | None = None,
    node_limit: int = NODE_LIMIT,
) -> Group | None:
    """A combination that touches at least one meter and fewer than `minimum`; None when there is none.

    signatures: shape (classes, rules); weights: shape (classes,), 0 where no meter counts; critical: a combination is of
    interest only when it touches one of these (default: all); untouched: only combinations that vanish on these.
    """
    if critical is None:
        critical = np.ones(len(weights), dtype=np.bool_)
    if untouched is None:
        untouched = np.zeros(len(weights), dtype=np.bool_)
    zero = untouched | (weights >= minimum)
    if minimum <= 1 or not (critical & (weights > 0)).any() or not signatures.shape[1]:
        return None
    used = np.flatnonzero((weights > 0) | untouched)
    used = used[spread_order(used.size)]
    base = Echelon(signatures.shape[1], covering_primes(1)[0])
    base.extend(signatures, used[zero[used]])
    if base.rank == signatures.shape[1]:
        return None
    if used.size < len(weights):
        signatures, weights, critical, zero = signatures[used], weights[used], critical[used], zero[used]
    else:
        used = np.arange(len(weights), dtype=np.int64)
    rows = sorted(best_echelon(signatures).pivots)
    independent = signatures if len(rows) == signatures.shape[1] else signatures[:, rows]
    found = _search(independent, weights, minimum, critical=critical, zero=zero, node_limit=node_limit)
    if found is None:
        return None
    return Group(tuple(int(used[at]) for at in found.classes), tuple(rows[at] for at in found.rules), found.proven)


def _search(
    signatures: Bits, weights: Weights, minimum: int, *, critical: Bits, zero: Bits, node_limit: int
) -> Group | None:
    """`smallest_group` for rules that are independent over the rationals."""
    dimension = signatures.shape[1]
    order = spread_order(len(weights))
    light = order[~zero[order]]
    for prime in covering_primes(dimension):
        base = Echelon(dimension, prime)
        fixed = np.array(base.extend(signatures, order[zero[order]]), dtype=np.int64)
        if base.rank == dimension:
            return None
        bases = disjoint_bases(base, signatures, light, weights, minimum)
        if bases.incomplete is None:
            return None
        for combination in bases.incomplete.orthogonal():
            classes = _touched(signatures, combination, prime)
            if weights[classes].sum() < minimum and _is_proven(signatures, classes, critical):
                return Group(tuple(classes.tolist()), tuple(np.flatnonzero(combination).tolist()), proven=True)
        if lightest_of_few(bases, fixed, signatures, weights, minimum - 1, prime) is False:
            return None
        if light.size * (dimension - base.rank) > _LARGEST_SEARCH:
            break
        work = light.size * (dimension - base.rank) ** 2
        budget = _Budget(min(node_limit, 1 + _LARGEST_WORK // work))
        support = _descend(_outside(base, signatures[light], weights[light], critical[light]), minimum - 1, budget)
        if budget.nodes < 0:
            break
        if support is None:
            return None
        classes = np.sort(light[support])
        if _is_proven(signatures, classes, critical):
            return Group(tuple(classes.tolist()), _combined(signatures, classes, critical, prime), proven=True)
    return Group((), tuple(range(dimension)), proven=False)


def _outside(base: Echelon, vectors: Bits, weights: Weights, critical: Bits) -> _Points | None:
    """The classes as points of the space of combinations that vanish on `base`."""
    free = [at for at in range(vectors.shape[1]) if at not in set(base.pivots)]
    unforced = np.zeros(len(weights), dtype=np.bool_)
    numbers = np.arange(len(weights), dtype=np.int64)
    return _merge(_Points(base.residuals(vectors)[:, free], weights, unforced, critical, numbers, base.prime))


def _touched(signatures: Bits, combination: Residues, prime: int) -> NDArray[np.int64]:
    """Positions of the classes a combination touches. The sums are exact: 0/1 times residues below 2^31."""
    return np.flatnonzero((signatures @ combination) % prime)


def _merge(points: _Points) -> _Points | None:
    """Merge points on one line through 0: they are touched together. None when a forced point can no longer be touched."""
    prime = points.prime
    live: Bits = np.any(points.vectors, axis=1, keepdims=True)[:, 0]
    if points.forced[~live].any():
        return None
    vectors: Residues = points.vectors[live, :]
    lead = vectors[np.arange(len(vectors)), (vectors != 0).argmax(axis=1)] if len(vectors) else vectors[:, 0]
    vectors = vectors * inverses(lead, prime)[:, None] % prime
    lines, line_of = np.unique(vectors, axis=0, return_inverse=True)
    line_of = line_of.reshape(-1)
    renumber = np.full(len(live), -1, dtype=np.int64)
    renumber[live] = line_of
    weights = np.zeros(len(lines), dtype=np.int64)
    np.add.at(weights, line_of, points.weights[live])
    forced = np.zeros(len(lines), dtype=np.bool_)
    np.logical_or.at(forced, line_of, points.forced[live])
    critical = np.zeros(len(lines), dtype=np.bool_)
    np.logical_or.at(critical, line_of, points.critical[live])
    point_of = np.where(points.point_of >= 0, renumber[points.point_of], -1)
    return _Points(lines, weights, forced, critical, point_of, prime)


def _without(points: _Points, at: int) -> _Points | None:
    """Only the combinations that do not touch point `at`."""
    vector, prime = points.vectors[at], points.prime
    pivot = int(np.flatnonzero(vector)[0])
    scaled = vector * pow(int(vector[pivot]), -1, prime) % prime
    vectors = (points.vectors - points.vectors[:, pivot, None] * scaled) % prime
    vectors = np.delete(vectors, pivot, axis=1)
    if not vectors.shape[1]:
        return None
    return _merge(_Points(vectors, points.weights, points.forced, points.critical, points.point_of, prime))


def _descend(points: _Points | None, limit: int, budget: _Budget) -> NDArray[np.int64] | None:
    """Positions of the classes that some combination touches, of total weight at most `limit`; None when none does."""
    while points is not None:
        budget.nodes -= 1
        room = limit - points.spent
        if budget.nodes < 0 or room < 0 or not points.critical.any():
            return None
        too_heavy = np.flatnonzero(~points.forced & (points.weights > room))
        if too_heavy.size:
            points = _without(points, int(too_heavy[0]))
            continue
        if points.forced.all():
            return np.flatnonzero(points.point_of >= 0)
        if _bases_exceed(points, room):
            return None
        pick = int(np.argmax(np.where(points.forced, -1, points.weights)))
        forced = points.forced.copy()
        forced[pick] = True
        touched = _Points(points.vectors, points.weights, forced, points.critical, points.point_of, points.prime)
        support = _descend(touched, limit, budget)
        if support is not None:
            return support
        points = _without(points, pick)
    return None


def _bases_exceed(points: _Points, room: int) -> bool:
    """Whether more than `room` disjoint bases lie in the points that are not forced: then nothing light is left."""
    free = ~points.forced
    dimension, prime = points.vectors.shape[1], points.prime
    if int(points.weights[free].sum()) <= room * dimension:
        return False
    candidates = np.flatnonzero(free)
    if candidates.size > 8 * dimension + room:
        order = np.argsort(-points.weights[candidates], kind="stable")
        candidates = candidates[order[: 8 * dimension + room]]
    left = np.minimum(points.weights[candidates], room + 1)
    for _ in range(room + 1):
        order = np.argsort(-left, kind="stable")
        order = order[left[order] > 0]
        block = points.vectors[candidates[order]]
        for _ in range(dimension):
            live = np.flatnonzero(block.any(axis=1))
            if not live.size:
                return False
            row = block[live[0]]
            pivot = int(np.flatnonzero(row)[0])
            row = row * pow(int(row[pivot]), -1, prime) % prime
            left[order[live[0]]] -= 1
            block = (block - block[:, pivot, None] * row) % prime
    return True


def _is_proven(signatures: Bits, classes: NDArray[np.int64], critical: Bits) -> bool:
    """Over the rationals: some combination vanishes outside `classes` and touches a critical one of them."""
    outside = np.ones(len(signatures), dtype=np.bool_)
    outside[classes] = False
    touched = classes[critical[classes]]
    with_touched = np.vstack([signatures[outside], signatures[touched]])
    return rank(with_touched) > rank(signatures[outside])


def _combined(signatures: Bits, classes: NDArray[np.int64], critical: Bits, prime: int) -> tuple[int, ...]:
    """Which rules such a combination adds and subtracts."""
    outside = np.ones(len(signatures), dtype=np.bool_)
    outside[classes] = False
    echelon = Echelon(signatures.shape[1], prime)
    echelon.extend(signatures[outside])
    wanted = signatures[classes[critical[classes]]].astype(np.int64)
    candidates = echelon.orthogonal()
    telling = [y for y in candidates if ((wanted @ y) % prime).any()]
    shortest = min(telling, key=np.count_nonzero)
    return tuple(np.flatnonzero(shortest).tolist())
