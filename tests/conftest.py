"""What tests need of the machine, and what happens where it is missing: a skip with its reason, in CI a failure."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from testbed.engines import ENGINES, program

ROOT = Path(__file__).resolve().parent.parent
# How long an example takes says nothing on a machine that does other things.
settings.register_profile("hushgrid", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("hushgrid")
REQUIRE_ALL = bool(os.environ.get("HUSHGRID_REQUIRE_ALL"))


def pytest_addoption(parser: pytest.Parser) -> None:
    """How long the simulation of tests/simulation is."""
    parser.addoption("--histories", type=int, default=10_000, help="random histories to play (tests/simulation)")


def absent(reason: str) -> None:
    """Skip, or fail where everything has to run."""
    if REQUIRE_ALL:
        pytest.fail(f"must not be skipped here: {reason}")
    pytest.skip(reason)


@pytest.fixture(scope="session", name="absent")
def absent_fixture() -> Callable[[str], None]:
    """`absent`, for the fixtures of other folders."""
    return absent


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data beside the project."""
    path = ROOT.parent / "shared" / "data"
    if not path.is_dir():
        absent("../shared/data is not here")
    return path


@pytest.fixture(scope="session")
def needs_engine() -> Callable[[str], None]:
    """Makes sure that an engine of `testbed.engines` can be started here."""

    def check(name: str) -> None:
        missing = ENGINES[name].missing()
        if missing is not None:
            absent(f"{missing} is not installed")

    return check


@pytest.fixture(scope="session")
def mosquitto(needs_engine: Callable[[str], None]) -> str:
    """The installed Mosquitto."""
    needs_engine("mosquitto")
    return str(program("mosquitto"))


@pytest.fixture(scope="session")
def docker_compose() -> list[str]:
    """docker-compose 1.29 or Compose v2."""
    if shutil.which("docker-compose"):
        return ["docker-compose"]
    if shutil.which("docker") is None:
        absent("docker-compose is not installed")
    return ["docker", "compose"]
