"""docker-compose.yml on a clean checkout: up, exact, hardened."""

from __future__ import annotations

import dataclasses
import re

import docker
import pytest

pytestmark = [pytest.mark.system, pytest.mark.machine, pytest.mark.timeout(3600)]

AGENTS = (
    "configurator",
    "ppn-1",
    "ppn-2",
    "ppn-3",
    "ppn-4",
    "ppn-5",
    "consumer-1",
    "consumer-2",
    "consumer-3",
    "meter",
)


#: Where somebody is ill it does not matter how many meters there are: no fewer are played.
FEWEST = ("--scale", "meter=15")


@pytest.fixture
def containers(up, engine: docker.DockerClient, checkout) -> dict[str, list[dict]]:
    """Everything about the run's containers, by service."""
    assert up.returncode == 0
    found: dict[str, list[dict]] = {}
    for container in engine.containers.list(
        all=True, filters={"label": f"com.docker.compose.project={checkout.project}"}
    ):
        found.setdefault(container.labels["com.docker.compose.service"], []).append(container.attrs)
    return found


def test_a_clean_checkout_comes_up_and_every_sum_is_exact(up):
    said = up.stdout
    assert up.returncode == 0, said[-4000:]
    assert "20 windows: 20 released, 0 wrong, 0 unrecovered, 0 withheld" in said
    assert "Every released sum equals the truth to the watt-hour." in said
    assert len(re.findall(r" exact$", said, re.MULTILINE)) == 20


def test_up_prints_what_matters_and_no_warning(up):
    """Nobody but set-up and the check has anything to say of a run in which all is well."""
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in up.stdout.splitlines()]
    said = [line for line in lines if re.match(r"\S+ +\| ", line)]
    assert len(said) < 100, said
    assert not [line for line in said if re.search(r"INFO|[Ww]arning|ACL", line)]


def test_everybody_came_in_through_a_door_with_a_certificate(up, containers, engine):
    broker = engine.containers.get(containers["broker"][0]["Id"])
    archive = b"".join(broker.get_archive("/mosquitto/config/mosquitto.conf")[0]).decode()
    doors = archive.split("\nlistener ")[1:]
    assert len(doors) == 5
    for door in doors:
        assert "require_certificate true" in door
        assert "allow_anonymous false" in door
    said = up.stdout
    assert "mqtts://broker:888" in said
    assert "mqtt://broker" not in said


def test_no_container_is_root_or_can_write_to_its_root_or_has_a_capability(containers):
    assert set(containers) >= {*AGENTS, "broker", "authority", "setup", "check"}
    assert len(containers["meter"]) == 20
    for service, running in containers.items():
        for attrs in running:
            host, config = attrs["HostConfig"], attrs["Config"]
            uid = config["User"].partition(":")[0]
            assert uid == ("1883" if service == "broker" else "10001"), service
            assert host["ReadonlyRootfs"], service
            assert host["CapDrop"] == ["ALL"], service
            assert not host["CapAdd"], service
            assert not host["Privileged"], service
            assert [option.partition("=")[0].partition(":")[0] for option in host["SecurityOpt"]] == [
                "no-new-privileges"
            ]
            assert host["Memory"] > 0, service
            assert host["PidsLimit"] > 0, service
            assert not host["Binds"] or all(not bind.startswith("/") for bind in host["Binds"]), service


def test_agents_are_watched_restarted_limited_and_see_their_own_volume_only(containers):
    for service in AGENTS:
        for attrs in containers[service]:
            assert attrs["HostConfig"]["RestartPolicy"]["Name"] == "unless-stopped"
            assert attrs["HostConfig"]["NanoCpus"] > 0
            assert attrs["Config"]["Healthcheck"]["Test"][0] == "CMD"
            volumes = [mount["Name"] for mount in attrs["Mounts"] if mount["Type"] == "volume"]
            assert len(volumes) == 1
            assert volumes[0].endswith("meters" if service == "meter" else service)


def test_the_meters_image_is_small(images, engine):
    base = engine.images.get("python:3.11-slim-bookworm").attrs["Size"]
    meter = engine.images.get(f"{images}-meter").attrs["Size"]
    assert meter - base < 120e6


@pytest.mark.usefixtures("images")
def test_an_agent_that_cannot_run_is_named_with_its_reason(checkout, tmp_path):
    broken = tmp_path / "broken.yml"
    broken.write_text('services: {ppn-2: {command: ["--config", "/var/lib/hushgrid/absent.toml"]}}\n', encoding="ascii")
    ill = dataclasses.replace(checkout, project=f"{checkout.project}-ill")
    files = ("-f", "docker-compose.yml", "-f", str(broken))
    try:
        up = ill.compose(*files, "up", "--exit-code-from", "check", *FEWEST, seconds=1500)
        said = up.stdout + up.stderr
        assert up.returncode not in (0, None), said[-4000:]
        assert re.search(r"ppn-2\S* .*absent\.toml: No such file or directory", said), said[-4000:]
    finally:
        ill.compose("down", "--volumes", "--timeout", "5")


