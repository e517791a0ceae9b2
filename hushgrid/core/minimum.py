"""Invariant 5: which sums are too small to be released. It stands here once, in exact numbers.

The configurator asks before it decides, every PPN before it adds, the audit of losses before a release. Each counts for itself;
the arithmetic is one.
"""

from __future__ import annotations

import enum
import math
from fractions import Fraction


class WithheldReason(enum.IntEnum):
    """Why a decision withholds a (rule, window)."""

    NONE = 0
    BELOW_MINIMUM = 1
    BELOW_COVERAGE = 2
    WOULD_DISCLOSE = 3
    INCOMPLETE = 4  # mechanism both: a component without one of its masked readings


def as_written(fraction: float | Fraction) -> Fraction:
    """A configured fraction exactly as it was written: 0.8 is 4/5, 0.55 is 11/20."""
    return Fraction(str(fraction))


def covers(part: int, whole: int, floor: Fraction) -> bool:
    """Whether a part of a whole reaches the coverage floor; the floor itself is enough."""
    return part >= floor * whole


def reason_to_withhold(
    *, fewest: int, included: int, expected: int, minimum: int, floor: Fraction, whole: bool = False
) -> WithheldReason:
    """Why a sum over a window may not leave, or NONE.

    fewest: contributors in the round of the window that has fewest.
    included, expected: (meter, round) pairs of the cohort.
    minimum: distinct meters that every round needs.
    floor: the coverage floor, in [0, 1].
    whole: of readings that were masked before they were shared, any part but the whole keeps its masks and is no sum.
    """
    if fewest < minimum:
        return WithheldReason.BELOW_MINIMUM
    if not covers(included, expected, floor):
        return WithheldReason.BELOW_COVERAGE
    if whole and included < expected:
        return WithheldReason.INCOMPLETE
    return WithheldReason.NONE


def spare_rounds(period_rounds: int, floor: Fraction) -> int:
    """In how many rounds of a billing period a meter that is in any may be left out. None where a plan states no floor (0)."""
    return period_rounds - math.ceil((floor or Fraction(1)) * period_rounds)
