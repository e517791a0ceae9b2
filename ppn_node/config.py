"""Configuration of a PPN."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from hushgrid.shell.config import RoleConfig
from hushgrid.wire.model import Model, Name


class PpnSection(Model):
    """operator: who runs this PPN; fewer than t shares of any meter may come under one operator (invariant 12).

    workers: how many processes open, keep and add the shares, by carrier; 0 for none but the PPN itself.
    repair_pause_seconds: how long nothing of a round must have arrived before its missing shares are asked for (again).
    """

    operator: Name
    workers: Annotated[int, Field(ge=0, le=64)] = 0
    commit_delay_seconds: Annotated[float, Field(ge=0, le=1)] = 0.002
    repair_pause_seconds: Annotated[float, Field(gt=0, le=3600)] = 2.0


class PpnConfig(RoleConfig):
    """`hushgrid-ppn --config FILE.toml`."""

    ppn: PpnSection
