"""The JSON forms of what comes from outside: closed, frozen, checked, each number in its range."""

from __future__ import annotations

import enum
from typing import Annotated, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, ValidationError

from hushgrid.errors import MessageError, RejectReason

#: Meters on one page of a part, of a roster and of a decision.
PAGE_METERS = 16_384


def _from_hex(value: object) -> object:
    return bytes.fromhex(value) if isinstance(value, str) else value


def _whole(value: object) -> object:
    """A number that JSON carries as text, because it may exceed what other readers of JSON can hold."""
    return int(value) if isinstance(value, str) and len(value) <= _MODULUS_DIGITS else value


_MODULUS_DIGITS = 80


#: Bytes that JSON shows in hexadecimal.
Hex = Annotated[bytes, BeforeValidator(_from_hex), PlainSerializer(bytes.hex, return_type=str, when_used="json")]


Key = Annotated[Hex, Field(min_length=32, max_length=32)]


Signature = Annotated[Hex, Field(min_length=64, max_length=64)]


Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]


Pseudonym = Annotated[str, Field(pattern=r"^[a-z0-9_-]{1,64}$")]


Modulus = Annotated[
    int, Field(ge=2, lt=2**256), PlainSerializer(str, return_type=str, when_used="json"), BeforeValidator(_whole)
]


Count = Annotated[int, Field(ge=0, lt=2**32)]


Round = Annotated[int, Field(ge=0, lt=2**63)]


PointNumber = Annotated[int, Field(ge=1, lt=2**16)]


RuleNumber = Annotated[int, Field(ge=1, lt=2**24)]


#: Seconds since 1970, UTC, up to the year 9999, as far as dates go.
Instant = Annotated[int, Field(ge=0, lt=253_402_300_800)]


class Model(BaseModel):
    """Whatever comes from outside: closed, frozen, checked. Validators are built at first use: a meter uses few of them."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, defer_build=True)

    def to_json(self) -> bytes:
        """The one JSON form that is signed and hashed: keys in the order of declaration, no spaces."""
        return self.model_dump_json().encode()

    @classmethod
    def from_json(cls, wire: bytes) -> Self:
        """Back from JSON; MessageError(MALFORMED) naming the first bad field, never its value."""
        try:
            return cls.model_validate_json(wire)
        except ValidationError as error:
            raise refusal_of(cls, error) from None


def refusal_of(model: type[Model], error: ValidationError) -> MessageError:
    """What a reader of this model says of bad JSON: the first bad field, never its value."""
    first = error.errors()[0]
    if first["type"] == "union_tag_invalid":
        return MessageError(RejectReason.UNKNOWN_KIND, model.__name__)
    where = ".".join(str(step) for step in first["loc"])
    return MessageError(RejectReason.MALFORMED, f"{model.__name__} {where}".rstrip())


#: An envelope's attempt has one byte: twice this many requests, those of a PPN that was away included.
MAX_REPAIR_ATTEMPTS = 100


class Mechanism(enum.StrEnum):
    """How a rule's sum is hidden."""

    SHARES = "shares"
    PAIRWISE = "pairwise"
    BOTH = "both"


class Variant(enum.StrEnum):
    """Which pairwise noise a plan uses."""

    PUBLISHED = "published"  # as printed in the paper: for study, unsafe
    HARDENED = "hardened"  # uniform in Z_q from agreed keys
