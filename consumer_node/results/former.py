"""Results of an earlier version, which kept them as JSON in `results.sqlite` and `billing.sqlite`: taken over, and nothing lost.

Each portion is in the tables before it is taken from where it was. What a kill interrupts goes on at the next start.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from consumer_node.results.files import Row
from consumer_node.results.store import ResultStore
from consumer_node.results.tables import ResultKind
from hushgrid.core.schedule import utc_text
from hushgrid.shell.database import Database, migrations_run

_FORM = (
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
_AT_ONCE = 1000


def take_over_sums(directory: Path, results: ResultStore, keep_share: Callable[[int, int, int, bytes], None]) -> None:
    """Sums, and aggregate shares of windows that were not concluded. keep_share: takes rule, first round, point and frame onto disk.

    JournalError when the file cannot be read.
    """
    path = directory / "results.sqlite"
    if migrations_run(path) != len(_FORM):
        return
    with closing(Database(path, _FORM)) as former:
        while rows := former.query("SELECT rowid, json FROM result ORDER BY rowid LIMIT ?", _AT_ONCE):
            results.add(ResultKind.SUM, [_with_end(json.loads(content)) for _, content in rows])
            former.execute("DELETE FROM result WHERE rowid <= ?", rows[-1][0])
        for rule, first_round, point, frame in former.query("SELECT rule, first_round, point, frame FROM answer"):
            keep_share(rule, first_round, point, frame)
        with former.transaction():
            former.execute("DROP TABLE answer")
            former.execute("DROP TABLE result")
            former.execute("PRAGMA user_version=0")


def take_over_masked(former: Database, results: ResultStore) -> None:
    """Columns, bills and double entries. former: has them in its table `former_result`."""
    query = (
        "SELECT kind, stream, first_round, part, json FROM former_result WHERE kind = ? ORDER BY first_round LIMIT ?"
    )
    for kind in (ResultKind.COLUMN, ResultKind.BILL, ResultKind.DOUBLE_ENTRY):
        while rows := former.query(query, kind.value, _AT_ONCE):
            results.add(kind, [_with_end(json.loads(content)) for *_, content in rows])
            with former.transaction():
                former.execute_many(
                    "DELETE FROM former_result WHERE kind = ? AND stream = ? AND first_round = ? AND part = ?",
                    [tuple(key) for *key, _ in rows],
                )


def _with_end(row: Row) -> Row:
    """With the end of its last round, which follows from the beginning of its first: rounds are counted from 1970."""
    first, last = int(str(row["first_round"])), int(str(row["last_round"]))
    start = int(dt.datetime.fromisoformat(str(row["start_utc"])).timestamp())
    whole = first > 0 and start % first == 0
    end = dt.datetime.fromtimestamp((last + 1) * (start // first), tz=dt.UTC) if whole else None
    return row | {"end_utc": None if end is None else utc_text(end)}
