"""The consumer's table of masked readings for one billing period: columns for the grid, rows for the bills, nothing else.

    column_j = sum_i w_ij      over a whole component of the connection graph   (paper 002, theorems 2 and 3)
    bill_i   = sum_j w_ij      over the whole period                           (theorem 1; definition 1 swaps its ranges)

Both in Z_q, then lowered to signed Wh. A sum of fewer readings would be uniformly random, so there is no such method.
A lost message spoils a column and a bill: both wait for the identical bytes. Under self-masks a round may be closed without
a silent meter: the self-masks of the included and the pair masks of the excluded come off, the bill omits that reading for
ever, and its Wh arrive in a later one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from fractions import Fraction
from typing import TypeVar

from hushgrid.core.encoding import lower
from hushgrid.core.field import Field, check_modulus
from hushgrid.core.minimum import covers
from hushgrid.core.schedule import Window
from hushgrid.errors import ConfigurationError, MessageError, RecoveryError, RefusedError, RejectReason

Edge = tuple[str, str]


class WaitingError(RecoveryError):
    """A masked reading or an opening is still to come: the sum is absent for now."""


Place = TypeVar("Place")


def components(meters: Iterable[str], edges: Iterable[Edge]) -> tuple[tuple[str, ...], ...]:
    """The connected components of the graph that `edges` span on `meters`; edges that leave `meters` do not count."""
    reach: dict[str, list[str]] = {meter: [] for meter in meters}
    for one, other in edges:
        if one in reach and other in reach:
            reach[one].append(other)
            reach[other].append(one)
    found, seen = [], set[str]()
    for start in sorted(reach):
        if start in seen:
            continue
        group, open_ends = {start}, [start]
        while open_ends:
            for neighbour in reach[open_ends.pop()]:
                if neighbour not in group:
                    group.add(neighbour)
                    open_ends.append(neighbour)
        seen |= group
        found.append(tuple(sorted(group)))
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Frame:
    """What a ledger is of: meters, period, connection graph and floors, all from the signed plan.

    edges: pairs in ascending order. self_masks: whether every masked reading carries one; only then may a round be
    closed without a meter. isolated: meters without an edge, under noise of their own: they have bills and are in no column.
    coverage_floor: of a group's meters in a column and of a period's rounds in a bill.
    """

    meters: tuple[str, ...]
    edges: frozenset[Edge]
    period: Window
    field: Field
    reading_bound_watt_hours: int
    minimum_group: int
    self_masks: bool = False
    isolated: frozenset[str] = frozenset()
    coverage_floor: Fraction = Fraction(4, 5)

    def __post_init__(self) -> None:
        known = set(self.meters)
        if len(known) != len(self.meters) or any(
            not low < high or low not in known or high not in known for low, high in self.edges
        ):
            raise ConfigurationError("meters must be distinct and edges ascending pairs of them")
        if any(one in self.isolated for edge in self.edges for one in edge):
            raise ConfigurationError("an isolated meter has an edge")
        if any(len(group) < self.minimum_group and not self.isolated.issuperset(group) for group in self.groups):
            raise ConfigurationError(f"a component is smaller than the minimum group {self.minimum_group}")
        check_modulus(self.field.modulus, len(known), self.period.rounds, self.reading_bound_watt_hours)

    @property
    def groups(self) -> tuple[tuple[str, ...], ...]:
        """The components of the connection graph: what columns are over, but for an isolated meter's."""
        return components(self.meters, self.edges)


@dataclass(frozen=True, slots=True)
class Column:
    """A grid sum: one round over one component. gaps: meters that stated that they have no reading."""

    round: int
    group: tuple[str, ...]
    included: tuple[str, ...]
    watt_hours: int
    gaps: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Bill:
    """One meter over one billing period; omitted: rounds that were closed without it, and those it had no reading in."""

    meter: str
    period: Window
    omitted: tuple[int, ...]
    watt_hours: int


@dataclass(frozen=True, slots=True)
class DoubleEntry:
    """Bills and columns of one group and period, both complete: they agree to the Wh."""

    group: tuple[str, ...]
    bills_watt_hours: int
    columns_watt_hours: int


