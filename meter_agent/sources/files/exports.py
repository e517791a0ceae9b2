"""What portals export: any table of readings, read as a person describes it. Streamed, exact, and refused where it is unclear.

A `Layout` says which columns hold what. Times without an offset are local times of a zone: on the day of 25 hours the hour that
occurs twice is told apart by the order of the rows, and a time that no clock showed is refused. Energy is exact: numbers are
decimals, kWh become Wh rounded half to even; registers are rounded down before they are subtracted.
"""

from __future__ import annotations

import datetime as dt
import re
import zoneinfo
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from decimal import ROUND_FLOOR, ROUND_HALF_EVEN, Decimal, InvalidOperation
from functools import partial
from itertools import pairwise
from pathlib import Path

from hushgrid.errors import ConfigurationError
from meter_agent.sources.files.csv_rows import Faults, Place, Rows
from meter_agent.sources.files.meanings import Label, Quantity
from meter_agent.sources.files.steps import longer_step

#: A header is looked for in so many rows: portals put names and addresses above it.
HEADER_ROWS = 40
_MOST_WATT_HOURS, _MOST_DIGITS = 10**12, 15
_HOUR_SECONDS = 3600
#: More than the connection of a house carries, or of a street: what says more is in another unit than it is taken for.
_MOST_WATTS = 1_000_000
#: What a column's own name says of its unit.
_UNIT_IN_NAME = re.compile(r"[(\[]\s*([km]?wh?)(?![a-z])")
#: Of a time's form: the year, without which times are of 1900.
_YEARS = ("%Y", "%y", "%c", "%x", "%G")


#: What one of a unit is in Wh, of power over one hour.
UNITS = {"Wh": Decimal(1), "kWh": Decimal(1000), "MWh": Decimal(10**6), "W": Decimal(1), "kW": Decimal(1000)}


@dataclass(frozen=True, slots=True)
class Layout:
    """How a table is to be read. Columns are found by their names, whatever their case and the space around them.

    name: of the portal, for people. time: the columns that say when, joined by a space.
    energy: what was taken from the grid; feed_in: what was given to it, subtracted. meter: the column of the meter's name; None
    where the file is of one meter. formats: of the time (strptime); none for ISO 8601. zone: of times without an offset.
    step_seconds: None for the usual step in the file. nothing: what stands for a gap, in lower case.
    direction: a column and what it says of rows that are taken (+1), given (-1) or of something else (not listed: passed over).
    unit_column: the column of each row's own unit, where there is one. most_watts: a row that says more is refused.

    ConfigurationError for a form of the time without a year.
    """

    name: str
    time: tuple[str, ...]
    energy: str
    feed_in: str | None = None
    meter: str | None = None
    unit: str = "kWh"
    quantity: Quantity = Quantity.INTERVAL
    label: Label = Label.START
    formats: tuple[str, ...] = ()
    zone: str = "UTC"
    step_seconds: int | None = None
    delimiter: str = ","
    decimal_comma: bool = False
    encoding: str = "utf-8-sig"
    nothing: frozenset[str] = frozenset({"", "null", "nan", "n/a", "na", "-"})
    direction: tuple[str, tuple[tuple[str, int], ...]] | None = None
    unit_column: str | None = None
    most_watts: int = _MOST_WATTS

    def __post_init__(self) -> None:
        for form in self.formats:
            if not any(year in form for year in _YEARS):
                raise ConfigurationError(f"{form!r}: a form of the time without a year (%Y)")

    @property
    def columns(self) -> tuple[str, ...]:
        """All that the header must name."""
        further = (self.feed_in, self.meter, self.direction[0] if self.direction else None, self.unit_column)
        return (*self.time, self.energy, *(name for name in further if name is not None))


@dataclass(frozen=True, slots=True)
class Exported:
    """The readings of one meter. starts: the beginning of each interval in Unix seconds -> Wh, None for a gap."""

    meter: str
    step_seconds: int
    starts: dict[int, int | None] = field(repr=False)


