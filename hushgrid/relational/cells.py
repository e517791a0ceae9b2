"""What a cell holds that a database has no type for: numbers without bound, and lists. What is not understood is refused."""

from __future__ import annotations

import json
import re

from sqlalchemy import Dialect, Text, TypeDecorator

from hushgrid.errors import JournalError

_WHOLE = re.compile(r"-?(0|[1-9][0-9]*)")


class WholeNumber(TypeDecorator[int]):
    """An int without bound, as decimal text. JournalError where a cell holds anything else: it is never taken for 0."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: int | None, dialect: Dialect) -> str | None:
        """As text."""
        del dialect
        return None if value is None else str(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> int | None:
        """As a number; None where there is none."""
        del dialect
        if value is None:
            return None
        if not isinstance(value, str) or not _WHOLE.fullmatch(value):
            raise JournalError("a cell holds no whole number")
        return int(value)


class JsonList(TypeDecorator[list[object]]):
    """A list of ids or of whole numbers, as JSON. JournalError where a cell holds anything else."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: list[object] | None, dialect: Dialect) -> str | None:
        """As text."""
        del dialect
        return None if value is None else json.dumps(value, separators=(",", ":"))

    def process_result_value(self, value: str | None, dialect: Dialect) -> list[object] | None:
        """As a list; None where there is none."""
        del dialect
        if value is None:
            return None
        try:
            read = json.loads(value)
        except (TypeError, ValueError):
            read = None
        if not isinstance(read, list):
            raise JournalError("a cell holds no list")
        return read
