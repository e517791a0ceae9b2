"""Configuration of a meter."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from hushgrid.shell.config import PaceMode, RoleConfig
from hushgrid.wire.model import Model
from meter_agent.sources.sections import RegistersSection, SourceSection


class OutboxSection(Model):
    """How what is not acknowledged is sent again. envelope_positions: most shares in one envelope."""

    repeat_seconds: Annotated[float, Field(gt=0)] = 2.0
    repeat_most_seconds: Annotated[float, Field(gt=0)] = 60.0
    envelope_positions: Annotated[int, Field(ge=1, le=4096)] = 250


class MeterConfig(RoleConfig):
    """`hushgrid-meter --config FILE.toml`: one meter on a connection of its own."""

    source: SourceSection = SourceSection()
    registers: RegistersSection = RegistersSection()
    outbox: OutboxSection = OutboxSection()

    @model_validator(mode="after")
    def _by_the_clock(self) -> MeterConfig:
        if self.source.live and self.pace.mode is not PaceMode.UTC:
            raise ValueError(f"a source of kind {self.source.kind.value} needs pace.mode utc")
        return self
