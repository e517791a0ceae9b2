"""Which meters a rule covers: cohort selectors (docs/protocol.md, section Rules).

A selector is "all", or a list whose items are meter ids or inclusive ranges "first..last" in the order of meter ids. It
is resolved against the meters that are enrolled; a meter that is not among them is an error, never an empty match.
"""

from __future__ import annotations

import bisect
from collections.abc import Sequence

from hushgrid.errors import RefusedError

RANGE = ".."


def resolve_cohort(selector: str | Sequence[str], meters: Sequence[str]) -> tuple[str, ...]:
    """The meters a selector names, sorted. meters: all that are known, sorted.

    RefusedError naming the item when it matches nothing, or when the cohort is empty.
    """
    if selector == "all":
        found = set(meters)
    else:
        found = set()
        for item in (selector,) if isinstance(selector, str) else selector:
            found.update(_matches(item, meters))
    if not found:
        raise RefusedError("the cohort is empty")
    return tuple(sorted(found))


def _matches(item: str, meters: Sequence[str]) -> Sequence[str]:
    first, dots, last = item.partition(RANGE)
    if not dots:
        at = bisect.bisect_left(meters, item)
        if at == len(meters) or meters[at] != item:
            raise RefusedError(f"unknown meter {item}")
        return (item,)
    for end in (first, last):
        at = bisect.bisect_left(meters, end)
        if at == len(meters) or meters[at] != end:
            raise RefusedError(f"unknown meter {end}")
    if last < first:
        raise RefusedError(f"the range {item} runs backwards")
    return meters[bisect.bisect_left(meters, first) : bisect.bisect_right(meters, last)]
