"""Ends the connections of an agent that was shut out: its client ids are taken over for a moment, with empty sessions.

A broker looks at its revocation lists when a connection begins. Whoever comes in under a client id that is in use ends the other
connection, as MQTT has it; here a client id is the name in a certificate, and only the authority can make a second one.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path

from configurator.authority.authority import Authority, utc_now, write_secret
from configurator.names import in_url
from hushgrid.errors import ConfigurationError
from hushgrid.shell.transport import MqttTransport, TlsFiles
from hushgrid.wire.role import Role

_LIFE = dt.timedelta(minutes=5)
_CONNECT_SECONDS = 10.0
#: Mosquitto reads its lists within one turn of its loop after the signal.
_RELOAD_SECONDS = 1.0


def ports_of(broker: Path) -> dict[Role, int]:
    """The doors' ports, from the broker's own configuration; ConfigurationError when it cannot be read."""
    try:
        text = (broker / "mosquitto.conf").read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"{broker}/mosquitto.conf: {error.strerror}") from None
    found = re.findall(r"^listener (\d+).*?/([a-z]+)\.acl$", text, re.MULTILINE | re.DOTALL)
    return {Role(door): int(port) for port, door in found}


async def end_connections(authority: Authority, agent: str, host: str, ports: Mapping[Role, int]) -> None:
    """Take over every name of an agent once; ConfigurationError when the broker cannot be reached."""
    await asyncio.sleep(_RELOAD_SECONDS)
    with tempfile.TemporaryDirectory(prefix="hushgrid-") as directory:
        trust = Path(directory) / "broker-ca.pem"
        write_secret(trust, authority.server_trust)
        for name, door in authority.names(agent):
            key, signed = authority.issue(agent, door, name, utc_now(), _LIFE)
            shown = Path(directory) / f"{name}.pem"
            write_secret(shown, key + signed.certificate.encode())
            url = f"mqtts://{in_url(host)}:{ports[door]}"
            async with MqttTransport(url, name, tls=TlsFiles(trust, shown, None), lasting=False) as transport:
                await transport.connected(_CONNECT_SECONDS)
