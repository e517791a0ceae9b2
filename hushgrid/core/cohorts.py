"""Which meters a rule covers: cohort selectors (docs/protocol.md, section Rules).

A selector is "all", or a list whose items are meter ids or inclusive ranges "first..last" in the order of meter ids. It
is resolved against the meters that are known. Everybody who reads a selector reads it here.
"""

from __future__ import annotations

import bisect
import enum
from collections.abc import Sequence
from dataclasses import dataclass

from hushgrid.errors import RefusedError

ALL = "all"
RANGE = ".."


class Unknown(enum.Enum):
    """What becomes of a selector that names a meter nobody knows."""

    REFUSE = enum.auto()
    SKIP = enum.auto()  # a configuration may speak of meters still to come


@dataclass(frozen=True, slots=True)
class Selector:
    """A selector as it was written. items: ids and ranges; None: all meters."""

    items: tuple[str, ...] | None

    @classmethod
    def parse(cls, written: str | Sequence[str]) -> Selector:
        """From "all", one id, one range, or a list of ids and ranges. In a list, "all" is a meter's id."""
        if isinstance(written, str):
            return cls(None if written == ALL else (written,))
        return cls(tuple(written))

    def among(self, meters: Sequence[str], *, unknown: Unknown = Unknown.REFUSE) -> tuple[str, ...]:
        """The meters named, sorted; perhaps none. meters: all that are known, sorted.

        An item that is the id of a known meter is that meter, even where the id contains "..". RefusedError, unless what is
        unknown is skipped: for an unknown meter, and for a range that runs backwards.
        """
        return tuple(meters[at] for at in sorted({at for run in self.runs(meters, unknown=unknown) for at in run}))

    def runs(self, meters: Sequence[str], *, unknown: Unknown = Unknown.REFUSE) -> list[range]:
        """As `among`, but the positions in `meters`, one run for each item: for a million meters."""
        if self.items is None:
            return [range(len(meters))]
        return [_run(item, meters, unknown) for item in self.items]


def resolve_cohort(selector: str | Sequence[str], meters: Sequence[str]) -> tuple[str, ...]:
    """The meters a selector names, sorted. meters: all that are known, sorted.

    RefusedError naming the item when it matches nothing, or when the cohort is empty.
    """
    found = Selector.parse(selector).among(meters)
    if not found:
        raise RefusedError("the cohort is empty")
    return found


def ends_of(item: str) -> tuple[str, str]:
    """The first and the last that an item names; one alone is both."""
    first, dots, last = item.partition(RANGE)
    return first, last if dots else first


def item_of(first: str, last: str) -> str:
    """The item that names everything from the first to the last."""
    return first if first == last else f"{first}{RANGE}{last}"


def _run(item: str, meters: Sequence[str], unknown: Unknown) -> range:
    if _is_among(item, meters):
        first = last = item
    else:
        first, last = ends_of(item)
        if unknown is Unknown.SKIP:
            last = last or first  # of a range without an end, its first meter
        else:
            _check_ends(item, first, last, meters)
    return range(bisect.bisect_left(meters, first), bisect.bisect_right(meters, last))


def _check_ends(item: str, first: str, last: str, meters: Sequence[str]) -> None:
    for end in (first, last):
        if not _is_among(end, meters):
            raise RefusedError(f"unknown meter {end}")
    if last < first:
        raise RefusedError(f"the range {item} runs backwards")


def _is_among(meter: str, meters: Sequence[str]) -> bool:
    at = bisect.bisect_left(meters, meter)
    return at < len(meters) and meters[at] == meter