def read_export(path: Path, layout: Layout, meter: str, faults: Faults | None = None) -> list[Exported]:
    """All meters of a file, by name. meter: what to call the one of a file without a column of meters.

    ConfigurationError naming file, line and column for what is not as the layout says, for two values of one interval, for a
    meter whose rows are not all of one step, and for a file without a reading. faults: takes those of rows and meters, and
    reading goes on.
    """
    if layout.quantity is Quantity.REGISTER and (layout.feed_in is not None or layout.direction is not None):
        raise ConfigurationError("registers of two directions: convert each of them by itself")
    found: dict[str, _Series] = {}

    def take(row: _Row) -> None:
        found.setdefault(row.meter, _Series(path, layout, row.meter)).add(row)

    _Table(path, layout, meter).read(take, faults)
    if not found:
        raise ConfigurationError(f"{path}: it holds no reading")
    exported = []
    for name in sorted(found):
        try:
            exported.append(found[name].exported())
        except ConfigurationError as error:
            if faults is None:
                raise
            faults(error)
    return exported


_TOO_MUCH = "more than a house's connection carries: in which unit is it?"


@dataclass(frozen=True, slots=True)
class _Row:
    meter: str
    seconds: int  # of its label
    value: Decimal | None  # in Wh, or W; feed-in negative
    place: Place
    part: str  # which of the rows that add up


