"""The MQTT engines a testbed can start on loopback: where each is installed, its configuration, the command of every node."""

from __future__ import annotations

import abc
import shutil
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

_SYSTEM_PATH = "/usr/sbin:/usr/local/sbin:/usr/lib/rabbitmq/bin"

_MOSQUITTO_CONFIGURATION = """\
# A testbed's own broker: nobody but who reaches this address, nothing kept.
listener {port} {host}
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
_NATS_CONFIGURATION = """\
# One node of a testbed's own NATS server: loopback, nobody else. MQTT needs a server name and JetStream.
server_name: {name}
listen: "127.0.0.1:{nats_port}"
jetstream {{ store_dir: "{store}", max_memory_store: 67108864, max_file_store: 1073741824 }}
mqtt {{
  listen: "127.0.0.1:{port}"
  # What a vanished agent had in hand comes again after this long (the default is 30 s).
  ack_wait: "{ack_wait}"
  max_ack_pending: {max_ack_pending}
}}
"""
_NATS_CLUSTER = """\
cluster {{
  name: testbed
  listen: "127.0.0.1:{cluster_port}"
  routes: [{routes}]
}}
"""
#: Shares under way to one reader before NATS waits for acknowledgements; and how long it waits before it sends one again.
NATS_MAX_ACK_PENDING, NATS_ACK_WAIT = 1000, "3s"
_RABBITMQ_CONFIGURATION = """\
# A testbed's own RabbitMQ: loopback, nobody else.
listeners.tcp = none
mqtt.listeners.tcp.1 = 127.0.0.1:{port}
mqtt.allow_anonymous = false
mqtt.vhost = /
mqtt.exchange = amq.topic
mqtt.subscription_ttl = undefined
mqtt.prefetch = 200
mqtt.retained_message_store = rabbit_mqtt_retained_msg_store_ets
auth_backends.1 = internal
loopback_users = none
log.console = true
log.console.level = warning
log.file = false
"""


@dataclass(frozen=True, slots=True, repr=False)
class Account:
    """What agents log in with at a broker that lets nobody in without it."""

    user_name: str
    password: str


@dataclass(frozen=True, slots=True)
class Node:
    """One process of an engine. port: where MQTT agents connect, None for a process that serves the others only."""

    id: str
    port: int | None
    command: list[str]
    restarts: int = 0


class Engine(abc.ABC):
    """A kind of broker.

    label: what a person is told; package: what Debian calls it; account: with which agents log in, None for under their own
    names; ready_seconds: until a node must answer.
    """

    label: ClassVar[str]
    package: ClassVar[str]
    account: ClassVar[Account | None] = None
    ready_seconds: ClassVar[float] = 20.0
    #: Nodes without any one of which the engine goes on.
    spare: tuple[str, ...] = ()

    @abc.abstractmethod
    def missing(self) -> str | None:
        """What is not installed, None when the engine can be started here."""

    @abc.abstractmethod
    def nodes(self, directory: Path, port: int | None) -> list[Node]:
        """The processes to start, in order, with their configuration written; port: of the first, None for a free one."""


class Embedded(Engine):
    """amqtt, which is always there."""

    label = "embedded amqtt, for demonstrations: it resumes nothing"
    package = ""

    def missing(self) -> str | None:
        return None

    def nodes(self, directory: Path, port: int | None) -> list[Node]:  # noqa: ARG002 - it keeps nothing
        chosen = port or free_port()
        return [Node("broker", chosen, [sys.executable, "-m", "testbed.brokers.embedded", "--port", str(chosen)])]


class Mosquitto(Engine):
    """One Mosquitto. host: the address it listens on; 0.0.0.0 for all of this machine's."""

    label = "Mosquitto"
    package = "mosquitto"

    def __init__(self, host: str = "127.0.0.1") -> None:
        self._host = host

    def missing(self) -> str | None:
        return None if program("mosquitto") else "Mosquitto"

    def nodes(self, directory: Path, port: int | None) -> list[Node]:
        chosen = port or free_port()
        configuration = _written(
            directory / "mosquitto.conf", _MOSQUITTO_CONFIGURATION.format(port=chosen, host=self._host)
        )
        return [Node("broker", chosen, [program("mosquitto") or "mosquitto", "-c", str(configuration)])]


