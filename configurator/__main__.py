"""hushgrid-configurator: serve, or issue tokens, or print the key that agents trust."""

from __future__ import annotations

import argparse
import datetime as dt
import sys
from pathlib import Path

from configurator.config import ConfiguratorConfig
from configurator.names import check_agent_id
from configurator.registry import Registry
from configurator.service import serve
from configurator.tokens import TOKEN_LIFE, lifetime
from hushgrid.config import load
from hushgrid.control import Role
from hushgrid.errors import HushgridError
from hushgrid.keyring import Keyring
from hushgrid.runtime import exit_status, run

_PROGRAM = "hushgrid-configurator"


def main() -> None:
    """Entry of the command."""
    argv = sys.argv[1:]
    if not argv or argv[0] not in ("token", "identity"):
        sys.exit(run(_PROGRAM, ConfiguratorConfig, serve, argv))
    parser = argparse.ArgumentParser(prog=_PROGRAM)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in (
        ("token", "issue a one-time token for one agent"),
        ("identity", "print the public key of this configurator"),
    ):
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument("--config", type=Path, required=True, metavar="FILE.toml")
        if name == "token":
            command.add_argument("--agent", required=True, type=_agent_id, help="id of the agent")
            roles = [role.value for role in (Role.METER, Role.CARRIER, Role.PPN, Role.CONSUMER)]
            command.add_argument("--role", required=True, choices=roles)
            hours = TOKEN_LIFE / dt.timedelta(hours=1)
            command.add_argument("--hours", type=float, default=hours, help=f"how long it is good (default: {hours:g})")
    arguments = parser.parse_args(argv)
    try:
        config = load(ConfiguratorConfig, arguments.config)
        directory = config.agent.state_directory
        if arguments.command == "identity":
            print(Keyring(directory / "keys.sqlite").identity(config.agent.id).public.hex())
            return
        life = lifetime(arguments.hours)
        registry = Registry(directory / "registry.sqlite")
        tokens = registry.issue_tokens([(arguments.agent, Role(arguments.role))], life)
        print(tokens[arguments.agent])
    except HushgridError as error:
        sys.exit(exit_status(_PROGRAM, error))


def _agent_id(text: str) -> str:
    try:
        return check_agent_id(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


if __name__ == "__main__":
    main()
