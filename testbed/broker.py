"""The broker of a testbed: Mosquitto as a child when it is installed, the embedded one else, or one that runs already."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import shutil
import socket
import sys
from dataclasses import dataclass
from pathlib import Path

import aiomqtt
import psutil

from hushgrid.errors import ConfigurationError
from hushgrid.transport import BrokerAddress
from testbed.processes import Child, Supervisor

_READY_SECONDS = 20.0
_URL_SECONDS = 3.0
_ATTEMPTS = 3
_MOSQUITTO_CONFIGURATION = """\
# A testbed's own broker: loopback, nobody else, nothing kept.
listener {port} 127.0.0.1
allow_anonymous true
persistence false
# The default of 1000 silently drops acknowledged messages for absent agents; receipts bound the flow instead.
max_queued_messages 0
max_inflight_messages 200
# Started as root it would change its user, and with that lose the signal that ends it with the testbed.
user root
log_dest stderr
log_type error
log_type warning
"""


@dataclass(frozen=True, slots=True)
class RunningBroker:
    """url: where agents connect; label: what a person is told."""

    url: str
    label: str


def mosquitto_path() -> str | None:
    """Where Mosquitto is installed, None when it is not."""
    return shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")


def check_choice(choice: str) -> None:
    """ConfigurationError unless the choice can be followed on this machine."""
    if choice == "mosquitto" and mosquitto_path() is None:
        raise ConfigurationError("--broker mosquitto: Mosquitto is not installed; install it, or use --broker embedded")
    if choice not in ("auto", "embedded", "mosquitto"):
        BrokerAddress.parse(choice)


async def start_broker(choice: str, supervisor: Supervisor, directory: Path, port: int | None = None) -> RunningBroker:
    """Start or find the broker and wait until it answers. choice: auto, embedded, mosquitto or a URL.

    port: None for a free one. ConfigurationError when there is none to be had.
    """
    check_choice(choice)
    if choice not in ("auto", "embedded", "mosquitto"):
        problem = await _probe(BrokerAddress.parse(choice), _URL_SECONDS)
        if problem is not None:
            raise ConfigurationError(f"no broker answers at {choice}: {problem}")
        return RunningBroker(choice, f"broker at {choice}")
    program = mosquitto_path() if choice in ("auto", "mosquitto") else None
    if port is not None and _in_use(port):
        raise ConfigurationError(f"port {port} is in use")
    for attempt in range(_ATTEMPTS):
        chosen = port or free_port()
        child = await _start(program, chosen, supervisor, directory)
        problem = await _probe(BrokerAddress("127.0.0.1", chosen, secure=False), _READY_SECONDS, child)
        if problem is None:
            label = "Mosquitto" if program else "embedded amqtt, for demonstrations: it resumes nothing"
            return RunningBroker(f"mqtt://127.0.0.1:{chosen}", label)
        await supervisor.stop(child)
        if port is not None or attempt == _ATTEMPTS - 1:
            raise ConfigurationError(f"the broker did not start on port {chosen}: {child.last_line() or problem}")
    raise AssertionError


async def _start(program: str | None, port: int, supervisor: Supervisor, directory: Path) -> Child:
    if program is None:
        command = [sys.executable, "-m", "testbed.embedded_broker", "--port", str(port)]
    else:
        command = [program, "-c", str(_write_configuration(directory, port))]
    return await supervisor.start("broker", "broker", command, directory / "broker.log", restarts=0)


def _write_configuration(directory: Path, port: int) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    configuration = directory / "mosquitto.conf"
    configuration.write_text(_MOSQUITTO_CONFIGURATION.format(port=port), encoding="ascii")
    return configuration


def _in_use(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
        return False


def free_port() -> int:
    """A port of loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def _probe(address: BrokerAddress, deadline_seconds: float, child: Child | None = None) -> str | None:
    """None once the broker accepts an MQTT connection; otherwise what kept it from doing so."""
    loop = asyncio.get_running_loop()
    end = loop.time() + deadline_seconds
    problem = "no answer"
    while True:
        if child is not None and not child.running:
            return "it ended"
        # Another program's broker may have taken the port first: only what the child itself listens on counts.
        if child is None or _listens(child.pid, address.port):
            try:
                identifier = f"probe-{secrets.token_hex(4)}"
                async with aiomqtt.Client(address.host, address.port, identifier=identifier, timeout=2):
                    return None
            except aiomqtt.MqttError as error:
                problem = str(error)
        if loop.time() > end:
            return problem
        await asyncio.sleep(0.05)


def _listens(pid: int, port: int) -> bool:
    with contextlib.suppress(psutil.Error):
        connections = psutil.Process(pid).net_connections("tcp")
        return any(c.status == psutil.CONN_LISTEN and c.laddr.port == port for c in connections)
    return False
