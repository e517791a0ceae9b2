"""What the rows of a table mean: small, since every meter's configuration can say it."""

from __future__ import annotations

import enum


class Label(enum.StrEnum):
    """Which end of its interval a row's time names."""

    START = "start"
    END = "end"


class Quantity(enum.StrEnum):
    """What a row's number is."""

    INTERVAL = "interval"  # energy of the interval
    REGISTER = "register"  # what the meter had counted at that time
    POWER = "power"  # mean power over the interval: of kW and W
