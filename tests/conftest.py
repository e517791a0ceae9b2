"""What tests need of the machine, and what happens where it is missing: a skip with its reason, in CI a failure."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from testbed.broker import mosquitto_path

ROOT = Path(__file__).resolve().parent.parent
REQUIRE_ALL = bool(os.environ.get("HUSHGRID_REQUIRE_ALL"))


def absent(reason: str) -> None:
    """Skip, or fail where everything has to run."""
    if REQUIRE_ALL:
        pytest.fail(f"must not be skipped here: {reason}")
    pytest.skip(reason)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data beside the project."""
    path = ROOT.parent / "shared" / "data"
    if not path.is_dir():
        absent("../shared/data is not here")
    return path


@pytest.fixture(scope="session")
def mosquitto() -> str:
    """The installed Mosquitto."""
    path = mosquitto_path()
    if path is None:
        absent("Mosquitto is not installed")
    return str(path)
