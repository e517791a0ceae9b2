"""One stream of masked readings under one plan, as its consumer sees it: from the plan's pages to a ledger. No I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from consumer_node.masked.ledger import Bill, Column, DoubleEntry, Frame, Ledger, WaitingError
from hushgrid.core.schedule import Window, round_start, utc_text, window_of
from hushgrid.core.shamir import recombine
from hushgrid.errors import MessageError, RecoveryError, RejectReason
from hushgrid.plan.head import Head
from hushgrid.plan.parts import BillingPart, MaskedMeter, MaskTerms, Rule
from hushgrid.wire.masked import OpeningText, RoundClosing

Row = dict[str, object]


@dataclass(frozen=True, slots=True, repr=False)
class Recorded:
    """One masked reading."""

    round: int
    meter: str
    element: int
    reading: bool


@dataclass(frozen=True, slots=True, repr=False)
class Opened:
    """What one holder disclosed about one neighbour: its own pair term where that one is left out, else its share of the
    neighbour's self-mask.
    """

    round: int
    holder: str
    about: str
    left_out: bool
    element: int


@dataclass(frozen=True, slots=True)
class BilledStream:
    """What a plan says of one stream."""

    head: Head
    digest: bytes
    rule: Rule
    terms: MaskTerms
    minimum_group: int
    meters: Mapping[int, MaskedMeter]
    edges: frozenset[tuple[str, str]]
    numbers: Mapping[str, int]
    around: Mapping[int, tuple[int, ...]]

    @classmethod
    def of(cls, head: Head, pages: Sequence[BillingPart]) -> BilledStream:
        """From all pages of one rule; MessageError(MALFORMED) when they are not whole, or for readings of several slots."""
        first = pages[0]
        if len(pages) != first.pages or head.slots != 1:
            raise MessageError(RejectReason.MALFORMED, "billing part")
        meters = {meter.number: meter for page in pages for meter in page.meters}
        edges = set()
        for low, high in (edge for page in pages for edge in page.edges):
            if low not in meters or high not in meters:
                raise MessageError(RejectReason.MALFORMED, "billing part")
            one, other = sorted((meters[low].id, meters[high].id))
            edges.add((one, other))
        around: dict[int, list[int]] = {number: [] for number in meters}
        for low, high in (edge for page in pages for edge in page.edges):
            around[low].append(high)
            around[high].append(low)
        return cls(
            head,
            head.digest,
            first.rule,
            first.terms,
            first.minimum_group,
            meters,
            frozenset(edges),
            {meter.id: number for number, meter in meters.items()},
            {number: tuple(sorted(others)) for number, others in around.items()},
        )

    def neighbours(self, number: int) -> tuple[int, ...]:
        """The meters that share masks with one, by number, ascending: the order in which it answers about them."""
        return self.around[number]

    def point(self, holder: str, owner: str) -> int:
        """At which point a holder's share of the owner's self-mask lies: 1.. in the order of the owner's neighbours' numbers."""
        return 1 + self.neighbours(self.numbers[owner]).index(self.numbers[holder])

    def period_of(self, round_number: int) -> Window:
        """The billing period of a round."""
        return window_of(round_number, self.terms.period_rounds)

    def covers(self, period: Window) -> bool:
        """Whether the period lies wholly inside the stream's rounds."""
        until = self.terms.until_round
        return self.terms.from_round <= period.first and (until is None or period.last < until)

    def frame(self, period: Window) -> Frame:
        """What the period's ledger is of; ConfigurationError when the plan's graph or modulus does not allow one."""
        ids = tuple(sorted(meter.id for meter in self.meters.values()))
        with_edges = {meter for edge in self.edges for meter in edge}
        return Frame(
            meters=ids,
            edges=self.edges,
            period=period,
            field=self.head.field,
            reading_bound_watt_hours=self.head.reading_bound_watt_hours,
            minimum_group=self.minimum_group,
            self_masks=self.terms.self_masks,
            isolated=frozenset(ids) - with_edges,
            coverage_floor=self.head.coverage_floor,
        )


