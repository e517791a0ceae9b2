"""What an agent and the authority say to each other about certificates (docs/operations.md, section The broker's door).

One line each way over TLS, in which the agent knows the authority by the same certificate as the broker. The agent asks for
certificates over public keys it made itself, one per pseudonym; a private key never leaves it. The first time it shows its
one-time token, which from then on belongs to its protocol identity; after that its identity's signature is enough, also when
all its certificates have run out.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from hushgrid.core.sealing import SIGNATURE_BYTES, Identity, verify
from hushgrid.errors import MessageError, RejectReason
from hushgrid.wire.model import Hex, Key, Model, Name, Pseudonym
from hushgrid.wire.role import Role

MAX_LINE_BYTES = 16 * 1024
#: Most names in one request: an agent has two at once, of this epoch and the next.
MOST_NAMES = 4
_LABEL = "enrolment"


class WantedCertificate(Model):
    """A name to be certified, and the key that goes with it (DER, SubjectPublicKeyInfo)."""

    pseudonym: Pseudonym
    public: Annotated[Hex, Field(min_length=32, max_length=256)]


class CertificateRequest(Model):
    """An agent asks for certificates. token: needed until the authority knows this identity."""

    kind: Literal["certificate-request"] = "certificate-request"
    grid: Pseudonym
    agent: Name
    role: Role
    identity: Key
    token: Annotated[str, Field(min_length=16, max_length=128)] | None = None
    wanted: Annotated[tuple[WantedCertificate, ...], Field(min_length=1, max_length=MOST_NAMES)]

    def to_line(self, identity: Identity) -> bytes:
        """Signature in hexadecimal, a space, the JSON, a newline."""
        content = self.to_json()
        return identity.sign(_LABEL, content).hex().encode() + b" " + content + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> CertificateRequest:
        """Back from the line; MessageError unless the identity in it signed it."""
        signature, _, content = line.rstrip(b"\n").partition(b" ")
        try:
            signed = bytes.fromhex(signature.decode("ascii"))
        except ValueError:
            raise MessageError(RejectReason.MALFORMED, "signature") from None
        if len(signed) != SIGNATURE_BYTES:
            raise MessageError(RejectReason.MALFORMED, "signature")
        request = cls.from_json(content)
        verify(request.identity, _LABEL, content, signed)
        return request


class SignedCertificate(Model):
    """One certificate (PEM) and how long it is valid, in Unix seconds, so that nobody needs to look inside."""

    pseudonym: Pseudonym
    certificate: str
    not_before: int
    not_after: int


class CertificateAnswer(Model):
    """The certificates asked for, or why there are none."""

    certificates: tuple[SignedCertificate, ...] = ()
    refusal: str = ""
