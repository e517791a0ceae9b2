"""`hushgrid testbed --open`: constructed households by the clock on the wall, and a place for a real meter among them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hushgrid.core.schedule import round_start
from hushgrid.errors import ConfigurationError
from hushgrid.wire.role import Role
from meter_agent.sources.constructed import ConstructedHouseholds
from testbed.brokers.broker import RunningBroker, check_choice, start_engine
from testbed.brokers.engines import Mosquitto
from testbed.deployment import CONFIGURATOR, GRID, found, write_configuration, write_private
from testbed.launch import Launch
from testbed.opened.invitation import Invitation, own_address
from testbed.processes import Supervisor

#: Where the broker listens: being open is what it is for, and what goes over it is sealed.
EVERYWHERE, LOOPBACK = "0.0.0.0", "127.0.0.1"  # noqa: S104
CONSUMER, FLEET, GUEST, RULE = "consumer-1", "fleet-1", "guest", "sum"
#: Part of a round that meters have, after its end, to say their readings.
_GRACE_OF_INTERVAL, _LEAST_GRACE_SECONDS, _MOST_GRACE_SECONDS = 0.5, 3.0, 60.0
_LOOK_SECONDS = 0.3


@dataclass(frozen=True, slots=True)
class OpenGrid:
    """What an open testbed is made of.

    host: where the broker listens, 0.0.0.0 for every network of this machine. port: None for a free one.
    households: how many constructed ones. interval_seconds: length of a round.
    """

    host: str = EVERYWHERE
    port: int | None = None
    households: int = 20
    ppns: int = 5
    width: int = 4
    threshold: int = 3
    interval_seconds: int = 60
    minimum_contributors: int = 15
    seed: int = 1

    def check(self) -> None:
        """ConfigurationError for a grid that cannot be."""
        check_choice("mosquitto")
        if self.host not in (EVERYWHERE, LOOPBACK):
            raise ConfigurationError(
                f"--open {self.host}: it is {EVERYWHERE}, for everybody in this network, or {LOOPBACK}"
            )
        if self.threshold > self.width or self.width > self.ppns or 2 * self.threshold <= self.width:
            raise ConfigurationError(
                f"--threshold {self.threshold} --width {self.width} --ppns {self.ppns}: the width is at most the number of PPNs, "
                "and the threshold more than half of the width and no more than the width"
            )
        if self.households < self.minimum_contributors:
            raise ConfigurationError(
                f"--meters {self.households}: a sum needs {self.minimum_contributors} households, and the guest may be away"
            )
        if self.interval_seconds < 2 * _LEAST_GRACE_SECONDS:
            raise ConfigurationError(
                f"--interval {self.interval_seconds} s is too short: rounds of a real meter take {2 * _LEAST_GRACE_SECONDS:g} s at least"
            )

    @property
    def grace_seconds(self) -> float:
        """How long after its end a round takes readings."""
        return min(_MOST_GRACE_SECONDS, max(_LEAST_GRACE_SECONDS, self.interval_seconds * _GRACE_OF_INTERVAL))

    @property
    def meters(self) -> tuple[str, ...]:
        """Ids of the constructed households."""
        return tuple(f"m{number:04}" for number in range(1, self.households + 1))


async def keep_open(grid: OpenGrid, directory: Path, tell: Callable[[str], None]) -> None:
    """Run it until cancelled; `tell` gets the invitation, and a line for every sum. Whatever was started is stopped again.

    ConfigurationError when the broker cannot be had or an agent refuses its configuration.
    """
    grid.check()
    supervisor = Supervisor()
    try:
        broker = await start_engine(Mosquitto(grid.host), supervisor, directory / "broker", grid.port)
        installing = _Installing(grid, directory, broker)
        invitation = installing.prepare()
        for launch in installing.launches():
            await supervisor.launch(launch, directory)
        tell(
            f"{grid.households} constructed households, {grid.ppns} PPNs, one consumer; rounds of {grid.interval_seconds} s"
        )
        tell("A real meter joins with these two files, on any machine of this network:\n")
        tell(invitation.text())
        following = asyncio.create_task(_follow(grid, directory / CONSUMER / "results.jsonl", tell))
        try:
            watched: set[asyncio.Future[Any]] = {following, supervisor.failure}
            await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
            if supervisor.failure.done():
                raise ConfigurationError(supervisor.failure.result())
            await following
        finally:
            following.cancel()
    finally:
        await supervisor.stop_all()


class _Installing:
    """Keys, tokens and configurations of one open testbed."""

    def __init__(self, grid: OpenGrid, directory: Path, broker: RunningBroker) -> None:
        self._grid, self._directory, self._broker = grid, directory, broker
        self._identity = ""
        self._tokens: dict[str, str] = {}

    def prepare(self) -> Invitation:
        """Make the configurator's identity and everybody's token."""
        grid = self._grid
        agents = [(ppn, Role.PPN) for ppn in self._ppns()] + [(CONSUMER, Role.CONSUMER), (FLEET, Role.CARRIER)]
        agents += [(meter, Role.METER) for meter in (*grid.meters, GUEST)]
        identity, self._tokens = found(self._directory / CONFIGURATOR, agents)
        self._identity = identity.hex()
        host = own_address() if grid.host == EVERYWHERE else grid.host
        port = self._broker.url.rpartition(":")[2]
        address = f"{host}:{port}"
        return Invitation(
            GUEST, GRID, address, self._identity, self._tokens[GUEST], grid.interval_seconds, grid.grace_seconds
        )

    def launches(self) -> list[Launch]:
        """Write down who takes part; who is to be started, in this order."""
        grid = self._grid
        plan = {
            "threshold": grid.threshold,
            "width": grid.width,
            "interval_seconds": grid.interval_seconds,
            "minimum_contributors": grid.minimum_contributors,
        }
        configurator = self._service(CONFIGURATOR) | {"plan": plan, "agreement": {"roster_patience_seconds": 5.0}}
        found = [self._write("configurator", CONFIGURATOR, "configurator", configurator)]
        for ppn in self._ppns():
            content = self._role(ppn) | {"ppn": {"operator": f"operator-{ppn}"}}
            found.append(self._write("ppn", ppn, "ppn_node", content))
        rule = {"name": RULE, "cohort": "all", "window_rounds": 1}
        consumer = self._role(CONSUMER) | {"consumer": {"rules": [rule]}}
        found.append(self._write("consumer", CONSUMER, "consumer_node", consumer))
        tokens = self._secret(FLEET, "tokens.json", json.dumps({meter: self._tokens[meter] for meter in grid.meters}))
        fleet = self._role(FLEET) | {
            "source": {"kind": "constructed", "seed": grid.seed},
            "fleet": {"tokens_file": str(tokens)},
        }
        found.append(self._write("meter", FLEET, "testbed.agents.fleet", fleet))
        return found

    def _ppns(self) -> list[str]:
        return [f"ppn-{number}" for number in range(1, self._grid.ppns + 1)]

    def _service(self, agent: str) -> dict[str, Any]:
        return {
            "agent": {"id": agent, "grid": GRID, "state_directory": str(self._directory / agent)},
            "broker": {"url": self._broker.url},
            "pace": {"grace_seconds": self._grid.grace_seconds},
        }

    def _role(self, agent: str) -> dict[str, Any]:
        content = self._service(agent)
        content["agent"]["token_file"] = str(self._secret(agent, "token", self._tokens[agent]))
        return content | {"configurator": {"identity": self._identity}}

    def _secret(self, agent: str, name: str, content: str) -> Path:
        return write_private(self._directory / agent, name, content)

    def _write(self, role: str, agent: str, module: str, content: dict[str, Any]) -> Launch:
        return Launch(role, agent, module, write_configuration(self._directory / agent, agent, content))


def line_of(grid: OpenGrid, households: ConstructedHouseholds, result: dict[str, Any]) -> str:
    """A result in one line: when, how many readings, the sum, and what the guest's part of it is."""
    number = int(result["first_round"])
    begin = round_start(number, grid.interval_seconds)
    when = f"{begin:%H:%M:%S} UTC"
    if result["status"] != "released":
        return f"{when}  {result['status']}: {result['reason']}"
    total, included = int(result["watt_hours"]), int(result["included"])
    line = f"{when}  {included} of {result['expected']} readings  {total:,} Wh"
    if included == grid.households + 1:
        theirs = sum(households.watt_hours(meter, number) for meter in grid.meters)
        line += f"  the guest's: {total - theirs:,} Wh (all the others are known here)"
    return line


async def _follow(grid: OpenGrid, results: Path, tell: Callable[[str], None]) -> None:
    """Tell every result that is written down, for ever."""
    households = ConstructedHouseholds(grid.seed, grid.interval_seconds)
    told = 0
    while True:
        whole = _whole_lines(results)
        for line in whole[told:]:
            tell(line_of(grid, households, json.loads(line)))
        told = max(told, len(whole))
        await asyncio.sleep(_LOOK_SECONDS)


def _whole_lines(path: Path) -> list[str]:
    """The lines that are written to their ends; none before there is a file."""
    if not path.exists():
        return []
    return [line for line in path.read_text(encoding="utf-8").splitlines(keepends=True) if line.endswith("\n")]
