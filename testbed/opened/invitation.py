"""What somebody needs whose meter is to join: a configuration that is filled in but for the meter itself."""

from __future__ import annotations

import socket
from dataclasses import dataclass

#: The guest's meter reads once a round at least; what comes later than this part of the grace is no reading of that round's end.
_TOLERANCE_OF_GRACE = 2 / 3


@dataclass(frozen=True, slots=True)
class Invitation:
    """One meter's place in a grid. address: where the broker is reached, host:port; grace_seconds: the grid's."""

    meter: str
    grid: str
    address: str
    identity: str
    token: str
    interval_seconds: int
    grace_seconds: float

    def text(self) -> str:
        """The lines of `meter.toml` and `meter.token`, and how the meter is started."""
        tolerance = self.grace_seconds * _TOLERANCE_OF_GRACE
        return f"""\
meter.toml:

[agent]
id = "{self.meter}"
grid = "{self.grid}"
state_directory = "{self.meter}"
token_file = "meter.token"

[broker]
url = "mqtt://{self.address}"

[configurator]
identity = "{self.identity}"

[pace]
grace_seconds = {self.grace_seconds:g}

[source]  # your meter: `meter_agent/sample.toml` shows the other kinds
kind = "p1"
port = "/dev/ttyUSB0"

[registers]
tolerance_seconds = {tolerance:.1f}

meter.token:

{self.token}

Rounds are {self.interval_seconds} s long: the meter has to say its register more often than that.

    hushgrid-meter check --config meter.toml
    hushgrid-meter run --config meter.toml
"""


def own_address() -> str:
    """This machine's address in its network, as others reach it; loopback when it is in none. Nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # TEST-NET-1: only which way it would go is asked
        except OSError:
            return "127.0.0.1"
        address: str = probe.getsockname()[0]
        return address
