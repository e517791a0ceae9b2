"""What an agent of a grid is."""

from __future__ import annotations

import enum


class Role(enum.StrEnum):
    """What an agent is."""

    METER = "meter"
    CARRIER = "carrier"  # a concentrator: carries the envelopes of several meters and can read none
    PPN = "ppn"
    CONSUMER = "consumer"
    CONFIGURATOR = "configurator"
    CONDUCTOR = "conductor"