#: Its access file is not there.
BROKEN = """services:
  broker:
    entrypoint: [sh, -c]
    command:
      - sed 's|^acl_file .*|acl_file /mosquitto/config/absent.acl|' /mosquitto/config/mosquitto.conf > /tmp/broken.conf;
        exec /usr/sbin/mosquitto -c /tmp/broken.conf
"""


@pytest.mark.usefixtures("images")
def test_a_broker_that_ends_before_the_check_runs_is_named_with_its_reason(checkout, tmp_path):
    broken = tmp_path / "broken.yml"
    broken.write_text(BROKEN, encoding="ascii")
    ill = dataclasses.replace(checkout, project=f"{checkout.project}-door")
    try:
        up = ill.compose(
            "-f", "docker-compose.yml", "-f", str(broken), "up", "--exit-code-from", "check", *FEWEST, seconds=1500
        )
        said = up.stdout + up.stderr
        assert up.returncode != 0, said[-4000:]
        assert re.search(r"broker\S* .*Unable to open acl_file \"/mosquitto/config/absent.acl\"", said), said[-4000:]
        assert re.search(r"broker\S* exited with code 13", said), said[-4000:]
    finally:
        ill.compose("down", "--volumes", "--timeout", "5")


@pytest.mark.usefixtures("images")
def test_an_agent_that_runs_and_gets_nowhere_is_named_by_the_check(checkout, tmp_path):
    broken = tmp_path / "broken.yml"
    broken.write_text('services: {ppn-2: {entrypoint: ["sleep", "3600"], command: []}}\n', encoding="ascii")
    ill = dataclasses.replace(checkout, project=f"{checkout.project}-mute")
    try:
        up = ill.compose(
            "-f", "docker-compose.yml", "-f", str(broken), "up", "--exit-code-from", "check", *FEWEST, seconds=1500
        )
        said = up.stdout + up.stderr
        assert up.returncode == 1, said[-4000:]
        assert "ppn-2 is not healthy: its container runs and nothing came from it to the broker" in said
        assert "waiting for answers to the rules of" in said
    finally:
        ill.compose("down", "--volumes", "--timeout", "5")


#: What is wrong with a volume, and what is said of it.
UNUSABLE = {
    "read-only": ("ppn-2:/deployment/ppn-2:ro", "the volume ppn-2 cannot be written: Read-only file system"),
    "another's": (
        "root:/deployment/ppn-2",
        "the volume ppn-2 cannot be written: Permission denied; it belongs to user 0, and set-up is user 10001",
    ),
}


@pytest.mark.parametrize("what", UNUSABLE)
@pytest.mark.usefixtures("images")
def test_a_volume_that_set_up_cannot_write_is_named_by_set_up_and_the_check(what, checkout, engine, tmp_path):
    volume, reason = UNUSABLE[what]
    broken = tmp_path / "broken.yml"
    broken.write_text(f'services: {{setup: {{volumes: ["{volume}"]}}}}\nvolumes: {{root: {{}}}}\n', encoding="ascii")
    ill = dataclasses.replace(checkout, project=f"{checkout.project}-volume")
    try:
        root = {f"{ill.project}_root": {"bind": "/mnt", "mode": "rw"}}
        command = "install -d -m 700 /mnt && touch /mnt/there"
        engine.containers.run("python:3.11-slim-bookworm", ["sh", "-c", command], volumes=root, remove=True)
        files = ("-f", "docker-compose.yml", "-f", str(broken))
        up = ill.compose(*files, "up", "--exit-code-from", "check", "--scale", "meter=1", seconds=1500)
        said = up.stdout + up.stderr
        assert up.returncode == 2, said[-4000:]
        lines = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in up.stdout.splitlines()]
        told = [line.partition("| ")[2] for line in lines if re.match(r"\S+ +\| ", line)]
        assert told == [f"set-up: {reason}", f"check: set-up failed: {reason}"]
        assert "is unhealthy" not in said
    finally:
        ill.compose("-f", "docker-compose.yml", "-f", str(broken), "down", "--volumes", "--timeout", "5")


@pytest.mark.usefixtures("images")
def test_meters_that_are_too_few_end_the_run_with_the_reason_from_check(checkout):
    refused = dataclasses.replace(checkout, project=f"{checkout.project}-few")
    try:
        up = refused.compose("up", "--exit-code-from", "check", "--scale", "meter=12", seconds=1500)
        said = up.stdout + up.stderr
        assert up.returncode == 2, said[-4000:]
        assert "check: 12 meters are fewer than the minimum of 15 contributors" in said
        logs = refused.compose("logs", "setup").stdout
        assert "refused: 12 meters are fewer than the minimum of 15 contributors" in logs
        assert not refused.compose("ps", "--services", "--filter", "status=running").stdout.strip()
    finally:
        refused.compose("down", "--volumes", "--timeout", "5")
