"""What a meter's connection costs its broker, for `hushgrid experiment scaling`: memory while it is idle, CPU to open it."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
import urllib.parse
from pathlib import Path

import psutil

from configurator.authority.authority import Authority, utc_now
from hushgrid.errors import ConfigurationError
from hushgrid.shell.transport import TlsFiles
from hushgrid.wire.role import Role
from testbed.brokers.entrance import Entrance
from testbed.brokers.secure import start_secure_broker
from testbed.processes import Supervisor

_GRID, _SETTLE_SECONDS = "scaling", 0.5
#: Fewer than the 1,024 files that a process may have open.
_CONNECTIONS = 400
#: MQTT 3.1.1's first packets: clean session, ten minutes to keep alive, the name from the certificate; and its acceptance.
_CONNECT, _ACCEPTED = b"\x10\x0c\x00\x04MQTT\x04\x02\x02\x58\x00\x00", b"\x20\x02\x00\x00"


def cpu_seconds(nodes: list[psutil.Process]) -> float:
    """Of all these processes together, so far."""
    return sum(sum(node.cpu_times()[:2]) for node in nodes)


def _certified(entrance: Entrance, directory: Path, meters: int) -> list[TlsFiles]:
    """A key and a certificate for each of so many meters: the broker keeps one connection per name."""
    directory.mkdir()
    authority, now, files = Authority(entrance.authority), utc_now(), []
    try:
        for n in range(meters):
            key, signed = authority.issue(f"m{n}", Role.METER, f"meter-{n}", now)
            path = directory / f"{n}.pem"
            path.write_bytes(key + signed.certificate.encode())
            files.append(TlsFiles(entrance.tls.ca, path, None))
    finally:
        authority.close()
    return files


def _connected(url: str, files: TlsFiles) -> ssl.SSLSocket:
    """One connection with mutual TLS, accepted by the broker; no session of another is resumed."""
    address = urllib.parse.urlsplit(url)
    plain = socket.create_connection((address.hostname, address.port))
    secured = files.context().wrap_socket(plain, server_hostname=address.hostname)
    secured.sendall(_CONNECT)
    if secured.recv(len(_ACCEPTED)) != _ACCEPTED:
        raise ConfigurationError("the broker does not accept a connection")
    return secured


def _connections(url: str, files: list[TlsFiles], node: psutil.Process) -> dict[str, float]:
    """Memory and CPU of the broker for one idle connection; a quarter are opened first and bear what is paid once."""
    first = len(files) // 4
    opened = [_connected(url, each) for each in files[:first]]
    time.sleep(_SETTLE_SECONDS)
    resident, began = node.memory_info().rss, cpu_seconds([node])
    opened += [_connected(url, each) for each in files[first:]]
    time.sleep(_SETTLE_SECONDS)
    bytes_more, seconds = node.memory_info().rss - resident, cpu_seconds([node]) - began
    held = sum(link.status == psutil.CONN_ESTABLISHED for link in node.net_connections())
    for connection in opened:
        connection.close()
    if held < len(files):
        raise ConfigurationError(f"the broker holds {held} of {len(files)} connections")
    counted = len(files) - first
    return {"connection_bytes": bytes_more / counted, "handshake_microseconds": seconds / counted * 1e6}


async def connection_costs(directory: Path, connections: int = _CONNECTIONS) -> dict[str, float]:
    """connection_bytes and handshake_microseconds of a Mosquitto with the doors of a deployed grid."""
    supervisor = Supervisor()
    try:
        broker = await start_secure_broker(supervisor, directory, _GRID, None, 86_400)
        if broker.entrance is None:
            raise ConfigurationError("the broker has no doors")
        (pid,) = [child.pid for child in supervisor.children if child.role == "broker"]
        files = _certified(broker.entrance, directory / "meters", connections)
        url = broker.entrance.urls[Role.METER]
        return await asyncio.to_thread(_connections, url, files, psutil.Process(pid))
    finally:
        await supervisor.stop_all()
