"""Who may read what: identities, agreement keys of an epoch, seals (docs/protocol.md, section Keys).

Two ways to seal, for two kinds of message:

- `SealingKey`: one AEAD key per (sender, recipient, epoch), derived once. For shares and aggregate shares. The nonce is
  kind (1 byte), stream (3 bytes), round (8 bytes); the caller makes sure, on disk, that one nonce seals one plaintext.
- `seal_box`: a fresh ephemeral key per message. For the rare statements of the control plane.

Everything opened here is bound to where it belongs; what does not open is refused, never guessed at.
"""

from __future__ import annotations

import base64
import enum
import hashlib
import hmac
import struct
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from hushgrid.errors import MessageError, RejectReason

KEY_BYTES = 32
SIGNATURE_BYTES = 64
TAG_BYTES = 16
KEY_ID_BYTES = 8
MAX_STREAM = (1 << 24) - 1
_PROTOCOL = b"hushgrid/1"


class Kind(enum.IntEnum):
    """First byte of a nonce, and part of a key's label."""

    SHARE = 1
    AGGREGATE = 2
    MASKED = 16  # a masked reading, meter -> consumer
    OPENING = 17  # masks a meter discloses, meter -> consumer


def fields(*parts: bytes) -> bytes:
    """Parts put together so that no two lists give the same bytes (each behind its length)."""
    return b"".join(struct.pack(">I", len(part)) + part for part in parts)


@dataclass(frozen=True, slots=True, repr=False)
class Identity:
    """An agent's Ed25519 key pair, made by the agent itself and kept for its life."""

    private: Ed25519PrivateKey

    @classmethod
    def generate(cls) -> Identity:
        """A fresh identity from the operating system's randomness."""
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def from_bytes(cls, private: bytes) -> Identity:
        """Back from its 32 private bytes."""
        return cls(Ed25519PrivateKey.from_private_bytes(private))

    def to_bytes(self) -> bytes:
        """The 32 private bytes, for the key store only."""
        return self.private.private_bytes_raw()

    @property
    def public(self) -> bytes:
        """The 32 public bytes."""
        return self.private.public_key().public_bytes_raw()

    def sign(self, label: str, payload: bytes) -> bytes:
        """64 bytes; the label names what is said, so that a signature serves in one place only."""
        return self.private.sign(fields(_PROTOCOL, label.encode(), payload))

    def pseudonym(self, grid: str, epoch: int) -> str:
        """This agent's name on the broker during one epoch: 16 characters that only it can link to the next ones."""
        mac = hmac.digest(
            self.to_bytes(), fields(_PROTOCOL, b"pseudonym", grid.encode(), struct.pack(">Q", epoch)), "sha256"
        )
        return base64.b32encode(mac[:10]).decode().lower()


def verify(public: bytes, label: str, payload: bytes, signature: bytes) -> None:
    """MessageError(BAD_SIGNATURE) unless the identity said this under this label."""
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, fields(_PROTOCOL, label.encode(), payload))
    except (InvalidSignature, ValueError):
        raise MessageError(RejectReason.BAD_SIGNATURE, label) from None


@dataclass(frozen=True, slots=True, repr=False)
class Agreement:
    """An X25519 key pair of one epoch. Its private half is erased after the epoch's last release."""

    private: X25519PrivateKey

    @classmethod
    def generate(cls) -> Agreement:
        """A fresh pair from the operating system's randomness."""
        return cls(X25519PrivateKey.generate())

    @classmethod
    def from_bytes(cls, private: bytes) -> Agreement:
        """Back from its 32 private bytes."""
        return cls(X25519PrivateKey.from_private_bytes(private))

    def to_bytes(self) -> bytes:
        """The 32 private bytes, for the key store only."""
        return self.private.private_bytes_raw()

    @property
    def public(self) -> bytes:
        """The 32 public bytes."""
        return self.private.public_key().public_bytes_raw()

    def shared_with(self, peer: bytes) -> bytes:
        """The raw Diffie-Hellman value; MessageError(BAD_SEAL) for a public key of low order."""
        try:
            return self.private.exchange(X25519PublicKey.from_public_bytes(peer))
        except ValueError:
            raise MessageError(RejectReason.BAD_SEAL, "agreement key") from None


