"""Makes `live_grid` importable, and stops what a test started."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from testbed.processes import Supervisor

sys.path.append(str(Path(__file__).parent))


@pytest.fixture
async def supervisor() -> AsyncIterator[Supervisor]:
    """Starts processes that do not outlive the test."""
    made = Supervisor()
    yield made
    await made.stop_all()
    assert made.left_running() == []


@pytest.fixture(scope="session")
def template(shared_data: Path) -> bytes:
    content = json.loads((shared_data / "telegrams" / "dsmr_p1.json").read_text(encoding="utf-8"))
    return next(t["raw"] for t in content["telegrams"] if t["name"] == "TELEGRAM_V5").encode("latin-1")
