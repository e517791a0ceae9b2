"""deploy/compose.cluster.yml on a clean checkout: three NATS nodes, one of them killed, and every sum is exact."""

from __future__ import annotations

import dataclasses
import subprocess
import time
from collections.abc import Callable, Iterator

import docker
import pytest
from support import ROOT
from support.containers.checkout import Checkout

pytestmark = [pytest.mark.system, pytest.mark.machine, pytest.mark.timeout(3600)]

FILES = ("-f", "docker-compose.yml", "-f", "deploy/compose.cluster.yml")
_DEADLINE_SECONDS = 1500.0


@pytest.fixture
def cluster(checkout: Checkout, images: str, absent: Callable[[str], None]) -> Iterator[Checkout]:  # noqa: ARG001  # built before
    """The checkout with a project of its own, where there is a NATS image."""
    found = subprocess.run(
        [ROOT / "tests" / "deployment" / "base-images.sh", "nats"], capture_output=True, text=True, check=False
    )
    if found.returncode:
        absent(found.stderr.strip())
    made = dataclasses.replace(checkout, project=f"{checkout.project}-nats")
    yield made
    made.compose(*FILES, "down", "--volumes", "--timeout", "5")


def test_a_node_is_killed_in_the_middle_of_rounds_and_every_sum_is_exact(
    cluster: Checkout, engine: docker.DockerClient
) -> None:
    begun = cluster.compose(*FILES, "up", "--detach", "--scale", "meter=15", ROUNDS="16")
    assert begun.returncode == 0, begun.stderr[-4000:]

    def container(service: str) -> docker.models.containers.Container:
        labels = [f"com.docker.compose.project={cluster.project}", f"com.docker.compose.service={service}"]
        (found,) = engine.containers.list(all=True, filters={"label": labels})
        return found

    check, end = container("check"), time.monotonic() + _DEADLINE_SECONDS
    while b"round 3 of 16" not in (said := check.logs()):
        assert container("check").status == "running", said.decode()[-4000:]
        assert time.monotonic() < end, said.decode()[-4000:]
        time.sleep(0.2)
    killed = cluster.compose(*FILES, "kill", "broker-2")
    assert killed.returncode == 0, killed.stderr
    status = check.wait(timeout=_DEADLINE_SECONDS)["StatusCode"]
    said = check.logs().decode()
    assert status == 0, said[-4000:]
    assert "40 windows: 40 released, 0 wrong, 0 unrecovered, 0 withheld" in said
    assert "Every released sum equals the truth to the watt-hour." in said
    states = {service: container(service).status for service in ("broker", "broker-2", "broker-3", "authority")}
    assert states == {"broker": "running", "broker-2": "exited", "broker-3": "running", "authority": "running"}
