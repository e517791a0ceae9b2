"""The command `hushgrid`: for people."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

import hushgrid
from hushgrid import interrupt
from hushgrid.cli import is_there, loaded, stops_with_one_line
from hushgrid.errors import ConfigurationError, HushgridError
from hushgrid.outputs import check_new, write_json
from hushgrid.printing import Terminal
from hushgrid.shell.runtime import EXIT_CONFIGURATION, EXIT_FAILURE, describe, until_signalled
from hushgrid.tables import Style
from testbed.choices.layout import ConsumerWish
from testbed.choices.options import (
    broker_options,
    grid_options,
    harm_options,
    household_options,
    link_options,
    masking_options,
    parameters_of,
    process_options,
    request_options,
)
from testbed.choices.parameters import Parameters
from testbed.households import Truth, constructed_truth, read_truth
from testbed.opened.grid import EVERYWHERE, OpenGrid, keep_open
from testbed.run.play import Run, play
from testbed.run.report import show

#: Sub-commands that live elsewhere, imported when they are asked for: name -> (module, attribute, extra that it needs).
_ELSEWHERE = {
    "ask": ("privacy_gateway.asking.command", "ask", "gateway"),
    "audit": ("configurator.offline.command", "audit_command", "configurator"),
    "audit-log": ("privacy_gateway.audit.command", "audit_log", "gateway"),
    "convert": ("testbed.convert", "convert", "testbed"),
    "enrol": ("configurator.authority.command", "enrol", "configurator"),
    "experiment": ("experiments.command", "experiment", "experiments"),
    "plan": ("configurator.offline.command", "plan_command", "configurator"),
}


class _Commands(click.Group):
    """The group of all sub-commands; those of `_ELSEWHERE` cost nothing until they are used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        here = [name for name, (module, _, _) in _ELSEWHERE.items() if is_there(module)]
        return sorted([*super().list_commands(ctx), *here])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _ELSEWHERE:
            return super().get_command(ctx, cmd_name)
        module, attribute, extra = _ELSEWHERE[cmd_name]
        if not is_there(module):
            return None
        return loaded(f"hushgrid {cmd_name}", module, attribute, extra)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(hushgrid.__version__, prog_name="hushgrid")
def main() -> None:
    """Privacy-preserving smart metering: exact sums of household readings that no single node can read."""
    interrupt.as_usual()


@main.command()
@grid_options
@link_options
@household_options
@broker_options
@process_options
@harm_options
@request_options
@masking_options
@click.option(
    "--keep", type=click.Path(path_type=Path, file_okay=False), help="Keep all configurations, stores and logs here."
)
@click.option(
    "--json",
    "report",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="OUT.json",
    help="Write the full report.",
)
@click.option(
    "--open",
    "opened",
    is_flag=False,
    flag_value=EVERYWHERE,
    metavar="[ADDRESS]",
    help="By the clock on the wall, until Ctrl-C, with a place for a real meter: prints what to put in its meter.toml. "
    "ADDRESS: where the broker listens, everywhere or 127.0.0.1.",
)
@click.option("--interval", type=click.IntRange(min=1), default=60, help="Seconds of a round (with --open).")
@stops_with_one_line
def testbed(report: Path | None, keep: Path | None, opened: str | None, interval: int, **choices: Any) -> None:
    """Start a full system on this machine, play rounds of real or constructed households, compare every sum with the truth.

    Exit status 0: all is right; 1: something is wrong, or was not recovered and should have been; 2: bad input, nothing was started.
    """
    progress = Terminal(errors=True)
    if opened is not None:
        _keep_open(opened, interval, keep, choices)
        return
    try:
        parameters = parameters_of(choices, [parameter.name or "" for parameter in _given()])
        check_new(report)
        truth = _truth(parameters)
        wishes = _wishes(parameters, truth)
        with _directory(keep) as directory:
            progress.say(f"{len(truth.meters)} households, {truth.label}; seed {parameters.play.seed}")
            run = _play_in(parameters, truth, wishes, directory, progress)
    except KeyboardInterrupt:
        progress.say("interrupted; everything that was started has been stopped")
        sys.exit(130)
    except (HushgridError, ExceptionGroup) as raised:
        error = describe(raised)
        if not isinstance(error, HushgridError):
            raise
        for line in str(error).splitlines():
            click.echo(f"hushgrid: {line}", err=True)
        sys.exit(EXIT_CONFIGURATION if isinstance(error, ConfigurationError) else EXIT_FAILURE)
    show(run, truth, Terminal())
    if report is not None:
        write_json(report, run.as_json())
    sys.exit(0 if run.succeeded else EXIT_FAILURE)


