"""One style of command line for every role: `run` and what a person may ask beside it, `--version`, help, errors as `hushgrid` says them.

argparse, since a meter on a small machine installs no more than it runs on; what it prints looks as click's does.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import hushgrid

_USAGE_ERROR = 2


def _nothing_more(parser: argparse.ArgumentParser) -> None:
    """For a command that takes `--config` only."""


@dataclass(frozen=True, slots=True)
class Command:
    """One command of a role.

    text: what it does, for the help.
    obey: does it; returns the exit status, None for 0.
    arguments: adds what it takes beside `--config`.
    """

    name: str
    text: str
    obey: Callable[[argparse.Namespace], int | None]
    arguments: Callable[[argparse.ArgumentParser], None] = _nothing_more


def obey(program: str, about: str, commands: Sequence[Command], argv: Sequence[str]) -> int:
    """Do what `argv` asks of one of `commands`; returns the exit status.

    Without a command's name, the first one is meant.
    Help and `--version` end the program with 0, what cannot be understood with 2.
    """
    arguments = understood(program, about, commands, argv)
    return arguments.obey(arguments) or 0


def understood(program: str, about: str, commands: Sequence[Command], argv: Sequence[str]) -> argparse.Namespace:
    """What `argv` asks, as `obey` does it."""
    parser = _Parser(program, about)
    parser.add_argument("--version", action="version", version=f"{program}, version {hushgrid.__version__}",
                        help="Show the version and exit.")  # fmt: skip
    named = parser.add_subparsers(title="Commands", metavar="COMMAND", parser_class=_Parser, prog=program)
    for each in commands:
        command = named.add_parser(each.name, help=each.text, about=each.text)
        command.add_argument(
            "--config", type=Path, required=True, metavar="FILE.toml", help="The agent's configuration."
        )
        each.arguments(command)
        command.set_defaults(obey=each.obey)
    asked = list(argv)
    if not asked or (asked[0].startswith("-") and asked[0] not in ("-h", "--help", "--version")):
        asked.insert(0, commands[0].name)
    return parser.parse_args(asked)


class _Parser(argparse.ArgumentParser):
    """argparse with the words and the order of click."""

    def __init__(self, prog: str, about: str = "", **choices: Any) -> None:
        super().__init__(
            prog, description=about, formatter_class=_Formatter, add_help=False, allow_abbrev=False, **choices
        )
        self._optionals.title = "Options"
        self._positionals.title = "Arguments"
        self.add_argument("-h", "--help", action="help", help="Show this message and exit.")

    def error(self, message: str) -> NoReturn:
        sys.stderr.write(f"{self.format_usage()}Try '{self.prog} -h' for help.\n\nError: {message.rstrip('.')}.\n")
        sys.exit(_USAGE_ERROR)


class _Formatter(argparse.HelpFormatter):
    """`Usage:` with a capital, at a person's width."""

    def add_usage(self, usage: Any, actions: Any, groups: Any, prefix: str | None = None) -> None:
        super().add_usage(usage, actions, groups, "Usage: " if prefix is None else prefix)
