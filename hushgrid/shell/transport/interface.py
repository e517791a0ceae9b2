"""What services need of a broker connection, and how a broker is named. No MQTT here."""

from __future__ import annotations

import ssl
import urllib.parse
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

from hushgrid.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Message:
    """One message as it came in. retained: the broker kept it from before the subscription."""

    topic: str
    payload: bytes
    retained: bool = False


@dataclass(frozen=True, slots=True)
class Will:
    """What the broker says, retained, when this agent is gone. The topic's last level is the agent's pseudonym."""

    topic: str
    payload: bytes

    def topic_of(self, pseudonym: str) -> str:
        """The topic after a change of pseudonym."""
        return f"{self.topic.rpartition('/')[0]}/{pseudonym}"


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files for mqtts://: the authority that signed the broker, and this agent's own certificate and key."""

    ca: Path | None
    certificate: Path | None
    key: Path | None

    def context(self) -> ssl.SSLContext:
        """The TLS context; ConfigurationError when a file cannot be used."""
        try:
            context = ssl.create_default_context(cafile=self.ca)
            if self.certificate is not None:
                context.load_cert_chain(self.certificate, self.key)
        except OSError as error:
            raise ConfigurationError(f"TLS files: {error}") from None
        return context


#: The TLS context to connect with under a name. Asked at every connection, so that a renewed certificate is used at the next one.
Contexts = Callable[[str], ssl.SSLContext]


class Transport(Protocol):
    """What services need of a broker connection. `generation` rises at every connection made.

    An agent speaks under one pseudonym and may be addressed under several: those of past epochs that are still in use and of one
    that is about to begin. A broker lets a name read its own inbox only, so every address is a connection of its own.
    """

    pseudonym: str
    generation: int

    @property
    def reachable(self) -> bool:
        """Whether the broker is on the line now."""
        ...

    async def __aenter__(self) -> Self: ...
    async def __aexit__(self, *_: object) -> None: ...
    async def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Hand over one message; returns when the broker has acknowledged it, however long that takes."""
        ...

    async def subscribe(self, *filters: str, address: str | None = None) -> None:
        """Subscribe now and after every reconnection. address: the pseudonym whose inbox it is; None: whoever we are."""
        ...

    async def unsubscribe(self, *filters: str) -> None:
        """Subscribe no longer; what is on its way still comes."""
        ...

    def messages(self) -> AsyncIterator[Message]:
        """Everything that comes in, for ever. Asking for the next message says that the last one is dealt with."""
        ...

    async def wait_generation(self, after: int) -> int:
        """Return the generation once it is above `after`: what has no receipt is to be sent again then."""
        ...

    async def rename(self, pseudonym: str) -> None:
        """Go on under another client id and user name, with the same subscriptions. Topics of publishes made before the
        call carry the old name and leave under it; what is addressed to the old name still comes, until it is left.
        """
        ...

    async def leave(self, address: str) -> None:
        """Be addressed under a former pseudonym no longer; what waits there is still read."""
        ...

    async def renew(self) -> None:
        """Connect anew under every name: for certificates that were renewed. Sessions and publishes go on."""
        ...


@dataclass(frozen=True, slots=True)
class BrokerAddress:
    """A parsed broker URL."""

    host: str
    port: int
    secure: bool

    @classmethod
    def parse(cls, url: str) -> BrokerAddress:
        """From mqtt://host:port or mqtts://host:port; ConfigurationError otherwise."""
        try:
            parts = urllib.parse.urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError:
            host, port = None, 0
        else:
            if (
                parts.scheme not in ("mqtt", "mqtts")
                or parts.path not in ("", "/")
                or parts.query
                or "@" in parts.netloc
            ):
                host = None
        if not host or port == 0:
            raise ConfigurationError(f"broker URL {url!r}: expected mqtt://host:port or mqtts://host:port")
        secure = parts.scheme == "mqtts"
        return cls(host, port or (8883 if secure else 1883), secure)
