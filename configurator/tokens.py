"""One-time tokens: each for one agent, good for a while; only their hashes are kept."""

from __future__ import annotations

import datetime as dt
import hashlib
import secrets
from collections.abc import Iterable

from hushgrid.errors import ConfigurationError

#: How long an agent may take to come for the first time.
TOKEN_LIFE = dt.timedelta(days=2)
_TOKEN_BYTES = 24
_MOST_HOURS = 10 * 366 * 24


def fresh_tokens(agents: Iterable[str]) -> dict[str, str]:
    """One for each agent."""
    return {agent: secrets.token_urlsafe(_TOKEN_BYTES) for agent in agents}


def token_hash(purpose: str, token: str) -> bytes:
    """What is kept of a token. purpose: where it is good, so that one store's content says nothing to another."""
    return hashlib.sha256(f"hushgrid/1 {purpose}".encode() + token.encode()).digest()


def lifetime(hours: float) -> dt.timedelta:
    """Of a token or a certificate; ConfigurationError for what is no time to come."""
    if not 0 < hours <= _MOST_HOURS:
        raise ConfigurationError(f"{hours:g} hours: must be positive, and {_MOST_HOURS} at most")
    return dt.timedelta(hours=hours)
