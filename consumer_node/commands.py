"""The commands of `hushgrid-consumer` beside `run`: they write to its wishes, which it reads while it runs."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Iterator

from consumer_node.config import ConsumerConfig, WishSection
from consumer_node.wishes import Wishes
from hushgrid.shell.command_line import Command
from hushgrid.shell.config import load


@contextlib.contextmanager
def _wishes(arguments: argparse.Namespace) -> Iterator[Wishes]:
    wishes = Wishes(load(ConsumerConfig, arguments.config).agent.state_directory)
    try:
        yield wishes
    finally:
        wishes.close()


def _named(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--name", required=True, help="The rule's name.")


def _described(parser: argparse.ArgumentParser) -> None:
    _named(parser)
    parser.add_argument("--cohort", default="all", help='"all", or meter ids and ranges "first..last", by commas.')
    parser.add_argument("--window", type=int, default=1, metavar="ROUNDS", help="Length of a window.")
    parser.add_argument("--minimum-contributors", type=int, help="A larger minimum than the policy's.")


def _request(arguments: argparse.Namespace) -> None:
    with _wishes(arguments) as wishes:
        wishes.ask(
            WishSection.of(
                name=arguments.name,
                cohort=arguments.cohort,
                window_rounds=arguments.window,
                minimum_contributors=arguments.minimum_contributors,
            )
        )


def _withdraw(arguments: argparse.Namespace) -> None:
    with _wishes(arguments) as wishes:
        wishes.withdraw(arguments.name)


def _rules(arguments: argparse.Namespace) -> None:
    with _wishes(arguments) as wishes:
        for wish in wishes.all():
            print(wish.describe())


COMMANDS = (
    Command("request", "Ask for a rule; `rules` shows the answer.", _request, _described),
    Command("withdraw", "Give a rule up: it ends with the windows that have begun.", _withdraw, _named),
    Command("rules", "Print every rule asked for, with the configurator's answer.", _rules),
)
