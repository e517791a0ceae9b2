"""Configuration of a meter."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from hushgrid.config import LinkSection, RoleConfig
from hushgrid.plan import Model
from meter_agent.sources import SourceKind


class SourceSection(Model):
    """Where readings come from. path: for csv; seed: for constructed households; last_round: of a replay, to spare memory."""

    kind: SourceKind = SourceKind.CSV
    path: Path | None = None
    seed: int = 1
    first_round: int | None = None
    last_round: int | None = None


class OutboxSection(Model):
    """How what is not acknowledged is sent again. envelope_positions: most shares in one envelope."""

    repeat_seconds: Annotated[float, Field(gt=0)] = 2.0
    repeat_most_seconds: Annotated[float, Field(gt=0)] = 60.0
    envelope_positions: Annotated[int, Field(ge=1, le=4096)] = 250


class MeterConfig(RoleConfig):
    """`hushgrid-meter --config FILE.toml`: one meter on a connection of its own."""

    source: SourceSection = SourceSection()
    outbox: OutboxSection = OutboxSection()
    link: LinkSection = LinkSection()