def _expand(secret: bytes, *label: bytes) -> bytes:
    return HKDF(hashes.SHA256(), KEY_BYTES, salt=_PROTOCOL, info=fields(*label)).derive(secret)


def nonce(kind: Kind, stream: int, round_number: int) -> bytes:
    """kind (1), stream (3: rule number, 0 for shares), round (8): 12 bytes."""
    if not 0 <= stream <= MAX_STREAM:
        raise ValueError("stream outside three bytes")
    return struct.pack(">IQ", kind << 24 | stream, round_number)


@dataclass(frozen=True, slots=True, repr=False)
class SealingKey:
    """The AEAD key of one (sender, recipient, epoch, kind)."""

    kind: Kind
    aead: ChaCha20Poly1305

    @classmethod
    def derive(
        cls, own: Agreement, peer: bytes, *, kind: Kind, grid: str, epoch: int, sender: bytes, recipient: bytes
    ) -> SealingKey:
        """HKDF over X25519(own, peer), labelled with protocol, kind, grid, epoch and direction.

        sender, recipient: the two public agreement keys in the order of travel; `peer` is one of them.
        """
        label = (b"seal", kind.name.encode(), grid.encode(), struct.pack(">Q", epoch), sender, recipient)
        return cls(kind, ChaCha20Poly1305(_expand(own.shared_with(peer), *label)))

    def seal(self, plaintext: bytes, context: bytes, *, stream: int, round_number: int) -> bytes:
        """Ciphertext, 16 bytes longer than the plaintext. One (stream, round) seals one plaintext for ever."""
        return self.aead.encrypt(nonce(self.kind, stream, round_number), plaintext, context)

    def unseal(self, sealed: bytes, context: bytes, *, stream: int, round_number: int) -> bytes:
        """The plaintext; MessageError(BAD_SEAL) when it was sealed by another, for another, elsewhere or changed."""
        try:
            return self.aead.decrypt(nonce(self.kind, stream, round_number), sealed, context)
        except (InvalidTag, ValueError):
            raise MessageError(RejectReason.BAD_SEAL) from None


def key_id(public: bytes) -> bytes:
    """8 bytes by which a recipient with several keys finds the one a box is for."""
    return hashlib.sha256(fields(_PROTOCOL, b"key-id", public)).digest()[:KEY_ID_BYTES]


def seal_box(recipient: bytes, plaintext: bytes, context: bytes) -> bytes:
    """key id (8) | ephemeral public key (32) | ciphertext. Only the holder of `recipient`'s private half opens it."""
    ephemeral = Agreement.generate()
    key = _expand(ephemeral.shared_with(recipient), b"box", ephemeral.public, recipient)
    ciphertext = ChaCha20Poly1305(key).encrypt(bytes(12), plaintext, context)
    return key_id(recipient) + ephemeral.public + ciphertext


def box_key_id(box: bytes) -> bytes:
    """Whom a box is for; MessageError(MALFORMED) when it is too short to be one."""
    if len(box) < KEY_ID_BYTES + KEY_BYTES + TAG_BYTES:
        raise MessageError(RejectReason.MALFORMED, "box")
    return box[:KEY_ID_BYTES]


def open_box(own: Agreement, box: bytes, context: bytes) -> bytes:
    """The plaintext; MessageError when the box is for another key, for another context, or was changed."""
    if box_key_id(box) != key_id(own.public):
        raise MessageError(RejectReason.WRONG_RECIPIENT, "box")
    ephemeral = box[KEY_ID_BYTES : KEY_ID_BYTES + KEY_BYTES]
    key = _expand(own.shared_with(ephemeral), b"box", ephemeral, own.public)
    try:
        return ChaCha20Poly1305(key).decrypt(bytes(12), box[KEY_ID_BYTES + KEY_BYTES :], context)
    except InvalidTag:
        raise MessageError(RejectReason.BAD_SEAL, "box") from None
