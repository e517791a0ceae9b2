"""Exact ranks of 0/1 matrices, by elimination modulo 31-bit primes.

Over the rationals a 0/1 matrix with n rows has rank r exactly when some r x r minor is not zero. By Hadamard's bound no such
minor exceeds (n+1)^((n+1)/2) / 2^n, so it cannot be a multiple of every one of a set of primes whose product is larger:

- vectors independent modulo one prime are independent over the rationals (one prime proves it);
- the rational rank is the largest of the ranks modulo the primes of `covering_primes` (all of them prove it).

No floating point and no fraction is involved. Vectors are the rows of arrays of shape (vectors, coordinates).
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hushgrid.core.field import is_prime

Bits = NDArray[np.bool_]
Residues = NDArray[np.int64]

_FIRST_CHUNK = 128
_LARGEST_CHUNK = 8192


@functools.lru_cache(maxsize=256)
def covering_primes(dimension: int) -> tuple[int, ...]:
    """Primes below 2^31, largest first, whose product exceeds every minor of a 0/1 matrix with `dimension` rows."""
    primes: list[int] = []
    product, candidate = 1, 2**31 - 1
    while not primes or product * product * 4**dimension <= (dimension + 1) ** (dimension + 1):
        if is_prime(candidate):
            primes.append(candidate)
            product *= candidate
        candidate -= 2
    return tuple(primes)


class Echelon:
    """A reduced echelon basis, modulo one prime, of the vectors given to it so far."""

    __slots__ = ("pivots", "prime", "rows")

    def __init__(self, coordinates: int, prime: int) -> None:
        self.prime = prime
        self.rows: Residues = np.zeros((0, coordinates), dtype=np.int64)
        self.pivots: list[int] = []

    @property
    def rank(self) -> int:
        """How many independent vectors there are so far."""
        return len(self.pivots)

    def copy(self) -> Echelon:
        """An independent copy."""
        twin = Echelon(self.rows.shape[1], self.prime)
        twin.rows, twin.pivots = self.rows.copy(), list(self.pivots)
        return twin

    def residuals(self, vectors: Bits) -> Residues:
        """What is left of 0/1 vectors modulo the basis; a zero row lies in its span.

        The product is exact: at most 2^31 terms of a 0/1 times a residue below 2^31.
        """
        if not self.pivots:
            return vectors.astype(np.int64)
        free = np.ones(vectors.shape[1], dtype=np.bool_)
        free[self.pivots] = False  # the basis is reduced: nothing is left at a pivot
        left = np.zeros(vectors.shape, dtype=np.int64)
        known = vectors[:, self.pivots].astype(np.int64) @ self.rows[:, free]
        left[:, free] = (vectors[:, free] - known) % self.prime
        return left

    def extend(
        self, vectors: Bits, order: NDArray[np.int64] | None = None, coordinates: Sequence[int] | None = None
    ) -> list[int]:
        """Take in, in this order, every vector that is independent of those before it; their positions.

        coordinates: which coordinates of the vectors are the basis's (default: all).
        """
        full = self.rows.shape[1]
        if order is None:
            order = np.arange(len(vectors), dtype=np.int64)
        chosen: list[int] = []
        start, size = 0, _FIRST_CHUNK
        while start < order.size and self.rank < full:
            positions = order[start : start + size]
            taken = vectors[positions]
            block = self.residuals(taken if coordinates is None else taken[:, coordinates])
            while self.rank < full:
                live = np.flatnonzero(block.any(axis=1))
                if not live.size:
                    break
                self._insert(block[live[0]])
                chosen.append(int(positions[live[0]]))
                block = (block - block[:, self.pivots[-1], None] * self.rows[-1]) % self.prime
            start, size = start + size, min(2 * size, _LARGEST_CHUNK)
        return chosen

    def _insert(self, residual: Residues) -> None:
        pivot = int(np.flatnonzero(residual)[0])
        row = residual * pow(int(residual[pivot]), -1, self.prime) % self.prime
        cleared = (self.rows - self.rows[:, pivot, None] * row) % self.prime
        self.rows = np.vstack([cleared, row[None, :]])
        self.pivots.append(pivot)

    def orthogonal(self) -> Residues:
        """A basis of what is orthogonal to every vector so far: shape (coordinates - rank, coordinates)."""
        coordinates = self.rows.shape[1]
        free = [at for at in range(coordinates) if at not in set(self.pivots)]
        basis = np.zeros((len(free), coordinates), dtype=np.int64)
        for number, at in enumerate(free):
            basis[number, at] = 1
            basis[number, self.pivots] = -self.rows[:, at] % self.prime
        return basis


def inverses(values: Residues, prime: int) -> Residues:
    """values^(prime - 2), elementwise: the multiplicative inverses, and 0 for 0."""
    result, square, exponent = np.ones_like(values), values.copy(), prime - 2
    while exponent:
        if exponent & 1:
            result = result * square % prime
        square = square * square % prime
        exponent >>= 1
    return result


def inverse(matrix: Residues, prime: int) -> Residues:
    """The inverse of a square matrix that is regular modulo the prime. ValueError when it is not."""
    size = len(matrix)
    rows = np.hstack([matrix % prime, np.eye(size, dtype=np.int64)])
    for at in range(size):
        live = np.flatnonzero(rows[at:, at])
        if not live.size:
            raise ValueError("the matrix is singular modulo the prime")
        rows[[at, at + live[0]]] = rows[[at + live[0], at]]
        rows[at] = rows[at] * pow(int(rows[at, at]), -1, prime) % prime
        factors = rows[:, at].copy()
        factors[at] = 0
        rows = (rows - factors[:, None] * rows[at]) % prime
    return rows[:, size:]


def spread_order(count: int) -> NDArray[np.int64]:
    """A fixed order of `count` positions that jumps about: neighbours are alike, and elimination wants variety."""
    step = max(1, int(count * 0.618))
    while np.gcd(step, count) > 1:
        step += 1
    return np.arange(count, dtype=np.int64) * step % max(count, 1)


def rank(vectors: Bits, coordinates: Sequence[int] | None = None) -> int:
    """The rank over the rationals of 0/1 vectors, of some coordinates of them, proven."""
    return best_echelon(vectors, coordinates).rank


def best_echelon(vectors: Bits, coordinates: Sequence[int] | None = None) -> Echelon:
    """The echelon basis modulo a prime at which the rank is the rational one.

    One prime is enough when it gives full rank; a lower rank is believed only from all covering primes.
    """
    width = vectors.shape[1] if coordinates is None else len(coordinates)
    short = min(len(vectors), width)
    order = spread_order(len(vectors))
    best: Echelon | None = None
    for prime in covering_primes(short):
        echelon = Echelon(width, prime)
        echelon.extend(vectors, order, coordinates)
        if best is None or echelon.rank > best.rank:
            best = echelon
        if best.rank == short:
            break
    assert best is not None  # noqa: S101 - covering_primes is never empty
    return best
