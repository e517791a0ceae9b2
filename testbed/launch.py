"""What it takes to start one agent, whatever it is started as: a process or a container."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Launch:
    """`python -m MODULE [OPTIONS] --config CONFIGURATION`. configuration: the path as the agent sees it."""

    role: str
    agent: str
    module: str
    configuration: Path
    options: tuple[str, ...] = ()

    @property
    def arguments(self) -> list[str]:
        """What Python is started with."""
        return ["-m", self.module, *self.options, "--config", str(self.configuration)]
