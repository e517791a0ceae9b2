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
from hushgrid.plan import Mechanism, Recovery, Variant
from hushgrid.runtime import EXIT_CONFIGURATION, EXIT_FAILURE, describe
from testbed.engines import ENGINES
from testbed.households import Truth, constructed_truth, read_truth
from testbed.layout import LateRequest, lay_out, lay_out_masked
from testbed.parameters import Parameters
from testbed.play import Run, play
from testbed.report import show

#: Sub-commands that live elsewhere, imported when they are asked for: name -> (module, attribute, extra that it needs).
_ELSEWHERE = {
    "audit": ("configurator.command", "audit_command", "configurator"),
    "enrol": ("configurator.enrol_command", "enrol", "configurator"),
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


def _spans(
    _context: click.Context, _parameter: click.Parameter, value: tuple[str, ...]
) -> tuple[tuple[str, int, int], ...]:
    found = []
    for item in value:
        agent, _, rounds = item.partition("@")
        first, _, last = rounds.partition("-")
        if not agent or not first.isdigit() or not last.isdigit():
            raise click.BadParameter(f"{item!r} is not AGENT@FROM-TO such as ppn-2@3-6")
        found.append((agent, int(first), int(last)))
    return tuple(found)


def _asks(_context: click.Context, _parameter: click.Parameter, value: tuple[str, ...]) -> tuple[LateRequest, ...]:
    found = []
    for number, item in enumerate(value, start=1):
        who, _, what = item.partition("=")
        consumer, _, round_number = who.partition("@")
        cohort, _, window = what.partition("/")
        if not consumer or not round_number.isdigit() or not cohort or (window and not window.isdigit()):
            raise click.BadParameter(f"{item!r} is not CONSUMER@ROUND=COHORT[/WINDOW] such as consumer-2@3=1..39/2")
        found.append(LateRequest(consumer, int(round_number), f"asked-{number}", cohort, int(window or 1)))
    return tuple(found)


def _withdrawals(
    _context: click.Context, _parameter: click.Parameter, value: tuple[str, ...]
) -> tuple[LateRequest, ...]:
    found = []
    for item in value:
        who, _, name = item.partition("=")
        consumer, _, round_number = who.partition("@")
        if not consumer or not round_number.isdigit() or not name:
            raise click.BadParameter(f"{item!r} is not CONSUMER@ROUND=RULE such as consumer-2@5=sum-2")
        found.append(LateRequest(consumer, int(round_number), name))
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
    "--recovery", type=click.Choice(["none", "agree", "repair"]), default="repair", show_default=True,
    help="What becomes of a lost share: none is the paper's model, agree leaves the reading out everywhere, "
    "repair asks for it again first.",
)  # fmt: skip
@click.option("--repair-attempts", default=5, show_default=True, help="How often a missing share is asked for.")
@click.option("--loss", default=0.0, show_default=True, help="Fraction of shares that the link loses.")
@click.option(
    "--link", "links", multiple=True, metavar="[ROUND:]WHAT=HOW,...",
    help="What the lossy link does, from that round on; repeatable. loss=0.1, bursts=ENTER/LEAVE, delay=SECONDS, "
    "late=FRACTION/SECONDS, twice=0.2, part=ONE/OTHER/ROUNDS.",
)  # fmt: skip
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
    "--broker",
    default="auto",
    show_default=True,
    metavar="auto|NAME|URL",
    help=f"The MQTT broker: one that is started ({', '.join(ENGINES)}) or one that runs.",
)
@click.option("--port", type=int, help="Port of the broker that is started; default: a free one.")
@click.option(
    "--secure",
    is_flag=True,
    help="Mutual TLS, access rules and a private authority; the doors are the ports from --port on.",
)
@click.option(
    "--certificate-seconds",
    default=86_400.0,
    show_default=True,
    help="Life of certificates with --secure; they are renewed after two thirds of it.",
)
@click.option(
    "--process-per-meter",
    is_flag=True,
    help="One hushgrid-meter process per household, instead of a few concentrators.",
)
@click.option("--ppn-workers", default=0, show_default=True, help="Worker processes of every PPN, by meter partition.")
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
    "--stop",
    "stops",
    multiple=True,
    metavar="PPN@ROUND",
    callback=_kills,
    help="kill -9 a PPN, or a node of a cluster, for good; repeatable.",
)
@click.option(
    "--pause",
    "pauses",
    multiple=True,
    metavar="AGENT@FROM-TO",
    callback=_spans,
    help="Freeze a PPN when the first of these rounds has been played, until the second has; repeatable.",
)
@click.option(
    "--cut",
    "cuts",
    multiple=True,
    metavar="AGENT@FROM-TO",
    callback=_spans,
    help="Cut a PPN, or the broker, off from its network meanwhile; needs --runtime docker; repeatable.",
)
@click.option(
    "--runtime",
    type=click.Choice(["process", "docker"]),
    default="process",
    show_default=True,
    help="What every agent is: a process of this machine, or a container (make images).",
)
@click.option(
    "--away-seconds",
    default=60.0,
    show_default=True,
    help="How long a PPN may be gone before rules are placed elsewhere.",
)
@click.option(
    "--ask",
    "asks",
    multiple=True,
    metavar="CONSUMER@ROUND=COHORT[/WINDOW]",
    callback=_asks,
    help="Ask for a rule in mid-run; COHORT is all, or positions of meters such as 1..39; repeatable.",
)
@click.option(
    "--withdraw",
    "withdrawals",
    multiple=True,
    metavar="CONSUMER@ROUND=RULE",
    callback=_withdrawals,
    help="Give a rule up in mid-run; repeatable.",
)
@click.option(
    "--liar",
    "liars",
    multiple=True,
    metavar="PPN[:CONSUMER]",
    help="A PPN whose aggregate shares are off by one, for all consumers or for one; repeatable.",
)
@click.option(
    "--mechanism", type=click.Choice([mechanism.value for mechanism in Mechanism]), default="shares", show_default=True,
    help="shares of readings to PPNs; pairwise: masked readings to one consumer, exact bills and grid sums; both: shares of "
    "masked readings.",
)  # fmt: skip
@click.option(
    "--graph", default="circulant:1,2", show_default=True, metavar="circulant:1,2|random:P",
    help="Who shares masks with whom (pairwise, both).",
)  # fmt: skip
@click.option(
    "--variant", type=click.Choice([variant.value for variant in Variant]), default="hardened", show_default=True,
    help="The pairwise noise; published is the paper's, which hides nothing.",
)  # fmt: skip
@click.option("--unsafe-published", is_flag=True, help="Yes, use the published noise, for study.")
@click.option("--period", default=48, show_default=True, help="Rounds of a billing period (pairwise, both).")
@click.option(
    "--self-masks",
    is_flag=True,
    help="Rounds may be closed without silent meters (pairwise, hardened): two more messages a round.",
)
@click.option("--losses-borne", default=2, show_default=True, help="Silent meters a round may be closed without.")
@click.option("--colluders", default=3, show_default=True, help="Meters that may pool what they know (pairwise, both).")
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
        choices["requests"] = (*choices.pop("asks"), *choices.pop("withdrawals"))  # type: ignore[misc]
        choices["recovery"] = Recovery(str(choices["recovery"]))
        choices["mechanism"] = Mechanism(str(choices["mechanism"]))
        choices["variant"] = Variant(str(choices["variant"]))
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
    if parameters.mechanism is Mechanism.SHARES:
        wishes = lay_out(truth.meters, parameters.consumers, parameters.windows, parameters.minimum_contributors)
    else:
        wishes = lay_out_masked(parameters.mechanism, parameters.consumers, parameters.windows, parameters.period)
    parameters.check_parties(truth.meters, {wish.consumer_id for wish in wishes})
    for request in parameters.requests:
        if request.cohort is not None:
            request.section(sorted(truth.meters))  # what cannot be asked for is said before anything is started
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
