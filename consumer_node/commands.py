"""The commands of `hushgrid-consumer` beside `run`: what it reads of wishes, and others of results, while it runs."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Iterator

from consumer_node.config import ConsumerConfig, WishSection
from consumer_node.results.files import write_csv, write_json_lines
from consumer_node.results.store import ResultStore
from consumer_node.results.tables import RESULT_TABLES, ResultKind
from consumer_node.wishes import Wishes
from hushgrid.relational.opening import RelationalDatabase
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


def _chosen(parser: argparse.ArgumentParser) -> None:
    kinds = [kind.value for kind in ResultKind]
    parser.add_argument("--of", choices=kinds, default=kinds[0], help=f"Which of them: {', '.join(kinds)}.")
    parser.add_argument("--json", action="store_true", help="An object a line, not CSV.")


def _results(arguments: argparse.Namespace) -> None:
    config = load(ConsumerConfig, arguments.config)
    kind = ResultKind(arguments.of)
    database = RelationalDatabase(config.results_url, RESULT_TABLES, password=config.results_password(), read_only=True)
    with contextlib.closing(ResultStore(database, config.agent.grid, config.agent.id)) as results:
        if not arguments.json:
            write_csv(sys.stdout, kind, [], header=True)
        for rows in results.rows(kind):
            if arguments.json:
                write_json_lines(sys.stdout, rows)
            else:
                write_csv(sys.stdout, kind, rows, header=False)


COMMANDS = (
    Command("request", "Ask for a rule; `rules` shows the answer.", _request, _described),
    Command("withdraw", "Give a rule up: it ends with the windows that have begun.", _withdraw, _named),
    Command("rules", "Print every rule asked for, with the configurator's answer.", _rules),
    Command("results", "Print what was worked out so far, from its tables.", _results, _chosen),
)
