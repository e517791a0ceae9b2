"""The commands of `hushgrid-gateway` beside `run`: clients, who may ask."""

from __future__ import annotations

import argparse
import contextlib
import sys

from hushgrid.errors import ConfigurationError
from hushgrid.shell.command_line import Command
from hushgrid.shell.config import load
from privacy_gateway.config import GatewayConfig
from privacy_gateway.door.house import clients_of
from privacy_gateway.people.clients import ClientBook
from privacy_gateway.people.scopes import read_scope

_ACTIONS = ("add", "list", "remove")


def _client(arguments: argparse.Namespace) -> None:
    config = load(GatewayConfig, arguments.config)
    if (arguments.action == "list") != (arguments.name is None):
        raise ConfigurationError(f"client {arguments.action}: expected {'no name' if arguments.name else 'a name'}")
    if (arguments.action == "add") != (arguments.scope is not None):
        raise ConfigurationError(f"client {arguments.action}: --scope belongs to add, and add needs it")
    with contextlib.closing(ClientBook(clients_of(config))) as book:
        match arguments.action:
            case "add":
                secret = book.add(arguments.name, read_scope(arguments.scope))
                sys.stdout.write(f"client_id {arguments.name}\nclient_secret {secret}\n")
                sys.stderr.write("The secret is kept nowhere, and is not shown again.\n")
            case "remove":
                book.remove(arguments.name)
            case _:
                for client in book.all():
                    sys.stdout.write(f"{client.name} {client.scope}\n")


def _for_client(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "action", choices=_ACTIONS, metavar="add|list|remove", help="What to do; a running gateway follows at once."
    )
    parser.add_argument("name", nargs="?", metavar="NAME", help="Of the client.")
    parser.add_argument(
        "--scope", metavar="SCOPE",
        help='What it may do: "Purpose=research_statistics;GroupMin=200;Epsilon=0.5;IntervalDuration=86400;'
        'HistoryLength=31536000", "ledger", "audit".',
    )  # fmt: skip


COMMANDS = (Command("client", "Add a client that may ask, list them, or remove one.", _client, _for_client),)
