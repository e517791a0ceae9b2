"""The commands of `hushgrid-meter` beside `run`: check what a meter needs, read its device, replay a file in its place."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import datetime as dt
import importlib.resources
import logging
import math
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from hushgrid.config import load
from hushgrid.errors import ConfigurationError, HushgridError
from hushgrid.runtime import EXIT_FAILURE, exit_status, until_signalled
from meter_agent.checks import Finding, State, examine
from meter_agent.config import MeterConfig
from meter_agent.register import Sample
from meter_agent.service import serve
from meter_agent.sources import SourceKind
from meter_agent.sources.csv_formats import open_csv

#: How long `check`, and `read --once`, wait for the meter if nothing is said.
_PATIENCE_SECONDS = 30.0


def main(program: str, argv: list[str]) -> int:
    """Run one command; returns the exit status."""
    try:
        arguments = _parser(program).parse_args(argv)
        with _log_to_stderr():
            status: int = asyncio.run(_COMMANDS[arguments.command](arguments))
    except KeyboardInterrupt:
        return EXIT_FAILURE
    except (HushgridError, ExceptionGroup) as raised:
        return exit_status(program, raised)
    return status


def _parser(program: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=program, description="A meter's agent. Without a command it runs.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="{run,check,read,replay}")
    for name, text in (
        ("run", "run until SIGTERM"),
        ("check", "say whether the configuration, the keys, the clock, the broker and the meter are as they must be"),
        ("read", "show what the meter says, as it says it"),
        ("replay", "run, with the readings of a file moved to begin now in place of the meter's"),
    ):
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument("--config", type=Path, required=True, metavar="FILE.toml")
        if name == "check":
            command.add_argument(
                "--seconds",
                type=_seconds,
                default=_PATIENCE_SECONDS,
                help="how long to wait for the meter (default 30)",
            )
        if name == "read":
            command.add_argument(
                "--seconds", type=_seconds, help="how long to read (default: 30 with --once, else until Ctrl-C)"
            )
            command.add_argument("--once", action="store_true", help="end after the first sound sample")
        if name == "replay":
            command.add_argument("file", type=Path, metavar="READINGS.csv")
            command.add_argument("--meter", help="its name in the file (default: the only one, else the agent's id)")
    return parser


def _seconds(text: str) -> float:
    """What `--seconds` says; ConfigurationError unless that is a length of time."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not (math.isfinite(seconds) and seconds > 0):
        raise ConfigurationError(f"--seconds {text}: expected a number of seconds above 0")
    return seconds


@contextlib.contextmanager
def _log_to_stderr() -> Iterator[None]:
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s", stream=sys.stderr, force=True)
    yield


def write_sample(path: Path) -> None:
    """Put the commented sample configuration there, for its owner to read only. ConfigurationError when that fails."""
    text = importlib.resources.files("meter_agent").joinpath("sample.toml").read_text(encoding="utf-8")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o640), "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}") from None


async def _check(arguments: argparse.Namespace) -> int:
    if not arguments.config.exists():
        write_sample(arguments.config)
        raise ConfigurationError(f"{arguments.config} did not exist; a commented sample is there now, to be filled in")
    config = load(MeterConfig, arguments.config)
    worst = State.FINE
    async for finding in examine(config, arguments.seconds):
        _show(finding)
        worst = max(worst, finding.state)
    return EXIT_FAILURE if worst is State.WRONG else 0


def _show(finding: Finding) -> None:
    print(f"{finding.state.name.lower():8} {finding.subject:14} {finding.text}", flush=True)  # noqa: T201


async def _read(arguments: argparse.Namespace) -> int:
    from meter_agent.sources.devices import open_device  # noqa: PLC0415 - needs the extra of the kind

    config = load(MeterConfig, arguments.config)
    if not config.source.live:
        raise ConfigurationError(f"source.kind {config.source.kind.value}: there is no device to read")
    device = open_device(config.source)
    seen = 0
    seconds = arguments.seconds or (_PATIENCE_SECONDS if arguments.once else None)
    with contextlib.suppress(TimeoutError):
        async with (
            asyncio.timeout(seconds),
            contextlib.aclosing(device.samples()) as said,
        ):
            async for sample in said:
                now = dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
                if isinstance(sample, Sample):
                    seen += 1
                    registers = f"import {sample.import_watt_hours} Wh  export {sample.export_watt_hours} Wh"
                    print(f"{now}  {registers}  {sample.device}", flush=True)  # noqa: T201
                    if arguments.once:
                        return 0
                else:
                    print(f"{now}  not believed: {sample}", flush=True)  # noqa: T201
    if seen:
        return 0
    within = "" if seconds is None else f" within {seconds:g} s"
    sys.stderr.write(f"{device.label}: no sound sample{within}\n")
    return EXIT_FAILURE


async def _replay(arguments: argparse.Namespace) -> int:
    config = load(MeterConfig, arguments.config)
    file = open_csv(arguments.file)
    meter = arguments.meter or _only_meter(file.header) or config.agent.id
    source = config.source.model_copy(
        update={"kind": SourceKind.CSV, "path": arguments.file, "meter": meter, "from_now": True}
    )
    logging.getLogger().setLevel(config.log.level)
    await until_signalled(lambda: serve(config.model_copy(update={"source": source})))
    return 0


def _only_meter(header: tuple[str, ...]) -> str | None:
    """The one meter of a wide file."""
    return header[1] if len(header) == 2 and header[0] == "start_utc" else None


_COMMANDS = {"check": _check, "read": _read, "replay": _replay}
