"""A whole installation's secrets in one directory: authority, broker, tokens, and the configurator's identity.

    DIR/authority/        state of `hushgrid enrol serve`: keys of the authorities, tokens, what was signed; the operator's secret
    DIR/broker/           mosquitto.conf, access rules, certificates and revocation lists, as the broker mounts them
    DIR/configurator/     state directory of the configurator: its identity, the agents it expects
    DIR/agents/<id>/      what one agent is given: token (its own secret) and broker-ca.pem
    DIR/deployment.json   where everything is: grid, the configurator's key, urls by role, agents

Agents make their own keys when they start; nothing of theirs is here.
"""

from __future__ import annotations

import datetime as dt
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from configurator.authority.authority import Authority, make_directory, replace, write_secret
from configurator.authority.mosquitto_files import BrokerFiles
from configurator.names import in_url
from configurator.registry.registry import Registry
from configurator.tokens import TOKEN_LIFE
from hushgrid.errors import ConfigurationError
from hushgrid.shell.keyring import Keyring
from hushgrid.wire.access import door_of
from hushgrid.wire.role import Role

AUTHORITY_PORT = 8880
CONFIGURATOR = "configurator"


@dataclass(frozen=True, slots=True)
class Installation:
    """What is to be prepared.

    agents: id and role of everybody but the configurator. broker_hosts, authority_hosts: names or addresses they are reached by,
    the first one goes into the urls. token_life: how long an agent may take to come for the first time. broker_owner: user and
    group that the broker's files are given to, None to leave them.
    """

    agents: tuple[tuple[str, Role], ...]
    broker: BrokerFiles
    broker_hosts: tuple[str, ...] = ("localhost", "127.0.0.1")
    authority_hosts: tuple[str, ...] = ("localhost", "127.0.0.1")
    authority_port: int = AUTHORITY_PORT
    token_life: dt.timedelta = TOKEN_LIFE
    broker_owner: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Deployed:
    """Where everything is. tokens: by agent; urls: of the broker, by role."""

    directory: Path
    grid: str
    configurator_identity: bytes
    authority_url: str
    urls: dict[Role, str]
    tokens: dict[str, str] = field(repr=False)

    @property
    def authority(self) -> Path:
        """State of `hushgrid enrol serve`."""
        return self.directory / "authority"

    @property
    def broker(self) -> Path:
        """The broker's files."""
        return self.directory / "broker"

    @property
    def configurator(self) -> Path:
        """State directory of the configurator."""
        return self.directory / CONFIGURATOR

    def agent(self, agent: str) -> Path:
        """What one agent is given."""
        return self.directory / "agents" / agent


def deploy(wanted: Installation, directory: Path, now: dt.datetime) -> Deployed:
    """Write it all; ConfigurationError when the directory is not empty or cannot be written."""
    make_directory(directory)
    if any(directory.iterdir()):
        raise ConfigurationError(f"{directory}: the directory is not empty")
    identity, tokens = _configurator(wanted, directory / CONFIGURATOR)
    authority = Authority(directory / "authority")
    authority.belong_to(wanted.broker.grid)
    agents = [(CONFIGURATOR, Role.CONFIGURATOR), *wanted.agents]
    try:
        tokens |= authority.issue_tokens([(CONFIGURATOR, Role.CONFIGURATOR)], now, wanted.token_life)
        authority.accept_tokens(wanted.agents, tokens, now, wanted.token_life)
        authority.write_server(authority.directory, "server", wanted.authority_hosts, now)
        authority.write_broker(wanted.broker, directory / "broker", wanted.broker_hosts, now)
        if wanted.broker_owner is not None:
            give(directory / "broker", *wanted.broker_owner)
        deployed = Deployed(
            directory=directory,
            grid=wanted.broker.grid,
            configurator_identity=identity,
            authority_url=f"tls://{in_url(wanted.authority_hosts[0])}:{wanted.authority_port}",
            urls={role: _url(wanted, role) for role in Role if door_of(role) in wanted.broker.doors},
            tokens=tokens,
        )
        for agent, _ in agents:
            make_directory(deployed.agent(agent))
            write_secret(deployed.agent(agent) / "token", tokens[agent].encode())
            replace(deployed.agent(agent) / "broker-ca.pem", authority.server_trust)
        replace(directory / "deployment.json", _listing(deployed, agents))
    finally:
        authority.close()
    return deployed


def _configurator(wanted: Installation, state: Path) -> tuple[bytes, dict[str, str]]:
    """The configurator's identity, and its tokens for the agents it will know."""
    keyring = Keyring(state / "keys.sqlite")
    identity = keyring.identity(CONFIGURATOR).public
    keyring.close()
    registry = Registry(state / "registry.sqlite")
    tokens = registry.agents.issue_tokens(wanted.agents, wanted.token_life)
    registry.close()
    return identity, tokens


def _url(wanted: Installation, role: Role) -> str:
    return f"mqtts://{in_url(wanted.broker_hosts[0])}:{wanted.broker.ports[door_of(role)]}"


def _listing(deployed: Deployed, agents: Sequence[tuple[str, Role]]) -> bytes:
    content = {
        "grid": deployed.grid,
        "configurator_identity": deployed.configurator_identity.hex(),
        "authority_url": deployed.authority_url,
        "agents": [
            {"id": agent, "role": role.value, "broker_url": deployed.urls[role], "directory": f"agents/{agent}"}
            for agent, role in agents
        ],
    }
    return json.dumps(content, indent=1).encode() + b"\n"


def give(directory: Path, user: int, group: int) -> None:
    """Give the broker's files to the user it runs as. ConfigurationError when that may not be done."""
    try:
        for path in (directory, *directory.iterdir()):
            os.chown(path, user, group)
    except OSError as error:
        raise ConfigurationError(f"{directory}: {error.strerror}") from None
