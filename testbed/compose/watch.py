"""Shows sums as consumers recover them: `python -m testbed.compose.watch --directory DIR`.

DIR holds the consumers' volumes, read-only. One line per window; nothing is shown that a consumer has not written down.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from pathlib import Path
from typing import Any

_LOOK_SECONDS = 0.5


def new_rows(directory: Path, seen: dict[str, int]) -> list[tuple[str, dict[str, Any]]]:
    """What every consumer has concluded since the last look. seen: bytes read by consumer, brought up to date.

    A line that is still being written waits for its end; a file that has become shorter is another run's, read from its beginning.
    """
    rows = []
    for file in sorted(directory.glob("*/results.jsonl")):
        consumer = file.parent.name
        content = file.read_bytes()
        start = seen.get(consumer, 0)
        start = start if start <= len(content) else 0
        whole = content[start : content.rfind(b"\n", start) + 1]
        seen[consumer] = start + len(whole)
        rows += [(consumer, json.loads(line)) for line in whole.splitlines()]
    return rows


def described(consumer: str, row: dict[str, Any]) -> str:
    """One line about one window."""
    rounds = row["last_round"] - row["first_round"] + 1
    recovered = row["status"] if row["watt_hours"] is None else f"{row['watt_hours']:,} Wh"
    reason = f" ({row['reason']})" if row["reason"] else ""
    return (
        f"{consumer} {row['rule']}: rounds {row['first_round']} to {row['last_round']} ({rounds}): {recovered}{reason}; "
        f"{row['included']} of {row['expected']} readings, {len(row['points'])} PPNs"
    )


def main() -> None:
    """Entry of the container."""
    parser = argparse.ArgumentParser(description="Show sums as consumers recover them.")
    parser.add_argument(
        "--directory", type=Path, required=True, metavar="DIR", help="every consumer's volume is a folder of it"
    )
    directory = parser.parse_args().directory
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    seen: dict[str, int] = {}
    while True:
        for consumer, row in new_rows(directory, seen):
            print(described(consumer, row), flush=True)  # noqa: T201  # this is what the container says
        time.sleep(_LOOK_SECONDS)


if __name__ == "__main__":
    main()
