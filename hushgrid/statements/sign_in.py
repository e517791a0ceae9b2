"""How a household shows a privacy gateway whose it is: its meter signs what the gateway drew."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from hushgrid.statements.statement import Body
from hushgrid.wire.model import Hex, Instant, Pseudonym

#: Of a challenge.
CHALLENGE_BYTES = 40


class SignIn(Body):
    """Whoever hands this over is of the meter's household. The statement's recipient is the gateway, and nobody else takes it.

    grid: where. challenge: as the gateway drew it; it serves once, for a few minutes. at_seconds: when it was signed, UTC, for people.
    """

    kind: Literal["sign-in"] = "sign-in"
    grid: Pseudonym
    challenge: Annotated[Hex, Field(min_length=CHALLENGE_BYTES, max_length=CHALLENGE_BYTES)]
    at_seconds: Instant
