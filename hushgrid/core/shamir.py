"""Shamir's secret sharing: the paper in a page (docs/protocol.md, eqs. 1 to 3).

This is the readable reference over Python integers. `hushgrid.core.kernels` does the same for arrays; a property test ties
the two together.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence

from hushgrid.core.field import Field
from hushgrid.errors import RecoveryError

#: Uniform over [0, n): `secrets.randbelow`, or a scripted one in test vectors.
RandBelow = Callable[[int], int]


def check_points(points: Sequence[int], field: Field) -> None:
    """Points are distinct and in [1, q): at x = 0 lies the secret itself. ValueError otherwise."""
    if any(not 1 <= point < field.modulus for point in points):
        raise ValueError("an evaluation point is outside [1, q)")
    if len(set(points)) != len(points):
        raise ValueError("an evaluation point occurs twice")


def split(
    secret: int, points: Sequence[int], threshold: int, field: Field, randbelow: RandBelow = secrets.randbelow
) -> tuple[int, ...]:
    """One share per point: f(x) = secret + r_1 x + ... + r_{t-1} x^{t-1} mod q (eq. 1).

    secret: element of Z_q. The r are fresh and uniform over [0, q), 0 included: any t-1 shares are then uniform and
    independent of the secret. ValueError for a bad point, a threshold outside [1, len(points)] or a secret outside Z_q.
    """
    check_points(points, field)
    if not 1 <= threshold <= len(points):
        raise ValueError("the threshold is outside [1, number of points]")
    if not 0 <= secret < field.modulus:
        raise ValueError("the secret is not an element of the field")
    coefficients = (secret, *(randbelow(field.modulus) for _ in range(threshold - 1)))
    return tuple(evaluate(coefficients, point, field) for point in points)


def evaluate(coefficients: Sequence[int], point: int, field: Field) -> int:
    """The polynomial with these coefficients, lowest first, at a point (Horner)."""
    value = 0
    for coefficient in reversed(coefficients):
        value = (value * point + coefficient) % field.modulus
    return value


def weights(points: Sequence[int], field: Field, at: int = 0) -> tuple[int, ...]:
    """Lagrange weights l_j with f(at) = sum_j l_j f(x_j) for every f of degree below len(points) (eq. 3)."""
    check_points(points, field)
    modulus = field.modulus
    found = []
    for here in points:
        numerator, denominator = 1, 1
        for other in points:
            if other != here:
                numerator = numerator * (at - other) % modulus
                denominator = denominator * (here - other) % modulus
        found.append(numerator * field.inverse(denominator) % modulus)
    return tuple(found)


def interpolate(shares: Mapping[int, int], field: Field, at: int = 0) -> int:
    """The value at `at` of the polynomial of degree below len(shares) through all {point: share} (eq. 3)."""
    points = tuple(shares)
    found = weights(points, field, at)
    return sum(weight * shares[point] for weight, point in zip(found, points, strict=True)) % field.modulus


def recombine(shares: Mapping[int, int], threshold: int, field: Field) -> int:
    """The shared secret from t or more {point: share}, all of which must lie on one polynomial of degree t-1.

    RecoveryError when there are fewer than t, or when one does not fit the others: then no number is given.
    """
    if len(shares) < threshold:
        raise RecoveryError(f"{len(shares)} shares, {threshold} needed")
    points = sorted(shares)
    base = {point: shares[point] for point in points[:threshold]}
    for point in points[threshold:]:
        if interpolate(base, field, at=point) != shares[point]:
            raise RecoveryError(f"the shares at points {points} do not lie on one polynomial of degree {threshold - 1}")
    return interpolate(base, field)
