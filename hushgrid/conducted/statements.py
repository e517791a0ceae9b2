"""What is said in a testbed's compressed rounds only: its pace, and how far everybody is."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from hushgrid.conducted.link_settings import LinkStage
from hushgrid.statements.statement import Body
from hushgrid.wire.model import Count
from hushgrid.wire.role import Role


class Report(Body):
    """What an agent tells the conductor of a testbed: counts of its own progress, never a value."""

    kind: Literal["report"] = "report"
    role: Role
    plan_version: Count = 0
    figures: dict[str, int] = Field(default_factory=dict)
    notes: tuple[str, ...] = ()


class Clock(Body):
    """The pace of a testbed's compressed rounds, published for all by its conductor. -1: none yet.

    link: what the lossy link does, each stage from its round on, all of them so far; in one statement with the pace, so that
    nobody states a round before it knows what becomes of it.
    """

    kind: Literal["clock"] = "clock"
    metered_through: Annotated[int, Field(ge=-1, lt=2**63)]
    frozen_through: Annotated[int, Field(ge=-1, lt=2**63)]
    link: Annotated[tuple[LinkStage, ...], Field(max_length=1024)] = ()
