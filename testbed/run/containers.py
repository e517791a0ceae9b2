"""A testbed's agents as containers, driven through Docker's own interface: `hushgrid testbed --runtime docker`.

The same images as docker-compose.yml's, hardened the same way; every agent's directory is mounted from the host. The agents meet in
a network that leads nowhere; the broker is in a second one, too, by which this process reaches it whatever is done to the first.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import logging
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import docker
import psutil
from docker.errors import APIError, DockerException, ImageNotFound

from configurator.authority.mosquitto_files import PORTS
from hushgrid.errors import ConfigurationError
from hushgrid.shell.runtime import EXIT_CONFIGURATION
from hushgrid.wire.role import Role
from testbed.brokers.broker import RunningBroker
from testbed.brokers.doors import serve_command, write_doors
from testbed.brokers.engines import free_ports
from testbed.deployment import GRID
from testbed.faults import Harm
from testbed.launch import Launch
from testbed.places import AGENT_UID, AUTHORITY, BROKER, BROKER_PORT, HOME, OPEN_BROKER

#: On everything that is made here: the process it was made for, and the run.
LABEL = "hushgrid.testbed"
_BROKER_IMAGE = "eclipse-mosquitto:2"
_MOST_RESTARTS = 20
_LOOK_SECONDS = 0.3
_STOP_SECONDS = 10
_KEEPALIVE_SECONDS = 5  # who is cut off notices soon

log = logging.getLogger("hushgrid.containers")


@contextlib.contextmanager
def _plainly(subject: str) -> Iterator[None]:
    """What Docker refuses is one line that names whom it was about."""
    try:
        yield
    except DockerException as error:
        reason = getattr(error, "explanation", None) or error
        raise ConfigurationError(f"{subject}: Docker: {' '.join(str(reason).split())}") from None


@dataclass(slots=True)
class Vessel:
    """One role's container. stopping: it is not started again when it ends."""

    role: str
    id: str
    container: Any
    stopping: bool = False
    restarts: int = 0
    exit_code: int | None = None
    pid: int = 0