class _Table:
    """The rows of a file, each understood or refused."""

    def __init__(self, path: Path, layout: Layout, meter: str) -> None:
        self._path, self._layout, self._meter = path, layout, meter
        try:
            self._zone = zoneinfo.ZoneInfo(layout.zone)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError):
            raise ConfigurationError(f"{layout.zone!r} is no time zone") from None
        self._before: dict[str, int] = {}
        self._least_step: dict[str, int] = {}

    def read(self, take: Callable[[_Row], None], faults: Faults | None) -> None:
        """Every row, to whoever takes them."""
        with Rows(self._path, delimiter=self._layout.delimiter, encoding=self._layout.encoding) as rows:
            at = self._header(rows)
            for row in rows:
                if not any(cell.strip() for cell in row):
                    continue
                try:
                    for understood in self._row(row, at, rows.place):
                        take(understood)
                except ConfigurationError as error:
                    if faults is None:
                        raise
                    faults(error)

    def _header(self, rows: Rows) -> dict[str, int]:
        """Where each column is, by its folded name."""
        wanted = [folded(name) for name in self._layout.columns]
        best: list[str] = list(self._layout.columns)
        for _ in range(HEADER_ROWS):
            row = next(rows, None)
            if row is None:
                break
            names = [folded(cell) for cell in row]
            missing = [name for name, each in zip(self._layout.columns, wanted, strict=True) if each not in names]
            if not missing:
                for each in wanted:
                    if names.count(each) > 1:
                        raise rows.place.refusal("the column occurs twice", each)
                self._check_units(rows.place)
                return {each: names.index(each) for each in wanted}
            best = min(best, missing, key=len)
        raise ConfigurationError(f"{self._path}: no header names the column {best[0]}")

    def _row(self, row: list[str], at: dict[str, int], place: Place) -> Iterator[_Row]:
        def cell(name: str) -> str:
            where = at[folded(name)]
            if where >= len(row):
                raise place.refusal("the row ends before it", name)
            return row[where].strip()

        layout, sign, said = self._layout, 1, ""
        if layout.direction is not None:
            signs = dict(layout.direction[1])
            said = folded(cell(layout.direction[0]))
            if said not in signs:
                return
            sign = signs[said]
        meter = cell(layout.meter) if layout.meter is not None else self._meter
        if not meter:
            raise place.refusal("no meter is named", layout.meter)
        unit = layout.unit if layout.unit_column is None else _unit(cell(layout.unit_column), place, layout.unit_column)
        value = self._number(cell(layout.energy), place, layout.energy, unit)
        if layout.feed_in is not None:
            given = self._number(cell(layout.feed_in), place, layout.feed_in, unit)
            value = None if value is None or given is None else value - given
        seconds = self._seconds(" ".join(cell(name) for name in layout.time), f"{meter}\0{said}", place)
        yield _Row(meter, seconds, None if value is None else sign * value, place, said)

    def _check_units(self, place: Place) -> None:
        """ConfigurationError where a column's own name says another unit than the layout."""
        layout = self._layout
        for name in (layout.energy, layout.feed_in):
            said = _UNIT_IN_NAME.search(folded(name or ""))
            if said is not None and layout.unit_column is None and said[1] != layout.unit.lower():
                raise place.refusal(f"its name says another unit than {layout.unit}", name)

    def _number(self, text: str, place: Place, column: str, unit: str) -> Decimal | None:
        """In Wh, or W; None for what stands for nothing."""
        layout = self._layout
        if text.lower() in layout.nothing:
            return None
        plain = text.replace(",", ".") if layout.decimal_comma else text
        if layout.decimal_comma and "." in text:
            raise place.refusal("a point in a number with a decimal comma", column)
        try:
            if not plain.isascii() or "_" in plain:
                raise InvalidOperation
            number = Decimal(plain)
        except InvalidOperation:
            raise place.refusal("not a number", column) from None
        if not number.is_finite() or number.adjusted() > _MOST_DIGITS:
            raise place.refusal("not a number of energy", column)
        number *= UNITS[unit]
        if abs(number) >= _MOST_WATT_HOURS:
            raise place.refusal("not a number of energy", column)
        return number

    def _seconds(self, text: str, key: str, place: Place) -> int:
        """The instant a row names, in Unix seconds."""
        moment, column = self._moment(text, place), " ".join(self._layout.time)
        place.check_year(moment.year, column)
        if moment.microsecond:
            raise place.refusal("the time has a part of a second", column)
        if moment.tzinfo is not None:
            return int(moment.timestamp())
        first, second = (moment.replace(tzinfo=self._zone, fold=fold) for fold in (0, 1))
        if first.astimezone(dt.UTC).astimezone(self._zone).replace(tzinfo=None) != moment:
            raise place.refusal(f"no clock in {self._layout.zone} showed that time", column)
        seconds, before = int(first.timestamp()), self._before.get(key)
        if before is not None and seconds <= before <= int(second.timestamp()) and not self._once_more(seconds, key):
            seconds = int(second.timestamp())  # the hour that occurs twice, for the second time
        if before is not None and seconds > before:
            self._least_step[key] = min(seconds - before, self._least_step.get(key, _HOUR_SECONDS))
        self._before[key] = seconds
        return seconds

    def _once_more(self, seconds: int, key: str) -> bool:
        """Whether it is the row before again: with steps of less than an hour, the hour's second time begins at its beginning."""
        step = self._layout.step_seconds or self._least_step.get(key, _HOUR_SECONDS)
        return self._before[key] == seconds and step < _HOUR_SECONDS

    def _moment(self, text: str, place: Place) -> dt.datetime:
        layout = self._layout
        day = 0
        if " 24:" in f" {text}":  # some count the hours of a day from 1 to 24, and name their ends
            text, day = text.replace("24:", "00:", 1) if text.startswith("24:") else text.replace(" 24:", " 00:", 1), 1
        readers: list[Callable[[str], dt.datetime]] = [dt.datetime.fromisoformat]
        if layout.formats:  # its zone is the layout's
            readers = [partial(_parsed, form=form) for form in layout.formats]
        for read in readers:
            try:
                moment = read(text)
                if day and moment.time() != dt.time():
                    break  # a quarter past 24
                return moment + dt.timedelta(days=day)
            except (ValueError, OverflowError):
                continue
        raise place.refusal("not a time of the form that is expected", " ".join(layout.time))