class Nats(Engine):
    """NATS server with its MQTT gateway: one node, or a cluster that goes on without the smaller half of its nodes."""

    package = "nats-server"
    ready_seconds = 40.0

    def __init__(self, count: int) -> None:
        self._count = count
        self.spare = tuple(f"broker-{number}" for number in range(1, count + 1)) if count > 2 else ()

    @property
    def label(self) -> str:  # type: ignore[override]
        """What a person is told."""
        return "NATS server" if self._count == 1 else f"NATS cluster of {self._count} nodes"

    def missing(self) -> str | None:
        return None if program("nats-server") else "nats-server"

    def nodes(self, directory: Path, port: int | None) -> list[Node]:
        names = self.spare or ("broker",)
        free = free_ports(3 * len(names))
        nats, cluster, mqtt = (free[start::3] for start in range(3))
        if port is not None:
            mqtt[0] = port
        routes = ", ".join(f'"nats://127.0.0.1:{number}"' for number in cluster)
        nodes = []
        for at, name in enumerate(names):
            text = _NATS_CONFIGURATION.format(
                name=name, nats_port=nats[at], store=directory / name, port=mqtt[at],
                ack_wait=NATS_ACK_WAIT, max_ack_pending=NATS_MAX_ACK_PENDING,
            )  # fmt: skip
            if len(names) > 1:
                text += _NATS_CLUSTER.format(cluster_port=cluster[at], routes=routes)
            configuration = _written(directory / f"{name}.conf", text)
            command = [program("nats-server") or "nats-server", "-c", str(configuration)]
            nodes.append(Node(name, mqtt[at], command, restarts=20 if len(names) > 1 else 0))
        return nodes


class RabbitMq(Engine):
    """One RabbitMQ with its MQTT plugin, and the port mapper that Erlang wants beside it."""

    label = "RabbitMQ"
    account = Account("guest", "guest")  # its own, reachable on loopback only; it lets nobody in without a password
    package = "rabbitmq-server"
    ready_seconds = 60.0

    def missing(self) -> str | None:
        return None if program("rabbitmq-server") and program("epmd") else "rabbitmq-server"

    def nodes(self, directory: Path, port: int | None) -> list[Node]:
        mapper, distribution, chosen = free_ports(3)
        chosen = port or chosen
        configuration = _written(directory / "rabbitmq.conf", _RABBITMQ_CONFIGURATION.format(port=chosen))
        plugins = _written(directory / "enabled_plugins", "[rabbitmq_mqtt].\n")
        environment = {
            "HOME": directory,
            "ERL_EPMD_PORT": mapper,
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": f"testbed-{chosen}@localhost",
            "RABBITMQ_DIST_PORT": distribution,
            "RABBITMQ_CONFIG_FILE": configuration,
            "RABBITMQ_ENABLED_PLUGINS_FILE": plugins,
            "RABBITMQ_MNESIA_BASE": directory / "mnesia",
            "RABBITMQ_LOG_BASE": directory / "log",
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_PID_FILE": directory / "pid",
        }
        settings = [f"{name}={value}" for name, value in environment.items()]
        epmd = program("epmd") or "epmd"
        # The script in Debian's /usr/sbin would change its user and keep its state in /var: this one does neither.
        server = shutil.which("rabbitmq-server", path="/usr/lib/rabbitmq/bin") or program("rabbitmq-server")
        return [
            Node("port-mapper", None, [epmd, "-port", str(mapper), "-address", "127.0.0.1"]),
            Node("broker", chosen, ["env", *settings, str(server)]),
        ]


#: The engines a person can name.
ENGINES: dict[str, Engine] = {
    "embedded": Embedded(),
    "mosquitto": Mosquitto(),
    "nats": Nats(1),
    "nats-cluster": Nats(3),
    "rabbitmq": RabbitMq(),
}


def program(name: str) -> str | None:
    """Where a program is installed, None when it is not."""
    return shutil.which(name) or shutil.which(name, path=_SYSTEM_PATH)


def free_port() -> int:
    """A port of loopback that nobody listens on now."""
    return free_ports(1)[0]


def free_ports(count: int) -> list[int]:
    """As many different ports of loopback that nobody listens on now."""
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]
    finally:
        for probe in probes:
            probe.close()


def _written(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="ascii")
    return path
