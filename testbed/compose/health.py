"""Who of docker-compose.yml is not well, and why, as far as the check can tell.

Compose waits for health without a word, and shows nobody's log meanwhile. So the check waits itself: the network's name service knows
the containers that run, who has reached the broker has been heard, and whether the broker takes anybody in can be tried.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Collection, Sequence

from configurator.authority.installation import AUTHORITY_PORT
from hushgrid.shell.transport import Probe
from testbed.brokers.broker import RunningBroker
from testbed.places import AUTHORITY, BROKER

#: The service whose containers are equal.
METER = "meter"
#: A container that ends is started again and again: between two starts nobody has its name.
NOT_RUNNING = "its container does not run, or ends again and again"
_PROBE_SECONDS = 5.0
_LOOK_SECONDS = 0.5


def count_of(service: str) -> int:
    """How many containers of a service run, as the network's name service tells; 0 for none."""
    try:
        return len({address[4][0] for address in socket.getaddrinfo(service, None)})
    except socket.gaierror:
        return 0


def not_well(
    services: Sequence[str],
    meters: Collection[str],
    heard: Collection[str],
    running: Callable[[str], int] = count_of,
) -> dict[str, str]:
    """What is wrong with every service that does not run or was not heard; the meters, whose containers are equal, are one."""
    found = {}
    for service in services:
        if not running(service):
            found[service] = NOT_RUNNING
        elif service not in heard:
            found[service] = "its container runs and nothing came from it to the broker"
    silent = sum(meter not in heard for meter in meters)
    if silent:
        found[METER] = f"nothing came from {silent} of {len(meters)}; {running(METER)} containers run"
    return found


def not_there(broker: RunningBroker, running: Callable[[str], int] = count_of) -> dict[str, str]:
    """Which of those that all others need does not run: the authority, where there is one, and the broker."""
    needed = [BROKER] if broker.entrance is None else [AUTHORITY, BROKER]
    return {service: NOT_RUNNING for service in needed if not running(service)}


async def listening(host: str, port: int, most_seconds: float) -> bool:
    """True once somebody listens there; False when nobody does for so long."""
    end = time.monotonic() + most_seconds
    while True:
        try:
            async with asyncio.timeout(_PROBE_SECONDS):
                _, writer = await asyncio.open_connection(host, port)
        except (OSError, TimeoutError):
            if time.monotonic() > end:
                return False
            await asyncio.sleep(_LOOK_SECONDS)
        else:
            writer.close()
            return True


async def not_usable(broker: RunningBroker, running: Callable[[str], int] = count_of) -> dict[str, str]:
    """The same, an authority that runs and is deaf, and a broker that does not take the conductor in, with what it says; takes a
    few seconds at most.
    """
    found = not_there(broker, running)
    if broker.entrance is not None and AUTHORITY not in found and not await listening(AUTHORITY, AUTHORITY_PORT, 0.0):
        found[AUTHORITY] = f"its container runs, or ends again and again, and does not listen at port {AUTHORITY_PORT}"
    if BROKER not in found:
        tls = broker.entrance.tls if broker.entrance else None
        account = broker.account
        user, password = (account.user_name, account.password) if account else (None, None)
        trouble = await Probe(broker.url, tls, user, password).trouble(_PROBE_SECONDS)
        if trouble is not None:
            found[BROKER] = f"its container runs and it does not take the conductor in: {trouble}"
    return found
