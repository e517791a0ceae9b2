"""Rows of the three CSV formats readings come in, streamed. Nothing here knows the grid's interval.

    published   LCLid,stdorToU,DateTime,KWH/hh (per half hour)   the London Datastore's: kWh, labels at the interval's END
    wide        start_utc,<meter>,<meter>,...                    whole Wh, empty for a gap
    long        meter,start_utc,wh                               whole Wh, empty for a gap

Plain or gzip, told by the first bytes. Error texts name file, line and column, and never the value that stands there.
"""

from __future__ import annotations

import datetime as dt
import enum
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation
from pathlib import Path
from typing import Protocol

from hushgrid.errors import ConfigurationError
from meter_agent.sources.files.csv_rows import Faults, Place, Rows
from meter_agent.sources.sample import MOST_WATT_HOURS

PUBLISHED_INTERVAL_SECONDS = 1800

_WHOLE = re.compile(r"[+-]?[0-9]{1,15}", re.ASCII)
_WATT_HOURS_PER_KWH = 1000


class CsvFormat(enum.StrEnum):
    """Told from the header."""

    PUBLISHED = "published"
    WIDE = "wide"
    LONG = "long"


_ID, _LABEL, _KWH = "LCLid", "DateTime", "KWH/hh (per half hour)"
_METER, _START, _WH = "meter", "start_utc", "wh"
_TIME_COLUMN = {CsvFormat.PUBLISHED: _LABEL, CsvFormat.WIDE: _START, CsvFormat.LONG: _START}


@dataclass(frozen=True, slots=True)
class Entry:
    """One cell that holds a reading or a gap. start_seconds: Unix time at which the interval begins."""

    meter: str
    start_seconds: int
    watt_hours: int | None
    line: int
    column: str


class Wanted(Protocol):
    """Which entries are worth converting: the rest is passed over unread, but for its time."""

    def __call__(self, start_seconds: int, line: int, column: str) -> bool: ...


@dataclass(frozen=True, slots=True)
class CsvFile:
    """A readings file whose header has been understood."""

    path: Path
    format: CsvFormat
    header: tuple[str, ...]

    @property
    def time_column(self) -> str:
        """The column whose value says when."""
        return _TIME_COLUMN[self.format]

    def entries(
        self,
        meters: Collection[str] | None = None,
        wanted: Wanted | None = None,
        faults: Faults | None = None,
    ) -> Iterator[Entry]:
        """The entries in the file's order. meters: None for all; wanted: called once per row with its time.

        The publisher's `Null` rows off the half-hour grid are no entries. ConfigurationError for an unreadable file and for
        a row that does not say what its header promises; faults: takes those of rows, and the next row is read.
        """
        columns = [(at, name) for at, name in enumerate(self.header) if at and (meters is None or name in meters)]
        with Rows(self.path) as rows:
            next(rows)
            for row in rows:
                if not row:
                    continue  # an empty last line
                try:
                    yield from self._row(row, Place(self.path, rows.line), columns, meters, wanted)
                except ConfigurationError as error:
                    if faults is None:
                        raise
                    faults(error)

    def _row(
        self,
        row: list[str],
        place: Place,
        columns: Sequence[tuple[int, str]],
        meters: Collection[str] | None,
        wanted: Wanted | None,
    ) -> list[Entry]:
        if len(row) != len(self.header):
            raise place.refusal(f"{len(row)} columns where the header has {len(self.header)}")
        if self.format is CsvFormat.WIDE:
            start_seconds = _start(row[0], place)
            if wanted is not None and not wanted(start_seconds, place.line, _START):
                return []
            return [Entry(name, start_seconds, _whole(row[at], place, name), place.line, name) for at, name in columns]
        named = dict(zip(self.header, row, strict=True))
        column = _ID if self.format is CsvFormat.PUBLISHED else _METER
        meter = named[column].strip()
        if not meter:
            raise place.refusal("no meter is named", column)
        if meters is not None and meter not in meters:
            return []
        if self.format is CsvFormat.PUBLISHED:
            return _published(meter, named[_LABEL], named[_KWH].strip(), place, wanted)
        start_seconds = _start(named[_START], place)
        if wanted is not None and not wanted(start_seconds, place.line, _START):
            return []
        return [Entry(meter, start_seconds, _whole(named[_WH], place, _WH), place.line, _WH)]


