"""The rows of a text file with columns, plain or gzip, told by its first bytes."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from hushgrid.errors import ConfigurationError

#: What a file in UTF-16 begins with; nothing else does.
_UTF_16, _UTF_16_MARKS = "utf-16", (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_FIRST_YEAR, _LAST_YEAR = 1970, 2200
_UNREADABLE = (OSError, EOFError, UnicodeError, zlib.error, csv.Error, LookupError)


#: Takes a row's refusal, so that reading goes on with the next one.
Faults = Callable[[ConfigurationError], None]


@dataclass(frozen=True, slots=True)
class Place:
    """The row under the reader's head, for what is said about it."""

    path: Path
    line: int

    def check_year(self, year: int, column: str) -> None:
        """ConfigurationError for a time in which no meter counted: rounds are numbered from 1970."""
        if not _FIRST_YEAR < year < _LAST_YEAR:
            raise self.refusal("a time in which no meter counts", column)

    def refusal(self, what: str, column: str | None = None) -> ConfigurationError:
        """One line that names file, line and column."""
        where = f", column {column}" if column else ""
        return ConfigurationError(f"{self.path}, line {self.line}{where}: {what}")


class Rows:
    """The file's rows; whatever keeps them from being read is a ConfigurationError. Closed by leaving the `with`.

    encoding: `utf-8-sig` takes a spreadsheet's byte order mark for no part of the first column's name. A file that begins with
    the mark of UTF-16 is read as that.
    """

    def __init__(self, path: Path, *, delimiter: str = ",", encoding: str = "utf-8-sig") -> None:
        if len(delimiter) != 1:
            raise ConfigurationError(f"{path}: a delimiter is one character")
        self._path = path
        self._delimiter, self._encoding = delimiter, encoding
        self._close: Callable[[], None] = lambda: None

    def __enter__(self) -> Self:
        try:
            raw = self._path.open("rb")
            self._close = raw.close
            begins = raw.read(2)
            zipped = begins == b"\x1f\x8b"
            raw.seek(0)
            encoding = _UTF_16 if begins in _UTF_16_MARKS else self._encoding
            binary = gzip.GzipFile(fileobj=raw) if zipped else raw
            text = io.TextIOWrapper(binary, encoding=encoding, newline="")
            self._reader = csv.reader(text, delimiter=self._delimiter)
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

    @property
    def place(self) -> Place:
        """Where the last row is."""
        return Place(self._path, self.line)

    def _refusal(self, error: Exception) -> ConfigurationError:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else _reason(error)
        return ConfigurationError(f"{self._path}: cannot be read: {reason}")


def _reason(error: Exception) -> str:
    return "it is not text in UTF-8" if isinstance(error, UnicodeDecodeError) else str(error).partition("\n")[0]
