"""docs/containers.md: every command typed on a clean checkout, and what it promises looked at.

What a command is to do is said here, by how it stands on the page; one that nobody says anything about fails by name.
"""

from __future__ import annotations

import io
import os
import random
import re
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.containers.checkout import IMAGES, ROLES, Checkout
from support.containers.typist import PAGE, Typist, typed

if TYPE_CHECKING:
    import docker

DASHBOARD = "docker-compose --profile dashboard up"
INSPECT = (
    "docker inspect --format '{{.Name}}: {{.State.Status}}, exit {{.State.ExitCode}}, out of memory: {{.State.OOMKilled}}, "
    "restarts: {{.RestartCount}}' $(docker-compose ps --all --quiet)"
)
#: What is not typed here, and why.
NOT_TYPED = {
    "docker compose": "a name for Compose v2, not a command; where there is no other, it is what runs as docker-compose here",
    "hushgrid enrol serve": "it stays up: it is what the service `authority` runs, which the first run is asked for",
    "make lock": "it takes the newest packages of that day from their index: other images than those of this commit",
}
_DEADLINE_SECONDS = 1200.0


@dataclass(frozen=True, slots=True)
class Site:
    """Where the page is typed, and Docker itself, to look at what a command did."""

    typist: Typist
    engine: docker.DockerClient
    directory: Path

    @property
    def checkout(self) -> Checkout:
        return self.typist.checkout

    def types(self, line: str) -> str:
        """What a command says that ends well."""
        done = self.typist.types(line)
        assert done.returncode == 0, f"{PAGE}: {line}\n{done.stdout[-4000:]}"
        return done.stdout

    def containers(self, service: str) -> list[Any]:
        """Those of a service that are there, running or not."""
        labels = [f"com.docker.compose.{name}" for name in ("project", "service")]
        wanted = [f"{label}={value}" for label, value in zip(labels, (self.checkout.project, service), strict=True)]
        found: list[Any] = self.engine.containers.list(all=True, filters={"label": wanted})
        return found


@pytest.fixture
def site(typist: Typist, engine: docker.DockerClient, images: str, tmp_path: Path) -> Site:  # noqa: ARG001  # built before
    return Site(typist, engine, tmp_path)


def exact(said: str, households: int, seed: int, rounds: int) -> None:
    """Every window was released, and every sum is the truth."""
    assert f"{households} households, constructed (not measured); seed {seed};" in said, said[-4000:]
    (windows,) = re.findall(r"(\d+) windows: \1 released, 0 wrong, 0 unrecovered, 0 withheld", said)
    assert int(windows) > 0
    assert "Every released sum equals the truth to the watt-hour." in said
    assert f"round {rounds} of {rounds}" in said


def base_images_are_there(site: Site, line: str) -> None:
    site.types(line)
    for name in ("python:3.11-slim-bookworm", "eclipse-mosquitto:2"):
        assert site.engine.images.get(name).tags


def images_are_built(site: Site, line: str) -> None:
    site.types(line)
    for role in ROLES:
        assert site.engine.images.get(f"{IMAGES}-{role}").tags


def everything_is_exact(site: Site, line: str) -> None:
    exact(site.types(line), 20, 1, 8)
    (authority,) = site.containers("authority")
    assert authority.attrs["Args"][2:5] == ["testbed", "enrol", "serve"]  # `hushgrid enrol serve`


def forty_households_are_exact(site: Site, line: str) -> None:
    exact(site.types(line), 40, 1, 8)
    assert len(site.containers("meter")) == 40


def losses_are_made_good(site: Site, line: str) -> None:
    exact(site.types(line), 20, 7, 24)


def nothing_is_left(site: Site, line: str) -> None:
    """Of what the runs before it have made: containers, volumes and networks."""
    assert set(site.checkout.left(site.engine)) == {"containers", "volumes", "networks"}
    site.types(line)
    assert site.checkout.left(site.engine) == {}


