"""How the agents of a testbed come through the doors of a secure broker."""

from __future__ import annotations

import datetime as dt
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from configurator.authority.authority import Authority, make_directory, replace, utc_now, write_secret
from hushgrid.shell.transport import TlsFiles
from hushgrid.wire.access import CONDUCTED_DOORS, door_of
from hushgrid.wire.role import Role

_TOKEN_LIFE = dt.timedelta(hours=1)
TRUST = "broker-ca.pem"


@dataclass(frozen=True, slots=True)
class Entrance:
    """urls: of the broker, by role. authority_url: where agents get certificates; authority: its directory.

    conductor: the name that the conductor comes in by; tls: the files that it shows.
    """

    urls: Mapping[Role, str]
    authority_url: str
    authority: Path
    conductor: str
    tls: TlsFiles

    @classmethod
    def make(
        cls, host: str, ports: Mapping[Role, int], authority_url: str, authority: Path, conductor_directory: Path
    ) -> Entrance:
        """The doors of a broker at these ports; the conductor's files are written into a directory of its own."""
        urls = {role: f"mqtts://{host}:{ports[door_of(role)]}" for role in Role}
        name = f"conductor-{secrets.token_hex(4)}"
        opened = Authority(authority)
        try:
            key, signed = opened.issue("conductor", Role.CONDUCTOR, name, utc_now())
            make_directory(conductor_directory)
            write_secret(conductor_directory / "conductor.pem", key + signed.certificate.encode())
            replace(conductor_directory / TRUST, opened.server_trust)
        finally:
            opened.close()
        tls = TlsFiles(conductor_directory / TRUST, conductor_directory / "conductor.pem", None)
        return cls(urls, authority_url, authority, name, tls)

    def admit(self, agents: Sequence[tuple[str, Role]], tokens: Mapping[str, str], configurator: str) -> dict[str, str]:
        """Make the agents' tokens good at the authority; all tokens, with one for the configurator."""
        authority, now = Authority(self.authority), utc_now()
        try:
            authority.accept_tokens(agents, tokens, now, _TOKEN_LIFE)
            return {**tokens, **authority.issue_tokens([(configurator, Role.CONFIGURATOR)], now, _TOKEN_LIFE)}
        finally:
            authority.close()

    def sections(self, role: Role, written: Path, home: Path) -> dict[str, Any]:
        """What an agent's configuration says of it. written, home: its directory as it is written and as the agent sees it."""
        authority = Authority(self.authority)
        make_directory(written)
        replace(written / TRUST, authority.server_trust)
        authority.close()
        broker = {"url": self.urls[role], "ca_file": str(home / TRUST)}
        return {"broker": broker, "authority": {"url": self.authority_url}}


def door_ports(first: int | None, free: Iterable[int]) -> dict[Role, int]:
    """A port for each door: one after the other from the first, or free ones."""
    ports = range(first, first + len(CONDUCTED_DOORS)) if first is not None else free
    return dict(zip(CONDUCTED_DOORS, ports, strict=False))
