"""Whole testbeds, run as a person runs them: the command, in a process of its own."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support.forked import Commands


@dataclass(frozen=True, slots=True)
class Finished:
    """A testbed that has ended."""

    status: int
    out: str
    err: str
    report: dict[str, Any]
    directory: Path

    @property
    def summary(self) -> dict[str, Any]:
        return self.report["summary"]

    @property
    def aggregates(self) -> list[dict[str, Any]]:
        return self.report["aggregates"]


@pytest.fixture(scope="session")
def commands() -> Iterator[Commands]:
    """`hushgrid` without the second that each process needs for its imports."""
    made = Commands()
    yield made
    made.close()


@pytest.fixture
def testbed(tmp_path: Path, commands: Commands) -> Callable[..., Finished]:
    """Run `hushgrid testbed` with these options, keeping its directory."""

    def run(*options: str, seconds: float = 500) -> Finished:
        directory, report = tmp_path / f"run-{len(list(tmp_path.iterdir()))}", tmp_path / "report.json"
        report.unlink(missing_ok=True)
        done = commands.run("testbed", "--keep", str(directory), "--json", str(report), *options, timeout=seconds)
        content = json.loads(report.read_text()) if report.exists() else {}
        return Finished(done.returncode, done.stdout, done.stderr, content, directory)

    return run
