"""What each consumer of a testbed asks for, so that no combination of what is granted isolates anybody."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hushgrid.errors import ConfigurationError
from hushgrid.rules import RANGE

#: A block and a difference keep this many meters above the minimum, so that ordinary losses withhold nothing.
MARGIN_METERS = 3


@dataclass(frozen=True, slots=True)
class ConsumerWish:
    """One rule a consumer will ask for. cohort: "all", or inclusive ranges of meter ids."""

    consumer_id: str
    name: str
    cohort: str | tuple[str, ...]
    window_rounds: int


def lay_out(
    meters: Sequence[str], consumers: int, windows: Sequence[int], minimum_contributors: int
) -> list[ConsumerWish]:
    """The first consumer covers all meters. The others take disjoint blocks of equal size when every block, and all meters
    minus any union of blocks, keeps the minimum plus a margin; else they cover all meters too. Windows are taken in turn.

    ConfigurationError when there are fewer meters than the minimum.
    """
    if len(meters) < minimum_contributors:
        raise ConfigurationError(
            f"{len(meters)} meters are fewer than the minimum of {minimum_contributors} contributors: no sum could be released"
        )
    ordered = sorted(meters)
    needed = minimum_contributors + MARGIN_METERS
    others = consumers - 1
    # One part more than there are blocks: the meters outside all blocks are a difference, too.
    size = len(ordered) // (others + 1)
    blocks = others > 0 and size >= needed
    wishes = []
    for number in range(consumers):
        cohort: str | tuple[str, ...] = "all"
        if number and blocks:
            first = (number - 1) * size
            cohort = (f"{ordered[first]}{RANGE}{ordered[first + size - 1]}",)
        consumer = f"consumer-{number + 1}"
        wishes.append(ConsumerWish(consumer, f"sum-{number + 1}", cohort, windows[number % len(windows)]))
    return wishes
