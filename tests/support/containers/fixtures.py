"""What tests of containers ask for; tests/conftest.py makes it known to all folders."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

from support import ROOT
from support.containers.checkout import IMAGES, Checkout, compose_command
from support.containers.typist import Typist

if TYPE_CHECKING:
    import docker


@pytest.fixture(scope="session")
def engine(absent: Callable[[str], None]) -> docker.DockerClient:
    """A Docker that answers, with the public base images or their stand-ins."""
    import docker  # noqa: PLC0415  # tests without containers need it not
    from docker.errors import DockerException  # noqa: PLC0415

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
    # Kept from run to run: the checkout's own `make images` then fetches nothing anew.
    if (ROOT / "wheelhouse").is_dir():
        shutil.copytree(ROOT / "wheelhouse", directory / "wheelhouse")
    made = Checkout(directory, f"hushgrid-test-{os.getpid()}")
    yield made
    made.clear()


@pytest.fixture(scope="session")
def typist(checkout: Checkout) -> Typist:
    """Who types the page there."""
    return Typist(checkout)


@pytest.fixture(scope="session")
def images(typist: Typist) -> str:
    """What the names of the built images begin with."""
    built = typist.types("make images", seconds=3000)
    assert built.returncode == 0, built.stdout[-3000:]
    shutil.copytree(typist.checkout.directory / "wheelhouse", ROOT / "wheelhouse", dirs_exist_ok=True)
    return IMAGES


@pytest.fixture(scope="session")
def up(typist: Typist, images: str) -> subprocess.CompletedProcess[str]:  # noqa: ARG001  # built before
    """What the page's first command said; its containers are stopped and still there until the page is typed on."""
    return typist.types("docker-compose up --exit-code-from check")
