"""deploy/compose.cluster.yml on a clean checkout: three NATS nodes in the place of Mosquitto."""

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


def test_three_nodes_come_up_with_a_leader_and_nobody_ends(cluster: Checkout, engine: docker.DockerClient) -> None:
    """What sums come to on three nodes is played in tests/testbed; here, that the shipped files make a cluster of containers."""
    begun = cluster.compose(*FILES, "up", "--detach", "--scale", "meter=15")
    assert begun.returncode == 0, begun.stderr[-4000:]

    def container(service: str) -> docker.models.containers.Container:
        labels = [f"com.docker.compose.project={cluster.project}", f"com.docker.compose.service={service}"]
        (found,) = engine.containers.list(all=True, filters={"label": labels})
        return found

    end, unseen = time.monotonic() + _DEADLINE_SECONDS, {"broker", "broker-2", "broker-3"}
    while unseen:
        states = {service: container(service).attrs["State"]["Health"]["Status"] for service in unseen}
        assert time.monotonic() < end, states
        unseen = {service for service, health in states.items() if health != "healthy"}
        time.sleep(0.2)
    logs = container("setup").logs().decode()
    assert "15 households" in logs
    assert "for the broker at mqtt://broker:1883" in logs
    for service in ("authority", "setup", "broker", "broker-2", "broker-3"):
        attributes = container(service).attrs
        assert (attributes["State"]["Status"], attributes["RestartCount"]) == ("running", 0), service
