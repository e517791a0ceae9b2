"""How much of each folder the tests ran: `python tests/support/coverage_by_folder.py out/coverage.json`."""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

_LINE = "{:<28} {:>7} {:>6} {:>6}  {}\n"


def table(measured: Mapping[str, Any]) -> str:
    """A line for each folder, from the JSON report of coverage: lines, lines run, their part, and the module that is least run."""
    folders: dict[str, dict[str, tuple[int, int]]] = defaultdict(dict)
    for path, file in measured["files"].items():
        found, counted = PurePosixPath(path), file["summary"]
        if counted["num_statements"]:
            folders[str(found.parent)][found.stem] = counted["covered_lines"], counted["num_statements"]
    out = _LINE.format("folder", "lines", "run", "", "least run")
    for folder, modules in sorted(folders.items()):
        run, lines = (sum(column) for column in zip(*modules.values(), strict=True))
        least = min(modules, key=lambda name: modules[name][0] / modules[name][1])
        out += _LINE.format(folder, lines, run, _part(run, lines), f"{least} {_part(*modules[least])}")
    totals = measured["totals"]
    run, lines = totals["covered_lines"], totals["num_statements"]
    return out + _LINE.format("in all", lines, run, _part(run, lines), "").rstrip() + "\n"


def _part(run: int, lines: int) -> str:
    """Rounded down: 100 % is all of it."""
    return f"{100 * run // lines if lines else 100} %"


if __name__ == "__main__":
    sys.stdout.write(table(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))))