@dataclass(slots=True, repr=False)
class Ledger:
    """The table, the openings and the rounds that were closed without somebody."""

    frame: Frame
    _masked: dict[tuple[str, int], int] = dataclass_field(default_factory=dict)
    _gaps: set[tuple[str, int]] = dataclass_field(default_factory=set)
    _self_masks: dict[tuple[str, int], int] = dataclass_field(default_factory=dict)
    _pair_terms: dict[tuple[Edge, int], int] = dataclass_field(default_factory=dict)
    _excluded: dict[int, frozenset[str]] = dataclass_field(default_factory=dict)
    _groups: tuple[tuple[str, ...], ...] = ()
    _neighbours: dict[str, tuple[str, ...]] = dataclass_field(default_factory=dict)

    def __post_init__(self) -> None:
        self._groups = self.frame.groups
        found: dict[str, list[str]] = {meter: [] for meter in self.frame.meters}
        for low, high in self.frame.edges:
            found[low].append(high)
            found[high].append(low)
        self._neighbours = {meter: tuple(sorted(others)) for meter, others in found.items()}

    # What arrives

    def record(self, meter: str, round_number: int, element: int, *, reading: bool = True) -> bool:
        """Take a masked reading in; False for identical bytes that were here before. reading: False when the meter says that
        it has none: the element holds its masks only, so that the others' cancel, and it is in no sum.

        MessageError: UNKNOWN_METER, NOT_IN_PLAN (a round of another period), OUT_OF_RANGE (not in Z_q), CONFLICTING
        (another value for the same (meter, round): never replaced), CLOSED_ROUND (closed without this meter: not kept).
        """
        self._check_place(meter, round_number)
        if meter in self._excluded.get(round_number, frozenset()):
            raise MessageError(RejectReason.CLOSED_ROUND, f"round {round_number}")
        known = (meter, round_number) in self._masked
        if known and reading == ((meter, round_number) in self._gaps):
            raise MessageError(RejectReason.CONFLICTING)
        new = self._keep(self._masked, (meter, round_number), element)
        if not reading:
            self._gaps.add((meter, round_number))
        return new

    def close_without(self, round_number: int, absent: frozenset[str]) -> None:
        """The decision that a round does without these meters, for ever; repeated, it must be the same.

        RefusedError without self-masks, for a second decision, below the coverage floor, and when what remains of a group
        falls into components below the minimum: each of their sums would be public (theorem 3).
        """
        for meter in absent:
            self._check_place(meter, round_number)
        if not self.frame.self_masks:
            raise RefusedError("without self-masks a round waits for every meter: what comes late would be bare")
        for group in self._groups:
            self._check_remains(group, absent)
        if self._excluded.setdefault(round_number, absent) != absent:
            raise RefusedError(f"round {round_number} was closed with another contributor set")
        for meter in absent:
            self._masked.pop((meter, round_number), None)

    def open_self(self, meter: str, round_number: int, value: int) -> bool:
        """The self-mask of an included (meter, round); RefusedError for an excluded one, else as `record`."""
        self._check_place(meter, round_number)
        if round_number not in self._excluded:
            raise RefusedError(f"round {round_number} is not closed: nothing of it is opened")
        if meter in self._excluded[round_number]:
            raise RefusedError(f"round {round_number} was closed without this meter: its self-mask stays shut")
        return self._keep(self._self_masks, (meter, round_number), value)

    def open_pair(self, discloser: str, peer: str, round_number: int, term: int) -> bool:
        """The discloser's term of its pair with `peer`, one of which is excluded; RefusedError when neither is."""
        self._check_place(discloser, round_number)
        edge = (min(discloser, peer), max(discloser, peer))
        if edge not in self.frame.edges:
            raise MessageError(RejectReason.NOT_IN_PLAN, "pair")
        if not self._excluded.get(round_number, frozenset()) & {discloser, peer}:
            raise RefusedError(f"round {round_number}: both of a pair are included, their mask stays shut")
        if not 0 <= term < self.frame.field.modulus:
            raise MessageError(RejectReason.OUT_OF_RANGE, "pair term")
        risen = term if discloser == edge[0] else -term % self.frame.field.modulus
        return self._keep(self._pair_terms, (edge, round_number), risen)

    # What may be known

    def missing(self, round_number: int) -> tuple[str, ...]:
        """Meters whose masked reading this round waits for."""
        absent = self._excluded.get(round_number, frozenset())
        return tuple(m for m in self.frame.meters if m not in absent and (m, round_number) not in self._masked)

    def column(self, group: tuple[str, ...], round_number: int) -> Column:
        """The grid sum of one component in one round.

        RecoveryError when a masked reading or an opening is missing (the column is absent, and says of how many), or when
        the sum exceeds what its contributors can add up to. KeyError for anything but a whole component, RefusedError for an
        isolated meter.
        """
        if group not in self._groups:
            raise KeyError("columns are over whole components only")
        if self.frame.isolated.issuperset(group):
            raise RefusedError("an isolated meter has no column")
        absent = self._excluded.get(round_number, frozenset())
        present = [meter for meter in group if meter not in absent]
        gaps = tuple(meter for meter in present if (meter, round_number) in self._gaps)
        included = tuple(meter for meter in present if meter not in gaps)
        total = sum(self._bare(meter, round_number) for meter in present)
        for meter in group:
            if meter in absent:
                total += sum(
                    self._term(meter, peer, round_number) for peer in self._neighbours[meter] if peer not in absent
                )
        self._check_readings(len(included), len(group))
        bound = len(included) * self.frame.reading_bound_watt_hours
        watt_hours = lower(total % self.frame.field.modulus, bound, self.frame.field)
        return Column(round_number, group, included, watt_hours, gaps)

    def bill(self, meter: str) -> Bill:
        """The sum of one meter's row over the whole period, without the rounds that were closed without it.

        RecoveryError when anything of it is missing: there is no bill of part of a period. Also below the coverage floor,
        where what is left would be a short row. KeyError for an unknown meter.
        """
        peers = self._neighbours[meter]
        total, omitted = 0, []
        for round_number in self.frame.period:
            if meter in self._excluded.get(round_number, frozenset()):
                omitted.append(round_number)
                total += sum(self._term(meter, peer, round_number) for peer in peers)
                continue
            if (meter, round_number) in self._gaps:
                omitted.append(round_number)
            total += self._bare(meter, round_number)
        counted = self.frame.period.rounds - len(omitted)
        if not covers(counted, self.frame.period.rounds, self.frame.coverage_floor):
            raise RecoveryError(f"only {counted} of {self.frame.period.rounds} rounds are in the bill")
        bound = counted * self.frame.reading_bound_watt_hours
        watt_hours = lower(total % self.frame.field.modulus, bound, self.frame.field)
        return Bill(meter, self.frame.period, tuple(omitted), watt_hours)

    def double_entry(self, group: tuple[str, ...]) -> DoubleEntry:
        """Bills against columns of one component; RecoveryError when one is absent, or when they differ (then one is wrong).

        What was left out is in neither: the difference says nothing.
        """
        columns = sum(self.column(group, round_number).watt_hours for round_number in self.frame.period)
        bills = sum(self.bill(meter).watt_hours for meter in group)
        if bills != columns:
            raise RecoveryError("the bills and the columns of a component do not add up to the same")
        return DoubleEntry(group, bills, columns)

    # Inside

    def _check_place(self, meter: str, round_number: int) -> None:
        if meter not in self._neighbours:
            raise MessageError(RejectReason.UNKNOWN_METER)
        if not self.frame.period.first <= round_number <= self.frame.period.last:
            raise MessageError(RejectReason.NOT_IN_PLAN, f"round {round_number}")

    def _check_remains(self, group: tuple[str, ...], absent: frozenset[str]) -> None:
        remaining = [meter for meter in group if meter not in absent]
        if self.frame.isolated.issuperset(group):
            return  # no column hangs on it
        if not covers(len(remaining), len(group), self.frame.coverage_floor):
            raise RefusedError("the round would fall below the coverage floor")
        if any(len(part) < self.frame.minimum_group for part in components(remaining, self.frame.edges)):
            raise RefusedError("what remains falls into components below the minimum group")

    def _check_readings(self, readings: int, meters: int) -> None:
        if readings < self.frame.minimum_group:
            raise RecoveryError(f"only {readings} meters have a reading, the minimum is {self.frame.minimum_group}")
        if not covers(readings, meters, self.frame.coverage_floor):
            raise RecoveryError(f"only {readings} of {meters} meters have a reading")

    def _keep(self, store: dict[Place, int], place: Place, element: int) -> bool:
        if not 0 <= element < self.frame.field.modulus:
            raise MessageError(RejectReason.OUT_OF_RANGE, "field element")
        new = place not in store
        if store.setdefault(place, element) != element:
            raise MessageError(RejectReason.CONFLICTING)
        return new

    def _bare(self, meter: str, round_number: int) -> int:
        """A masked reading as it enters a sum: without its self-mask, under its pair masks still."""
        if (meter, round_number) not in self._masked:
            raise WaitingError(f"round {round_number} waits for {len(self.missing(round_number))} masked readings")
        if not self.frame.self_masks:
            return self._masked[meter, round_number]
        if (meter, round_number) not in self._self_masks:
            raise WaitingError(f"round {round_number} waits for self-masks to be opened")
        return self._masked[meter, round_number] - self._self_masks[meter, round_number]

    def _term(self, meter: str, peer: str, round_number: int) -> int:
        """What `meter` added on behalf of its pair with `peer`, once that is opened."""
        edge = (min(meter, peer), max(meter, peer))
        if (edge, round_number) not in self._pair_terms:
            raise WaitingError(f"round {round_number} waits for pair masks to be opened")
        risen = self._pair_terms[edge, round_number]
        return risen if meter == edge[0] else -risen
