"""A clean checkout with a project name of its own, and what its project has made."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import docker

IMAGES = "hushgrid-test"
ROLES = ("meter", "ppn", "consumer", "configurator", "testbed")


@dataclass(frozen=True, slots=True)
class Checkout:
    """A copy of what git tracks, with a project name of its own."""

    directory: Path
    project: str

    def compose(self, *arguments: str, seconds: float = 1800, **environment: str) -> subprocess.CompletedProcess[str]:
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
