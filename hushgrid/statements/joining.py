"""How an agent joins a grid: it enrols, announces its keys, and learns the configurator's."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from hushgrid.plan.head import EpochKey
from hushgrid.statements.statement import Body
from hushgrid.wire.model import Count, Key, Name
from hushgrid.wire.role import Role


class Enrol(Body):
    """An agent introduces itself, once, with a one-time token. It says who carries it and, of a PPN, who runs it."""

    kind: Literal["enrol"] = "enrol"
    role: Role
    token: Annotated[str, Field(min_length=16, max_length=128)]
    identity: Key
    operator: Name | None = None
    carrier: Name | None = None
    keys: tuple[EpochKey, ...]


class Enrolled(Body):
    """The agent is known from now on. number: a meter's number, a PPN's point; 0 otherwise."""

    kind: Literal["enrolled"] = "enrolled"
    number: Count
    epoch: Count  # keys up to this epoch are stored


class AnnounceKeys(Body):
    """An agent's agreement keys of coming epochs."""

    kind: Literal["announce-keys"] = "announce-keys"
    keys: tuple[EpochKey, ...]


class KeysKnown(Body):
    """The configurator has stored the keys up to this epoch."""

    kind: Literal["keys-known"] = "keys-known"
    epoch: Count


class Refusal(Body):
    """A statement was refused for good; the text depends on rules and registration only."""

    kind: Literal["refusal"] = "refusal"
    of: str
    reason: str


class Card(Body):
    """The configurator's own agreement key of the epoch, published for all."""

    kind: Literal["card"] = "card"
    grid: str
    key: EpochKey
