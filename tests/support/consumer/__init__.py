"""A consumer's results in a directory of their own: the tables, and the files made from them."""

from __future__ import annotations

from pathlib import Path

from consumer_node.results.files import ResultFiles
from consumer_node.results.store import ResultStore

GRID, CONSUMER = "g", "supplier"


def opened_tables(directory: Path, url: str | None = None) -> ResultStore:
    """As the consumer opens them; url: elsewhere than in the directory."""
    directory.mkdir(parents=True, exist_ok=True)
    where = url or f"sqlite:///{directory / 'results.sqlite'}"
    results = ResultStore.at(where, GRID, CONSUMER, files=ResultFiles(directory))
    results.write_files()
    return results
