"""Configuration of a PPN."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from hushgrid.config import RoleConfig
from hushgrid.plan import Model, Name


class PpnSection(Model):
    """operator: who runs this PPN; fewer than t shares of any meter may come under one operator (invariant 12)."""

    operator: Name
    commit_delay_seconds: Annotated[float, Field(ge=0, le=1)] = 0.002


class PpnConfig(RoleConfig):
    """`hushgrid-ppn --config FILE.toml`."""

    ppn: PpnSection
