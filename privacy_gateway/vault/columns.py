"""Columns that are encrypted at rest: AES-256-GCM, bound to the cell, under a key that is in no database.

    version (1) | key id (8) | nonce (12) | ciphertext and tag

A cell that was moved to another row, column or table does not open, nor one that was changed. Nonces are drawn: a key is to be rotated
before it has sealed 2^32 cells (NIST SP 800-38D, section 8.3). What a cell's length says is not hidden: integers have one length.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from hushgrid.core.sealing import KEY_BYTES, fields
from hushgrid.errors import ConfigurationError, JournalError

_VERSION = b"\x01"
_ID_BYTES, _NONCE_BYTES, _TAG_BYTES = 8, 12, 16
_HEAD_BYTES = len(_VERSION) + _ID_BYTES + _NONCE_BYTES
_INTEGER_BYTES = 8


@dataclass(frozen=True, slots=True)
class ColumnPlace:
    """Where a cell belongs. row: the row's key, as text."""

    table: str
    column: str
    row: str

    def __str__(self) -> str:
        return f"{self.table}.{self.column}"

    def context(self) -> bytes:
        """What a sealed cell is bound to."""
        return fields(b"hushgrid/1", b"column", _VERSION, self.table.encode(), self.column.encode(), self.row.encode())


def column_key_id(key: bytes) -> bytes:
    """8 bytes by which a cell names its key; they tell nothing about it."""
    return hashlib.sha256(fields(b"hushgrid/1", b"column key id", key)).digest()[:_ID_BYTES]


class ColumnKeys:
    """The keys at hand, of 32 bytes each: the first one seals, all of them open. ConfigurationError where there is none, or not a key."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        if not keys:
            raise ConfigurationError("there is no key to seal columns with")
        if any(len(key) != KEY_BYTES for key in keys) or len(set(keys)) != len(keys):
            raise ConfigurationError(f"column keys are {KEY_BYTES} bytes each, and different")
        self._ciphers = {column_key_id(key): AESGCM(key) for key in keys}
        self._current = column_key_id(keys[0])

    def seal(self, plaintext: bytes, place: ColumnPlace) -> bytes:
        """The cell, 37 bytes longer than what it says."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        sealed = self._ciphers[self._current].encrypt(nonce, plaintext, place.context())
        return _VERSION + self._current + nonce + sealed

    def unseal(self, cell: bytes, place: ColumnPlace) -> bytes:
        """What the cell says.

        ConfigurationError where its key is not at hand; JournalError where it was changed, or belongs elsewhere.
        """
        if len(cell) < _HEAD_BYTES + _TAG_BYTES or not cell.startswith(_VERSION):
            raise JournalError(f"{place}: not a sealed cell")
        name, nonce, sealed = _key_of(cell), cell[_HEAD_BYTES - _NONCE_BYTES : _HEAD_BYTES], cell[_HEAD_BYTES:]
        cipher = self._ciphers.get(name)
        if cipher is None:
            raise ConfigurationError(f"{place}: sealed with the key {name.hex()}, which is not among those at hand")
        try:
            return cipher.decrypt(nonce, sealed, place.context())
        except InvalidTag:
            raise JournalError(f"{place}: a cell was changed, or belongs to another place") from None

    def seal_integer(self, value: int, place: ColumnPlace) -> bytes:
        """A signed number of at most 63 bits; every one has the same length. OverflowError for a larger one."""
        return self.seal(value.to_bytes(_INTEGER_BYTES, "big", signed=True), place)

    def unseal_integer(self, cell: bytes, place: ColumnPlace) -> int:
        """The number; errors as `unseal`."""
        content = self.unseal(cell, place)
        if len(content) != _INTEGER_BYTES:
            raise JournalError(f"{place}: not a number")
        return int.from_bytes(content, "big", signed=True)

    def rotated(self, cell: bytes, place: ColumnPlace) -> bytes | None:
        """The cell under the key that seals now; None where it is under that already. Errors as `unseal`."""
        content = self.unseal(cell, place)
        return None if _key_of(cell) == self._current else self.seal(content, place)


def _key_of(cell: bytes) -> bytes:
    return cell[len(_VERSION) : len(_VERSION) + _ID_BYTES]
