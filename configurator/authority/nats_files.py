"""What a NATS cluster with mutual TLS is given, under the names of a Kubernetes secret: one certificate for all its nodes.

A node answers agents and other nodes and connects to other nodes itself, so its certificate serves both ends. Only the servers'
authority counts between nodes: by `ca.crt` an agent could pass for one and read every subject.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from pathlib import Path

from configurator.authority.authority import SERVER_LIFE, Authority, make_directory, replace, write_secret
from configurator.authority.x509 import fresh_key, pem, private_pem
from hushgrid.wire.access import DOORS


def write_nats(authority: Authority, directory: Path, hosts: Sequence[str], now: dt.datetime) -> None:
    """tls.key and tls.crt of the nodes; ca.crt: servers and agents of every role; servers-ca.crt: servers alone.

    hosts: the names and addresses that agents and other nodes reach any node by.
    """
    key = fresh_key()
    signed = authority.server_signer.sign_server(hosts, key.public_key(), now, SERVER_LIFE, connects=True)
    make_directory(directory)
    write_secret(directory / "tls.key", private_pem(key))
    replace(directory / "tls.crt", pem(signed))
    replace(
        directory / "ca.crt", b"".join([authority.server_trust, *(authority.signer(door.value).pem for door in DOORS)])
    )
    replace(directory / "servers-ca.crt", authority.server_trust)
