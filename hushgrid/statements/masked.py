"""Rounds of masked readings that are closed without somebody."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from hushgrid.statements.statement import Body
from hushgrid.wire.model import Count, Key, Round, Signature


class MaskedRoster(Body):
    """A consumer of masked readings says whose of one round it does not have, and asks for the round to be closed."""

    kind: Literal["masked-roster"] = "masked-roster"
    stream: Annotated[int, Field(ge=1, lt=2**24)]
    round: Round
    version: Count  # of the plan in force for the billing period's first round
    missing: Annotated[tuple[Count, ...], Field(max_length=4096)]


class MaskedClosing(Body):
    """The configurator's closing of a round (`hushgrid.wire.masked.RoundClosing`): one for ever."""

    kind: Literal["masked-closing"] = "masked-closing"
    stream: Count
    round: Round
    graph: Key
    absent: tuple[Count, ...]
    signature: Signature
