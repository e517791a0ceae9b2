"""Writes every agent's configuration into one directory: whom to start, and with what."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import tomli_w

from configurator.registry.registry import Registry
from hushgrid.core.sealing import Agreement, Identity
from hushgrid.shell.keyring import Keyring
from hushgrid.wire.model import Mechanism
from hushgrid.wire.role import Role
from testbed.brokers.broker import RunningBroker
from testbed.choices.layout import ConsumerWish, coverage_floor, stations_of
from testbed.choices.parameters import Parameters
from testbed.households import Truth, write_slices
from testbed.launch import Launch

CONFIGURATOR = "configurator"
GRID = "testbed"
#: A round is asked for again when nothing of it has come for so long: longer than a busy machine takes to answer.
_REPAIR_PAUSE_SECONDS = 1.0
#: No rule is judged before all agents are there: with many of them on a busy machine that takes a while.
_PENDING_SECONDS = 600.0
#: How long decisions and consumers wait for PPNs in a run in which some are gone for good.
_SHORT_PATIENCE_SECONDS = 10.0
#: How long a round of masked readings waits for silent meters once it froze: longer than a repetition takes.
_CLOSING_PATIENCE_SECONDS = 6.0


@dataclass(frozen=True, slots=True)
class Deployment:
    """Who takes part, by id. stations: each connection that carries meters, with its meters.

    stations_directory: where the stations' own directories are, when not beside the others'.
    """

    directory: Path
    ppns: tuple[str, ...]
    consumers: dict[str, tuple[ConsumerWish, ...]]
    stations: dict[str, tuple[str, ...]]
    conductor: Identity
    conductor_agreement: Agreement
    stations_directory: Path | None = None

    @property
    def everybody(self) -> list[str]:
        """All who follow plans."""
        return [*self.ppns, *self.consumers, *self.stations]

    def state(self, agent: str) -> Path:
        """An agent's own directory."""
        if self.stations_directory is not None and agent in self.stations:
            return self.stations_directory / agent
        return self.directory / agent


def who_takes_part(
    parameters: Parameters,
    truth: Truth,
    wishes: list[ConsumerWish],
    directory: Path,
    conductor: tuple[Identity, Agreement],
    stations_directory: Path | None = None,
) -> Deployment:
    """Everybody's ids, as they follow from the parameters."""
    consumers: dict[str, tuple[ConsumerWish, ...]] = {}
    for wish in wishes:
        consumers[wish.consumer_id] = (*consumers.get(wish.consumer_id, ()), wish)
    return Deployment(
        directory=directory,
        ppns=tuple(f"ppn-{number}" for number in range(1, parameters.serving_ppns + 1)),
        consumers=consumers,
        stations=stations_of(truth.meters, process_per_meter=parameters.machine.process_per_meter),
        conductor=conductor[0],
        conductor_agreement=conductor[1],
        stations_directory=stations_directory,
    )


def found(state: Path, agents: Sequence[tuple[str, Role]]) -> tuple[bytes, dict[str, str]]:
    """Make a configurator's identity, and a one-time token for everybody. state: the configurator's directory."""
    keyring = Keyring(state / "keys.sqlite")
    identity = keyring.identity(CONFIGURATOR).public
    keyring.close()
    registry = Registry(state / "registry.sqlite")
    tokens = registry.agents.issue_tokens(agents)
    registry.close()
    return identity, tokens


def write_configuration(directory: Path, agent: str, content: dict[str, Any]) -> Path:
    """An agent's configuration in its own directory."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{agent}.toml"
    path.write_text(tomli_w.dumps(content), encoding="utf-8")
    return path


def write_private(directory: Path, name: str, content: str) -> Path:
    """A file in an agent's own directory that only its owner can read."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / name
    path.touch(mode=0o600)
    path.write_text(content, encoding="ascii")
    return path


