"""Where column keys are: a file that its owner alone can read, 64 hexadecimal digits a line, the key that seals in the first one."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import stat
from pathlib import Path

from hushgrid.core.sealing import KEY_BYTES
from hushgrid.errors import ConfigurationError
from hushgrid.outputs import sync_folder
from privacy_gateway.vault.columns import ColumnKeys

_KEY = re.compile(r"[0-9a-f]{64}")
_MOST_BYTES = 64 * 1024


def read_keys(path: Path) -> ColumnKeys:
    """The keys. ConfigurationError for a file that others may read, or with a line that is no key; never with what is in it."""
    return ColumnKeys(_keys(path))


def _keys(path: Path) -> list[bytes]:
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            content = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror or error}") from None
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise ConfigurationError(f"{path}: others than its owner may use it (chmod 600)")
    if len(content) > _MOST_BYTES:
        raise ConfigurationError(f"{path}: longer than a file of keys")
    keys = []
    for number, line in enumerate(content.decode("ascii", "replace").splitlines(), start=1):
        if not _KEY.fullmatch(line):
            raise ConfigurationError(f"{path}: line {number} is not a key of {2 * KEY_BYTES} hexadecimal digits")
        keys.append(bytes.fromhex(line))
    return keys


def make_key_file(path: Path) -> None:
    """A new file with one new key. ConfigurationError when it is there already or cannot be written."""
    if path.exists():
        raise ConfigurationError(f"{path} is there already, and what is sealed with its keys would be lost")
    _write(path, [])


def add_key(path: Path) -> None:
    """A new key, which seals from now on; the others still open. ConfigurationError as `read_keys`."""
    _write(path, _keys(path))


def _write(path: Path, older: list[bytes]) -> None:
    """A fresh key and the older ones, whole or not at all."""
    lines = [secrets.token_bytes(KEY_BYTES).hex(), *(key.hex() for key in older)]
    fresh = path.with_name(f".{secrets.token_hex(8)}.part")
    try:
        try:
            descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "w", encoding="ascii") as file:
                file.write("".join(f"{line}\n" for line in lines))
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(path)
        finally:
            with contextlib.suppress(FileNotFoundError):
                fresh.unlink()
        sync_folder(path.parent)
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror or error}") from None
