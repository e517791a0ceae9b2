"""What a privacy gateway publishes of its audit log: how long it was, and its hash."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from hushgrid.statements.statement import Body
from hushgrid.wire.model import Instant, Key, Pseudonym


class AuditHead(Body):
    """The log of this gateway had so many entries, and the last one had this hash.

    identity: the gateway's, with which the statement is signed. digest: of 32 bytes. at_seconds: when it was said, UTC.
    """

    kind: Literal["audit-head"] = "audit-head"
    grid: Pseudonym
    identity: Key
    entries: Annotated[int, Field(ge=0, lt=2**63)]
    digest: Key
    at_seconds: Instant