def the_dashboard_shows_every_sum(site: Site, line: str) -> None:
    """With everybody telling what they do; all stay up after the check, until the person stops them."""
    output = site.directory / "said"
    began = time.monotonic()
    process = site.typist.begins(line, output, LOG_LEVEL="INFO")
    try:
        rows: list[str] = []
        while len(rows) < 20 or not re.search("check.1 exited", output.read_text()):
            assert process.poll() is None, output.read_text()[-4000:]
            assert time.monotonic() < began + _DEADLINE_SECONDS, output.read_text()[-4000:]
            time.sleep(0.5)
            rows = re.findall(r"^\S*dashboard\S* .* Wh; .*$", output.read_text(), re.MULTILINE)
        up = {service: [each.status for each in site.containers(service)] for service in ("meter", "ppn-1", "broker")}
    finally:
        os.killpg(process.pid, signal.SIGINT)
        process.wait(120)
    said = output.read_text()
    exact(said, 20, 1, 8)
    assert len(rows) == 20
    assert all("20 of 20 readings" in row for row in rows if "consumer-1 sum-1" in row)
    assert up == {"meter": ["running"] * 20, "ppn-1": ["running"], "broker": ["running"]}
    assert re.search(r"^\S*ppn-1\S* .*INFO", said, re.MULTILINE)
    assert [each for each in site.containers("ppn-1") if each.status == "running"] == []


def everybody_tells(_site: Site, _line: str) -> None:
    """Played with the dashboard."""


def set_up_says_what_it_wrote(site: Site, line: str) -> None:
    assert "20 households, constructed (not measured); seed 1; " in site.types(line)


def everybody_is_listed(site: Site, line: str) -> None:
    listed = site.types(line)
    assert all(service in listed for service in ("broker", "authority", "setup", "check", "consumer-3", "meter"))
    assert "restarting" not in listed.lower()


def the_broker_has_nothing_to_say(site: Site, line: str) -> None:
    """All was well: the test of a broker that cannot run is in tests/deployment/test_compose.py."""
    assert "rror" not in site.types(line)


def everybodys_end_is_told(site: Site, line: str) -> None:
    told = site.types(line).splitlines()
    assert len(told) == len(site.checkout.left(site.engine)["containers"])
    (check,) = [each for each in told if "check" in each]
    assert check.endswith(": exited, exit 0, out of memory: false, restarts: 0")


def figures_are_in_the_volume(site: Site, line: str) -> None:
    for name in {f"{IMAGES}-experiments:latest"} & {tag for image in site.engine.images.list() for tag in image.tags}:
        site.engine.images.remove(name)  # another commit's
    assert "best found: by the exact solver" in site.types(line)
    assert site.containers("experiments") == []
    volume = {f"{site.checkout.project}_results": {"bind": "/results", "mode": "ro"}}
    looking = site.engine.containers.create(f"{IMAGES}-experiments", volumes=volume)
    try:
        with tarfile.open(fileobj=io.BytesIO(b"".join(looking.get_archive("/results/out/minppn")[0]))) as results:
            kept = {Path(entry.name).suffix for entry in results.getmembers() if entry.isfile() and entry.size}
    finally:
        looking.remove()
    assert kept >= {".png", ".svg"}


def nothing_is_left_of_the_profiles_either(site: Site, line: str) -> None:
    before = site.checkout.left(site.engine)
    assert any("dashboard" in name for name in before["containers"])
    assert f"{site.checkout.project}_results" in before["volumes"]
    nothing_is_left(site, line)


def harms_leave_sums_exact_or_absent(site: Site, line: str) -> None:
    said = site.types(line)
    for harm in ("ppn-1: kill", "ppn-2: pause", "ppn-2: resume", "broker: cut", "broker: back in the network"):
        assert harm in said
    (released,) = re.findall(r"\d+ windows: (\d+) released, 0 wrong", said)
    assert int(released) > 0
    assert leftovers(site) == []


def leftovers(site: Site) -> list[str]:
    """The containers that testbeds of this machine have left, or are running with."""
    return [each.name for each in site.engine.containers.list(all=True, filters={"label": "hushgrid.testbed"})]


