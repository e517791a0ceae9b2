"""Bearer tokens: signed by the gateway (JWT, HMAC-SHA256 under a key of its own), for one gateway, until an instant."""

from __future__ import annotations

import enum
import secrets
from dataclasses import dataclass
from typing import Any

import jwt

from hushgrid.errors import ConfigurationError
from privacy_gateway.people.scopes import GrantedScope, read_scope

_ALGORITHM = "HS256"
MOST_TOKEN_CHARACTERS = 8192


class Holder(enum.StrEnum):
    """Who holds a token."""

    CLIENT = "client"
    CUSTOMER = "customer"


class TokenRefusedError(Exception):
    """A token that is not believed. The text says why, without the token."""


@dataclass(frozen=True, slots=True)
class Bearer:
    """Whom a token was given to. name: of the client, or the meter's id. scope: as it was given."""

    holder: Holder
    name: str
    scope: GrantedScope


class TokenIssuer:
    """Gives tokens, and believes its own only. Whether a client is still there, its caller looks up at every use."""

    def __init__(self, key: bytes, *, gateway: str, grid: str, lifetime_seconds: int) -> None:
        self._key, self._lifetime = key, lifetime_seconds
        self._issuer = f"hushgrid:{grid}:{gateway}"

    @property
    def lifetime_seconds(self) -> int:
        """How long a token serves."""
        return self._lifetime

    def give(self, bearer: Bearer, now_seconds: int) -> str:
        """A fresh token."""
        said = {
            "iss": self._issuer, "aud": self._issuer, "sub": bearer.name, "holder": bearer.holder.value,
            "scope": str(bearer.scope), "iat": now_seconds, "exp": now_seconds + self._lifetime, "jti": secrets.token_hex(16),
        }  # fmt: skip
        return jwt.encode(said, self._key, algorithm=_ALGORITHM)

    def believe(self, token: str, now_seconds: int) -> Bearer:
        """Whose it is. TokenRefusedError for anything that this gateway did not give, and for what has run out."""
        if len(token) > MOST_TOKEN_CHARACTERS:
            raise TokenRefusedError("The token is longer than any that was given.")
        try:
            said: dict[str, Any] = jwt.decode(
                token, self._key, algorithms=[_ALGORITHM], issuer=self._issuer, audience=self._issuer,
                options={
                    "require": ["iss", "aud", "sub", "exp", "iat"],
                    "verify_exp": False, "verify_iat": False, "verify_nbf": False,
                },
            )  # fmt: skip
            if now_seconds + _SKEW_SECONDS < int(said["iat"]) or now_seconds >= int(said["exp"]):
                raise TokenRefusedError("The token has run out.")
            return Bearer(Holder(said["holder"]), str(said["sub"]), read_scope(str(said["scope"])))
        except TokenRefusedError:
            raise
        except (jwt.InvalidTokenError, ConfigurationError, KeyError, TypeError, ValueError):
            raise TokenRefusedError("The token is none that this gateway gave.") from None


#: A clock that was put back a little voids nothing.
_SKEW_SECONDS = 60
