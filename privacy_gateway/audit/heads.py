"""Heads that a gateway signs and gives away: whoever holds one can say whether a log that is shown later continues it."""

from __future__ import annotations

from hushgrid.core.sealing import Identity
from hushgrid.errors import MessageError, RejectReason
from hushgrid.statements.audit import AuditHead
from hushgrid.statements.lines import line_of, wire_of
from hushgrid.statements.statement import EVERYBODY, Kinds, Statement
from privacy_gateway.audit.chain import ChainHead

_HEARD = Kinds(AuditHead)


def signed_head(head: ChainHead, identity: Identity, *, gateway: str, grid: str, at_seconds: int) -> bytes:
    """The head as a line of text, for everybody. at_seconds: now, UTC."""
    said = AuditHead(
        grid=grid, identity=identity.public, entries=head.entries, digest=head.digest, at_seconds=at_seconds
    )
    statement = Statement(sender=gateway, recipient=EVERYBODY, sequence=head.entries, body=said)
    return line_of(statement.to_bytes(identity))


def read_head(line: bytes) -> AuditHead:
    """What a line says. MessageError for what is no head; BAD_SIGNATURE where its identity did not sign it.

    Whose identity that is, is for the reader to know.
    """
    statement, signed = Statement.from_bytes(wire_of(line), _HEARD)
    body = statement.body
    if not isinstance(body, AuditHead) or statement.sequence != body.entries or statement.recipient != EVERYBODY:
        raise MessageError(RejectReason.MALFORMED, "audit head")
    signed.check(body.identity)
    return body
