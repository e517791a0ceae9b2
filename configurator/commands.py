"""The commands of `hushgrid-configurator` beside `run`."""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt

from configurator.config import ConfiguratorConfig
from configurator.names import check_agent_id
from configurator.registry.registry import Registry
from configurator.tokens import TOKEN_LIFE, lifetime
from hushgrid.shell.command_line import Command
from hushgrid.shell.config import load
from hushgrid.shell.keyring import Keyring
from hushgrid.wire.role import Role


def _agent_id(text: str) -> str:
    try:
        return check_agent_id(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _for_an_agent(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--agent", required=True, type=_agent_id, help="Id of the agent.")
    roles = [role.value for role in (Role.METER, Role.CARRIER, Role.PPN, Role.CONSUMER)]
    parser.add_argument("--role", required=True, choices=roles, help="What it is.")
    hours = TOKEN_LIFE / dt.timedelta(hours=1)
    parser.add_argument("--hours", type=float, default=hours, help=f"How long it is good (default: {hours:g}).")


def _token(arguments: argparse.Namespace) -> None:
    directory = load(ConfiguratorConfig, arguments.config).agent.state_directory
    life = lifetime(arguments.hours)
    with contextlib.closing(Registry(directory / "registry.sqlite")) as registry:
        tokens = registry.agents.issue_tokens([(arguments.agent, Role(arguments.role))], life)
    print(tokens[arguments.agent])


def _identity(arguments: argparse.Namespace) -> None:
    config = load(ConfiguratorConfig, arguments.config)
    with contextlib.closing(Keyring(config.agent.state_directory / "keys.sqlite")) as keyring:
        print(keyring.identity(config.agent.id).public.hex())


COMMANDS = (
    Command("token", "Issue a one-time token for one agent.", _token, _for_an_agent),
    Command("identity", "Print the public key of this configurator.", _identity),
)
