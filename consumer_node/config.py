"""Configuration of a consumer."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from hushgrid.config import RoleConfig
from hushgrid.plan import Model, Name


class WishSection(Model):
    """One rule this consumer asks for. cohort: "all", meter ids, or inclusive ranges "first..last"."""

    name: Name
    cohort: Literal["all"] | tuple[str, ...] = "all"
    window_rounds: Annotated[int, Field(ge=0)] = 1
    minimum_contributors: Annotated[int, Field(ge=0)] | None = None


class ConsumerSection(Model):
    """rules: what it asks for. patience_seconds: how long it waits for the rest once t aggregate shares agree."""

    rules: tuple[WishSection, ...]
    patience_seconds: Annotated[float, Field(ge=0)] = 30.0


class ConsumerConfig(RoleConfig):
    """`hushgrid-consumer --config FILE.toml`."""

    consumer: ConsumerSection
