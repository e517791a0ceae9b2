"""A household's consent as it arrives: believed only in its own meter's hand."""

from __future__ import annotations

from collections.abc import Mapping

from hushgrid.errors import MessageError, RejectReason
from hushgrid.statements.consent import Consent
from hushgrid.statements.statement import EVERYBODY, Kinds, Statement

_HEARD = Kinds(Consent)


def read_consent(wire: bytes, grid: str, identities: Mapping[str, bytes]) -> tuple[str, Consent]:
    """Which meter says what. identities: public keys by meter id, as they were enrolled.

    MessageError for anything but a consent (UNKNOWN_KIND, MALFORMED), for a meter that is not known (UNKNOWN_SENDER), in another's
    hand or changed (BAD_SIGNATURE), and of another grid (WRONG_RECIPIENT).
    """
    statement, signed = Statement.from_bytes(wire, _HEARD)
    body = statement.body
    identity = identities.get(statement.sender)
    if identity is None:
        raise MessageError(RejectReason.UNKNOWN_SENDER, statement.sender)
    signed.check(identity)
    if not isinstance(body, Consent) or statement.sequence != body.number or statement.recipient != EVERYBODY:
        raise MessageError(RejectReason.MALFORMED, "consent")
    if body.grid != grid:
        raise MessageError(RejectReason.WRONG_RECIPIENT, f"a consent in grid {body.grid}")
    return statement.sender, body
