"""hushgrid-consumer: serve, or ask for a rule, withdraw one, or list them while it runs."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from consumer_node.config import ConsumerConfig, WishSection
from consumer_node.service import serve
from consumer_node.wishes import Wishes
from hushgrid.config import load
from hushgrid.errors import HushgridError
from hushgrid.runtime import exit_status, run

_PROGRAM = "hushgrid-consumer"
_COMMANDS = {
    "request": "ask for a rule; `rules` shows the answer",
    "withdraw": "give a rule up: it ends with the windows that have begun",
    "rules": "print every rule asked for, with the configurator's answer",
}


def main() -> None:
    """Entry of the command."""
    argv = sys.argv[1:]
    if not argv or argv[0] not in _COMMANDS:
        sys.exit(run(_PROGRAM, ConsumerConfig, serve, argv))
    parser = argparse.ArgumentParser(prog=_PROGRAM)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in _COMMANDS.items():
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument("--config", type=Path, required=True, metavar="FILE.toml")
        if name != "rules":
            command.add_argument("--name", required=True, help="the rule's name")
        if name == "request":
            command.add_argument(
                "--cohort", default="all", help='"all", or meter ids and ranges "first..last", by commas'
            )
            command.add_argument("--window", type=int, default=1, metavar="ROUNDS", help="length of a window")
            command.add_argument("--minimum-contributors", type=int, help="a larger minimum than the policy's")
    arguments = parser.parse_args(argv)
    try:
        _obey(arguments)
    except HushgridError as error:
        sys.exit(exit_status(_PROGRAM, error))


def _obey(arguments: argparse.Namespace) -> None:
    wishes = Wishes(load(ConsumerConfig, arguments.config).agent.state_directory)
    try:
        if arguments.command == "request":
            wishes.ask(
                WishSection.of(
                    name=arguments.name,
                    cohort=arguments.cohort,
                    window_rounds=arguments.window,
                    minimum_contributors=arguments.minimum_contributors,
                )
            )
        elif arguments.command == "withdraw":
            wishes.withdraw(arguments.name)
        else:
            for wish in wishes.all():
                print(wish.describe())
    finally:
        wishes.close()


if __name__ == "__main__":
    main()