def leftovers_are_removed(site: Site, line: str) -> None:
    assert leftovers(site) == [], "somebody else's testbed runs on this machine: the command would end it"
    left = site.engine.containers.create(f"{IMAGES}-meter", labels={"hushgrid.testbed": "killed"})
    assert leftovers(site) == [left.name]
    site.types(line)
    assert leftovers(site) == []


def dockers_interface_is_installed(site: Site, line: str) -> None:
    """Into an environment of the checkout's own."""
    python = site.checkout.directory / ".venv/bin/python"
    subprocess.run([sys.executable, "-m", "venv", python.parents[1]], check=True)
    site.types(line)
    found = "import docker, hushgrid; print(docker.__version__, hushgrid.__file__)"
    bare = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    said = subprocess.run([python, "-c", found], env=bare, cwd="/", capture_output=True, text=True, check=True).stdout
    assert int(said.partition(".")[0]) >= 7
    assert said.split()[1] == str(site.checkout.directory / "hushgrid/__init__.py")


#: How a command stands on the page, and what it is to have done; typed in this order.
PROMISES: dict[str, Callable[[Site, str], None]] = {
    "tests/deployment/base-images.sh": base_images_are_there,
    "make images": images_are_built,
    "docker-compose up --exit-code-from check": everything_is_exact,
    "docker-compose up --exit-code-from check --scale meter=40": forty_households_are_exact,
    "ROUNDS=24 SEED=7 LOSS=0.02 docker-compose up --exit-code-from check": losses_are_made_good,
    "docker-compose down --volumes": nothing_is_left,
    DASHBOARD: the_dashboard_shows_every_sum,
    "LOG_LEVEL=INFO docker-compose up ...": everybody_tells,
    "docker-compose logs setup": set_up_says_what_it_wrote,
    "docker-compose ps --all": everybody_is_listed,
    "docker-compose logs --tail 5 broker": the_broker_has_nothing_to_say,
    INSPECT: everybodys_end_is_told,
    "docker-compose run --rm experiments minppn": figures_are_in_the_volume,
    "docker-compose --profile dashboard --profile experiments down --volumes": nothing_is_left_of_the_profiles_either,
    "hushgrid testbed --runtime docker --secure --rounds 12 --kill ppn-1@2 --pause ppn-2@3-5 --cut broker@7-8": harms_leave_sums_exact_or_absent,  # noqa: E501  # as on the page
    "docker rm -f $(docker ps -aq --filter label=hushgrid.testbed)": leftovers_are_removed,
    ".venv/bin/pip install -e '.[docker]'": dockers_interface_is_installed,
}


#: Whole runs that need nothing of each other. One of them is typed, drawn from the commit; with --long all are.
WHOLE_RUNS = (
    "docker-compose up --exit-code-from check --scale meter=40",
    "ROUNDS=24 SEED=7 LOSS=0.02 docker-compose up --exit-code-from check",
    "hushgrid testbed --runtime docker --secure --rounds 12 --kill ppn-1@2 --pause ppn-2@3-5 --cut broker@7-8",
)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Which commands are typed: in the page's order, as some take up what those before them left."""
    from conftest import commit  # noqa: PLC0415

    if "line" in metafunc.fixturenames:
        drawn = WHOLE_RUNS if metafunc.config.getoption("--long") else (random.Random(commit()).choice(WHOLE_RUNS),)
        metafunc.parametrize("line", [line for line in PROMISES if line not in WHOLE_RUNS or line in drawn])


def test_every_command_of_the_page_is_typed_or_named_with_the_reason() -> None:
    assert sorted(typed()) == sorted([*PROMISES, *NOT_TYPED])
    assert set(WHOLE_RUNS) < set(PROMISES)
    assert list(NOT_TYPED) == ["docker compose", "hushgrid enrol serve", "make lock"]


def test_what_is_not_on_the_page_is_not_typed(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="tells nobody to type docker-compose up --force"):
        Typist(Checkout(tmp_path, "nobody")).begins("docker-compose up --force")


@pytest.mark.system
@pytest.mark.machine
@pytest.mark.timeout(3600)
def test_a_command_of_the_page_does_what_it_promises(line: str, site: Site) -> None:
    PROMISES[line](site, line)
