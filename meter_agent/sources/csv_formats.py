"""Rows of the three CSV formats readings come in, streamed. Nothing here knows the grid's interval.

    published   LCLid,stdorToU,DateTime,KWH/hh (per half hour)   the London Datastore's: kWh, labels at the interval's END
    wide        start_utc,<meter>,<meter>,...                    whole Wh, empty for a gap
    long        meter,start_utc,wh                               whole Wh, empty for a gap

Plain or gzip, told by the first bytes. Error texts name file, line and column, and never the value that stands there.
"""

from __future__ import annotations

import csv
import datetime as dt
import enum
import gzip
import io
import re
import zlib
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation
from pathlib import Path
from typing import Protocol, Self

from hushgrid.errors import ConfigurationError

PUBLISHED_INTERVAL_SECONDS = 1800

_WHOLE = re.compile(r"[+-]?[0-9]{1,15}", re.ASCII)
_UNREADABLE = (OSError, EOFError, UnicodeDecodeError, zlib.error, csv.Error)
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
class _Place:
    """The row under the reader's head."""

    path: Path
    line: int

    def refusal(self, what: str, column: str | None = None) -> ConfigurationError:
        where = f", column {column}" if column else ""
        return ConfigurationError(f"{self.path}, line {self.line}{where}: {what}")


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

    def entries(self, meters: Collection[str] | None = None, wanted: Wanted | None = None) -> Iterator[Entry]:
        """The entries in the file's order. meters: None for all; wanted: called once per row with its time.

        The publisher's `Null` rows off the half-hour grid are no entries. ConfigurationError for an unreadable file and for
        a row that does not say what its header promises.
        """
        with _Rows(self.path) as rows:
            next(rows)
            read = {
                CsvFormat.PUBLISHED: self._published,
                CsvFormat.WIDE: self._wide,
                CsvFormat.LONG: self._long,
            }[self.format]
            yield from read(rows, meters, wanted)

    def _wide(self, rows: _Rows, meters: Collection[str] | None, wanted: Wanted | None) -> Iterator[Entry]:
        columns = [(at, name) for at, name in enumerate(self.header) if at and (meters is None or name in meters)]
        for place, row in self._whole_rows(rows):
            start_seconds = _start(row[0], place)
            if wanted is None or wanted(start_seconds, place.line, _START):
                for at, name in columns:
                    yield Entry(name, start_seconds, _whole(row[at], place, name), place.line, name)

    def _long(self, rows: _Rows, meters: Collection[str] | None, wanted: Wanted | None) -> Iterator[Entry]:
        meter_at, start_at, wh_at = (self.header.index(name) for name in (_METER, _START, _WH))
        for place, row in self._whole_rows(rows):
            meter = row[meter_at].strip()
            if not meter:
                raise place.refusal("no meter is named", _METER)
            if meters is None or meter in meters:
                start_seconds = _start(row[start_at], place)
                if wanted is None or wanted(start_seconds, place.line, _START):
                    yield Entry(meter, start_seconds, _whole(row[wh_at], place, _WH), place.line, _WH)

    def _published(self, rows: _Rows, meters: Collection[str] | None, wanted: Wanted | None) -> Iterator[Entry]:
        meter_at, label_at, kwh_at = (self.header.index(name) for name in (_ID, _LABEL, _KWH))
        for place, row in self._whole_rows(rows):
            meter = row[meter_at].strip()
            if not meter:
                raise place.refusal("no meter is named", _ID)
            if meters is not None and meter not in meters:
                continue
            text = row[kwh_at].strip()
            label = _publisher_label(row[label_at], place)
            if label % PUBLISHED_INTERVAL_SECONDS:
                if text == "Null":
                    continue
                raise place.refusal("the time is not on the half hour, and the row is not Null", _LABEL)
            start_seconds = label - PUBLISHED_INTERVAL_SECONDS
            if wanted is None or wanted(start_seconds, place.line, _LABEL):
                watt_hours = None if text == "Null" else _from_kwh(text, place)
                yield Entry(meter, start_seconds, watt_hours, place.line, _KWH)

    def _whole_rows(self, rows: _Rows) -> Iterator[tuple[_Place, list[str]]]:
        for row in rows:
            if not row:
                continue  # an empty last line
            place = _Place(self.path, rows.line)
            if len(row) != len(self.header):
                raise place.refusal(f"{len(row)} columns where the header has {len(self.header)}")
            yield place, row


def open_csv(path: Path) -> CsvFile:
    """The file with its format told from the header. ConfigurationError naming what is missing."""
    with _Rows(path) as rows:
        header = tuple(name.strip() for name in next(rows, ()))
        place = _Place(path, 1)
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


def _start(text: str, place: _Place) -> int:
    """Seconds of an interval's start that says itself that it is UTC."""
    moment = _moment(text, place, _START)
    if moment.tzinfo is None:
        raise place.refusal("the time does not say that it is UTC (end it in Z)", _START)
    if moment.microsecond:
        raise place.refusal("the time has a part of a second", _START)
    return int(moment.timestamp())


def _publisher_label(text: str, place: _Place) -> int:
    """Seconds of a publisher's label, which is UTC without saying so; odd, hence off the half hour, for a part of a second."""
    moment = _moment(text, place, _LABEL)
    return int(moment.replace(tzinfo=dt.UTC).timestamp()) | bool(moment.microsecond)


def _moment(text: str, place: _Place, column: str) -> dt.datetime:
    try:
        moment = dt.datetime.fromisoformat(text.strip())
    except ValueError:
        raise place.refusal("not a time of the form 2013-03-11T00:30:00Z", column) from None
    if moment.utcoffset():
        raise place.refusal("the time is not UTC", column)
    return moment


def _whole(text: str, place: _Place, column: str) -> int | None:
    stripped = text.strip()
    if not stripped:
        return None
    if not _WHOLE.fullmatch(stripped):
        raise place.refusal("not a whole number of Wh", column)
    return int(stripped)


def _from_kwh(text: str, place: _Place) -> int:
    try:
        if not text.isascii() or "_" in text:
            raise InvalidOperation
        watt_hours = int((Decimal(text) * _WATT_HOURS_PER_KWH).quantize(Decimal(1), ROUND_HALF_EVEN))
    except (InvalidOperation, ValueError, OverflowError):
        raise place.refusal("not a number of kWh", _KWH) from None
    return watt_hours


class _Rows:
    """The file's rows; whatever keeps them from being read is a ConfigurationError. Closed by leaving the `with`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._close: Callable[[], None] = lambda: None

    def __enter__(self) -> Self:
        try:
            raw = self._path.open("rb")
            self._close = raw.close
            zipped = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            binary = gzip.GzipFile(fileobj=raw) if zipped else raw
            # `utf-8-sig`: a spreadsheet's byte order mark is no part of the first column's name.
            self._reader = csv.reader(io.TextIOWrapper(binary, encoding="utf-8-sig", newline=""))
        except _UNREADABLE as error:
            self._close()
            raise self._refusal(error) from None
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> list[str]:
        try:
            return next(self._reader)
        except _UNREADABLE as error:
            raise self._refusal(error) from None

    @property
    def line(self) -> int:
        """The line the last row ended on, from 1."""
        return self._reader.line_num

    def _refusal(self, error: Exception) -> ConfigurationError:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else _reason(error)
        return ConfigurationError(f"{self._path}: cannot be read: {reason}")


def _reason(error: Exception) -> str:
    return "it is not text in UTF-8" if isinstance(error, UnicodeDecodeError) else str(error).partition("\n")[0]
