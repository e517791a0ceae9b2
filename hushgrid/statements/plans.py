"""A plan on its way to those who follow it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from hushgrid.plan.head import Head
from hushgrid.statements.statement import Body
from hushgrid.wire.model import Count, Hex, Name


class RequestParts(Body):
    """An agent asks for the parts of a plan: its own and those of the meters it carries."""

    kind: Literal["request-parts"] = "request-parts"
    version: Count
    agents: Annotated[tuple[Name, ...], Field(max_length=1024)]


class RequestHead(Body):
    """An agent that was away asks for the head of a plan it missed, and is told it as a `PublishedHead`."""

    kind: Literal["request-head"] = "request-head"
    version: Count


class PartPage(Body):
    """One page of a part with its way up the digest tree."""

    kind: Literal["part-page"] = "part-page"
    version: Count
    recipient: Name
    page: Count
    pages: Count
    leaf: Count
    path: tuple[Hex, ...]
    part: str


class NoPart(Body):
    """The plan has nothing for this agent."""

    kind: Literal["no-part"] = "no-part"
    version: Count
    recipient: Name


class PublishedHead(Body):
    """A plan's head, published for all."""

    kind: Literal["head"] = "head"
    head: Head
