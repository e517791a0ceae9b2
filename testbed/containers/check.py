"""Conducts the rounds of docker-compose.yml and compares every sum: `python -m testbed.containers.check --directory DIR`.

DIR holds the volumes of the configurator and the consumers, read-only, and the conductor's own. The exit status is 0 only when
every window of every consumer was released and every sum equals the truth.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import signal
import sqlite3
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from hushgrid.control import Role
from hushgrid.errors import ConfigurationError, HushgridError
from hushgrid.runtime import EXIT_FAILURE, exit_status
from hushgrid.sealing import Agreement, Identity
from hushgrid.transport import TlsFiles
from testbed.broker import RunningBroker
from testbed.conducting import Outcome, conduct
from testbed.containers.places import AUTHORITY, CONDUCTOR, DESCRIPTION
from testbed.deployment import CONFIGURATOR, Deployment, who_takes_part
from testbed.entrance import TRUST, Entrance
from testbed.faults import Harm
from testbed.households import Truth, constructed_truth
from testbed.layout import lay_out
from testbed.parameters import Parameters
from testbed.play import Run, run_of
from testbed.report import show
from testbed.secure_broker import LABEL
from testbed.verdict import judge


def read_deployment(directory: Path) -> tuple[Parameters, Truth, Deployment, RunningBroker]:
    """What set-up has written; ConfigurationError when it has not, or has written that it refuses."""
    try:
        content = json.loads((directory / CONDUCTOR / DESCRIPTION).read_text(encoding="ascii"))
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{directory / CONDUCTOR / DESCRIPTION}: {error}") from None
    if content["refusal"] is not None:
        raise ConfigurationError(content["refusal"])
    parameters = Parameters(**content["parameters"], process_per_meter=True)
    truth = constructed_truth(parameters.meters, parameters.rounds, seed=parameters.seed)
    wishes = lay_out(truth.meters, parameters.consumers, parameters.windows, parameters.minimum_contributors)
    conductor = Identity.from_bytes(bytes.fromhex(content["conductor"]))
    agreement = Agreement.from_bytes(bytes.fromhex(content["conductor_agreement"]))
    deployment = who_takes_part(parameters, truth, wishes, directory, (conductor, agreement))
    return parameters, truth, deployment, _broker(directory, content)


def _broker(directory: Path, content: dict[str, Any]) -> RunningBroker:
    """Where set-up has sent the agents, and the conductor's door there; the others' are no business of the check."""
    urls, files = tuple(content["broker_urls"]), directory / CONDUCTOR
    if content["conductor_name"] is None:
        return RunningBroker(urls, "the broker")
    tls = TlsFiles(files / TRUST, files / "conductor.pem", None)
    entrance = Entrance({Role.CONDUCTOR: urls[0]}, "", directory / AUTHORITY, content["conductor_name"], tls)
    return RunningBroker(urls, LABEL, entrance=entrance)


def copy_stores(deployment: Deployment, directory: Path) -> Deployment:
    """The configurator's and the consumers' stores as they are now, copied; the same deployment over the copies."""
    copied = replace(deployment, directory=directory)
    copied.state(CONFIGURATOR).mkdir()
    original = deployment.state(CONFIGURATOR) / "registry.sqlite"
    source = sqlite3.connect(f"{original.as_uri()}?mode=ro", uri=True)
    target = sqlite3.connect(copied.state(CONFIGURATOR) / original.name)
    source.backup(target)
    source.close()
    target.close()
    for consumer in deployment.consumers:
        copied.state(consumer).mkdir()
        shutil.copy(deployment.state(consumer) / "results.jsonl", copied.state(consumer))
    return copied


async def check(deployed: Path, console: Console) -> tuple[Run, Truth]:
    """Play all rounds and judge them."""
    began = time.monotonic()
    parameters, truth, deployment, broker = read_deployment(deployed)
    outcome = Outcome()

    def untouched(_harm: Harm, agent: str) -> None:
        raise ConfigurationError(f"{agent}: the check harms nobody")

    await conduct(parameters, truth, deployment, broker, untouched, console.print, outcome)
    with tempfile.TemporaryDirectory() as copies:
        verdict = judge(copy_stores(deployment, Path(copies)), truth)
    seconds = time.monotonic() - began
    return run_of(parameters, broker.label, [], verdict, outcome, wall_seconds=seconds, left_running=[]), truth


def passed(run: Run) -> bool:
    """Whether every window was released and every sum is right."""
    counts = run.verdict.counts
    return run.succeeded and counts["windows"] > 0 and counts["released"] == counts["windows"]


def main() -> None:
    """Entry of the container."""
    parser = argparse.ArgumentParser(description="Play the rounds of a testbed in containers and compare every sum.")
    parser.add_argument("--directory", type=Path, required=True, metavar="DIR", help="every volume is a folder of it")
    directory = parser.parse_args().directory
    console = Console(width=140)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(EXIT_FAILURE))
    try:
        run, truth = asyncio.run(check(directory, console))
    except (HushgridError, ExceptionGroup) as raised:
        sys.exit(exit_status("check", raised))
    show(run, truth, console)
    if not passed(run):
        console.print("[red]Not every window was released with the right sum.[/red]")
    sys.exit(0 if passed(run) else EXIT_FAILURE)


if __name__ == "__main__":
    main()
