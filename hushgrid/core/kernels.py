"""Arrays of shares: the one module that imports numpy. Tied to the integer reference in `hushgrid.core.shamir` by a property test.

A field fits the fast path when q * (largest point + 1) < 2**64, which the first of `hushgrid.core.field.MODULI` does up to point
511; any other q below 2**64 goes through Python integers, with the same results. A larger q is refused: its elements do not
fit uint64, and `hushgrid.core.shamir` serves it.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from hushgrid.core import shamir
from hushgrid.core.field import Field

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


def _check(elements: Elements, field: Field) -> None:
    if not isinstance(elements, np.ndarray) or elements.ndim != 1 or elements.dtype != np.uint64:
        raise ValueError("elements have shape (n,) and dtype uint64")
    if len(elements) and int(elements.max()) >= field.modulus:
        raise ValueError("an element is not below q")