class Deployer:
    """Prepares one testbed.

    home: where every agent sees its own directory, when that is not where it is written (containers). Stations share a
    volume: each has a folder in it, and they are written under `stations`.
    """

    def __init__(
        self,
        parameters: Parameters,
        truth: Truth,
        wishes: list[ConsumerWish],
        directory: Path,
        broker: RunningBroker,
        home: Path | None = None,
        stations: Path | None = None,
    ) -> None:
        self._parameters = parameters
        self._inside = home
        self._truth = truth
        self._broker = broker
        self.deployment = who_takes_part(
            parameters, truth, wishes, directory, (Identity.generate(), Agreement.generate()), stations
        )
        self._tokens: dict[str, str] = {}
        self._roles: dict[str, Role] = {}
        self._identity = b""

    def prepare(self) -> None:
        """Make the configurator's identity and everybody's one-time token."""
        d = self.deployment
        agents = [(ppn, Role.PPN) for ppn in d.ppns]
        agents += [(consumer, Role.CONSUMER) for consumer in d.consumers]
        agents += [(meter, Role.METER) for meter in self._truth.meters]
        if not self._parameters.machine.process_per_meter:
            agents += [(fleet, Role.CARRIER) for fleet in d.stations]
        self._identity, self._tokens = found(d.state(CONFIGURATOR), agents)
        self._roles = {**dict(agents), CONFIGURATOR: Role.CONFIGURATOR}
        if self._broker.entrance is not None:
            carried = set() if self._parameters.machine.process_per_meter else set(self._truth.meters)
            coming = [(agent, role) for agent, role in agents if agent not in carried]
            self._tokens = self._broker.entrance.admit(coming, self._tokens, CONFIGURATOR)

    def write(self) -> list[Launch]:
        """Write every agent's configuration, token and readings into its own directory; who is to be started, in this order."""
        p, d = self._parameters, self.deployment
        launches = [self._write("configurator", CONFIGURATOR, "configurator", self._configurator())]
        for ppn in d.ppns:
            section = {
                "operator": f"operator-{ppn}",
                "repair_pause_seconds": _REPAIR_PAUSE_SECONDS,
                "workers": p.grid.ppn_workers,
            }
            launch = self._write(
                "ppn", ppn, "testbed.agents.ppn", self._role(ppn) | {"ppn": section, "link": self._link()}
            )
            if ppn in p.harms.lies:
                towards = p.harms.lies[ppn]
                launch = replace(
                    launch, module="testbed.agents.liar", options=("--towards", towards) if towards else ()
                )
            launches.append(launch)
        for consumer, wishes in d.consumers.items():
            rules = [
                {
                    "name": w.name,
                    "cohort": w.cohort if isinstance(w.cohort, str) else list(w.cohort),
                    "window_rounds": w.window_rounds,
                    "mechanism": w.mechanism.value,
                    **({} if w.minimum_contributors is None else {"minimum_contributors": w.minimum_contributors}),
                }
                for w in wishes
            ]
            patience = {"patience_seconds": _SHORT_PATIENCE_SECONDS} if p.harms.misses_ppns else {}
            if p.masking.self_masks:
                patience = {"patience_seconds": _CLOSING_PATIENCE_SECONDS}
            content = self._role(consumer) | {"consumer": {"rules": rules} | patience}
            launches.append(self._write("consumer", consumer, "consumer_node", content))
        launches += [self._station(station, meters) for station, meters in d.stations.items()]
        return launches

    def _station(self, station: str, meters: tuple[str, ...]) -> Launch:
        p, d = self._parameters, self.deployment
        readings = write_slices(self._truth, {station: meters}, self.deployment.state(station))[station]
        content = self._role(station) | {
            "source": {
                "kind": "csv",
                "path": str(self._home(station) / readings.name),
                "first_round": self._truth.first_round,
                "last_round": self._truth.last_round,
            },
            # With repair a PPN asks for what is missing; a station repeats of itself only what was never answered.
            "outbox": {"repeat_seconds": 10.0 if p.grid.recovery.asks and d.ppns else 2.0},
        }
        if p.machine.process_per_meter and self._link_is_perfect():
            return self._write("meter", station, "meter_agent", content)
        content["link"] = self._link()
        if p.machine.process_per_meter:
            return self._write("meter", station, "testbed.agents.meter", content)
        content["fleet"] = {"tokens_file": str(self._home(station) / self._fleet_tokens(station, meters).name)}
        return self._write("meter", station, "testbed.agents.fleet", content)

    def _link(self) -> dict[str, Any]:
        """What the link does from the first round on; later stages come from the conductor."""
        stage = self._parameters.link_stages(self._truth.first_round)[0]
        return stage.model_dump(mode="json", exclude={"from_round"}, exclude_none=True)

    def _link_is_perfect(self) -> bool:
        """Whether nothing is ever lost or late: then meters are the deployed ones."""
        stages = self._parameters.link_stages(self._truth.first_round)
        return all(stage.model.lossless and stage.model.punctual for stage in stages)

    def _home(self, agent: str) -> Path:
        if self._inside is None:
            return self.deployment.state(agent)
        return self._inside / agent if agent in self.deployment.stations else self._inside

    def _fleet_tokens(self, station: str, meters: tuple[str, ...]) -> Path:
        return self._secret(station, "tokens.json", json.dumps({meter: self._tokens[meter] for meter in meters}))

    def _write(self, role: str, agent: str, module: str, content: dict[str, Any]) -> Launch:
        path = write_configuration(self.deployment.state(agent), agent, content)
        return Launch(role, agent, module, self._home(agent) / path.name)

    def _service(self, agent: str) -> dict[str, Any]:
        d = self.deployment
        return {
            "agent": {"id": agent, "grid": GRID, "state_directory": str(self._home(agent)), **self._token_file(agent)},
            **self._connection(agent),
            "pace": {
                "mode": "conducted",
                "conductor": d.conductor.public.hex(),
                "conductor_agreement": d.conductor_agreement.public.hex(),
            },
            "log": {"level": "INFO"},
        }

    def _connection(self, agent: str) -> dict[str, Any]:
        """The sections about the broker and who lets in there. Every agent begins with another node of a cluster."""
        if self._broker.entrance is not None:
            return self._broker.entrance.sections(self._roles[agent], self.deployment.state(agent), self._home(agent))
        first, *others = self._broker.urls_from([CONFIGURATOR, *self.deployment.everybody].index(agent))
        section: dict[str, Any] = {"url": first}
        if others:
            section |= {"further_urls": others, "silence_seconds": self._broker.silence_seconds}
        if self._broker.account is not None:
            password = self._broker.account.password
            section["user_name"] = self._broker.account.user_name
            section["password_file"] = str(self._home(agent) / self._secret(agent, "broker-password", password).name)
        return {"broker": section}

    def _token_file(self, agent: str) -> dict[str, str]:
        """The field that names an agent's token, which is written; nothing for one that needs none."""
        if agent not in self._tokens:
            return {}
        return {"token_file": str(self._home(agent) / self._secret(agent, "token", self._tokens[agent]).name)}

    def _secret(self, agent: str, name: str, content: str) -> Path:
        return write_private(self.deployment.state(agent), name, content)

    def _role(self, agent: str) -> dict[str, Any]:
        p = self._parameters
        floors = {"minimum_contributors": p.grid.minimum_contributors, "unsafe_published": p.masking.unsafe_published}
        return self._service(agent) | {"configurator": {"identity": self._identity.hex()}, "floors": floors}

    def _configurator(self) -> dict[str, Any]:
        p = self._parameters
        patience = {"roster_patience_seconds": _SHORT_PATIENCE_SECONDS} if p.harms.misses_ppns else {}
        masking = {}
        if p.masking.mechanism is not Mechanism.SHARES:
            section = {
                "graph": p.masking.graph,
                "variant": p.masking.variant.value,
                "unsafe_published": p.masking.unsafe_published,
                "period_rounds": p.masking.period,
                "colluders": p.masking.colluders,
                "self_masks": p.masking.self_masks,
                "losses_borne": p.masking.borne,
            }
            masking = {"pairwise": section}
        return (
            self._service(CONFIGURATOR)
            | masking
            | {
                "agreement": patience
                | {"kept_rounds": p.play.rounds + p.grid.epoch_rounds, "pending_seconds": _PENDING_SECONDS},
                "policy": p.file.sections.get("policy", {}),
                "placement": {"away_seconds": p.grid.away_seconds} | p.file.sections.get("placement", {}),
                "plan": {
                    "threshold": p.grid.threshold,
                    "width": p.grid.width,
                    "modulus": p.modulus_in_force,
                    "reading_bound_watt_hours": p.grid.reading_bound_watt_hours,
                    "interval_seconds": self._truth.interval_seconds,
                    "recovery": p.grid.recovery.value,
                    "repair_attempts": p.grid.repair_attempts,
                    "minimum_contributors": p.grid.minimum_contributors,
                    "coverage_floor_fraction": float(
                        coverage_floor(len(self._truth.meters), p.grid.minimum_contributors)
                    ),
                    "epoch_rounds": p.grid.epoch_rounds,
                    "first_round": self._truth.first_round,
                }
                | p.file.sections.get("plan", {}),
            }
        )