#: The options that an open testbed takes; it is played by the clock on the wall, and its meters are constructed.
_OF_OPEN = frozenset({"opened", "interval", "keep", "meters", "ppns", "width", "threshold", "seed", "port"})


def _given() -> list[click.Parameter]:
    """The options that a person gave, in the command's own order."""
    context = click.get_current_context()
    sources = {each.name: context.get_parameter_source(each.name or "") for each in context.command.params}
    return [each for each in context.command.params if sources[each.name] is ParameterSource.COMMANDLINE]


def _keep_open(host: str, interval_seconds: int, keep: Path | None, choices: dict[str, Any]) -> None:
    given = {parameter.name: parameter.opts[0] for parameter in _given()}
    refused = [option for name, option in given.items() if name not in _OF_OPEN]
    if refused:
        raise ConfigurationError(f"--open plays by the clock on the wall: {', '.join(refused)} cannot be used with it")
    meters = choices["meters"] if "meters" in given else OpenGrid().households
    grid = OpenGrid(
        host=host, port=choices["port"], households=meters, ppns=choices["ppns"], width=choices["width"],
        threshold=choices["threshold"], interval_seconds=interval_seconds, seed=choices["seed"],
    )  # fmt: skip
    grid.check()
    with _directory(keep) as directory, contextlib.suppress(KeyboardInterrupt):
        asyncio.run(until_signalled(lambda: keep_open(grid, directory, click.echo)))


@contextlib.contextmanager
def _directory(keep: Path | None) -> Iterator[Path]:
    """The directory of a run: one that is kept, or one that is removed after it. ConfigurationError when the former is in use."""
    if keep is not None and keep.exists() and any(keep.iterdir()):
        raise ConfigurationError(f"--keep {keep}: the directory is not empty")
    directory = keep or Path(tempfile.mkdtemp(prefix="hushgrid-"))
    directory.mkdir(parents=True, exist_ok=True)
    try:
        yield directory
    finally:
        if keep is None:
            shutil.rmtree(directory, ignore_errors=True)


def _truth(parameters: Parameters) -> Truth:
    play_ = parameters.play
    meters = parameters.file.names or parameters.grid.meters
    if play_.data is None:
        return constructed_truth(meters, play_.rounds, start=play_.start, seed=play_.seed)
    return read_truth(play_.data, meters, play_.rounds, play_.start)


def _wishes(parameters: Parameters, truth: Truth) -> list[ConsumerWish]:
    """What consumers ask for. ConfigurationError for what cannot be asked for, now or later, before anything is started."""
    wishes = parameters.wishes(truth.meters)
    parameters.check_harms(truth.meters, wishes)
    return wishes


def _play_in(
    parameters: Parameters, truth: Truth, wishes: list[ConsumerWish], directory: Path, progress: Terminal
) -> Run:
    async def interruptible() -> Run:
        task = asyncio.ensure_future(
            play(parameters, truth, wishes, directory, lambda text: progress.say(text, Style.FAINT))
        )
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        return await task

    try:
        return asyncio.run(interruptible())
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None


if __name__ == "__main__":
    main()
