"""Tokens of an OpenID Connect issuer, where one is set: believed by its public keys, which lie in a file. Nothing is fetched.

A token names a client by `azp`, `client_id` or `sub`, the first that is there. What the client may do is what the gateway has granted it,
within the token's own scope where that is one of ours.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jwt

from hushgrid.errors import ConfigurationError
from privacy_gateway.people.scopes import GrantedScope, read_scope
from privacy_gateway.people.tokens import MOST_TOKEN_CHARACTERS, TokenRefusedError

#: With a key pair only: whoever can check such a token cannot make one.
_ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
_NAMED_BY = ("azp", "client_id", "sub")


class OutsideIssuer:
    """One issuer."""

    def __init__(self, url: str, audience: str, keys: Path) -> None:
        """url: its `iss`. keys: a JSON Web Key Set. ConfigurationError where that cannot be used."""
        self.url, self._audience = url, audience
        try:
            found = jwt.PyJWKSet.from_json(keys.read_text(encoding="utf-8")).keys
        except OSError as error:
            raise ConfigurationError(f"{keys}: {error.strerror or error}") from None
        except (jwt.PyJWTError, UnicodeDecodeError, json.JSONDecodeError, AttributeError, TypeError, KeyError):
            raise ConfigurationError(f"{keys}: no JSON Web Key Set") from None
        self._keys = {key.key_id: key for key in found if key.key_type != "oct"}
        if not self._keys:
            raise ConfigurationError(f"{keys}: holds no public key")

    def gave(self, token: str) -> bool:
        """Whether a token says that it is of this issuer. That is not believed yet."""
        try:
            return bool(_unchecked(token).get("iss") == self.url)
        except jwt.InvalidTokenError:
            return False

    def believe(self, token: str, now_seconds: int) -> tuple[str, GrantedScope | None]:
        """The client that it names, and the scope that it states; None where that is none of ours. TokenRefusedError otherwise."""
        try:
            key = self._keys.get(jwt.get_unverified_header(token).get("kid"))
            if key is None:
                raise TokenRefusedError("The token was signed with a key that its issuer's key set has not.")
            said: dict[str, Any] = jwt.decode(
                token, key, algorithms=_ALGORITHMS, issuer=self.url, audience=self._audience,
                options={"require": ["iss", "aud", "exp"], "verify_exp": False, "verify_nbf": False, "verify_iat": False},
            )  # fmt: skip
            if now_seconds >= int(said["exp"]) or now_seconds < int(said.get("nbf", 0)):
                raise TokenRefusedError("The token has run out, or does not hold yet.")
        except TokenRefusedError:
            raise
        except (jwt.PyJWTError, TypeError, ValueError, OverflowError):
            raise TokenRefusedError("The token is none that its issuer gave for this gateway.") from None
        name = next((said[claim] for claim in _NAMED_BY if isinstance(said.get(claim), str)), "")
        return name, _scope(said.get("scope"))


def _unchecked(token: str) -> dict[str, Any]:
    if len(token) > MOST_TOKEN_CHARACTERS:
        return {}
    said: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return said


def _scope(stated: object) -> GrantedScope | None:
    if not isinstance(stated, str):
        return None
    ours = " ".join(word for word in stated.split() if "=" in word)
    try:
        return read_scope(ours) if ours else None
    except ConfigurationError:
        raise TokenRefusedError("The token states a scope that is not understood here.") from None
