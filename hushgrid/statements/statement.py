"""The control plane: signed statements, sealed to one agent or published for all (docs/protocol.md, section Statements).

A statement is JSON {sender, recipient, sequence, body}, signed by its sender's identity. Between an agent and the configurator
it travels in a box that only the recipient opens; cards, heads and clocks are published open. `body.kind` names what is said.
Each conversation has a module of its own, and a new kind is a new model there. Whoever reads a statement says which kinds it
hears (`Kinds`): any other is refused and counted, and stops nothing.
"""

from __future__ import annotations

from functools import cache
from typing import Annotated, Any, Union

from pydantic import Field, SerializeAsAny, ValidationError, create_model

from hushgrid.core import sealing
from hushgrid.errors import MessageError, RejectReason
from hushgrid.wire.frames import VERSION
from hushgrid.wire.model import Model, Name, refusal_of

#: Recipient of what is published for everybody.
EVERYBODY = "*"
MAX_STATEMENT_BYTES = 16 * 2**20


class Body(Model):
    """What is said. Every kind of statement is a model of this, with a `kind` of its own."""

    kind: str


class Statement(Model):
    """Who says what to whom. sequence rises with every new statement of a sender; a repetition keeps its number."""

    sender: Name
    recipient: Annotated[str, Field(max_length=64)]
    sequence: Annotated[int, Field(ge=0, lt=2**63)]
    body: SerializeAsAny[Body]

    def to_bytes(self, signer: sealing.Identity) -> bytes:
        """version (1) | signature (64) | JSON."""
        body = self.to_json()
        return bytes((VERSION,)) + signer.sign("statement", body) + body

    @staticmethod
    def from_bytes(wire: bytes, kinds: Kinds) -> tuple[Statement, Signed]:
        """The statement and what proves it. It is not believed yet: call `Signed.check` with the sender's identity.

        kinds: what the reader hears. MessageError(UNKNOWN_KIND) for anything else.
        """
        start = 1 + sealing.SIGNATURE_BYTES
        if not start < len(wire) <= MAX_STATEMENT_BYTES:
            raise MessageError(RejectReason.MALFORMED, "statement length")
        if wire[0] != VERSION:
            raise MessageError(RejectReason.WRONG_VERSION, f"version {wire[0]}")
        return kinds.read(wire[start:]), Signed(wire[start:], wire[1:start])


class Kinds:
    """The kinds of statements that somebody hears. Their validators are built at first use."""

    def __init__(self, *bodies: type[Body]) -> None:
        self.bodies = bodies

    def read(self, json: bytes) -> Statement:
        """A statement of one of these kinds; MessageError(UNKNOWN_KIND) for another, (MALFORMED) for a bad field."""
        try:
            found = self._form.model_validate_json(json)
        except ValidationError as error:
            first = error.errors()[0]
            if first["type"] == "literal_error" and first["loc"] == ("body", "kind"):
                raise MessageError(RejectReason.UNKNOWN_KIND, Statement.__name__) from None
            raise refusal_of(Statement, error) from None
        return Statement.model_construct(
            sender=found.sender, recipient=found.recipient, sequence=found.sequence, body=found.body
        )

    @property
    def _form(self) -> type[Statement]:
        return _form_of(self.bodies)


@cache
def _form_of(bodies: tuple[type[Body], ...]) -> type[Statement]:
    """`Statement` with a body of these kinds only; once for all members of a fleet."""
    body: Any = bodies[0]
    if len(bodies) > 1:
        body = Annotated[Union[bodies], Field(discriminator="kind")]  # noqa: UP007  # as many as there are
    return create_model("Statement", __base__=Statement, body=(body, ...))


class Signed:
    """The exact bytes that were signed, and the signature."""

    __slots__ = ("_payload", "_signature")

    def __init__(self, payload: bytes, signature: bytes) -> None:
        self._payload = payload
        self._signature = signature

    def check(self, identity: bytes) -> None:
        """MessageError(BAD_SIGNATURE) unless this identity signed them."""
        sealing.verify(identity, "statement", self._payload, self._signature)


def box_context(grid: str, sender: str, recipient: str) -> bytes:
    """What a boxed statement is bound to: the grid and the two pseudonyms of the topic it travels on (invariant 7)."""
    return sealing.fields(b"hushgrid/1 control", grid.encode(), sender.encode(), recipient.encode())
