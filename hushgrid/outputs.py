"""Files that commands write results into: looked at before anything takes time, and never written over."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import secrets
from pathlib import Path

from hushgrid.errors import ConfigurationError

#: What a folder says that takes no second file, or whose files have one name only.
_NO_SECOND = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTSUP, errno.EMLINK, errno.ENOSYS})


def check_new(*paths: Path | None) -> None:
    """ConfigurationError for a file that is there already or could not be written; None is an option not given."""
    check_outputs(*paths)
    for path in paths:
        if path is not None and _holds_something(path):
            raise _there(path)


def check_outputs(*paths: Path | None) -> None:
    """ConfigurationError for a file that could not be written, before anything takes time; None is an option not given."""
    for path in paths:
        if path is None:
            continue
        if not path.parent.is_dir():
            raise ConfigurationError(f"{path}: there is no directory {path.parent}")
        if path.is_dir():
            raise ConfigurationError(f"{path}: is a directory")
        if not os.access(path if path.exists() else path.parent, os.W_OK):
            raise ConfigurationError(f"{path}: cannot be written")


def write_json(path: Path, content: object) -> None:
    """A new file. ConfigurationError when it is there already or cannot be written."""
    write_new(path, json.dumps(content, indent=1) + "\n")


def write_new(path: Path, text: str) -> None:
    """A new file of text, line ends as they stand. ConfigurationError when it is there already or cannot be written.

    It is there whole or not at all, wherever its folder takes a second file for a moment.
    What is no file, as a pipe, and an empty file are written to as they are.
    """
    target = Path(os.path.realpath(path))  # a link goes on leading where it leads
    try:
        if _holds_something(target):
            raise _there(path)
        if target.exists():  # an empty file that somebody has made for it, or a pipe
            target.write_text(text, encoding="utf-8", newline="")
        elif not _linked(target, text):
            with target.open("x", encoding="utf-8", newline="") as file:
                file.write(text)
    except FileExistsError:
        raise _there(path) from None
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror or error}") from None


def sync_folder(folder: Path) -> None:
    """Wait until the disk knows which files a folder holds. OSError when that cannot be said."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _linked(target: Path, text: str) -> bool:
    """Write it beside and give it its name when it is whole. False where there can be no second file or no second name."""
    fresh = target.with_name(f".{secrets.token_hex(8)}.part")
    try:
        with os.fdopen(
            os.open(fresh, os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o666), "w", encoding="utf-8", newline=""
        ) as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        target.hardlink_to(fresh)
    except OSError as error:
        if error.errno not in _NO_SECOND:
            raise
        return False
    finally:
        with contextlib.suppress(OSError):
            fresh.unlink()
    return True


def _holds_something(path: Path) -> bool:
    """Whether there is a file that would be lost; a folder that may not be looked into is seen to when it is written."""
    try:
        return path.is_file() and path.stat().st_size > 0
    except OSError:
        return False


def _there(path: Path) -> ConfigurationError:
    return ConfigurationError(f"{path} is there already, and nothing is written over: name another file")
