"""Whole numbers found by halving: of any size, where `bisect` knows those of a machine word only."""

from __future__ import annotations

from collections.abc import Callable


def least(holds: Callable[[int], bool], below: int, above: int) -> int:
    """The least number above `below` for which a test holds that, from some number on, always holds.

    It is taken to hold for `above`, which is not asked, and not for `below`.
    """
    while above - below > 1:
        middle = (below + above) // 2
        below, above = (below, middle) if holds(middle) else (middle, above)
    return above
