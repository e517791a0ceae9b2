"""The chain in a file: an entry is on disk before anybody is told that it is written.

One line an entry. A process that is killed while it writes leaves at most a last line without its end, of an entry that nobody was
told of. That line is kept beside the log, and an entry says so.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from hushgrid.errors import JournalError
from hushgrid.outputs import sync_folder
from privacy_gateway.audit.chain import MAX_LINE_BYTES, START, ChainHead, DamagedLogError, linked, verify
from privacy_gateway.audit.entries import AuditEntry, LoggedTear

log = logging.getLogger("hushgrid")


def lines_of(file: BinaryIO) -> Iterator[bytes]:
    """Its lines with their ends; DamagedLogError for one that is too long."""
    number = 0
    while line := file.readline(MAX_LINE_BYTES + 1):
        number += 1
        if len(line) > MAX_LINE_BYTES:
            raise DamagedLogError(f"entry {number} is longer than a line of an audit log")
        yield line


class AuditLog:
    """A log that one process writes to. Damaged in its middle, or shorter than a head, it is not opened at all."""

    def __init__(self, path: Path, *, at_seconds: int, head: ChainHead = START) -> None:
        """at_seconds: now, UTC. head: one that was published; a log that does not continue it is an older copy, or another log.

        JournalError when the file does not serve, another process has it, or it is not what was written.
        """
        self._path = path
        self._lock = threading.Lock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            try:
                self._take(head, at_seconds)
            except BaseException:
                os.close(self._descriptor)
                raise
        except OSError as error:
            raise JournalError(f"{path}: {error.strerror or error}") from None
        except DamagedLogError as error:
            raise DamagedLogError(f"{path}: {error}") from None

    def _take(self, head: ChainHead, at_seconds: int) -> None:
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise JournalError(f"{self._path}: another process writes to it") from None
        sync_folder(self._path.parent)
        with self._path.open("rb") as file:
            self.head = verify(self._whole(file), [head])
        if self._torn:
            self._set_aside(at_seconds)

    def _whole(self, file: BinaryIO) -> Iterator[bytes]:
        """Its lines, but for a last one without its end, which is kept in mind."""
        self._size, self._torn = 0, b""
        for line in lines_of(file):
            if line.endswith(b"\n"):
                self._size += len(line)
                yield line
            else:
                self._torn = line

    def _set_aside(self, at_seconds: int) -> None:
        beside = self._path.with_name(f"{self._path.name}.torn")
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            _write(descriptor, self._torn + b"\n")
        finally:
            os.close(descriptor)
        sync_folder(self._path.parent)
        os.ftruncate(self._descriptor, self._size)
        length, content = len(self._torn), hashlib.sha256(self._torn).digest()
        self.append(LoggedTear(at_seconds=at_seconds, length=length, content=content))
        log.warning("%s: the last line was torn after %d bytes; it is kept in %s", self._path, length, beside)

    def append(self, *entries: AuditEntry) -> ChainHead:
        """The head behind them, once all of them are on disk, for which the disk is waited for once.

        JournalError when that cannot be said; then nothing more is taken in. ValueError for an entry that is longer than a line may be;
        nothing is written then.
        """
        with self._lock:
            if self._size < 0:
                raise JournalError(f"{self._path}: an entry may be written or not; the log is to be opened anew")
            head, lines = self.head, b""
            for entry in entries:
                head, line = linked(head, entry)
                lines += line
            size, self._size = self._size, -1
            try:
                if os.fstat(self._descriptor).st_size != size:
                    raise JournalError(f"{self._path}: somebody else has changed it")
                _write(self._descriptor, lines)
            except OSError as error:
                raise JournalError(f"{self._path}: {error.strerror or error}") from None
            self.head, self._size = head, size + len(lines)
            return head

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._descriptor)


def _write(descriptor: int, content: bytes) -> None:
    """All of it, on disk."""
    while content:
        content = content[os.write(descriptor, content) :]
    os.fsync(descriptor)
