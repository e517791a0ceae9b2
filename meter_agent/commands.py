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
from collections.abc import Callable, Coroutine
from pathlib import Path

from hushgrid.core.schedule import utc_text
from hushgrid.errors import ConfigurationError
from hushgrid.shell.command_line import Command
from hushgrid.shell.config import load
from hushgrid.shell.runtime import EXIT_FAILURE, until_signalled
from meter_agent.checks import examine
from meter_agent.config import MeterConfig
from meter_agent.consent.commands import CONSENT_COMMANDS
from meter_agent.finding import Finding, State
from meter_agent.service import serve
from meter_agent.sources import SourceKind
from meter_agent.sources.files.csv_formats import open_csv
from meter_agent.sources.guard import guarded
from meter_agent.sources.sample import Sample, SampleRefusedError

#: How long `check`, and `read --once`, wait for the meter if nothing is said.
_PATIENCE_SECONDS = 30.0


def _seconds(text: str) -> float:
    """What `--seconds` says; ConfigurationError unless that is a length of time."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not (math.isfinite(seconds) and seconds > 0):
        raise ConfigurationError(f"--seconds {text}: expected a number of seconds above 0")
    return seconds


def _interval(text: str) -> int:
    """What `--interval` says; ConfigurationError unless that is a whole number of seconds."""
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise ConfigurationError(f"--interval {text}: expected a whole number of seconds above 0")
    return int(text)


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
    async for finding in examine(config, arguments.seconds, arguments.interval):
        _show(finding)
        worst = max(worst, finding.state)
    return EXIT_FAILURE if worst is State.WRONG else 0


def _show(finding: Finding) -> None:
    print(f"{finding.state.name.lower():8} {finding.subject:14} {finding.text}", flush=True)


async def _read(arguments: argparse.Namespace) -> int:
    from meter_agent.sources.devices.opening import open_device  # noqa: PLC0415 - needs the extra of the kind

    config = load(MeterConfig, arguments.config)
    if not config.source.live:
        raise ConfigurationError(f"source.kind {config.source.kind.value}: there is no device to read")
    device = open_device(config.source)
    seen = 0
    seconds = arguments.seconds or (_PATIENCE_SECONDS if arguments.once else None)
    with contextlib.suppress(TimeoutError):
        async with (
            asyncio.timeout(seconds),
            contextlib.aclosing(guarded(device)) as said,
        ):
            async for sample in said:
                now = utc_text(dt.datetime.now(dt.UTC))
                refused = _refused(sample)
                if isinstance(sample, Sample) and refused is None:
                    seen += 1
                    registers = f"import {sample.import_watt_hours} Wh  export {sample.export_watt_hours} Wh"
                    print(f"{now}  {registers}  {sample.device}", flush=True)
                    if arguments.once:
                        return 0
                else:
                    print(f"{now}  not believed: {refused}", flush=True)
    if seen:
        return 0
    within = "" if seconds is None else f" within {seconds:g} s"
    sys.stderr.write(f"{device.label}: no sound sample{within}\n")
    return EXIT_FAILURE


def _refused(sample: Sample | SampleRefusedError) -> SampleRefusedError | None:
    """Why a running meter would not believe it, as far as one sample tells."""
    try:
        if isinstance(sample, SampleRefusedError):
            return sample
        sample.refuse_implausible()
    except SampleRefusedError as error:
        return error
    return None


async def _replay(arguments: argparse.Namespace) -> int:
    config = load(MeterConfig, arguments.config)
    only = _only_meter(open_csv(arguments.file).header) if config.source.csv is None else None
    meter = arguments.meter or only or config.agent.id
    source = config.source.model_copy(
        update={"kind": SourceKind.CSV, "path": arguments.file, "meter": meter, "from_now": True}
    )
    logging.getLogger().setLevel(config.log.level)
    await until_signalled(lambda: serve(config.model_copy(update={"source": source})))
    return 0


def _only_meter(header: tuple[str, ...]) -> str | None:
    """The one meter of a wide file."""
    return header[1] if len(header) == 2 and header[0] == "start_utc" else None


def _for_check(parser: argparse.ArgumentParser) -> None:
    said = f"How long to wait for the meter (default {_PATIENCE_SECONDS:g})."
    parser.add_argument("--seconds", type=_seconds, default=_PATIENCE_SECONDS, help=said)
    said = "How long the installation's rounds are, where no plan has said it yet."
    parser.add_argument("--interval", type=_interval, metavar="SECONDS", help=said)


def _for_read(parser: argparse.ArgumentParser) -> None:
    said = f"How long to read (default: {_PATIENCE_SECONDS:g} with --once, else until Ctrl-C)."
    parser.add_argument("--seconds", type=_seconds, help=said)
    parser.add_argument("--once", action="store_true", help="End after the first sound sample.")


def _for_replay(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, metavar="READINGS.csv", help="The readings.")
    parser.add_argument("--meter", help="Its name in the file (default: the only one, else the agent's id).")


def _waiting(
    command: Callable[[argparse.Namespace], Coroutine[None, None, int]],
) -> Callable[[argparse.Namespace], int]:
    """The command, with what is logged on standard error."""

    def obey(arguments: argparse.Namespace) -> int:
        logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s", stream=sys.stderr, force=True)
        return asyncio.run(command(arguments))

    return obey


COMMANDS = (
    Command(
        "check",
        "Say whether the configuration, the keys, the clock, the broker and the meter are as they must be.",
        _waiting(_check),
        _for_check,
    ),
    Command("read", "Show what the meter says, as it says it.", _waiting(_read), _for_read),
    Command(
        "replay",
        "Run, with the readings of a file moved to begin now in place of the meter's.",
        _waiting(_replay),
        _for_replay,
    ),
    *CONSENT_COMMANDS,
)
