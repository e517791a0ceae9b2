"""Under which name a home appears: a keyed hash of its meter id, with a key of one billing epoch.

Within an epoch the same meter has the same name. Across epochs names can be linked by whoever has both keys, and by nobody once one of
them is destroyed. There is no table of names: the key is the map from identities to names.
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Iterable

from hushgrid.core.sealing import KEY_BYTES, fields

#: 128 bits: among a million homes two share a name with a probability of 2^-89.
_NAME_BYTES = 16


def billing_epoch(round_number: int, period_rounds: int) -> int:
    """The billing period of this round, numbered from round 0. ValueError for a round or a period that there is not."""
    if round_number < 0 or period_rounds < 1:
        raise ValueError(f"no billing period of {period_rounds} rounds holds round {round_number}")
    return round_number // period_rounds


def pseudonym_of(key: bytes, meter: str) -> str:
    """26 characters, a to z and 2 to 7: HMAC-SHA256 under the epoch's key of 32 bytes, cut to 128 bits."""
    mac = _keyed(key, b"gateway pseudonym", meter.encode())
    return base64.b32encode(mac[:_NAME_BYTES]).decode().lower().rstrip("=")


def keyed_digest(key: bytes, content: bytes) -> bytes:
    """HMAC-SHA256 under the epoch's key: what something was, as long as that key exists, and nothing afterwards."""
    return _keyed(key, b"gateway digest", content)


def _keyed(key: bytes, label: bytes, content: bytes) -> bytes:
    if len(key) != KEY_BYTES:
        raise ValueError(f"a key of {len(key)} bytes")
    return hmac.digest(key, fields(b"hushgrid/1", label, content), "sha256")


def identities(key: bytes, meters: Iterable[str]) -> dict[str, str]:
    """The meter behind each name of this epoch."""
    return {pseudonym_of(key, meter): meter for meter in meters}
