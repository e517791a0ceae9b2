"""Recovering a sum although some aggregate shares are wrong: Reed-Solomon decoding over Z_q (docs/protocol.md, eq. 6).

Shares of one sum are a word of a Reed-Solomon code: n values of one polynomial of degree below t, any two such words differ
in at least n - t + 1 places. So e wrong values can be corrected while up to f >= e are still noticed only where

    e + f <= n - t.

With e = f, one colluding liar more could move the word so near to another one that correction would finish the work.
`Radius.of` therefore takes the largest e below f, and whoever corrects more must ask for it.

    n - t    0   1   2   3   4   5
    e, f    0,0 0,1 0,2 1,2 1,3 2,3      n - t = 0: nothing can be checked, and `detects` says so

What is named is a wrong *point*. A meter that sent one bad share looks the same as a PPN that adds wrongly (invariant 13).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from hushgrid.core.field import Field
from hushgrid.core.shamir import check_points, evaluate
from hushgrid.errors import RecoveryError

#: Coefficients, lowest first, the last one not zero; () is the zero polynomial.
Polynomial = tuple[int, ...]


class TooFewSharesError(RecoveryError):
    """Fewer than t shares: more may still come."""


class WrongSharesError(RecoveryError):
    """The shares do not lie on one polynomial, and more of them are wrong than may be corrected: no number is given."""


@dataclass(frozen=True, slots=True)
class Radius:
    """How far n received shares of threshold t carry. corrects: e wrong ones; detects: f wrong ones, f >= e."""

    received: int
    threshold: int
    corrects: int
    detects: int

    @classmethod
    def of(cls, received: int, threshold: int, corrects: int | None = None) -> Self:
        """e and f with e + f = n - t. corrects: e, by default the largest below f; ValueError where f would be below e."""
        spare = received - threshold
        if threshold < 1 or spare < 0:
            raise ValueError("fewer shares than the threshold, or no threshold")
        if corrects is None:
            corrects = max(0, (spare - 1) // 2)
        if not 0 <= 2 * corrects <= spare:
            raise ValueError(f"{corrects} wrong shares of {received} cannot be corrected with threshold {threshold}")
        return cls(received, threshold, corrects, spare - corrects)


@dataclass(frozen=True, slots=True)
class Decoded:
    """secrets: the polynomials' values at zero, one per slot; wrong: the points whose share is on none of them, ascending."""

    secrets: tuple[int, ...]
    coefficients: tuple[Polynomial, ...]
    wrong: tuple[int, ...]
    radius: Radius


def decode(
    shares: Mapping[int, Sequence[int]], threshold: int, field: Field, *, corrects: int | None = None
) -> Decoded:
    """The secrets of {point: one element per slot}, with up to e wrong points corrected and named.

    corrects: e, by default as `Radius.of` has it; 0 asks for detection only. A point that is wrong in any slot is wrong. With
    at most f wrong points the result is right or there is none. TooFewSharesError: fewer than t points; WrongSharesError: no
    word of the code lies within e points. ValueError: a bad point, slots of different number, an element outside Z_q.
    """
    check_points(tuple(shares), field)
    if len({len(elements) for elements in shares.values()}) > 1:
        raise ValueError("shares of different numbers of slots")
    if any(not 0 <= element < field.modulus for elements in shares.values() for element in elements):
        raise ValueError("a share is not an element of the field")
    if len(shares) < threshold:
        raise TooFewSharesError(f"{len(shares)} shares, {threshold} needed")
    radius = Radius.of(len(shares), threshold, corrects)
    points = tuple(sorted(shares))
    slots = tuple(zip(*(shares[point] for point in points), strict=True))
    code = _Code(points, threshold, field)
    found = tuple(code.nearest(values, radius.corrects) for values in slots)
    wrong = set()
    for polynomial, values in zip(found, slots, strict=True):
        if polynomial is not None:
            wrong |= {x for x, value in zip(points, values, strict=True) if evaluate(polynomial, x, field) != value}
    if None in found or len(wrong) > radius.corrects:
        raise WrongSharesError(
            f"the shares at points {list(points)} do not lie on one polynomial of degree {threshold - 1}, "
            f"and more than {radius.corrects} of them are wrong"
        )
    polynomials = tuple(polynomial for polynomial in found if polynomial is not None)
    return Decoded(tuple(p[0] if p else 0 for p in polynomials), polynomials, tuple(sorted(wrong)), radius)


