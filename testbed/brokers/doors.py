"""The doors of a broker in a container, and the authority beside it, written down before either runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from configurator.authority.authority import Authority, utc_now
from configurator.authority.installation import AUTHORITY_PORT
from configurator.authority.mosquitto_files import PORTS, BrokerFiles
from hushgrid.wire.role import Role
from testbed.brokers.broker import RunningBroker
from testbed.brokers.entrance import Entrance
from testbed.brokers.secure import LABEL
from testbed.places import AUTHORITY, BROKER, CONDUCTOR

#: Where the broker sees its files, in the public image.
_MOUNTED = PurePosixPath("/mosquitto/config")


def write_doors(directory: Path, grid: str, broker_hosts: Sequence[str], authority_host: str) -> RunningBroker:
    """Make the authority, the broker's files and the conductor's, each in a folder of `directory`.

    broker_hosts: the names that agents and conductor reach the broker by; the first one is for the agents.
    """
    authority = Authority(directory / AUTHORITY)
    files = BrokerFiles(grid, _MOUNTED, PORTS, storage=None, conducted=True)
    authority.write_broker(files, directory / BROKER, broker_hosts, utc_now())
    authority.close()
    url = f"tls://{authority_host}:{AUTHORITY_PORT}"
    entrance = Entrance.make(broker_hosts[0], PORTS, url, directory / AUTHORITY, directory / CONDUCTOR)
    return RunningBroker((entrance.urls[Role.CONDUCTOR],), LABEL, entrance=entrance)


def serve_command(state: str, grid: str, host: str) -> list[str]:
    """Be the authority: arguments of `hushgrid`. state: its directory as it sees it; host: the name it is reached by."""
    return ["enrol", "serve", "--state", state, "--grid", grid, "--port", str(AUTHORITY_PORT), "--host", host]
