"""What a customer allows and takes back, in the meter's own hand: whoever holds a statement can show it, nobody else can make it."""

from __future__ import annotations

import enum
from typing import Annotated, Literal

from pydantic import Field, field_validator

from hushgrid.statements.statement import Body
from hushgrid.wire.model import Instant, Pseudonym
from hushgrid.wire.purpose import Purpose

ConsentNumber = Annotated[int, Field(ge=1, lt=2**63)]


class ConsentAct(enum.StrEnum):
    """What a customer does with a consent."""

    GRANT = "grant"
    REVOKE = "revoke"


class Consent(Body):
    """A customer allows a purpose, or takes that back.

    grid: where it holds. number: of this meter's consents, of all purposes together, from 1 without a gap; the statement's sequence
    says the same. at_seconds: when the customer said it, UTC; for people, since numbers alone decide what came later.
    """

    kind: Literal["consent"] = "consent"
    grid: Pseudonym
    number: ConsentNumber
    purpose: Purpose
    act: ConsentAct
    at_seconds: Instant

    @field_validator("purpose")
    @classmethod
    def _consented(cls, purpose: Purpose) -> Purpose:
        if purpose.primary:
            raise ValueError(f"no consent is asked for {purpose.value}")
        return purpose
