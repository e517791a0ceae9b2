"""Clients of the gateway, their scopes, and what shows that they are who they say: never their secret itself."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from pathlib import Path

from hushgrid.core.sealing import KEY_BYTES
from hushgrid.errors import ConfigurationError, JournalError
from hushgrid.shell.database import Database
from privacy_gateway.people.scopes import GrantedScope, ScopeWord, read_scope

_MIGRATIONS = (
    """
    CREATE TABLE client (name TEXT PRIMARY KEY, secret_digest BLOB NOT NULL, scope TEXT NOT NULL);
    CREATE TABLE token_key (only_row INTEGER PRIMARY KEY CHECK (only_row = 0), key BLOB NOT NULL)
    """,
)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
#: Compared with where there is no such client, so that this takes as long.
_NOBODY = b"\x00" * KEY_BYTES


@dataclass(frozen=True, slots=True)
class Client:
    """Somebody who asks through a program of their own."""

    name: str
    scope: GrantedScope


class ClientBook:
    """Clients on disk, in a file that its owner alone can read. Another process may add and remove while the gateway runs.

    A secret is 32 drawn bytes, so that its SHA-256 is kept and no slow hash is needed: nobody tries 2^256 secrets.
    """

    def __init__(self, path: Path) -> None:
        """JournalError when the file does not serve."""
        self._database = Database(path, _MIGRATIONS, secrets=True)

    def add(self, name: str, scope: GrantedScope) -> str:
        """A new client; its secret, which is shown this once. ConfigurationError for a name that is taken or cannot be one."""
        if not _NAME.fullmatch(name):
            raise ConfigurationError(f"client {name!a}: expected letters, digits, _ . - and 64 characters at most")
        if ScopeWord.HOME in scope.words:
            raise ConfigurationError(f"scope {ScopeWord.HOME}: it is for customers, who sign in with their meter")
        if scope.asking is None and not scope.words:
            raise ConfigurationError("a client without any scope could do nothing")
        secret = secrets.token_urlsafe(KEY_BYTES)
        with self._database.transaction():
            if self._database.query("SELECT 1 FROM client WHERE name = ?", name):
                raise ConfigurationError(f"client {name} is there already; remove it first")
            digest = hashlib.sha256(secret.encode()).digest()
            self._database.execute("INSERT INTO client VALUES (?, ?, ?)", name, digest, str(scope))
        return secret

    def remove(self, name: str) -> None:
        """It gets no token from now on, and those it has serve no more. ConfigurationError for one that there is not."""
        if not self._database.execute("DELETE FROM client WHERE name = ?", name):
            raise ConfigurationError(f"client {name!a}: there is none of that name")

    def all(self) -> list[Client]:
        """By name."""
        rows = self._database.query("SELECT name, scope FROM client ORDER BY name")
        return [Client(name, self._scope(name, scope)) for name, scope in rows]

    def named(self, name: str) -> Client | None:
        """The client of this name as it is now."""
        for (scope,) in self._database.query("SELECT scope FROM client WHERE name = ?", name):
            return Client(name, self._scope(name, scope))
        return None

    def shown(self, name: str, secret: str) -> Client | None:
        """The client, where that is its secret."""
        rows = self._database.query("SELECT secret_digest FROM client WHERE name = ?", name)
        kept = bytes(rows[0][0]) if rows else _NOBODY
        right = hmac.compare_digest(kept, hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest())
        return self.named(name) if right and rows else None

    def token_key(self) -> bytes:
        """32 bytes with which tokens are signed, made at first use."""
        with self._database.transaction():
            for (key,) in self._database.query("SELECT key FROM token_key"):
                return bytes(key)
            fresh = secrets.token_bytes(KEY_BYTES)
            self._database.execute("INSERT INTO token_key VALUES (0, ?)", fresh)
        return fresh

    def _scope(self, name: str, written: str) -> GrantedScope:
        try:
            return read_scope(written)
        except ConfigurationError as error:
            raise JournalError(f"{self._database.path}: client {name}: {error}") from None

    def close(self) -> None:
        """Close the file."""
        self._database.close()
