"""Arrays of shares: the one module that imports numpy. Tied to the integer reference in `hushgrid.shamir` by a property test.

A field fits the fast path when q * (largest point + 1) < 2**64, which the first of `hushgrid.field.MODULI` does up to point
511; any other q below 2**64 goes through Python integers, with the same results. A larger q is refused: its elements do not
fit uint64, and `hushgrid.shamir` serves it.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from hushgrid import shamir
from hushgrid.field import Field

Elements = NDArray[np.uint64]
#: n -> that many bytes of the operating system's randomness.
TokenBytes = Callable[[int], bytes]
_LIMB = np.uint64(32)
_LOW = np.uint64((1 << 32) - 1)


def fits(field: Field, points: Sequence[int]) -> bool:
    """Whether a product of an element and a point, plus an element, stays below 2**64."""
    return field.modulus * (max(points) + 1) < 2**64


def uniform(count: int, field: Field, token_bytes: TokenBytes = secrets.token_bytes) -> Elements:
    """`count` uniform elements of Z_q, by rejection: shape (count,), uint64. ValueError for q >= 2**64."""
    if field.modulus >= 2**64:
        raise ValueError("q does not fit 64 bits")
    mask = np.uint64((1 << field.modulus.bit_length()) - 1)
    parts: list[Elements] = []
    missing = count
    while missing > 0:
        drawn = np.frombuffer(token_bytes(8 * (missing + missing // 8 + 8)), dtype=np.uint64) & mask
        kept = drawn[drawn < field.modulus][:missing]
        parts.append(kept)
        missing -= len(kept)
    return np.concatenate(parts) if parts else np.empty(0, np.uint64)


def split_array(
    elements: Elements,
    points: Sequence[int],
    threshold: int,
    field: Field,
    token_bytes: TokenBytes = secrets.token_bytes,
) -> Elements:
    """`shamir.split` for many readings (eq. 1).

    elements: shape (readings,), uint64, below q. Result: shape (points, readings), uint64, below q. ValueError otherwise.
    """
    _check(elements, field)
    shamir.check_points(points, field)
    if not 1 <= threshold <= len(points):
        raise ValueError("the threshold is outside [1, number of points]")
    coefficients = uniform(len(elements) * (threshold - 1), field, token_bytes).reshape(threshold - 1, len(elements))
    q = np.uint64(field.modulus)
    if not fits(field, points):
        return _split_slowly(elements, coefficients, points, field)
    shares = np.empty((len(points), len(elements)), np.uint64)
    for row, point in enumerate(points):
        value = np.zeros_like(elements)
        for coefficient in coefficients[::-1]:
            value = (value * np.uint64(point) + coefficient) % q
        shares[row] = (value * np.uint64(point) + elements) % q
    return shares


def _split_slowly(elements: Elements, coefficients: Elements, points: Sequence[int], field: Field) -> Elements:
    columns = zip(elements.tolist(), *coefficients.tolist(), strict=True)
    rows = [[shamir.evaluate(column, point, field) for point in points] for column in columns]
    return np.array(rows, dtype=np.uint64).reshape(len(elements), len(points)).T


def sum_elements(elements: Elements, field: Field) -> int:
    """The sum modulo q of up to 2**32 elements, exact: shape (n,), uint64, below q (eq. 2). Halves are summed apart."""
    _check(elements, field)
    low = int((elements & _LOW).sum(dtype=np.uint64))
    high = int((elements >> _LIMB).sum(dtype=np.uint64))
    return ((high << 32) + low) % field.modulus


def masked_sums(elements: Elements, masks: NDArray[np.bool_], field: Field) -> list[int]:
    """One sum modulo q per rule over its members (eq. 2).

    elements: shape (readings,), uint64, below q; masks: shape (rules, readings), bool. Result: one element in [0, q) per rule.
    """
    _check(elements, field)
    if not isinstance(masks, np.ndarray) or masks.dtype != np.bool_ or masks.shape[1:] != elements.shape:
        raise ValueError("masks have shape (rules, readings) and dtype bool")
    return [sum_elements(elements[mask], field) for mask in masks]


def recombine_array(shares: Elements, points: Sequence[int], field: Field) -> list[int]:
    """`shamir.interpolate` at 0 for many, by Python integers (eq. 3).

    shares: shape (points, readings), uint64, below q; row i holds the shares at points[i]. Result: one element in [0, q) per
    reading. Whether further shares lie on the same polynomial is not looked at. ValueError otherwise.
    """
    if not isinstance(shares, np.ndarray) or shares.ndim != 2 or shares.shape[0] != len(points):
        raise ValueError("shares have shape (points, readings)")
    _check(shares.reshape(-1), field)
    weights = shamir.weights(points, field)
    return [sum(w * s for w, s in zip(weights, column, strict=True)) % field.modulus for column in shares.T.tolist()]


def _check(elements: Elements, field: Field) -> None:
    if not isinstance(elements, np.ndarray) or elements.ndim != 1 or elements.dtype != np.uint64:
        raise ValueError("elements have shape (n,) and dtype uint64")
    if len(elements) and int(elements.max()) >= field.modulus:
        raise ValueError("an element is not below q")
