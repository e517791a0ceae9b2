"""The images of a clean checkout, built once for all tests here, and what it takes to build them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import docker
import pytest
from docker.errors import DockerException
from support import ROOT

IMAGES = "hushgrid-test"
ROLES = ("meter", "ppn", "consumer", "configurator", "testbed")


@dataclass(frozen=True, slots=True)
class Checkout:
    """A copy of what git tracks, with a project name of its own."""

    directory: Path
    project: str

    def compose(self, *arguments: str, seconds: float = 600, **environment: str) -> subprocess.CompletedProcess[str]:
        """docker-compose in the checkout."""
        command = [*compose_command(), "--project-name", self.project, *arguments]
        return subprocess.run(
            command, cwd=self.directory, capture_output=True, text=True, timeout=seconds, check=False,
            env={**os.environ, "IMAGES": IMAGES, **environment},
        )  # fmt: skip


def compose_command() -> list[str]:
    """docker-compose 1.29 or Compose v2, whichever is there; empty when neither is."""
    if shutil.which("docker-compose"):
        return ["docker-compose"]
    if (
        shutil.which("docker")
        and not subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode
    ):
        return ["docker", "compose"]
    return []


@pytest.fixture(scope="session")
def engine(absent: Callable[[str], None]) -> docker.DockerClient:
    """A Docker that answers, with the public base images or their stand-ins."""
    try:
        client = docker.from_env()
        client.ping()
    except DockerException as error:
        absent(f"Docker does not answer: {error}")
    if not compose_command():
        absent("neither docker-compose nor docker compose is installed")
    base_images = subprocess.run(
        [ROOT / "tests" / "deployment" / "base-images.sh"], capture_output=True, text=True, check=False
    )
    if base_images.returncode:
        absent(base_images.stderr.strip())
    return client


@pytest.fixture(scope="session")
def checkout(
    engine: docker.DockerClient,  # noqa: ARG001  # needed to build from it
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Checkout]:
    """A clean checkout, with a wheelhouse: here containers reach no network. Its containers and volumes are removed."""
    directory = tmp_path_factory.mktemp("checkout")
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, tracked.split("\0")):
        if (ROOT / name).is_file():
            (directory / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, directory / name)
    subprocess.run(
        ["make", f"BIN={Path(sys.executable).parent}", "wheelhouse"], cwd=ROOT, check=True, stdout=subprocess.DEVNULL
    )
    shutil.copytree(ROOT / "wheelhouse", directory / "wheelhouse")
    made = Checkout(directory, f"hushgrid-test-{os.getpid()}")
    yield made
    made.compose("down", "--volumes", "--timeout", "5")


@pytest.fixture(scope="session")
def images(checkout: Checkout) -> str:
    """What the names of the built images begin with."""
    built = checkout.compose("build", "--quiet", "meter", "setup", "configurator", "ppn-1", "consumer-1")
    assert built.returncode == 0, built.stderr[-3000:]
    return IMAGES
