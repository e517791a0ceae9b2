"""A Mosquitto with doors and the authority behind it, as children of a testbed."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from configurator.authority.authority import Authority, utc_now
from configurator.authority.mosquitto_files import BrokerFiles
from hushgrid.errors import ConfigurationError
from hushgrid.wire.access import CONDUCTED_DOORS
from hushgrid.wire.role import Role
from testbed.brokers.broker import RunningBroker, listens_on, mosquitto_path
from testbed.brokers.engines import free_ports
from testbed.brokers.entrance import Entrance, door_ports
from testbed.processes import Child, Supervisor

LABEL = "Mosquitto with mutual TLS, a door for each role, nobody anonymous"
_READY_SECONDS = 20.0


async def start_secure_broker(
    supervisor: Supervisor, directory: Path, grid: str, port: int | None, certificate_seconds: float
) -> RunningBroker:
    """Start an authority and a Mosquitto with its doors, on free ports or from `port` on, and wait until both listen.

    certificate_seconds: life of the agents' certificates. ConfigurationError when they do not start.
    """
    program = mosquitto_path()
    if program is None:
        raise ConfigurationError("--secure needs Mosquitto, which is not installed")
    serving, *doors = free_ports(1 + len(CONDUCTED_DOORS))  # drawn at once: they differ
    ports = door_ports(port, doors)
    state, place = directory / "authority", directory / "broker"
    user = "root" if os.geteuid() == 0 else None
    files = BrokerFiles(
        grid, PurePosixPath(place.resolve()), ports, address="127.0.0.1", storage=None, user=user, conducted=True
    )
    authority = Authority(state)
    authority.write_broker(files, place, ["127.0.0.1", "localhost"], utc_now())
    authority.close()
    options = [
        "--state",
        str(state),
        "--grid",
        grid,
        "--listen",
        "127.0.0.1",
        "--port",
        str(serving),
        "--host",
        "127.0.0.1",
    ]
    options += ["--certificate-days", str(certificate_seconds / 86_400)]
    command = [sys.executable, "-m", "testbed.command", "enrol", "serve", *options]
    door = await supervisor.start("authority", "authority", command, directory / "log" / "authority.log")
    child = await supervisor.start(
        "broker", "broker", [program, "-c", str(place / "mosquitto.conf")], directory / "broker.log", restarts=0
    )
    await _until_listening(door, [serving])
    await _until_listening(child, ports.values())
    entrance = Entrance.make("127.0.0.1", ports, f"tls://127.0.0.1:{serving}", state, directory / "conductor")
    return RunningBroker((entrance.urls[Role.CONDUCTOR],), LABEL, entrance=entrance)


async def _until_listening(child: Child, ports: Iterable[int]) -> None:
    """Return once a child listens on all these ports; ConfigurationError when it does not."""
    try:
        async with asyncio.timeout(_READY_SECONDS):
            while not all(listens_on(child.pid, port) for port in ports):
                if not child.running:
                    raise ConfigurationError(f"the {child.role} did not start: {child.last_line()}")
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise ConfigurationError(f"the {child.role} does not listen: {child.last_line()}") from None
