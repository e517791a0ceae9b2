"""Proofs that every combination of rules touches many meters, from disjoint bases (docs/configurator.md, section Audit).

A *completing set* is a set of meters whose signatures, together with those of the classes that must stay untouched, span
everything: a combination that is not zero touches one of them. With N disjoint completing sets, a combination that touches at
most `limit` meters touches at most limit / N of some set. So with more than `limit` sets there is none; with more than limit / 2 it
is, for some set, a multiple of one of its dual combinations, which are few enough to look at; with more than limit / 3 a
combination of two of them. (This is Brouwer and Zimmermann's bound for the minimum distance of a code.)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from configurator.audit.modular import Bits, Echelon, Residues, inverse, inverses

Positions = NDArray[np.int64]
Weights = NDArray[np.int64]

#: Entries (classes x dimensions) above which pairs of dual combinations are not looked at.
_LARGEST_PAIRS = 400_000


@dataclass(frozen=True, slots=True)
class Bases:
    """Disjoint completing sets, by positions of classes.

    incomplete: what the first set that could not be completed spans; None when as many were found as were wanted.
    """

    sets: tuple[tuple[int, ...], ...]
    incomplete: Echelon | None


def disjoint_bases(base: Echelon, signatures: Bits, light: Positions, weights: Weights, wanted: int) -> Bases:
    """Up to `wanted` completing sets from the classes at `light`, each class in as many as it has meters. Greedy."""
    dimension = signatures.shape[1]
    enough = wanted * (dimension - base.rank) + 1024
    if light.size > enough:
        top = light[np.sort(np.argpartition(-weights[light], enough)[:enough])]
        found = disjoint_bases(base, signatures, top, weights, wanted)
        if found.incomplete is None:
            return found
    left = np.minimum(weights, wanted)
    sets: list[tuple[int, ...]] = []
    while len(sets) < wanted:
        order = light[np.argsort(-left[light], kind="stable")]
        trial = base.copy()
        chosen = trial.extend(signatures, order[left[order] > 0])
        if trial.rank < dimension:
            return Bases(tuple(sets), trial)
        left[chosen] -= 1
        sets.append(tuple(chosen))
    return Bases(tuple(sets), None)


def lightest_of_few(
    bases: Bases, fixed: Positions, signatures: Bits, weights: Weights, limit: int, prime: int
) -> bool | None:
    """Whether a combination that does not touch the classes `fixed` (a basis of the untouched ones) weighs at most `limit`.

    True and False are exact modulo the prime; False is therefore exact over the rationals. None when there are too few bases.
    """
    if len(bases.sets) > limit:
        return False
    if 3 * len(bases.sets) <= limit:
        return None
    by_pairs = 2 * len(bases.sets) <= limit
    if by_pairs and signatures.size > _LARGEST_PAIRS:
        return None
    for chosen in bases.sets:
        matrix = signatures[[*fixed.tolist(), *chosen]].astype(np.int64)
        dual = signatures.astype(np.int64) @ inverse(matrix, prime)[:, fixed.size :] % prime
        if ((dual != 0) * weights[:, None]).sum(axis=0).min() <= limit:
            return True
        if by_pairs and _some_pair_is_light(dual, weights, limit, prime):
            return True
    return False


def _some_pair_is_light(dual: Residues, weights: Weights, limit: int, prime: int) -> bool:
    """Whether some dual[:, a] + c dual[:, b], c not 0, weighs at most `limit`. Shape (classes, dimension)."""
    inverted = inverses(dual, prime)
    for a in range(dual.shape[1] - 1):
        others = slice(a + 1, None)
        both = (dual[:, a, None] != 0) & (dual[:, others] != 0)
        either = (dual[:, a, None] != 0) | (dual[:, others] != 0)
        ratios = np.where(both, dual[:, a, None] * inverted[:, others] % prime, 0)
        total = (either * weights[:, None]).sum(axis=0)
        if (total - _heaviest(ratios, weights, total - limit) <= limit).any():
            return True
    return False


def _heaviest(ratios: Residues, weights: Weights, wanted: Weights) -> Weights:
    """For every column, the largest weight of classes with one ratio that is not 0 (they vanish for the same c), exact if
    it is `wanted` or more. Shapes (classes, columns), (classes,), (columns,).
    """
    shown = (ratios != 0).sum(axis=0)
    found = np.zeros(ratios.shape[1], dtype=np.int64)
    columns = np.arange(ratios.shape[1])
    if (weights == 1).all():  # what holds the majority is the median
        median = np.sort(ratios, axis=0)[np.minimum(len(ratios) - 1, len(ratios) - shown + shown // 2), columns]
        found = ((ratios == median) & (ratios != 0)).sum(axis=0)
        columns = columns[2 * wanted <= shown]
    for column in columns[shown[columns] > 0]:
        ratio = ratios[:, column]
        values, kind = np.unique(ratio, return_inverse=True)
        totals = np.zeros(values.size, dtype=np.int64)
        np.add.at(totals, kind.reshape(-1), np.where(ratio != 0, weights, 0))
        found[column] = totals.max()
    return found
