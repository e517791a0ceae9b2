"""One look at a broker, for a person who asks whether it would take this agent in."""

from __future__ import annotations

import asyncio
import secrets
import ssl
from dataclasses import dataclass, field

import aiomqtt

from hushgrid.shell.transport.connection import Settings
from hushgrid.shell.transport.interface import BrokerAddress, TlsFiles

_REFUSAL_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Probe:
    """One look at a broker. user, password: for a broker without certificates. stranger: this agent has no certificate yet, so
    that being refused for that is no trouble.
    """

    url: str
    tls: TlsFiles | None = None
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    stranger: bool = False

    async def trouble(self, timeout_seconds: float) -> str | None:
        """None when the broker takes in this agent, else what it says. ConfigurationError for a bad URL or file.

        With TLS the handshake is all: the name in a certificate is the client id, and another connection would end the agent's
        own. Without, a name of its own that leaves no session behind.
        """
        address = BrokerAddress.parse(self.url)
        try:
            async with asyncio.timeout(timeout_seconds):
                if address.secure:
                    return await self._shake_hands(address, (self.tls or TlsFiles(None, None, None)).context())
                settings = Settings((self.url,), (address,), None, self.password, None, 10, self.user)
                async with settings.client(f"probe-{secrets.token_hex(8)}", 0, clean_session=True):
                    return None
        except TimeoutError:
            return "no answer"
        except (OSError, aiomqtt.MqttError) as error:
            return str(error)

    async def _shake_hands(self, address: BrokerAddress, context: ssl.SSLContext) -> str | None:
        reader, writer = await asyncio.open_connection(address.host, address.port, ssl=context)
        try:
            if self.stranger:
                return None
            async with asyncio.timeout(_REFUSAL_SECONDS):
                await reader.read(1)  # in TLS 1.3 a refused certificate is heard of after the handshake
        except TimeoutError:
            return None
        finally:
            writer.close()
        return "it ends the connection"
