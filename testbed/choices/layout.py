"""What each consumer of a testbed asks for, so that no combination of what is granted isolates anybody."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from fractions import Fraction

from consumer_node.config import WishSection
from hushgrid.core.cohorts import ALL, ends_of, item_of, resolve_cohort
from hushgrid.errors import ConfigurationError, RefusedError
from hushgrid.wire.model import Mechanism

#: The coverage floor of a testbed's plan, unless its meters are too few for it.
COVERAGE_FLOOR = Fraction(4, 5)
_METERS_PER_FLEET, _MOST_FLEETS = 50, 4


def coverage_floor(meters: int, minimum_contributors: int) -> Fraction:
    """The floor under which a cohort of all meters is granted: 4/5, or more where minimum / (4/5) exceeds all meters."""
    if meters * COVERAGE_FLOOR >= minimum_contributors:
        return COVERAGE_FLOOR
    return min(Fraction(1), Fraction(math.ceil(10_000 * Fraction(minimum_contributors, meters)), 10_000))


@dataclass(frozen=True, slots=True)
class ConsumerWish:
    """One rule a consumer will ask for. cohort: "all", or inclusive ranges of meter ids. window_rounds: under mechanism
    pairwise the billing period. minimum_contributors: None for the policy's.
    """

    consumer_id: str
    name: str
    cohort: str | tuple[str, ...]
    window_rounds: int
    mechanism: Mechanism = Mechanism.SHARES
    minimum_contributors: int | None = None


def lay_out_masked(
    mechanism: Mechanism, consumers: int, windows: Sequence[int], period_rounds: int
) -> list[ConsumerWish]:
    """Masked readings: one consumer gets all bills and columns (pairwise), or every consumer sums over all meters (both)."""
    if mechanism is Mechanism.PAIRWISE:
        return [ConsumerWish("consumer-1", "masked-1", ALL, period_rounds, mechanism)]
    return [
        ConsumerWish(f"consumer-{n + 1}", f"sum-{n + 1}", ALL, windows[n % len(windows)], mechanism)
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

    def __str__(self) -> str:
        if self.cohort is None:
            return f"--withdraw {self.consumer}@{self.after_round}={self.name}"
        return f"--ask {self.consumer}@{self.after_round}={self.cohort}/{self.window_rounds}"

    def section(self, meters: Sequence[str]) -> WishSection:
        """The rule asked for, by meter ids; ConfigurationError for positions that name nobody. meters: sorted."""
        if self.cohort == ALL:
            return WishSection(name=self.name, window_rounds=self.window_rounds)
        numbers = {str(number): meter for number, meter in enumerate(meters, start=1)}
        items = []
        for item in (self.cohort or "").split(","):
            first, last = (numbers.get(end) for end in ends_of(item))
            if first is None or last is None:
                raise ConfigurationError(
                    f"--ask {self.cohort}: {item!r} is no position or range from 1 to {len(meters)}"
                )
            items.append(item_of(first, last))
        try:
            resolve_cohort(items, meters)
        except RefusedError as error:
            raise ConfigurationError(f"--ask {self.cohort}: {error}") from None
        return WishSection(name=self.name, cohort=tuple(items), window_rounds=self.window_rounds)


def request_refusals(
    requests: Sequence[LateRequest],
    consumers: Collection[str],
    rules: Collection[tuple[str, str]] | None,
    rounds: int,
    meters: Sequence[str] | None,
) -> list[str]:
    """One line for everything that cannot be asked for or given up, or not then.

    rules: those asked for at the start, by consumer and name; meters: in the order of ids. None where they are not known.
    """
    found = []
    asked = {(each.consumer, each.name): each.after_round for each in requests if each.cohort is not None}
    said: set[tuple[object, ...]] = set()
    for request in requests:
        rule = (request.consumer, request.name)
        if request.consumer not in consumers:
            found.append(f"{request}: there is no such consumer")
        if not 1 <= request.after_round <= rounds:
            found.append(f"{request}: rounds are counted from 1 to {rounds}")
        if request.cohort is not None:
            found += _cannot_be_asked(request, meters)
            same: tuple[object, ...] = (request.consumer, request.cohort, request.window_rounds)
        else:
            same = rule
            known = rules is None or request.consumer not in consumers or rule in rules
            if not known and asked.get(rule, rounds + 1) > request.after_round:
                found.append(f"{request}: {request.consumer} has no such rule then")
        if same in said:
            found.append(f"{request}: it is {'given up' if request.cohort is None else 'asked for'} twice")
        said.add(same)
    return found


def _cannot_be_asked(request: LateRequest, meters: Sequence[str] | None) -> list[str]:
    if not 1 <= request.window_rounds < 2**16:
        return [f"{request}: a window has 1 to {2**16 - 1} rounds"]
    try:
        if meters is not None and (section := request.section(meters)).cohort != ALL:
            resolve_cohort(section.cohort, meters)
    except (ConfigurationError, RefusedError) as refused:
        return [str(refused) if isinstance(refused, ConfigurationError) else f"{request}: {refused}"]
    return []


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
        cohort: str | tuple[str, ...] = ALL
        if number and blocks:
            first = (number - 1) * size
            cohort = (item_of(ordered[first], ordered[first + size - 1]),)
        consumer = f"consumer-{number + 1}"
        wishes.append(ConsumerWish(consumer, f"sum-{number + 1}", cohort, windows[number % len(windows)]))
    return wishes


def stations_of(meters: tuple[str, ...], *, process_per_meter: bool) -> dict[str, tuple[str, ...]]:
    """Which process carries which meters: one each, or a few fleets of neighbours."""
    if process_per_meter:
        return {meter: (meter,) for meter in meters}
    fleets = min(_MOST_FLEETS, -(-len(meters) // _METERS_PER_FLEET))
    size = -(-len(meters) // fleets)
    groups = [meters[start : start + size] for start in range(0, len(meters), size)]
    return {f"fleet-{number}": group for number, group in enumerate(groups, start=1)}
