"""A real Mosquitto with the doors of `configurator.authority.mosquitto_files`, and whoever wants to come in."""

from __future__ import annotations

import asyncio
import datetime as dt
import os
import signal
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path, PurePosixPath

import aiomqtt
import psutil
import pytest

from configurator.authority.authority import Authority, utc_now, write_secret
from configurator.authority.mosquitto_files import BrokerFiles
from hushgrid.wire.access import CONDUCTED_DOORS, door_of
from hushgrid.wire.role import Role
from testbed.processes import Child, Supervisor

GRID = "grid"
DEADLINE_SECONDS = 120.0


def free_ports(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


class Doors:
    """The broker, the authority behind it, and certificates on disk. `window` is a listener that sees all, for the test only."""

    def __init__(self, program: str, directory: Path, supervisor: Supervisor) -> None:
        *ports, self.window = free_ports(len(CONDUCTED_DOORS) + 1)
        self.directory = directory
        self.authority = Authority(directory / "authority")
        self.files = BrokerFiles(
            GRID,
            PurePosixPath(directory / "broker"),
            dict(zip(CONDUCTED_DOORS, ports, strict=True)),
            address="127.0.0.1",
            storage=None,
            user="root" if os.geteuid() == 0 else None,
            conducted=True,
        )
        self._program = program
        self._supervisor = supervisor
        self.child: Child | None = None

    async def start(self) -> None:
        broker = self.directory / "broker"
        self.authority.write_broker(self.files, broker, ["localhost", "127.0.0.1"], utc_now())
        configuration = broker / "mosquitto.conf"
        text = configuration.read_text() + f"\nlistener {self.window} 127.0.0.1\nallow_anonymous true\n"
        configuration.write_text(text)
        (broker / "servers.pem").write_bytes(self.authority.server_trust)
        command = [self._program, "-c", str(configuration)]
        self.child = await self._supervisor.start("broker", "broker", command, broker / "log", restarts=0)
        process = psutil.Process(self.child.pid)
        async with asyncio.timeout(DEADLINE_SECONDS):
            wanted = {*self.files.ports.values(), self.window}
            while wanted - {c.laddr.port for c in process.net_connections("tcp") if c.status == psutil.CONN_LISTEN}:
                assert self.child.running, self.child.last_line()
                await asyncio.sleep(0.01)

    def reload(self) -> None:
        """What an operator does after a revocation."""
        assert self.child is not None
        os.kill(self.child.pid, signal.SIGHUP)

    def certify(
        self, agent: str, role: Role, name: str, *, by: Authority | None = None, life: dt.timedelta | None = None
    ) -> Path:
        """A PEM file with key and certificate, made on the operator's way."""
        key, signed = (by or self.authority).issue(agent, role, name, utc_now(), life or dt.timedelta(days=1))
        path = self.directory / f"{agent}.{signed.not_after}.{os.urandom(4).hex()}.pem"
        write_secret(path, key + signed.certificate.encode())
        return path

    def context(self, certificate: Path | None) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self.directory / "broker" / "servers.pem")
        context.verify_flags |= ssl.VERIFY_X509_STRICT  # as Python does by itself from 3.13 on
        if certificate is not None:
            context.load_cert_chain(certificate)
        return context

    def connection(self, door: Role, certificate: Path | None, identifier: str = "whoever") -> aiomqtt.Client:
        return aiomqtt.Client(
            "127.0.0.1",
            self.files.ports[door_of(door)],
            identifier=identifier,
            tls_context=self.context(certificate),
            protocol=aiomqtt.ProtocolVersion.V311,
            timeout=10,
        )

    def looking(self) -> aiomqtt.Client:
        """A connection that may do everything, for the test to see what went through."""
        return aiomqtt.Client("127.0.0.1", self.window, protocol=aiomqtt.ProtocolVersion.V311, timeout=10)


@pytest.fixture
async def doors(mosquitto: str, tmp_path: Path) -> AsyncIterator[Doors]:
    async with AsyncExitStack() as stack:
        supervisor = Supervisor()
        stack.push_async_callback(supervisor.stop_all)
        found = Doors(mosquitto, tmp_path, supervisor)
        stack.callback(found.authority.close)
        await found.start()
        yield found