@dataclass(slots=True)
class Containers:
    """Starts, watches, restarts, harms and stops the containers of one testbed; the same face as `testbed.processes.Supervisor`.

    directory: of the run; each agent's own directory is a folder of it. images: what the roles' image names begin with.
    ConfigurationError when there is no Docker.
    """

    directory: Path
    images: str = field(default_factory=lambda: os.environ.get("IMAGES") or "hushgrid")
    children: list[Vessel] = field(default_factory=list)
    failure: asyncio.Future[str] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    _name: str = field(default_factory=lambda: f"hushgrid-{secrets.token_hex(4)}")
    _docker: Any = None
    _networks: dict[str, Any] = field(default_factory=dict)
    _authority_due: bool = False
    _cut_off: set[str] = field(default_factory=set)
    _watcher: asyncio.Task[None] | None = None

    def __post_init__(self) -> None:
        try:
            self._docker = docker.from_env()
            self._docker.ping()
        except DockerException as error:
            raise ConfigurationError(f"--runtime docker: Docker does not answer: {error}") from None
        with _plainly("what earlier runs left behind"):
            sweep(self._docker)

    async def start_broker(self, *, secure: bool) -> tuple[RunningBroker, RunningBroker]:
        """Start Mosquitto: as the agents reach it by name, and as this process does by a port of loopback.

        secure: with doors, and an authority in a container of its own.
        """
        return await asyncio.to_thread(self._start_broker, secure)

    @_plainly("the broker cannot be started")
    def _start_broker(self, secure: bool) -> tuple[RunningBroker, RunningBroker]:
        for name, internal in (("grid", True), ("outside", False)):
            self._networks[name] = self._docker.networks.create(
                f"{self._name}-{name}", driver="bridge", internal=internal, labels=self._labels()
            )
        place, name = self.directory / BROKER, f"{self._name}-{BROKER}"
        if secure:
            inside = write_doors(self.directory, GRID, [name, "localhost"], f"{self._name}-{AUTHORITY}")
            self._authority_due = True  # once everybody's token is good there
        else:
            place.mkdir(parents=True, exist_ok=True)
            (place / "mosquitto.conf").write_text(OPEN_BROKER, encoding="ascii")
            inside = RunningBroker((f"mqtt://{name}:{BROKER_PORT}",), "Mosquitto in a container")
        self._give(place)
        (port,) = free_ports(1)  # said, not left to Docker: it has to be the same one after a restart
        published = f"{PORTS[Role.CONDUCTOR] if secure else BROKER_PORT}/tcp"
        vessel = self._create(
            "broker", BROKER, _BROKER_IMAGE, network="outside", ports={published: ("127.0.0.1", port)},
            volumes={str(place.resolve()): {"bind": "/mosquitto/config", "mode": "ro"}},
        )  # fmt: skip
        self._networks["grid"].connect(vessel.container)
        vessel.container.start()
        return inside, replace(inside, urls=(f"mqtts://localhost:{port}" if secure else f"mqtt://127.0.0.1:{port}",))

    @_plainly("the authority cannot be started")
    def _start_authority(self) -> None:
        place = self.directory / AUTHORITY
        self._give(place)
        vessel = self._create(
            "authority", AUTHORITY, f"{self.images}-testbed", network="grid",
            command=serve_command(str(HOME), GRID, f"{self._name}-{AUTHORITY}"), healthcheck={"test": ["NONE"]},
            volumes={str(place.resolve()): {"bind": str(HOME), "mode": "rw"}},
        )  # fmt: skip
        vessel.container.start()

    async def launch(self, launch: Launch, directory: Path) -> Vessel:
        """Start an agent as it was written down."""
        if self._authority_due:
            self._authority_due = False
            await asyncio.to_thread(self._start_authority)
        if self._watcher is None:
            self._watcher = asyncio.create_task(self._watch(), name="watch containers")
        return await asyncio.to_thread(self._launch, launch, directory)

    def _launch(self, launch: Launch, directory: Path) -> Vessel:
        place = directory / launch.agent
        self._give(place)
        with _plainly(f"{launch.agent} cannot be started"):
            vessel = self._create(
                launch.role, launch.agent, f"{self.images}-{launch.role}", network="grid",
                entrypoint=["python3", "-m", launch.module], command=launch.arguments[2:],
                volumes={str(place.resolve()): {"bind": str(launch.configuration.parent), "mode": "rw"}},
                environment={"HUSHGRID_BROKER__KEEPALIVE_SECONDS": str(_KEEPALIVE_SECONDS)},
            )  # fmt: skip
            vessel.container.start()
        return vessel

    def _create(self, role: str, agent: str, image: str, *, network: str, **more: Any) -> Vessel:
        try:
            container = self._docker.containers.create(
                image, name=f"{self._name}-{agent}", labels=self._labels(), network=self._networks[network].name,
                user=f"{self._uid}:{self._uid}", read_only=True, cap_drop=["ALL"], security_opt=["no-new-privileges:true"],
                tmpfs={"/tmp": "size=16m,mode=1777,noexec,nosuid,nodev"},  # noqa: S108  # inside the container
                mem_limit="512m", nano_cpus=1_000_000_000, pids_limit=64, **more,
            )  # fmt: skip
        except ImageNotFound:
            raise ConfigurationError(f"there is no image {image}: make images") from None
        vessel = Vessel(role, agent, container)
        self.children.append(vessel)
        return vessel

    @property
    def _uid(self) -> int:
        """Whose the files are and who runs: this process's account, and nobody's when that is root."""
        return os.getuid() or AGENT_UID

    def _give(self, place: Path) -> None:
        if os.getuid() == 0:
            for path in (place, *place.rglob("*")):
                os.chown(path, self._uid, self._uid)

    def _labels(self) -> dict[str, str]:
        return {LABEL: self._name, f"{LABEL}.pid": str(os.getpid())}

    # While it runs

    async def _watch(self) -> None:
        """What ends unasked is started again, but not for exit status 2."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            try:
                reason = await asyncio.to_thread(self._restart_ended)
            except ConfigurationError as error:
                reason = str(error)
            if reason is not None and not self.failure.done():
                self.failure.set_result(reason)

    @_plainly("a container that ended cannot be started again")
    def _restart_ended(self) -> str | None:
        options = {"all": True, "filters": {"label": f"{LABEL}={self._name}", "status": "exited"}}
        ended = {container.id for container in self._docker.containers.list(**options)}
        for vessel in self.children:
            if vessel.container.id not in ended or vessel.stopping:
                continue
            vessel.container.reload()
            vessel.restarts += 1
            how = _how_it_ended(vessel.container.attrs)
            code = vessel.container.attrs["State"]["ExitCode"]
            if code == EXIT_CONFIGURATION or vessel.restarts > _MOST_RESTARTS:
                return f"{vessel.id} {how}: {_last_line(vessel.container)}"
            log.warning("%s %s and is started again", vessel.id, how)
            vessel.container.start()
        return None

    def child(self, agent: str) -> Vessel:
        """A container by its agent's id; KeyError."""
        for vessel in self.children:
            if vessel.id == agent:
                return vessel
        raise KeyError(agent)

    def hurt(self, harm: Harm, agent: str) -> None:
        """Do something to an agent's container or to the broker's; returns when it is done."""
        vessel = self.child(agent)
        with _plainly(f"{agent}: {harm.value}"):
            match harm:
                case Harm.KILL:
                    vessel.container.kill()
                case Harm.STOP:
                    vessel.stopping = True
                    vessel.container.kill()
                case Harm.PAUSE:
                    vessel.container.pause()
                case Harm.RESUME:
                    vessel.container.unpause()
                case Harm.CUT:
                    self._networks["grid"].disconnect(vessel.container)
                    self._cut_off.add(vessel.id)
                case Harm.HEAL:
                    self._networks["grid"].connect(vessel.container)
                    self._cut_off.discard(vessel.id)

    def gone(self) -> list[str]:
        """Which containers do not run now or are cut off, in words."""
        try:
            listed = self._docker.containers.list(all=True, filters={"label": f"{LABEL}={self._name}"})
        except (APIError, DockerException) as error:
            return [f"Docker does not answer: {error}"]
        states = {container.id: container.status for container in listed}
        found = []
        for vessel in self.children:
            state = states.get(vessel.container.id, "removed")
            if state != "running":
                found.append(f"{vessel.id} ({state})")
            elif vessel.id in self._cut_off:
                found.append(f"{vessel.id} (cut off)")
        return found

    # The end

    async def stop_all(self) -> None:
        """Stop everything, the agents together, the broker last, and remove it; the logs are kept in `directory/log`."""
        if self._watcher is not None:
            self._watcher.cancel()
            await asyncio.wait({self._watcher})
        await asyncio.to_thread(self._stop_all)

    def _stop_all(self) -> None:
        for vessel in self.children:
            vessel.stopping = True
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            list(pool.map(self._stop, [vessel for vessel in self.children if vessel.role != "broker"]))
        for vessel in self.children:
            if vessel.role == "broker":
                self._stop(vessel)
        for network in self._networks.values():
            with contextlib.suppress(APIError):
                network.remove()

    def _stop(self, vessel: Vessel) -> None:
        container = vessel.container
        with contextlib.suppress(APIError):
            container.reload()
            vessel.pid = container.attrs["State"]["Pid"]
            if container.attrs["State"]["Paused"]:
                container.unpause()
            container.stop(timeout=_STOP_SECONDS)
            container.reload()
            vessel.exit_code = container.attrs["State"]["ExitCode"]
        log = self.directory / "log" / f"{vessel.id}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(APIError):
            log.write_bytes(container.logs())
        with contextlib.suppress(APIError):
            container.remove(force=True, v=True)

    @_plainly("what is left running cannot be told")
    def left_running(self) -> list[int]:
        """Processes of containers of this run that still live; empty after `stop_all`."""
        left = self._docker.containers.list(filters={"label": f"{LABEL}={self._name}"})
        return [container.attrs["State"]["Pid"] for container in left]

    def rows(self) -> list[dict[str, object]]:
        """One row per container for the report."""
        return [
            {"role": v.role, "id": v.id, "pid": v.pid, "exit_code": v.exit_code, "container": v.container.name}
            for v in self.children
        ]


def sweep(engine: Any) -> None:
    """Remove what runs have left behind whose own process is gone: it was killed, and nobody stopped its containers."""

    def orphaned(thing: Any) -> bool:
        pid = thing.attrs.get("Labels") or thing.attrs["Config"]["Labels"]
        return not psutil.pid_exists(int(pid.get(f"{LABEL}.pid", 0)))

    for container in engine.containers.list(all=True, filters={"label": LABEL}):
        if orphaned(container):
            with contextlib.suppress(APIError):
                container.remove(force=True, v=True)
    for network in engine.networks.list(filters={"label": LABEL}):
        if orphaned(network):
            with contextlib.suppress(APIError):
                network.remove()


def _how_it_ended(attributes: dict[str, Any]) -> str:
    """In words; the kernel kills without one, and the status alone does not tell it from who was killed by hand."""
    if attributes["State"]["OOMKilled"]:
        return f"was killed for taking more than its {attributes['HostConfig']['Memory'] >> 20} MiB of memory"
    return f"ended with status {attributes['State']['ExitCode']}"


def _last_line(container: Any) -> str:
    said: bytes = container.logs(tail=1)
    return said.decode("utf-8", "replace").strip()
