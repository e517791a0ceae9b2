"""Who of docker-compose.yml is not well, and why, as far as the check can tell.

Compose waits for health without a word, and shows nobody's log meanwhile. So the check waits itself: the network's name service knows
the containers that run, and who has reached the broker has been heard.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Collection, Sequence

#: The service whose containers are equal.
METER = "meter"


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
            found[service] = "its container does not run"
        elif service not in heard:
            found[service] = "its container runs and nothing came from it to the broker"
    silent = sum(meter not in heard for meter in meters)
    if silent:
        found[METER] = f"nothing came from {silent} of {len(meters)}; {running(METER)} containers run"
    return found