class _Code:
    """The Reed-Solomon code of polynomials of degree below t at these points, decoded after Gao (2003)."""

    def __init__(self, points: Sequence[int], threshold: int, field: Field) -> None:
        self.points, self.threshold, self.field = points, threshold, field
        annihilator: Polynomial = (1,)
        for point in points:
            annihilator = _times_root(annihilator, point, field)
        self.annihilator = annihilator

    def nearest(self, values: Sequence[int], errors: int) -> Polynomial | None:
        """The one polynomial of degree below t that misses at most `errors` <= (n - t) / 2 of the values; None: none does."""
        through_all = self._interpolate(values)
        if len(through_all) <= self.threshold:
            return through_all
        if errors == 0:
            return None
        # Euclid on (annihilator, interpolant) until deg r < (n + t) / 2: then r = f v, and v vanishes at the wrong points.
        before, after = self.annihilator, through_all
        v_before: Polynomial = ()
        v_after: Polynomial = (1,)
        while 2 * (len(after) - 1) >= len(self.points) + self.threshold:
            quotient, remainder = _divide(before, after, self.field)
            before, after = after, remainder
            v_before, v_after = v_after, _subtract_product(v_before, quotient, v_after, self.field)
        found, remainder = _divide(after, v_after, self.field)
        if remainder or len(found) > self.threshold or len(v_after) - 1 > errors:
            return None
        return found

    def _interpolate(self, values: Sequence[int]) -> Polynomial:
        """Newton's divided differences, then the powers: O(n^2), for any number of points."""
        q = self.field.modulus
        differences = list(values)
        for order in range(1, len(self.points)):
            for at in range(len(self.points) - 1, order - 1, -1):
                apart = self.field.inverse(self.points[at] - self.points[at - order])
                differences[at] = (differences[at] - differences[at - 1]) * apart % q
        result: Polynomial = ()
        for point, difference in zip(reversed(self.points), reversed(differences), strict=True):
            shifted = _times_root(result, point, self.field)
            result = _trim(((shifted[0] if shifted else 0) + difference, *shifted[1:]), self.field)
        return result


def _trim(coefficients: Sequence[int], field: Field) -> Polynomial:
    reduced = [coefficient % field.modulus for coefficient in coefficients]
    while reduced and reduced[-1] == 0:
        reduced.pop()
    return tuple(reduced)


def _times_root(polynomial: Polynomial, root: int, field: Field) -> Polynomial:
    """polynomial * (x - root)."""
    raised, scaled = (0, *polynomial), (*(root * c for c in polynomial), 0)
    return _trim([a - b for a, b in zip(raised, scaled, strict=True)], field)


def _divide(numerator: Polynomial, denominator: Polynomial, field: Field) -> tuple[Polynomial, Polynomial]:
    """(quotient, remainder); the denominator is not zero."""
    q = field.modulus
    rest, lead = list(numerator), field.inverse(denominator[-1])
    quotient = [0] * max(0, len(numerator) - len(denominator) + 1)
    for at in range(len(quotient) - 1, -1, -1):
        factor = rest[at + len(denominator) - 1] * lead % q
        quotient[at] = factor
        for offset, coefficient in enumerate(denominator):
            rest[at + offset] = (rest[at + offset] - factor * coefficient) % q
    return _trim(quotient, field), _trim(rest, field)


def _subtract_product(left: Polynomial, a: Polynomial, b: Polynomial, field: Field) -> Polynomial:
    """left - a * b."""
    result = list(left) + [0] * max(0, len(a) + len(b) - 1 - len(left))
    for i, x in enumerate(a):
        for j, y in enumerate(b):
            result[i + j] -= x * y
    return _trim(result, field)
