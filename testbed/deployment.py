"""Writes every agent's configuration into one directory and starts every agent as its own process."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomli_w

from configurator.registry import Registry
from hushgrid.control import Role
from hushgrid.keyring import Keyring
from hushgrid.sealing import Agreement, Identity
from testbed.households import Truth, write_slices
from testbed.layout import ConsumerWish
from testbed.parameters import Parameters
from testbed.processes import Supervisor

CONFIGURATOR = "configurator"
GRID = "testbed"
_METERS_PER_FLEET, _MOST_FLEETS = 50, 4


@dataclass(frozen=True, slots=True)
class Deployment:
    """Who takes part, by id. stations: each connection that carries meters, with its meters."""

    directory: Path
    ppns: tuple[str, ...]
    consumers: dict[str, tuple[ConsumerWish, ...]]
    stations: dict[str, tuple[str, ...]]
    conductor: Identity
    conductor_agreement: Agreement

    @property
    def everybody(self) -> list[str]:
        """All who follow plans."""
        return [*self.ppns, *self.consumers, *self.stations]

    def state(self, agent: str) -> Path:
        """An agent's own directory."""
        return self.directory / agent


def stations_of(meters: tuple[str, ...], *, process_per_meter: bool) -> dict[str, tuple[str, ...]]:
    """Which process carries which meters: one each, or a few fleets of neighbours."""
    if process_per_meter:
        return {meter: (meter,) for meter in meters}
    fleets = min(_MOST_FLEETS, -(-len(meters) // _METERS_PER_FLEET))
    size = -(-len(meters) // fleets)
    groups = [meters[start : start + size] for start in range(0, len(meters), size)]
    return {f"fleet-{number}": group for number, group in enumerate(groups, start=1)}


class Deployer:
    """Prepares and starts one testbed."""

    def __init__(
        self, parameters: Parameters, truth: Truth, wishes: list[ConsumerWish], directory: Path, broker_url: str
    ) -> None:
        self._parameters = parameters
        self._truth = truth
        self._broker_url = broker_url
        consumers: dict[str, tuple[ConsumerWish, ...]] = {}
        for wish in wishes:
            consumers[wish.consumer_id] = (*consumers.get(wish.consumer_id, ()), wish)
        self.deployment = Deployment(
            directory=directory,
            ppns=tuple(f"ppn-{number}" for number in range(1, parameters.ppns + 1)),
            consumers=consumers,
            stations=stations_of(truth.meters, process_per_meter=parameters.process_per_meter),
            conductor=Identity.generate(),
            conductor_agreement=Agreement.generate(),
        )
        self._tokens: dict[str, str] = {}
        self._identity = b""

    def prepare(self) -> None:
        """Make the configurator's identity and everybody's one-time token; write the slices of readings."""
        d = self.deployment
        keyring = Keyring(d.state(CONFIGURATOR) / "keys.sqlite")
        self._identity = keyring.identity(CONFIGURATOR).public
        keyring.close()
        agents = [(ppn, Role.PPN) for ppn in d.ppns]
        agents += [(consumer, Role.CONSUMER) for consumer in d.consumers]
        agents += [(meter, Role.METER) for meter in self._truth.meters]
        if not self._parameters.process_per_meter:
            agents += [(fleet, Role.CARRIER) for fleet in d.stations]
        registry = Registry(d.state(CONFIGURATOR) / "registry.sqlite")
        self._tokens = registry.issue_tokens(agents)
        registry.close()

    async def start(self, supervisor: Supervisor) -> None:
        """Start the configurator, then everybody else."""
        p, d = self._parameters, self.deployment
        await self._start(supervisor, "configurator", CONFIGURATOR, "configurator", self._configurator())
        for ppn in d.ppns:
            await self._start(
                supervisor, "ppn", ppn, "ppn_node", self._role(ppn) | {"ppn": {"operator": f"operator-{ppn}"}}
            )
        for consumer, wishes in d.consumers.items():
            rules = [
                {
                    "name": w.name,
                    "cohort": w.cohort if isinstance(w.cohort, str) else list(w.cohort),
                    "window_rounds": w.window_rounds,
                }
                for w in wishes
            ]
            content = self._role(consumer) | {"consumer": {"rules": rules}}
            await self._start(supervisor, "consumer", consumer, "consumer_node", content)
        slices = write_slices(self._truth, d.stations, d.directory / "readings")
        for station, meters in d.stations.items():
            content = self._role(station) | {
                "source": {
                    "kind": "csv",
                    "path": str(slices[station]),
                    "first_round": self._truth.first_round,
                    "last_round": self._truth.last_round,
                },
                "link": {"loss_fraction": p.loss, "seed": p.seed},
            }
            module = "meter_agent"
            if not p.process_per_meter:
                module = "testbed.fleet"
                content["fleet"] = {"tokens_file": str(self._fleet_tokens(station, meters))}
            await self._start(supervisor, "meter", station, module, content)

    def _fleet_tokens(self, station: str, meters: tuple[str, ...]) -> Path:
        path = self.deployment.state(station) / "tokens.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_text(json.dumps({meter: self._tokens[meter] for meter in meters}), encoding="ascii")
        return path

    async def _start(self, supervisor: Supervisor, role: str, agent: str, module: str, content: dict[str, Any]) -> None:
        path = self._write(agent, content)
        command = [sys.executable, "-m", module, "--config", str(path)]
        await supervisor.start(role, agent, command, self.deployment.directory / "log" / f"{agent}.log")

    def _write(self, agent: str, content: dict[str, Any]) -> Path:
        directory = self.deployment.state(agent)
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / f"{agent}.toml"
        path.write_text(tomli_w.dumps(content), encoding="utf-8")
        return path

    def _service(self, agent: str) -> dict[str, Any]:
        d = self.deployment
        return {
            "agent": {"id": agent, "grid": GRID, "state_directory": str(d.state(agent))},
            "broker": {"url": self._broker_url},
            "pace": {
                "mode": "conducted",
                "conductor": d.conductor.public.hex(),
                "conductor_agreement": d.conductor_agreement.public.hex(),
            },
            "log": {"level": "INFO"},
        }

    def _role(self, agent: str) -> dict[str, Any]:
        content = self._service(agent)
        token = self.deployment.state(agent) / "token"
        token.parent.mkdir(parents=True, exist_ok=True)
        token.touch(mode=0o600)
        token.write_text(self._tokens[agent], encoding="ascii")
        content["agent"]["token_file"] = str(token)
        content["configurator"] = {"identity": self._identity.hex()}
        return content

    def _configurator(self) -> dict[str, Any]:
        p = self._parameters
        return self._service(CONFIGURATOR) | {
            "plan": {
                "threshold": p.threshold,
                "width": p.width,
                "modulus": p.modulus_in_force,
                "reading_bound_watt_hours": p.reading_bound_watt_hours,
                "interval_seconds": self._truth.interval_seconds,
                "recovery": p.recovery.value,
                "minimum_contributors": p.minimum_contributors,
                "epoch_rounds": p.epoch_rounds,
                "first_round": self._truth.first_round,
            }
        }
