"""A grid by the clock on the wall: configurator, PPNs and a consumer as real processes, for meters that a test brings itself."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomli_w

from hushgrid.wire.role import Role
from testbed.brokers.broker import start_broker
from testbed.deployment import CONFIGURATOR, found
from testbed.processes import Child, Supervisor

GRID = "live"
_PATIENCE = 6


@dataclass(frozen=True, slots=True)
class LiveGrid:
    """One installation in one directory."""

    directory: Path
    supervisor: Supervisor
    broker_url: str
    interval_seconds: int
    grace_seconds: float
    identity: str
    tokens: dict[str, str]

    @classmethod
    async def start(
        cls, directory: Path, supervisor: Supervisor, meters: list[str], *, interval_seconds: int, grace_seconds: float,
        window_rounds: int = 1, broker_port: int | None = None,
    ) -> LiveGrid:  # fmt: skip
        broker = await start_broker("mosquitto", supervisor, directory / "broker", broker_port)
        ppns = ["ppn-1", "ppn-2", "ppn-3"]
        agents = [(ppn, Role.PPN) for ppn in ppns] + [("utility", Role.CONSUMER)] + [(m, Role.METER) for m in meters]
        identity, tokens = found(directory / CONFIGURATOR, agents)
        grid = cls(directory, supervisor, broker.url, interval_seconds, grace_seconds, identity.hex(), tokens)
        plan = {
            "threshold": 2, "width": 3, "interval_seconds": interval_seconds, "minimum_contributors": len(meters),
            "coverage_floor_fraction": 1.0,
        }  # fmt: skip
        content = grid.service("configurator") | {"plan": plan, "agreement": {"roster_patience_seconds": 5.0}}
        await grid.run("configurator", "configurator", content)
        for ppn in ppns:
            await grid.run("ppn_node", ppn, grid.role(ppn) | {"ppn": {"operator": f"operator-{ppn}"}})
        rule = {"name": "sum", "cohort": "all", "window_rounds": window_rounds}
        consumer = grid.role("utility") | {"consumer": {"rules": [rule], "patience_seconds": 1.0}}
        await grid.run("consumer_node", "utility", consumer)
        return grid

    def service(self, agent: str) -> dict[str, Any]:
        return {
            "agent": {"id": agent, "grid": GRID, "state_directory": str(self.directory / agent)},
            "broker": {"url": self.broker_url, "keepalive_seconds": 5},
            "pace": {"grace_seconds": self.grace_seconds},
        }

    def role(self, agent: str) -> dict[str, Any]:
        content = self.service(agent)
        token = self.directory / agent / "token"
        token.parent.mkdir(parents=True, exist_ok=True)
        token.write_text(self.tokens[agent])
        content["agent"]["token_file"] = str(token)
        meters = sum(agent.startswith("m") for agent in self.tokens)
        return content | {"configurator": {"identity": self.identity}, "floors": {"minimum_contributors": meters}}

    def meter(self, agent: str, source: dict[str, Any]) -> dict[str, Any]:
        registers = {"require_synchronised_clock": False, "tolerance_seconds": self.interval_seconds / 3}
        return self.role(agent) | {"source": source, "registers": registers}

    def write(self, agent: str, content: dict[str, Any]) -> Path:
        path = self.directory / agent / f"{agent}.toml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(tomli_w.dumps(content))
        return path

    async def run(self, module: str, agent: str, content: dict[str, Any], *arguments: str) -> Child:
        command = [sys.executable, "-m", module, *arguments, "--config", str(self.write(agent, content))]
        return await self.supervisor.start(module, agent, command, self.log(agent))

    def log(self, agent: str) -> Path:
        return self.directory / "log" / f"{agent}.log"

    def results(self) -> dict[int, dict[str, Any]]:
        """The consumer's results by first round."""
        path = self.directory / "utility" / "results.jsonl"
        if not path.exists():
            return {}
        lines = [json.loads(line) for line in path.read_text().splitlines() if line]
        return {line["first_round"]: line for line in lines}

    async def until(self, condition, seconds: float, said: str) -> None:
        """seconds: by when it should be so on a quiet machine; on a busy one it takes longer, and is no less right."""
        end = time.monotonic() + _PATIENCE * seconds
        while not condition():
            if self.supervisor.failure.done():
                raise AssertionError(self.supervisor.failure.result())
            if time.monotonic() > end:
                logs = "\n".join(f"{c.id}: {c.last_line()}" for c in self.supervisor.children)
                raise AssertionError(f"{said}; results: {self.results()}\n{logs}")
            await asyncio.sleep(0.1)
