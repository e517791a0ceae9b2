"""What each consumer of a testbed asks for, so that no combination of what is granted isolates anybody."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from consumer_node.config import WishSection
from hushgrid.errors import ConfigurationError
from hushgrid.plan import Mechanism
from hushgrid.rules import RANGE

#: The coverage floor of a testbed's plan, unless its meters are too few for it.
COVERAGE_FLOOR = Fraction(4, 5)


def coverage_floor(meters: int, minimum_contributors: int) -> Fraction:
    """The floor under which a cohort of all meters is granted: 4/5, or more where minimum / (4/5) exceeds all meters."""
    if meters * COVERAGE_FLOOR >= minimum_contributors:
        return COVERAGE_FLOOR
    return min(Fraction(1), Fraction(math.ceil(10_000 * Fraction(minimum_contributors, meters)), 10_000))


@dataclass(frozen=True, slots=True)
class ConsumerWish:
    """One rule a consumer will ask for. cohort: "all", or inclusive ranges of meter ids. window_rounds: under mechanism
    pairwise the billing period.
    """

    consumer_id: str
    name: str
    cohort: str | tuple[str, ...]
    window_rounds: int
    mechanism: Mechanism = Mechanism.SHARES


def lay_out_masked(
    mechanism: Mechanism, consumers: int, windows: Sequence[int], period_rounds: int
) -> list[ConsumerWish]:
    """Masked readings: one consumer gets all bills and columns (pairwise), or every consumer sums over all meters (both)."""
    if mechanism is Mechanism.PAIRWISE:
        return [ConsumerWish("consumer-1", "masked-1", "all", period_rounds, mechanism)]
    return [
        ConsumerWish(f"consumer-{n + 1}", f"sum-{n + 1}", "all", windows[n % len(windows)], mechanism)
        for n in range(consumers)
    ]


@dataclass(frozen=True, slots=True)
class LateRequest:
    """What one consumer says once a round has been played (counted from 1).

    cohort: "all", or positions and ranges of positions in the order of meter ids, counted from 1; None: the rule `name` is given
    up.
    """

    consumer: str
    after_round: int
    name: str
    cohort: str | None = None
    window_rounds: int = 1

    def section(self, meters: Sequence[str]) -> WishSection:
        """The rule asked for, by meter ids; ConfigurationError for a position that is none."""
        if self.cohort == "all":
            return WishSection(name=self.name, window_rounds=self.window_rounds)
        items = []
        for item in (self.cohort or "").split(","):
            ends = item.split(RANGE)
            if len(ends) > 2 or not all(end.isdigit() and 1 <= int(end) <= len(meters) for end in ends):
                raise ConfigurationError(
                    f"--ask {self.cohort}: {item!r} is no position or range from 1 to {len(meters)}"
                )
            items.append(RANGE.join(meters[int(end) - 1] for end in ends))
        return WishSection(name=self.name, cohort=tuple(items), window_rounds=self.window_rounds)


def lay_out(
    meters: Sequence[str], consumers: int, windows: Sequence[int], minimum_contributors: int
) -> list[ConsumerWish]:
    """The first consumer covers all meters. The others take disjoint blocks of equal size when every block, and all meters
    minus any union of blocks, keeps minimum / coverage floor meters, as the configurator's audit wants; else they cover all
    meters too. Windows are taken in turn.

    ConfigurationError when there are fewer meters than the minimum.
    """
    if len(meters) < minimum_contributors:
        raise ConfigurationError(
            f"{len(meters)} meters are fewer than the minimum of {minimum_contributors} contributors: no sum could be released"
        )
    ordered = sorted(meters)
    needed = math.ceil(minimum_contributors / coverage_floor(len(meters), minimum_contributors))
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
