"""Conducts the rounds of docker-compose.yml and compares every sum: `python -m testbed.compose.check --directory DIR`.

DIR holds the volumes of the configurator and the consumers, read-only, and the conductor's own. The exit status is 0 only when
every window of every consumer was released and every sum equals the truth.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
import time
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from configurator.authority.installation import AUTHORITY_PORT
from hushgrid.core.sealing import Agreement, Identity
from hushgrid.errors import ConfigurationError, HushgridError
from hushgrid.printing import Terminal
from hushgrid.shell.runtime import EXIT_FAILURE, exit_status
from hushgrid.shell.transport import TlsFiles
from hushgrid.tables import Style
from hushgrid.wire.role import Role
from testbed.brokers.broker import RunningBroker
from testbed.brokers.entrance import TRUST, Entrance
from testbed.brokers.secure import LABEL
from testbed.choices.parameters import Parameters
from testbed.compose.failure import told
from testbed.compose.health import listening, not_there, not_usable, not_well
from testbed.deployment import CONFIGURATOR, Deployment, who_takes_part
from testbed.faults import Harm
from testbed.households import Truth, constructed_truth
from testbed.places import AUTHORITY, CONDUCTOR, DESCRIPTION
from testbed.run.conducting import conduct
from testbed.run.play import Run
from testbed.run.report import show
from testbed.run.waiting import FIRST_WORD_SECONDS, Words
from testbed.verdict.sums import judge

_AUTHORITY_SECONDS = 60.0


def read_deployment(directory: Path) -> tuple[Parameters, Truth, Deployment, RunningBroker]:
    """What set-up has written; ConfigurationError when it has not, or has written that it refuses."""
    try:
        content = json.loads((directory / CONDUCTOR / DESCRIPTION).read_text(encoding="ascii"))
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{directory / CONDUCTOR / DESCRIPTION}: {error}") from None
    if content["refusal"] is not None:
        raise ConfigurationError(content["refusal"])
    parameters = Parameters.of(**content["parameters"], process_per_meter=True)
    truth = constructed_truth(parameters.grid.meters, parameters.play.rounds, seed=parameters.play.seed)
    wishes = parameters.wishes(truth.meters)
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


async def check(deployed: Path, terminal: Terminal) -> tuple[Run, Truth]:
    """Play all rounds and judge them."""
    began = time.monotonic()
    parameters, truth, deployment, broker = read_deployment(deployed)

    def untouched(_harm: Harm, agent: str) -> None:
        raise ConfigurationError(f"{agent}: the check harms nobody")

    services = [CONFIGURATOR, *deployment.ppns, *deployment.consumers]

    def named(ill: Mapping[str, str]) -> list[str]:
        return [f"{service} ({wrong})" for service, wrong in ill.items()]

    def gone(heard: Collection[str]) -> list[str]:
        """Without the broker or the authority nobody can be heard: then these alone are named."""
        ill = not_there(broker) or not_well(services, truth.meters, heard)
        return named(ill)

    # All others begin behind the authority: how long they may take is counted from there.
    if broker.entrance is not None and not await listening(AUTHORITY, AUTHORITY_PORT, FIRST_WORD_SECONDS):
        words = Words(terminal.say, lambda: named(not_there(broker)))
        terminal.say(f"waiting for {words.described('the authority to listen')}")
        await listening(AUTHORITY, AUTHORITY_PORT, _AUTHORITY_SECONDS)
    outcome = await conduct(parameters, truth, deployment, broker, untouched, terminal.say, gone)
    if outcome.stalled:
        ill = await not_usable(broker) or not_well(services, truth.meters, outcome.reports)
        for service, wrong in ill.items():
            terminal.say(f"{service} is not healthy: {wrong}; its own words: docker-compose logs {service}", Style.BAD)
    try:
        verdict = judge(deployment, truth)
    except HushgridError:
        if not outcome.stalled:
            raise
        # Who never began has left nothing to judge: not a file that is missing ended the run.
        raise HushgridError(f"ended early: {outcome.stalled}") from None
    return Run(parameters, broker.label, [], verdict, outcome, time.monotonic() - began, left_running=[]), truth


def passed(run: Run) -> bool:
    """Whether every window was released and every sum is right."""
    counts = run.verdict.counts
    return run.succeeded and counts["windows"] > 0 and counts["released"] == counts["windows"]


def main() -> None:
    """Entry of the container."""
    parser = argparse.ArgumentParser(description="Play the rounds of a testbed in containers and compare every sum.")
    parser.add_argument("--directory", type=Path, required=True, metavar="DIR", help="every volume is a folder of it")
    directory = parser.parse_args().directory
    terminal = Terminal()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(EXIT_FAILURE))
    try:
        if (failure := told()) is not None:
            raise ConfigurationError(f"set-up failed: {failure}")
        run, truth = asyncio.run(check(directory, terminal))
    except (HushgridError, ExceptionGroup) as raised:
        sys.exit(exit_status("check", raised))
    show(run, truth, terminal)
    if not passed(run):
        terminal.say("Not every window was released with the right sum.", Style.BAD)
    sys.exit(0 if passed(run) else EXIT_FAILURE)


if __name__ == "__main__":
    main()
