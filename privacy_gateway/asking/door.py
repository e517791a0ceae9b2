"""A gateway's door, seen from outside: a token for a client, a question, and what is said to it.

Secrets and answers go over https, or over this machine's own loopback.
"""

from __future__ import annotations

import http.client
import ipaddress
import json
import ssl
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hushgrid.errors import ConfigurationError, HushgridError

_PATIENCE_SECONDS = 300.0
_MOST_BYTES = 16 * 2**20


class GatewaySaysNoError(HushgridError):
    """The gateway's refusal. code: its word for it, which programs may rely on."""

    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(f"refused, {code}: {sentence}")
        self.code = code


@dataclass(frozen=True, slots=True, repr=False)
class AskingClient:
    """Who asks. secret: as the gateway printed it once."""

    name: str
    secret: str


class RemoteGateway:
    """A gateway by its address."""

    def __init__(self, address: str, authority: Path | None = None) -> None:
        """authority: a PEM file with the only certificate authority that is believed; None: the system's.

        ConfigurationError for an address or a file that does not serve.
        """
        self._address = _checked(address)
        try:
            context = ssl.create_default_context(cafile=authority)
        except (OSError, ssl.SSLError) as error:
            raise ConfigurationError(f"{authority}: {error.strerror or error}") from None
        # No proxy of the environment is told a secret, and no redirection is followed: it has no handler here.
        self._opener = urllib.request.OpenerDirector()
        for handler in (
            urllib.request.HTTPHandler(), urllib.request.HTTPSHandler(context=context),
            urllib.request.HTTPDefaultErrorHandler(), urllib.request.HTTPErrorProcessor(),
        ):  # fmt: skip
            self._opener.add_handler(handler)

    def token(self, client: AskingClient) -> str:
        """A bearer token. GatewaySaysNoError when the gateway does not know the client, or its secret is another."""
        fields = {"grant_type": "client_credentials", "client_id": client.name, "client_secret": client.secret}
        form = urllib.parse.urlencode(fields).encode()
        said = self._post("/oauth/token", form, {"Content-Type": "application/x-www-form-urlencoded"})
        token = said.get("access_token")
        if not isinstance(token, str) or not token.isascii() or not token.isprintable():
            raise self._stranger()
        return token

    def ask(self, token: str, question: bytes) -> dict[str, Any]:
        """What is answered to a question in JSON. GatewaySaysNoError for a refusal."""
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
        return self._post("/queries", question, headers)

    def _post(self, path: str, body: bytes, headers: dict[str, str]) -> dict[str, Any]:
        request = urllib.request.Request(self._address + path, body, headers)  # noqa: S310  # the scheme was checked
        try:
            with self._opener.open(request, timeout=_PATIENCE_SECONDS) as response:
                return self._understood(response.read(_MOST_BYTES + 1))
        except urllib.error.HTTPError as error:
            with error:
                said = self._understood(error.read(_MOST_BYTES + 1))
            code, sentence = said.get("code"), said.get("sentence")
            if not isinstance(code, str) or not isinstance(sentence, str):
                raise self._stranger() from None
            raise GatewaySaysNoError(code, sentence) from None
        except urllib.error.URLError as error:
            raise ConfigurationError(f"{self._address}: {_why(error.reason)}") from None
        except (OSError, http.client.HTTPException) as error:
            raise ConfigurationError(f"{self._address}: {_why(error)}") from None

    def _understood(self, content: bytes) -> dict[str, Any]:
        try:
            said = json.loads(content) if len(content) <= _MOST_BYTES else None
        except (ValueError, RecursionError):
            said = None
        if not isinstance(said, dict):
            raise self._stranger()
        return said

    def _stranger(self) -> ConfigurationError:
        return ConfigurationError(f"{self._address}: what answers there is no privacy gateway")


def _checked(address: str) -> str:
    try:
        parts = urllib.parse.urlsplit(address)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host, parts = None, urllib.parse.urlsplit("")
    whole = parts.scheme in ("http", "https") and host and not (parts.query or parts.fragment or parts.username)
    if not whole or not address.isascii() or not address.isprintable() or " " in address:
        raise ConfigurationError(f"--gateway {address}: expected https://HOST:PORT")
    if parts.scheme == "http" and not _here(host or ""):
        raise ConfigurationError(f"--gateway {address}: a secret is told over https only, but to this machine itself")
    return address.rstrip("/")


def _here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _why(reason: object) -> str:
    if isinstance(reason, ssl.SSLCertVerificationError):
        return f"its certificate is not believed: {reason.verify_message} (--ca)"
    if isinstance(reason, TimeoutError):
        return f"no answer in {_PATIENCE_SECONDS:.0f} s"
    return (reason.strerror if isinstance(reason, OSError) else None) or str(reason) or type(reason).__name__