@dataclass(slots=True, repr=False)
class OpenPeriod:
    """A billing period that is not done: its ledger, and what has been worked out of it so far."""

    stream: BilledStream
    period: Window
    ledger: Ledger
    columns: set[tuple[int, str]]
    bills: set[str]
    held: dict[str, int] = field(default_factory=dict)
    closings: dict[int, RoundClosing] = field(default_factory=dict)
    answered: dict[int, set[str]] = field(default_factory=dict)
    shares: dict[tuple[str, int], dict[int, int]] = field(default_factory=dict)

    @property
    def groups(self) -> list[tuple[str, ...]]:
        """The components that have columns."""
        isolated = self.ledger.frame.isolated
        return [group for group in self.ledger.frame.groups if not isolated.issuperset(group)]

    def record(self, meter: str, round_number: int, element: int, *, reading: bool) -> bool:
        """See `Ledger.record`."""
        new = self.ledger.record(meter, round_number, element, reading=reading)
        if new:
            self.held[meter] = self.held.get(meter, 0) + 1
        return new

    def close(self, closing: RoundClosing) -> None:
        """Take in the closing of a round; see `Ledger.close_without`."""
        absent = frozenset(self.stream.meters[number].id for number in closing.absent)
        self.ledger.close_without(closing.round, absent)
        self.closings[closing.round] = closing

    def openings(self, holder: MaskedMeter, round_number: int, text: OpeningText) -> list[Opened]:
        """What a holder's answer says about each neighbour; MessageError when it does not fit the closing."""
        closing = self.closings.get(round_number)
        neighbours = self.stream.neighbours(holder.number)
        if closing is None:
            raise MessageError(RejectReason.NOT_IN_PLAN, f"openings of round {round_number}, which is not closed")
        if any(out != (peer in closing.absent) for peer, (out, _) in zip(neighbours, text.openings, strict=True)):
            raise MessageError(RejectReason.CONFLICTING, "an opening against the closing")
        return [
            Opened(round_number, holder.id, self.stream.meters[peer].id, left_out, element)
            for peer, (left_out, element) in zip(neighbours, text.openings, strict=True)
        ]

    def disclose(self, opened: Opened) -> None:
        """Take in one opening: a pair term at once, a self-mask once enough holders have given their shares."""
        self.answered.setdefault(opened.round, set()).add(opened.holder)
        if opened.left_out:
            self.ledger.open_pair(opened.holder, opened.about, opened.round, opened.element)
            return
        shares = self.shares.setdefault((opened.about, opened.round), {})
        shares[self.stream.point(opened.holder, opened.about)] = opened.element
        threshold = self.stream.terms.holders_threshold
        if len(shares) == threshold:
            self.ledger.open_self(opened.about, opened.round, recombine(shares, threshold, self.stream.head.field))

    def unanswered(self, round_number: int) -> set[int]:
        """The holders that have not answered for a closed round, by number."""
        heard = self.answered.get(round_number, set())
        return {meter.number for meter in self.stream.meters.values() if meter.id not in heard}

    def due_columns(self, round_number: int) -> list[tuple[int, str, Row]]:
        """The columns of a round that are complete now and were not before."""
        missing = set(self.ledger.missing(round_number))
        rows = []
        for at, group in enumerate(self.groups):
            key = (round_number, str(at))
            if key in self.columns or missing.intersection(group):
                continue
            try:
                rows.append((*key, column_row(self.stream, at, self.ledger.column(group, round_number))))
            except WaitingError:
                continue
            except RecoveryError as error:
                rows.append((*key, absent_column(self.stream, at, group, round_number, str(error))))
            self.columns.add(key)
        return rows

    def due_bills(self) -> list[tuple[int, str, Row]]:
        """The bills that are complete now and were not before."""
        rows: list[tuple[int, str, Row]] = []
        if self.stream.terms.self_masks and len(self.closings) < self.period.rounds:
            return rows
        for meter in self.ledger.frame.meters:
            waits = not self.stream.terms.self_masks and self.held.get(meter, 0) < self.period.rounds
            if meter in self.bills or waits:
                continue
            try:
                rows.append((self.period.first, meter, bill_row(self.stream, self.ledger.bill(meter))))
            except WaitingError:
                continue
            except RecoveryError as error:
                rows.append((self.period.first, meter, absent_bill(self.stream, meter, self.period, str(error))))
            self.bills.add(meter)
        return rows

    def double_entries(self) -> list[tuple[int, str, Row]]:
        """Bills against columns of each component, where both are complete; nothing where something was left out."""
        rows = []
        for at, group in enumerate(self.groups):
            try:
                entry = self.ledger.double_entry(group)
            except RecoveryError:
                continue
            rows.append((self.period.first, str(at), double_entry_row(self.stream, at, self.period, entry)))
        return rows

    @property
    def complete(self) -> bool:
        """Whether every bill and every column of the period is worked out."""
        columns = len(self.groups) * self.period.rounds
        return len(self.columns) == columns and len(self.bills) == len(self.ledger.frame.meters)


def _place(stream: BilledStream, first_round: int, last_round: int) -> Row:
    interval = stream.head.interval_seconds
    return {
        "rule": stream.rule.name,
        "number": stream.rule.number,
        "start_utc": utc_text(round_start(first_round, interval)),
        "end_utc": utc_text(round_start(last_round + 1, interval)),
        "first_round": first_round,
        "last_round": last_round,
    }


def column_row(stream: BilledStream, component: int, column: Column) -> Row:
    """A grid sum as the files show it. omitted: meters that the round was closed without."""
    return _place(stream, column.round, column.round) | {
        "component": component,
        "status": "released",
        "watt_hours": column.watt_hours,
        "expected": len(column.group),
        "included": len(column.included),
        "gaps": list(column.gaps),
        "omitted": sorted(set(column.group) - set(column.included) - set(column.gaps)),
        "reason": "",
    }


def absent_column(stream: BilledStream, component: int, group: Sequence[str], round_number: int, reason: str) -> Row:
    """A column that is there but is no number."""
    return _place(stream, round_number, round_number) | {
        "component": component,
        "status": "unrecovered",
        "watt_hours": None,
        "expected": len(group),
        "included": 0,
        "gaps": [],
        "omitted": [],
        "reason": reason,
    }


def bill_row(stream: BilledStream, bill: Bill) -> Row:
    """A bill as the files show it. omitted: rounds that are in no sum."""
    return _place(stream, bill.period.first, bill.period.last) | {
        "meter": bill.meter,
        "status": "released",
        "watt_hours": bill.watt_hours,
        "rounds": bill.period.rounds - len(bill.omitted),
        "omitted": list(bill.omitted),
        "reason": "",
    }


def absent_bill(stream: BilledStream, meter: str, period: Window, reason: str) -> Row:
    """A bill that is complete but is not given."""
    return _place(stream, period.first, period.last) | {
        "meter": meter,
        "status": "unrecovered",
        "watt_hours": None,
        "rounds": 0,
        "omitted": [],
        "reason": reason,
    }


def double_entry_row(stream: BilledStream, component: int, period: Window, entry: DoubleEntry) -> Row:
    """Bills against columns as the files show it."""
    return _place(stream, period.first, period.last) | {
        "component": component,
        "bills_watt_hours": entry.bills_watt_hours,
        "columns_watt_hours": entry.columns_watt_hours,
    }
