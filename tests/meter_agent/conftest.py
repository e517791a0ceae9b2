"""Makes `live_grid` importable, and stops what a test started."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from support.machines.plain_debian import make_deb, missing

from testbed.processes import Supervisor


@pytest.fixture
async def supervisor() -> AsyncIterator[Supervisor]:
    """Starts processes that do not outlive the test."""
    made = Supervisor()
    yield made
    await made.stop_all()
    assert made.left_running() == []


@pytest.fixture(scope="session")
def package(absent: Callable[[str], None]) -> Path:
    """The meter's package for this machine, by `make deb`, where another Debian can be booted."""
    if (reason := missing()) is not None:
        absent(reason)
    return make_deb("amd64")
