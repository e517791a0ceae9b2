"""The broker of a testbed: an engine of this machine as children, Mosquitto before the embedded one, or one that runs already."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import socket
from dataclasses import dataclass
from pathlib import Path

import aiomqtt
import psutil

from hushgrid.errors import ConfigurationError
from hushgrid.shell.transport import SILENCE_SECONDS, BrokerAddress, MqttTransport, Will
from testbed.brokers.engines import ENGINES, Account, Engine, Node, program
from testbed.brokers.entrance import Entrance
from testbed.processes import Child, Supervisor

_URL_SECONDS = 3.0
_ATTEMPTS = 3
_STALL_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class RunningBroker:
    """urls: where agents connect, one per node of a cluster; label: what a person is told; account: None where nobody needs one.

    entrance: the doors of a secure broker, None for an open one.
    """

    urls: tuple[str, ...]
    label: str
    account: Account | None = None
    entrance: Entrance | None = None

    @property
    def url(self) -> str:
        """The first address."""
        return self.urls[0]

    @property
    def silence_seconds(self) -> float:
        """How long a subscription may bring nothing: a cluster that lost a node may forget one, and compressed rounds wait."""
        return 30 if len(self.urls) > 1 else SILENCE_SECONDS

    @property
    def stall_seconds(self) -> float:
        """How long nothing may move before a run is given up: a subscription of a cluster may have to be made anew more than once."""
        return _STALL_SECONDS + (4 * self.silence_seconds if len(self.urls) > 1 else 0)

    def urls_from(self, place: int) -> tuple[str, ...]:
        """All addresses, beginning with another one for every place: agents spread over the nodes of a cluster."""
        first = place % len(self.urls)
        return self.urls[first:] + self.urls[:first]

    def connection(
        self, pseudonym: str, place: int = 0, *, will: Will | None = None, keepalive_seconds: int = 30
    ) -> MqttTransport:
        """A connection to be entered, at first to one of the nodes."""
        first, *others = self.urls_from(place)
        return MqttTransport(
            first,
            pseudonym,
            further_urls=others,
            will=will,
            user=self.account.user_name if self.account else None,
            password=self.account.password if self.account else None,
            keepalive_seconds=keepalive_seconds,
            silence_seconds=self.silence_seconds,
            tls=self.entrance.tls if self.entrance else None,
        )


def mosquitto_path() -> str | None:
    """Where Mosquitto is installed, None when it is not."""
    return program("mosquitto")


def check_choice(choice: str, *, secure: bool = False) -> None:
    """ConfigurationError unless the choice can be followed on this machine. secure: with doors, which only Mosquitto has here."""
    if secure and choice not in ("auto", "mosquitto"):
        raise ConfigurationError(f"--secure starts a Mosquitto of its own: --broker {choice} cannot be used with it")
    if secure and mosquitto_path() is None:
        raise ConfigurationError("--secure needs Mosquitto, which is not installed")
    if choice in ENGINES:
        missing = ENGINES[choice].missing()
        if missing is not None:
            raise ConfigurationError(
                f"--broker {choice}: {missing} is not installed; install it, or use --broker embedded"
            )
    elif choice != "auto":
        BrokerAddress.parse(choice)


async def start_broker(choice: str, supervisor: Supervisor, directory: Path, port: int | None = None) -> RunningBroker:
    """Start or find the broker and wait until every node of it answers. choice: auto, an engine's name or a URL.

    port: of the first node, None for a free one. ConfigurationError when there is none to be had.
    """
    check_choice(choice)
    if choice != "auto" and choice not in ENGINES:
        problem = await _probe(BrokerAddress.parse(choice), _URL_SECONDS)
        if problem is not None:
            raise ConfigurationError(f"no broker answers at {choice}: {problem}")
        return RunningBroker((choice,), f"broker at {choice}")
    if choice == "auto":
        choice = "mosquitto" if mosquitto_path() else "embedded"
    return await start_engine(ENGINES[choice], supervisor, directory, port)


async def start_engine(engine: Engine, supervisor: Supervisor, directory: Path, port: int | None) -> RunningBroker:
    """Start a broker and wait until every node of it answers on loopback; as `start_broker`."""
    if port is not None and _in_use(port):
        raise ConfigurationError(f"port {port} is in use")
    for attempt in range(_ATTEMPTS):
        nodes = engine.nodes(directory, port)
        children = [
            await supervisor.start(
                "broker", node.id, node.command, directory / f"{node.id}.log", node.restarts, on_trial=True
            )
            for node in nodes
        ]
        problem = await _all_ready(engine, nodes, children)
        if problem is None:
            for child in children:
                child.on_trial = False
            urls = tuple(f"mqtt://127.0.0.1:{node.port}" for node in nodes if node.port is not None)
            return RunningBroker(urls, engine.label, engine.account)
        for child in children:
            await supervisor.give_up(child)
        if port is not None or attempt == _ATTEMPTS - 1:
            raise ConfigurationError(f"the broker did not start on port {nodes[-1].port}: {problem}")
    raise AssertionError


async def _all_ready(engine: Engine, nodes: list[Node], children: list[Child]) -> str | None:
    """None once all nodes answer; otherwise what the first that does not last said."""
    for node, child in zip(nodes, children, strict=True):
        if node.port is None:
            continue
        problem = await _probe(
            BrokerAddress("127.0.0.1", node.port, secure=False), engine.ready_seconds, child, engine.account
        )
        if problem is not None:
            return child.last_line() or problem
    return next((child.last_line() or "it ended" for child in children if not child.running), None)


def _in_use(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
        return False


async def _probe(
    address: BrokerAddress, deadline_seconds: float, child: Child | None = None, account: Account | None = None
) -> str | None:
    """None once the broker accepts an MQTT connection; otherwise what kept it from doing so."""
    loop = asyncio.get_running_loop()
    end = loop.time() + deadline_seconds
    problem = "no answer"
    while True:
        if child is not None and not child.running:
            return "it ended"
        # Another program's broker may have taken the port first: only what the child itself listens on counts.
        if child is None or listens_on(child.pid, address.port):
            visitor = aiomqtt.Client(
                address.host,
                address.port,
                identifier=f"probe-{secrets.token_hex(4)}",
                username=account.user_name if account else None,
                password=account.password if account else None,
                timeout=2,
            )
            # A disconnection after a refusal is told to nobody: without this asyncio complains about it.
            visitor._disconnected.add_done_callback(lambda end: end.cancelled() or end.exception())  # noqa: SLF001
            try:
                async with visitor:
                    return None
            except aiomqtt.MqttError as error:
                problem = str(error)
        if loop.time() > end:
            return problem
        await asyncio.sleep(0.05)


def listens_on(pid: int, port: int) -> bool:
    """Whether a process or a child of it listens on a port."""
    with contextlib.suppress(psutil.Error):
        found = psutil.Process(pid)  # an engine's start script may leave the work to a child of its own
        connections = [
            c for process in (found, *found.children(recursive=True)) for c in process.net_connections("tcp")
        ]
        return any(c.status == psutil.CONN_LISTEN and c.laddr.port == port for c in connections)
    return False
