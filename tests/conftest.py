"""What tests need of the machine, and what happens where it is missing: a skip with its reason, in CI a failure."""

from __future__ import annotations

import itertools
import json
import os
import random
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings
from support import ROOT

from testbed.brokers.engines import ENGINES, program

if TYPE_CHECKING:
    from support.gateway.postgresql import PostgreSQLServer

# How long an example takes says nothing on a machine that does other things.
settings.register_profile("hushgrid", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("hushgrid")
#: The fixtures of containers, which two folders share; nothing of them is loaded by who does not ask.
pytest_plugins = ["support.containers.fixtures"]
REQUIRE_ALL = bool(os.environ.get("HUSHGRID_REQUIRE_ALL"))


def pytest_addoption(parser: pytest.Parser) -> None:
    """How much of what is random is played: a part that another commit draws anew, or all."""
    parser.addoption("--long", action="store_true", help="play all random histories, not this commit's part")
    parser.addoption(
        "--histories", type=int, default=10_000, help="how many random histories all are (tests/simulation)"
    )


#: Tests that share what is dear to start, or would be in each other's way, by how their names begin: one process plays all of a group.
TOGETHER = {
    "tests/broker/test_broker_conformance.py": "brokers",
    "tests/deployment/test_compose.py": "containers",
    "tests/deployment/test_compose_cluster.py": "containers",
    "tests/deployment/test_faults.py": "containers",
    "tests/docs/test_containers.py": "containers",
    "tests/meter_agent/test_arm64.py": "emulation",
    "tests/meter_agent/test_systemd.py": "emulation",
    "tests/meter_agent/test_pi_guide.py": "emulation",
    "tests/docs/test_operations.py": "pages",
    "tests/docs/test_readme.py": "pages",
    "tests/testbed/whole/test_transcript.py::test_a_transcript": "overheard",
    "tests/testbed/whole/test_transcript.py::test_frames": "overheard",
    "tests/experiments/demand/": "demand",
    "tests/experiments/grid/": "village",
    "tests/grid_operator/network/test_power_flow.py": "village",
}


def wanted_marks(expression: str) -> set[str]:
    """The marks that a test must have for -m EXPRESSION to choose it; none where alternatives stand in it."""
    words = expression.replace("(", " ").replace(")", " ").split()
    if "or" in words:
        return set()
    return {word for before, word in itertools.pairwise(["and", *words]) if before == "and" and word != "not"}


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Whether a file has no test that is asked for: most have none that needs minutes, and reading all of them does, too."""
    wanted = wanted_marks(config.getoption("markexpr"))
    if not wanted or collection_path.suffix != ".py" or not collection_path.is_file():
        return None
    text = collection_path.read_text(encoding="utf-8")
    return True if any(f"mark.{mark}" not in text for mark in wanted) else None


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Who plays what where several processes do; xdist's own groups are lost on pytest 9.2, whose names of tests do not change."""
    from xdist.scheduler import LoadScopeScheduling  # noqa: PLC0415  # where there is none, nobody asks

    class Together(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return next((group for begin, group in TOGETHER.items() if nodeid.startswith(begin)), nodeid)

    return Together(config, log)


def commit() -> str:
    """What stands checked out; a name for it where there is no git."""
    asked = ["git", "-C", str(ROOT), "rev-parse", "HEAD"]
    try:
        return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "no commit"


def pytest_report_header(config: pytest.Config) -> str:
    """What the random tests draw from."""
    return "random tests: all" if config.getoption("--long") else f"random tests: the part of {commit()} (--long: all)"


@pytest.fixture
def part(pytestconfig: pytest.Config) -> random.Random | None:
    """What chooses the part of this commit; None for all."""
    return None if pytestconfig.getoption("--long") else random.Random(commit())


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
def postgresql() -> Iterator[PostgreSQLServer]:
    """A real server, for tests that take databases of their own from it."""
    from support.gateway.postgresql import postgresql_server, programs  # noqa: PLC0415  # its driver is not everywhere

    at = programs()
    if at is None:
        absent("PostgreSQL is not installed (make servers)")
    with postgresql_server(at) as server:
        yield server


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data beside the project."""
    path = ROOT.parent / "shared" / "data"
    if not path.is_dir():
        absent("../shared/data is not here")
    return path


@pytest.fixture(scope="session")
def needs_engine() -> Callable[[str], None]:
    """Makes sure that an engine of `testbed.brokers.engines` can be started here."""

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


@pytest.fixture(scope="session")
def template(shared_data: Path) -> bytes:
    """A telegram of a DSMR 5 meter, to be filled with registers."""
    content = json.loads((shared_data / "telegrams" / "dsmr_p1.json").read_text(encoding="utf-8"))
    return next(t["raw"] for t in content["telegrams"] if t["name"] == "TELEGRAM_V5").encode("latin-1")
