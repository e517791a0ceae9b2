"""Homes that can be asked about, and their meters' identities, from a file of lines `METER IDENTITY`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from hushgrid.core.sealing import KEY_BYTES
from hushgrid.errors import ConfigurationError

_METER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_IDENTITY = re.compile(rf"[0-9a-f]{{{2 * KEY_BYTES}}}")


@dataclass(frozen=True, slots=True)
class HomeList:
    """identities: public keys by meter id, in the order of ids. A home is named as its meter."""

    identities: dict[str, bytes]

    @property
    def homes(self) -> list[str]:
        """All ids, sorted."""
        return list(self.identities)


def read_homes(name: str, lines: Iterable[str]) -> HomeList:
    """name: of the file. ConfigurationError naming the line that is not understood, for a meter or identity that is there twice, and
    for a file without any. Empty lines and those that begin with # say nothing.
    """
    found: dict[str, bytes] = {}
    seen: set[bytes] = set()
    for number, line in enumerate(lines, start=1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if len(words) != 2 or not _METER.fullmatch(words[0]) or not _IDENTITY.fullmatch(words[1]):
            raise ConfigurationError(
                f"{name}: line {number}: expected a meter's id and {2 * KEY_BYTES} hexadecimal digits"
            )
        identity = bytes.fromhex(words[1])
        if words[0] in found or identity in seen:
            raise ConfigurationError(f"{name}: line {number}: this meter or this identity is there already")
        found[words[0]] = identity
        seen.add(identity)
    if not found:
        raise ConfigurationError(f"{name}: names no meter")
    return HomeList(dict(sorted(found.items())))
