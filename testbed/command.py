"""The command `hushgrid`: for people."""

from __future__ import annotations

import asyncio
import datetime as dt
import importlib
import importlib.util
import json
import shutil
import signal
import sys
import tempfile
from pathlib import Path

import click
from rich.console import Console

import hushgrid
from hushgrid.errors import ConfigurationError, HushgridError
from hushgrid.plan import Recovery
from hushgrid.runtime import EXIT_CONFIGURATION, EXIT_FAILURE, describe
from testbed.households import Truth, constructed_truth, read_truth
from testbed.layout import lay_out
from testbed.parameters import Parameters
from testbed.play import Run, play
from testbed.report import show

#: Sub-commands that live elsewhere, imported when they are asked for: name -> (module, attribute, extra that it needs).
_ELSEWHERE = {
    "audit": ("configurator.command", "audit_command", "configurator"),
    "experiment": ("experiments.command", "experiment", "experiments"),
    "plan": ("configurator.command", "plan_command", "configurator"),
}


class _Commands(click.Group):
    """The group of all sub-commands; those of `_ELSEWHERE` cost nothing until they are used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        here = [name for name, (module, _, _) in _ELSEWHERE.items() if importlib.util.find_spec(module) is not None]
        return sorted([*super().list_commands(ctx), *here])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _ELSEWHERE:
            return super().get_command(ctx, cmd_name)
        module, attribute, extra = _ELSEWHERE[cmd_name]
        if importlib.util.find_spec(module) is None:
            return None
        try:
            command: click.Command = getattr(importlib.import_module(module), attribute)
        except ModuleNotFoundError as error:
            raise click.UsageError(f"hushgrid {cmd_name} needs {error.name}: pip install 'hushgrid[{extra}]'") from None
        return command


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(hushgrid.__version__, prog_name="hushgrid")
def main() -> None:
    """Privacy-preserving smart metering: exact sums of household readings that no single node can read."""


def _windows(_context: click.Context, _parameter: click.Parameter, value: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in value.split(","))
    except ValueError:
        raise click.BadParameter(f"{value!r} is not a list of whole numbers such as 1,2") from None


def _round_seconds(_context: click.Context, _parameter: click.Parameter, value: str) -> float | None:
    if value == "auto":
        return None
    try:
        return float(value)
    except ValueError:
        raise click.BadParameter(f"{value!r} is neither auto nor a number of seconds") from None


def _start(_context: click.Context, _parameter: click.Parameter, value: str | None) -> dt.datetime | None:
    if value is None:
        return None
    try:
        start = dt.datetime.fromisoformat(value)
    except ValueError:
        raise click.BadParameter(f"{value!r} is not a time such as 2013-03-11T00:00Z") from None
    return start.replace(tzinfo=dt.UTC) if start.tzinfo is None else start.astimezone(dt.UTC)


def _kills(_context: click.Context, _parameter: click.Parameter, value: tuple[str, ...]) -> tuple[tuple[str, int], ...]:
    found = []
    for item in value:
        agent, _, round_number = item.partition("@")
        if not agent or not round_number.isdigit():
            raise click.BadParameter(f"{item!r} is not AGENT@ROUND such as ppn-2@3")
        found.append((agent, int(round_number)))
    return tuple(found)


@main.command()
@click.option("--meters", default=100, show_default=True, help="Households.")
@click.option("--ppns", default=5, show_default=True, help="Privacy-preserving nodes.")
@click.option("--consumers", default=3, show_default=True, help="Consumers; the first asks for all meters.")
@click.option("--threshold", default=3, show_default=True, help="Shares needed to recover a sum (t).")
@click.option("--width", default=4, show_default=True, help="PPNs that serve each rule (w).")
@click.option("--rounds", default=8, show_default=True, help="Metering intervals to play.")
@click.option(
    "--window",
    "windows",
    default="1,2",
    show_default=True,
    callback=_windows,
    help="Window lengths, taken by the consumers in turn.",
)
@click.option(
    "--round-seconds", default="auto", show_default=True, callback=_round_seconds,
    help="Length of a compressed round; auto goes on when every share is receipted or given up.",
)  # fmt: skip
@click.option("--minimum-contributors", default=15, show_default=True, help="No sum over fewer meters is released.")
@click.option(
    "--recovery", type=click.Choice(["none", "agree"]), default="agree", show_default=True,
    help="What becomes of a lost share: none is the paper's model, agree leaves the reading out everywhere.",
)  # fmt: skip
@click.option("--loss", default=0.0, show_default=True, help="Fraction of shares that the link loses.")
@click.option("--seed", default=1, show_default=True, help="Of everything simulated: losses, constructed households.")
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="Readings: London Datastore CSV, wide CSV, meter,start_utc,wh, or parquet.",
)
@click.option(
    "--start",
    callback=_start,
    metavar="TIME",
    help="First interval (UTC), e.g. 2013-03-11T00:00Z; default: the file's first.",
)
@click.option(
    "--broker", default="auto", show_default=True, metavar="auto|embedded|mosquitto|URL", help="The MQTT broker."
)
@click.option("--port", type=int, help="Port of the broker that is started; default: a free one.")
@click.option(
    "--process-per-meter",
    is_flag=True,
    help="One hushgrid-meter process per household, instead of a few concentrators.",
)
@click.option("--epoch-rounds", default=336, show_default=True, help="Rounds after which all agreement keys change.")
@click.option("--modulus", type=int, help="The prime q; default: the smallest known one that no sum can wrap around.")
@click.option(
    "--kill",
    "kills",
    multiple=True,
    metavar="AGENT@ROUND",
    callback=_kills,
    help="kill -9 a process in mid-run; repeatable.",
)
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
def testbed(report: Path | None, keep: Path | None, **choices: object) -> None:
    """Start a full system on this machine, play rounds of real or constructed households, compare every sum with the truth."""
    console = Console(stderr=False)
    progress = Console(stderr=True)
    try:
        choices["recovery"] = Recovery(str(choices["recovery"]))
        parameters = Parameters(**choices)  # type: ignore[arg-type]
        parameters.check()
        if report is not None and not report.parent.is_dir():
            raise ConfigurationError(f"--json {report}: there is no directory {report.parent}")
        truth = _truth(parameters)
        run = _play_in(parameters, truth, keep, progress)
    except KeyboardInterrupt:
        progress.print("interrupted; everything that was started has been stopped")
        sys.exit(130)
    except (HushgridError, ExceptionGroup) as raised:
        error = describe(raised)
        if not isinstance(error, HushgridError):
            raise
        click.echo(f"hushgrid: {error}", err=True)
        sys.exit(EXIT_CONFIGURATION if isinstance(error, ConfigurationError) else EXIT_FAILURE)
    show(run, truth, console)
    if report is not None:
        report.write_text(json.dumps(run.as_json(), indent=1) + "\n", encoding="utf-8")
    sys.exit(0 if run.succeeded else EXIT_FAILURE)


def _truth(parameters: Parameters) -> Truth:
    if parameters.data is None:
        return constructed_truth(parameters.meters, parameters.rounds, start=parameters.start, seed=parameters.seed)
    return read_truth(parameters.data, parameters.meters, parameters.rounds, parameters.start)


def _play_in(parameters: Parameters, truth: Truth, keep: Path | None, progress: Console) -> Run:
    wishes = lay_out(truth.meters, parameters.consumers, parameters.windows, parameters.minimum_contributors)
    progress.print(f"{len(truth.meters)} households, {truth.label}; seed {parameters.seed}")
    directory = keep or Path(tempfile.mkdtemp(prefix="hushgrid-"))
    if keep is not None and keep.exists() and any(keep.iterdir()):
        raise ConfigurationError(f"--keep {keep}: the directory is not empty")
    directory.mkdir(parents=True, exist_ok=True)

    async def interruptible() -> Run:
        task = asyncio.ensure_future(
            play(parameters, truth, wishes, directory, lambda text: progress.print(text, style="dim"))
        )
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        return await task

    try:
        return asyncio.run(interruptible())
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None
    finally:
        if keep is None:
            shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