def _published(meter: str, label_text: str, text: str, place: Place, wanted: Wanted | None) -> list[Entry]:
    label = _publisher_label(label_text, place)
    if label % PUBLISHED_INTERVAL_SECONDS:
        if text == "Null":
            return []
        raise place.refusal("the time is not on the half hour, and the row is not Null", _LABEL)
    start_seconds = label - PUBLISHED_INTERVAL_SECONDS
    if wanted is not None and not wanted(start_seconds, place.line, _LABEL):
        return []
    return [Entry(meter, start_seconds, None if text == "Null" else _from_kwh(text, place), place.line, _KWH)]


def open_csv(path: Path) -> CsvFile:
    """The file with its format told from the header. ConfigurationError naming what is missing."""
    with Rows(path) as rows:
        header = tuple(name.strip() for name in next(rows, ()))
        place = Place(path, 1)
    if not any(header):
        raise place.refusal("the file has no header")
    found = _format_of(header)
    if found is None:
        raise place.refusal(
            f"no known header: expected '{_START},<meter>,...', '{_METER},{_START},{_WH}' or the publisher's '{_ID},...,{_KWH}'"
        )
    needed = {
        CsvFormat.PUBLISHED: (_ID, _LABEL, _KWH),
        CsvFormat.LONG: (_METER, _START, _WH),
        CsvFormat.WIDE: (_START,),
    }[found]
    for name in needed:
        if name not in header:
            raise place.refusal("the column is missing", name)
    if found is CsvFormat.WIDE and len(header) == 1:
        raise place.refusal("there is no column of a meter")
    for at, name in enumerate(header):
        if not name:
            raise place.refusal(f"column {at + 1} has no name")
        if name in header[:at]:
            raise place.refusal("the column occurs twice", name)
    return CsvFile(path, found, header)


def _format_of(header: tuple[str, ...]) -> CsvFormat | None:
    names = set(header)
    if names & {_ID, _LABEL, _KWH}:
        return CsvFormat.PUBLISHED
    if {_METER, _WH} <= names or (header[0] != _START and names & {_METER, _WH}):
        return CsvFormat.LONG
    return CsvFormat.WIDE if header[0] == _START else None


def _start(text: str, place: Place) -> int:
    """Seconds of an interval's start that says itself that it is UTC."""
    moment = _moment(text, place, _START)
    if moment.tzinfo is None:
        raise place.refusal("the time does not say that it is UTC (end it in Z)", _START)
    if moment.microsecond:
        raise place.refusal("the time has a part of a second", _START)
    return int(moment.timestamp())


def _publisher_label(text: str, place: Place) -> int:
    """Seconds of a publisher's label, which is UTC without saying so; odd, hence off the half hour, for a part of a second."""
    moment = _moment(text, place, _LABEL)
    return int(moment.replace(tzinfo=dt.UTC).timestamp()) | bool(moment.microsecond)


def _moment(text: str, place: Place, column: str) -> dt.datetime:
    try:
        moment = dt.datetime.fromisoformat(text.strip())
    except ValueError:
        raise place.refusal("not a time of the form 2013-03-11T00:30:00Z", column) from None
    place.check_year(moment.year, column)
    if moment.utcoffset():
        raise place.refusal("the time is not UTC", column)
    return moment


def _whole(text: str, place: Place, column: str) -> int | None:
    stripped = text.strip()
    if not stripped:
        return None
    if not _WHOLE.fullmatch(stripped):
        raise place.refusal("not a whole number of Wh", column)
    return _of_a_meter(int(stripped), place, column)


def _from_kwh(text: str, place: Place) -> int:
    try:
        if not text.isascii() or "_" in text:
            raise InvalidOperation
        watt_hours = int((Decimal(text) * _WATT_HOURS_PER_KWH).quantize(Decimal(1), ROUND_HALF_EVEN))
    except (ArithmeticError, ValueError):
        raise place.refusal("not a number of kWh", _KWH) from None
    return _of_a_meter(watt_hours, place, _KWH)


def _of_a_meter(watt_hours: int, place: Place, column: str) -> int:
    if abs(watt_hours) >= MOST_WATT_HOURS:
        raise place.refusal("more than a meter counts in its life", column)
    return watt_hours
