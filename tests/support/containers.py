"""The images of a clean checkout, built once for all tests of containers, and who types docs/containers.md there."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support import ROOT
from support.pages import blocks

if TYPE_CHECKING:
    import docker

PAGE = "docs/containers.md"
IMAGES = "hushgrid-test"
ROLES = ("meter", "ppn", "consumer", "configurator", "testbed")
#: What a command that a sentence names begins with, behind settings such as LOG_LEVEL=INFO.
_COMMAND = re.compile(
    r"(?:[A-Z_]+=\S+ )*(?:docker|docker-compose|make|hushgrid(?:-\w+)?|\S*\bpip) \S.*|\S+/\S+\.sh\b.*", re.DOTALL
)


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

    def clear(self) -> None:
        """Remove whatever the project has made, the profiles' too."""
        self.compose("--profile", "dashboard", "--profile", "experiments", "down", "--volumes", "--timeout", "5")

    def left(self, engine: docker.DockerClient) -> dict[str, list[str]]:
        """The names of the project's containers, volumes and networks that are there; a kind of which there is none is left out."""
        ours = {"filters": {"label": f"com.docker.compose.project={self.project}"}}
        there = {
            "containers": [each.name for each in engine.containers.list(all=True, **ours)],
            "volumes": [each.name for each in engine.volumes.list(**ours)],
            "networks": [each.name for each in engine.networks.list(**ours)],
        }
        return {kind: sorted(names) for kind, names in there.items() if names}


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


def typed() -> list[str]:
    """Every command of the page, those of its sentences too, as they stand there without what is said behind them."""
    texts = [
        re.sub(r"\\\n\s*", "", block.text) for block in blocks(PAGE) if not block.path
    ]  # what is continued is one line
    lines = [re.sub(r"\s+# .*$", "", line) for text in texts for line in text.splitlines() if line]
    text = (ROOT / PAGE).read_text(encoding="utf-8")
    prose = "\n".join(line for line in text.splitlines() if not line.startswith("    "))
    named = [" ".join(words.split()) for words in re.findall(r"`([^`]+)`", prose)]
    return list(dict.fromkeys([*lines, *(words for words in named if _COMMAND.fullmatch(words))]))


@dataclass(slots=True)
class Typist:
    """Types commands of the page in the checkout, each once: whoever asks again is told what it said then."""

    checkout: Checkout
    said: dict[str, subprocess.CompletedProcess[str]] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        """A project and images of its own; the programs of the tests' environment, and docker-compose by this name."""
        shims = self.checkout.directory.parent / f"{self.checkout.directory.name}-programs"
        if compose_command() == ["docker", "compose"]:
            shims.mkdir(exist_ok=True)
            (shims / "docker-compose").write_text('#!/bin/sh\nexec docker compose "$@"\n', encoding="ascii")
            (shims / "docker-compose").chmod(0o755)
        path = os.pathsep.join((str(shims), str(Path(sys.executable).parent), os.environ["PATH"]))
        ours = {"COMPOSE_PROJECT_NAME": self.checkout.project, "IMAGES": IMAGES, "VENV": sys.prefix, "PATH": path}
        return {**os.environ, **ours}

    def begins(self, line: str, output: Path | None = None, **environment: str) -> subprocess.Popen[str]:
        """The command, running, in a process group of its own; AssertionError for one that is not on the page."""
        assert line in typed(), f"{PAGE} tells nobody to type {line}"
        into = output.open("w", encoding="utf-8") if output else subprocess.PIPE
        return subprocess.Popen(
            ["bash", "-c", line], cwd=self.checkout.directory, env={**self.environment, **environment}, text=True,
            start_new_session=True, stdin=subprocess.DEVNULL, stdout=into, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def types(self, line: str, seconds: float = 600) -> subprocess.CompletedProcess[str]:
        """What the command has said, both of its outputs in one, and its exit status."""
        if line not in self.said:
            began = time.monotonic()
            process = self.begins(line)
            try:
                output, _ = process.communicate(timeout=seconds)
            except BaseException:  # Ctrl-C too: it is in a group of its own
                os.killpg(process.pid, signal.SIGKILL)
                raise
            self.said[line] = subprocess.CompletedProcess(line, process.returncode, output)
            print(f"{time.monotonic() - began:6.1f} s  {line}")  # noqa: T201 - pytest -s shows it
        return self.said[line]


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
    built = typist.types("make images", seconds=1200)
    assert built.returncode == 0, built.stdout[-3000:]
    shutil.copytree(typist.checkout.directory / "wheelhouse", ROOT / "wheelhouse", dirs_exist_ok=True)
    return IMAGES


@pytest.fixture(scope="session")
def up(typist: Typist, images: str) -> subprocess.CompletedProcess[str]:  # noqa: ARG001  # built before
    """What the page's first command said; its containers are stopped and still there until the page is typed on."""
    return typist.types("docker-compose up --exit-code-from check")
