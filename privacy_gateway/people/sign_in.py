"""How a customer signs in: the gateway draws a challenge, the meter signs it, once, for this gateway and grid.

A challenge is kept nowhere: it carries when it ends and a keyed hash of that. The key is drawn at every start, so that a challenge
serves in the process that gave it, and what was used is remembered until it has run out.
"""

from __future__ import annotations

import hmac
import secrets
import struct
import threading
from collections.abc import Mapping

from hushgrid.core.sealing import KEY_BYTES, fields
from hushgrid.errors import MessageError, RejectReason
from hushgrid.statements.lines import wire_of
from hushgrid.statements.sign_in import CHALLENGE_BYTES, SignIn
from hushgrid.statements.statement import Kinds, Statement

#: How long a challenge may be answered.
CHALLENGE_SECONDS = 300
_HEARD = Kinds(SignIn)
_DRAWN_BYTES, _MAC_BYTES, _INSTANT_BYTES = 16, 16, 8


class MeterSignIns:
    """Challenges, and who answered them."""

    def __init__(self, *, gateway: str, grid: str, identities: Mapping[str, bytes]) -> None:
        """identities: public keys by meter id, as they were enrolled."""
        self._gateway, self._grid, self._identities = gateway, grid, identities
        self._key = secrets.token_bytes(KEY_BYTES)
        self._used: dict[bytes, int] = {}
        self._lock = threading.Lock()

    def challenge(self, now_seconds: int) -> bytes:
        """A fresh one."""
        head = struct.pack(">Q", now_seconds + CHALLENGE_SECONDS) + secrets.token_bytes(_DRAWN_BYTES)
        return head + self._mac(head)

    def believe(self, line: bytes, now_seconds: int) -> str:
        """The meter that answered a challenge.

        MessageError for anything else: a meter that is not known, another's hand, another gateway or grid, a challenge
        that is none of ours, has run out (FORGOTTEN_ROUND) or was used (REPLAYED).
        """
        statement, signed = Statement.from_bytes(wire_of(line), _HEARD)
        body, meter = statement.body, statement.sender
        identity = self._identities.get(meter)
        if identity is None:
            raise MessageError(RejectReason.UNKNOWN_SENDER, "sign-in")
        signed.check(identity)
        if not isinstance(body, SignIn):
            raise MessageError(RejectReason.MALFORMED, "sign-in")
        if (statement.recipient, body.grid) != (self._gateway, self._grid):
            raise MessageError(RejectReason.WRONG_RECIPIENT, "sign-in")
        self._use(body.challenge, now_seconds)
        return meter

    def _use(self, challenge: bytes, now_seconds: int) -> None:
        head, mac = challenge[:-_MAC_BYTES], challenge[-_MAC_BYTES:]
        if len(challenge) != CHALLENGE_BYTES or not hmac.compare_digest(mac, self._mac(head)):
            raise MessageError(RejectReason.MALFORMED, "sign-in challenge")
        (end,) = struct.unpack(">Q", head[:_INSTANT_BYTES])
        if now_seconds >= end:
            raise MessageError(RejectReason.FORGOTTEN_ROUND, "sign-in challenge")
        with self._lock:
            self._used = {used: until for used, until in self._used.items() if until > now_seconds}
            if challenge in self._used:
                raise MessageError(RejectReason.REPLAYED, "sign-in challenge")
            self._used[challenge] = end

    def _mac(self, head: bytes) -> bytes:
        said = fields(b"hushgrid/1", b"sign-in challenge", self._gateway.encode(), self._grid.encode(), head)
        return hmac.digest(self._key, said, "sha256")[:_MAC_BYTES]
