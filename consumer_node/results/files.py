"""Results as files that repeat the tables: a line each, in CSV and in JSON."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO

from consumer_node.results.tables import ResultKind

#: One result as files show it, by the names of `FILE_COLUMNS`. rule: its name; number: the configurator's.
Row = dict[str, object]

_PLACE = ("rule", "number", "start_utc", "end_utc", "first_round", "last_round")
FILE_COLUMNS: Mapping[ResultKind, tuple[str, ...]] = {
    ResultKind.SUM: (
        *_PLACE, "status", "watt_hours", "expected", "included", "gaps", "lost", "inconsistent", "meters", "points", "wrong_points",
        "detects", "repaired", "reason",
    ),
    ResultKind.COLUMN: (
        *_PLACE, "component", "status", "watt_hours", "expected", "included", "gaps", "omitted", "reason",
    ),
    ResultKind.BILL: (*_PLACE, "meter", "status", "watt_hours", "rounds", "omitted", "reason"),
    ResultKind.DOUBLE_ENTRY: (*_PLACE, "component", "bills_watt_hours", "columns_watt_hours"),
}  # fmt: skip


def write_csv(out: IO[str], kind: ResultKind, rows: Iterable[Row], *, header: bool) -> None:
    """Rows of one kind. header: a line with the names of the columns first."""
    writer = csv.DictWriter(out, FILE_COLUMNS[kind])
    if header:
        writer.writeheader()
    writer.writerows(rows)


def write_json_lines(out: IO[str], rows: Iterable[Row]) -> None:
    """An object a line."""
    out.writelines(json.dumps(row) + "\n" for row in rows)


class ResultFiles:
    """`results.csv`, `results.jsonl` and so on, in one directory. What a kill cut off is there again after the next start."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def write(self, kind: ResultKind, portions: Iterable[list[Row]], *, anew: bool) -> None:
        """anew: in place of what is in the files; else behind it."""
        mode = "w" if anew else "a"
        with (
            (self._directory / f"{kind.value}.csv").open(mode, newline="", encoding="utf-8") as table,
            (self._directory / f"{kind.value}.jsonl").open(mode, encoding="utf-8") as lines,
        ):
            if anew:
                write_csv(table, kind, [], header=True)
            for rows in portions:
                write_csv(table, kind, rows, header=False)
                write_json_lines(lines, rows)