class _Series:
    """One meter's rows, put in order."""

    def __init__(self, path: Path, layout: Layout, meter: str) -> None:
        self._path, self._layout, self._meter = path, layout, meter
        self._parts: dict[int, dict[str, Decimal | None]] = {}

    def add(self, row: _Row) -> None:
        """Rows of several tariffs or directions add up; of each of them, one interval has one value."""
        parts = self._parts.setdefault(row.seconds, {})
        if row.part in parts and parts[row.part] != row.value:
            raise row.place.refusal(f"meter {self._meter} has another value for the same time further up")
        parts[row.part] = row.value

    def _value(self, label: int) -> Decimal | None:
        parts = [value for value in self._parts[label].values() if value is not None]
        return sum(parts, Decimal(0)) if len(parts) == len(self._parts[label]) else None

    def exported(self) -> Exported:
        """Its readings by the beginning of their intervals."""
        labels = sorted(self._parts)
        step = self._layout.step_seconds or self._usual_step(labels)
        for label in labels:
            if (label - labels[0]) % step:
                when = dt.datetime.fromtimestamp(label, dt.UTC)
                raise ConfigurationError(
                    f"{self._path}: meter {self._meter}, {when:%Y-%m-%dT%H:%M:%SZ}: the time is not on its step of {step} s"
                )
        longer = longer_step([(label - labels[0]) // step for label in labels])
        if longer is not None:
            raise ConfigurationError(
                f"{self._path}: meter {self._meter} has rows every {longer * step} s beside its step of {step} s"
            )
        if self._layout.quantity is Quantity.REGISTER:
            return Exported(self._meter, step, self._differences(labels, step))
        shift = step if self._layout.label is Label.END else 0
        return Exported(self._meter, step, {label - shift: self._watt_hours(label, step) for label in labels})

    def _usual_step(self, labels: Sequence[int]) -> int:
        steps = Counter(later - earlier for earlier, later in pairwise(labels))
        if not steps:
            raise ConfigurationError(f"{self._path}: meter {self._meter} has one row only: say its step")
        return min(steps, key=lambda step: (-steps[step], step))

    def _watt_hours(self, label: int, step: int) -> int | None:
        watt_hours = self._value(label)
        if watt_hours is None:
            return None
        if self._layout.quantity is Quantity.POWER:
            watt_hours = watt_hours * step / _HOUR_SECONDS
        if abs(watt_hours) > self._most(step):
            when = dt.datetime.fromtimestamp(label, dt.UTC)
            raise ConfigurationError(f"{self._path}: meter {self._meter}, {when:%Y-%m-%dT%H:%M:%SZ}: {_TOO_MUCH}")
        return int(watt_hours.quantize(Decimal(1), ROUND_HALF_EVEN))

    def _differences(self, labels: Sequence[int], step: int) -> dict[int, int | None]:
        """Between registers a step apart; what lies beside a register that is missing, that ran backwards, or that leapt, as
        another meter's does, is a gap.
        """
        counted = {
            label: int(value.to_integral_value(ROUND_FLOOR))
            for label in labels
            if (value := self._value(label)) is not None
        }
        found: dict[int, int | None] = {}
        for label in range(labels[0], labels[-1], step):
            before, after = counted.get(label), counted.get(label + step)
            grew = before is not None and after is not None and before <= after <= before + self._most(step)
            found[label] = after - before if grew and before is not None and after is not None else None
        return found

    def _most(self, step: int) -> Decimal:
        return Decimal(self._layout.most_watts * step) / _HOUR_SECONDS


def _parsed(text: str, *, form: str) -> dt.datetime:
    return dt.datetime.strptime(text, form)  # noqa: DTZ007  # its zone is the layout's


def _unit(text: str, place: Place, column: str) -> str:
    """One of UNITS, whatever its case; ConfigurationError."""
    for name in UNITS:
        if name.lower() == text.lower():
            return name
    raise place.refusal("not a unit of energy that is known", column)


def folded(name: str) -> str:
    """A column's name as it is compared."""
    return " ".join(name.strip().casefold().split())
