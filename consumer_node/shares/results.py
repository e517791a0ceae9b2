"""What a consumer remembers: aggregate shares until a window is concluded, and every result, as rows and as files."""

from __future__ import annotations

import csv
import json
from pathlib import Path

from consumer_node.shares.collection import Aggregate
from hushgrid.core.schedule import round_start, utc_text
from hushgrid.shell.database import Database

_MIGRATIONS = (
    """
    CREATE TABLE answer (
        rule INTEGER NOT NULL, first_round INTEGER NOT NULL, point INTEGER NOT NULL, frame BLOB NOT NULL,
        PRIMARY KEY (rule, first_round, point)
    );
    CREATE TABLE result (
        rule INTEGER NOT NULL, first_round INTEGER NOT NULL, name TEXT NOT NULL, json TEXT NOT NULL,
        PRIMARY KEY (rule, first_round)
    )
    """,
)
COLUMNS = (
    "rule", "number", "start_utc", "first_round", "last_round", "status", "watt_hours", "expected", "included", "gaps", "lost",
    "inconsistent", "meters", "points", "wrong_points", "detects", "repaired", "reason",
)  # fmt: skip


def row(name: str, aggregate: Aggregate, interval_seconds: int) -> dict[str, object]:
    """One result as its files show it."""
    window = aggregate.window
    return {
        "rule": name,
        "number": aggregate.rule,
        "start_utc": utc_text(round_start(window.first, interval_seconds)),
        "first_round": window.first,
        "last_round": window.last,
        "status": aggregate.outcome.value,
        "watt_hours": aggregate.watt_hours,
        "expected": aggregate.expected,
        "included": aggregate.included,
        "gaps": aggregate.gaps,
        "lost": aggregate.lost,
        "inconsistent": aggregate.inconsistent,
        "meters": aggregate.meters,
        "points": list(aggregate.points),
        "wrong_points": list(aggregate.wrong_points),
        "detects": aggregate.detects,
        "repaired": aggregate.repaired,
        "reason": aggregate.reason,
    }


class Results:
    """Durable. `results.csv` and `results.jsonl` beside the store repeat what it holds, one line per concluded window."""

    def __init__(self, directory: Path) -> None:
        self._database = Database(directory / "results.sqlite", _MIGRATIONS)
        self._csv = directory / "results.csv"
        self._json_lines = directory / "results.jsonl"
        self._write_files()

    def add_answer(self, rule: int, first_round: int, point: int, frame: bytes) -> None:
        """Keep an aggregate share; a receipt may follow."""
        self._database.execute("INSERT OR IGNORE INTO answer VALUES (?, ?, ?, ?)", rule, first_round, point, frame)

    def answers(self) -> list[bytes]:
        """The frames of windows not concluded yet."""
        return [
            frame for (frame,) in self._database.query("SELECT frame FROM answer ORDER BY rule, first_round, point")
        ]

    def concluded(self, rule: int, first_round: int) -> bool:
        """Whether a window has its result."""
        query = "SELECT 1 FROM result WHERE rule = ? AND first_round = ?"
        return bool(self._database.query(query, rule, first_round))

    def conclude(self, name: str, aggregate: Aggregate, interval_seconds: int) -> None:
        """Store a result for ever, and let go of the shares it came from."""
        content = row(name, aggregate, interval_seconds)
        key = (aggregate.rule, aggregate.window.first)
        with self._database.transaction():
            self._database.execute("INSERT OR IGNORE INTO result VALUES (?, ?, ?, ?)", *key, name, json.dumps(content))
            self._database.execute("DELETE FROM answer WHERE rule = ? AND first_round = ?", *key)
        self._append([content])

    def count(self) -> int:
        """Results so far."""
        count: int = self._database.query("SELECT count(*) FROM result")[0][0]
        return count

    def _write_files(self) -> None:
        """After a start the files are written anew from the store: a kill may have cut their last line."""
        with self._csv.open("w", newline="", encoding="utf-8") as out:
            csv.DictWriter(out, COLUMNS).writeheader()
        self._json_lines.write_text("", encoding="utf-8")
        rows = self._database.query("SELECT json FROM result ORDER BY first_round, rule")
        self._append([json.loads(content) for (content,) in rows])

    def _append(self, rows: list[dict[str, object]]) -> None:
        with self._csv.open("a", newline="", encoding="utf-8") as out:
            csv.DictWriter(out, COLUMNS).writerows(rows)
        with self._json_lines.open("a", encoding="utf-8") as out:
            out.writelines(json.dumps(content) + "\n" for content in rows)

    def close(self) -> None:
        """Close the store."""
        self._database.close()
