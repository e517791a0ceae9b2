"""Heads of the audit log that were signed and given away, one line each; a log that does not continue the last one is not opened."""

from __future__ import annotations

import os
from pathlib import Path

from hushgrid.core.sealing import Identity
from hushgrid.errors import ConfigurationError, JournalError, MessageError
from hushgrid.outputs import sync_folder
from hushgrid.statements.audit import AuditHead
from privacy_gateway.audit.chain import START, ChainHead
from privacy_gateway.audit.heads import read_head, signed_head


class PublishedHeads:
    """The file. A last line without its end was given to nobody, and is left out."""

    def __init__(self, path: Path, identity: Identity, *, gateway: str, grid: str) -> None:
        """ConfigurationError when the file cannot be read, or holds what this gateway did not sign."""
        self._path, self._identity, self._gateway, self._grid = path, identity, gateway, grid
        self.last, self.line = START, b""
        for line in self._whole():
            self.last, self.line = self._head(line), line

    def _whole(self) -> list[bytes]:
        try:
            content = self._path.read_bytes()
        except FileNotFoundError:
            return []
        except OSError as error:
            raise ConfigurationError(f"{self._path}: {error.strerror or error}") from None
        return [line + b"\n" for line in content.split(b"\n")[:-1] if line]

    def _head(self, line: bytes) -> ChainHead:
        try:
            said: AuditHead = read_head(line)
        except MessageError:
            raise ConfigurationError(f"{self._path}: holds a line that is no signed head") from None
        if said.identity != self._identity.public:
            raise ConfigurationError(f"{self._path}: holds a head that this gateway did not sign")
        return ChainHead(said.entries, said.digest)

    def publish(self, head: ChainHead, at_seconds: int) -> bytes:
        """The signed line of the newest head, on disk when this returns. JournalError when that cannot be said."""
        if head == self.last and self.line:
            return self.line
        line = signed_head(head, self._identity, gateway=self._gateway, grid=self._grid, at_seconds=at_seconds)
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                size = os.fstat(descriptor).st_size
                torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
                if torn:
                    os.ftruncate(descriptor, os.pread(descriptor, size, 0).rfind(b"\n") + 1)
                os.write(descriptor, line)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            sync_folder(self._path.parent)
        except OSError as error:
            raise JournalError(f"{self._path}: {error.strerror or error}") from None
        self.last, self.line = head, line
        return line
