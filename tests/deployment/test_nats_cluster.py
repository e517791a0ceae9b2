"""Three nodes with the shipped nats.conf and the certificates of `hushgrid enrol nats`: a cluster that agents use and cannot join."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import urllib.request
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner
from support import ROOT

from configurator.authority.authority import Authority, utc_now, write_secret
from configurator.authority.command import enrol
from hushgrid.shell.transport import MqttTransport, TlsFiles
from hushgrid.wire.role import Role
from testbed.brokers.engines import free_ports, program
from testbed.processes import Supervisor

SHIPPED = ROOT / "deploy" / "kubernetes" / "brokers" / "nats.conf"
DEADLINE_SECONDS = 120.0


@dataclass(frozen=True)
class Node:
    mqtt: int
    route: int
    own: int
    health: int

    @property
    def ready(self) -> bool:
        """Healthy, in a cluster of three that has a leader."""
        try:
            self._asked("healthz")
            cluster = json.loads(self._asked("jsz"))["meta_cluster"]
        except (OSError, KeyError):
            return False
        return bool(cluster.get("leader")) and cluster["cluster_size"] == 3

    def _asked(self, what: str) -> bytes:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.health}/{what}", timeout=2) as answer:
            return bytes(answer.read())


def configuration(node: Node, nodes: list[Node], place: Path, store: Path) -> str:
    text = SHIPPED.read_text(encoding="utf-8")
    changed = {
        "/etc/nats/tls": str(place),
        '"/data"': f'"{store}"',
        "0.0.0.0:8883": f"127.0.0.1:{node.mqtt}",
        "0.0.0.0:6222": f"127.0.0.1:{node.route}",
        "127.0.0.1:4222": f"127.0.0.1:{node.own}",
        "0.0.0.0:8222": f"127.0.0.1:{node.health}",
        **{f"nats-{at}.nats-nodes:6222": f"localhost:{each.route}" for at, each in enumerate(nodes)},
    }
    for shipped, here in changed.items():
        assert shipped in text, shipped
        text = text.replace(shipped, here)
    return text


@pytest.fixture
def certificates(tmp_path: Path) -> Path:
    """Of `hushgrid enrol nats`, beside the authority and a meter's own."""
    for command in (
        ["deployment", "--output", str(tmp_path / "grid")],
        ["nats", "--state", str(tmp_path / "grid" / "authority"), "--output", str(tmp_path / "tls"), "--host", "localhost"],
    ):  # fmt: skip
        done = CliRunner().invoke(enrol, command)
        assert done.exit_code == 0, done.output
    authority = Authority(tmp_path / "grid" / "authority")
    key, signed = authority.issue("meter-1", Role.METER, "a", utc_now())
    authority.close()
    write_secret(tmp_path / "meter.pem", key + signed.certificate.encode())
    return tmp_path / "tls"


@pytest.fixture
async def cluster(needs_engine: Callable[[str], None], certificates: Path, tmp_path: Path) -> AsyncIterator[list[Node]]:
    needs_engine("nats-cluster")
    ports = free_ports(12)
    nodes = [Node(*ports[4 * at : 4 * at + 4]) for at in range(3)]
    supervisor = Supervisor()
    try:
        children = []
        for at, node in enumerate(nodes):
            file = tmp_path / f"nats-{at}.conf"
            file.write_text(configuration(node, nodes, certificates, tmp_path / f"data-{at}"), encoding="utf-8")
            command = [program("nats-server") or "nats-server", "-c", str(file)]
            command = ["env", f"POD_NAME=nats-{at}", *command]
            children.append(
                await supervisor.start(f"nats-{at}", "broker", command, tmp_path / f"nats-{at}.log", restarts=0)
            )
        async with asyncio.timeout(DEADLINE_SECONDS):
            while not all([await asyncio.to_thread(lambda node=node: node.ready) for node in nodes]):
                assert all(child.running for child in children), [child.last_line() for child in children]
                await asyncio.sleep(0.2)
        yield nodes
    finally:
        await supervisor.stop_all()


def greeting(port: int, context: ssl.SSLContext) -> bytes:
    """What a node says on its route's port to whoever shows this certificate; SSLError when it is refused."""
    with (
        socket.create_connection(("127.0.0.1", port), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as sealed,
    ):
        return sealed.recv(5)


async def test_the_cluster_has_a_leader_agents_come_in_and_no_agent_passes_for_a_node(
    cluster: list[Node], certificates: Path, tmp_path: Path
) -> None:
    trust, meter = tmp_path / "grid" / "agents" / "configurator" / "broker-ca.pem", tmp_path / "meter.pem"
    for node in cluster:
        url = f"mqtts://localhost:{node.mqtt}"
        async with MqttTransport(url, "a", tls=TlsFiles(trust, meter, None), lasting=False) as transport:
            await transport.connected(DEADLINE_SECONDS)
    context = ssl.create_default_context(cafile=trust)
    context.load_cert_chain(certificates / "tls.crt", certificates / "tls.key")
    assert greeting(cluster[0].route, context) == b"INFO "
    context = ssl.create_default_context(cafile=trust)
    context.load_cert_chain(meter)
    with pytest.raises(ssl.SSLError):
        greeting(cluster[0].route, context)
