"""What a campaign is judged on: a feeder, its true loads, and what an operator knows of them without buying anything."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from grid_operator.arrays import Floats
from grid_operator.market.errors import MarketError
from grid_operator.network.feeder import Feeder

#: Of a class 0.5 device: 0.5 % at most, so evenly spread, as a standard deviation.
CLASS_FRACTION = 0.005 / math.sqrt(3)
#: Of a branch's rated power: below a twentieth of it, a device's class says nothing.
LEAST_READING = 0.05


@dataclass(frozen=True, slots=True)
class Scene:
    """All arrays in W and var. Consumption is positive.

    nodes (homes,): the node of each home. watts, reactive (slots, homes): the truth. expected_watts, expected_reactive (slots,
    homes): pseudo-measurements. spread_watts, spread_reactive (homes,): their standard deviations. devices: the node of each
    device that can be bought; it measures the voltage there and the power of the branch above. groups: the homes of each group
    whose sums can be bought. sensitivity_watts, sensitivity_reactive: Delta of one home's slot, from the contract.
    nodes_factor: how much larger the variance of noise by nodes is than the curator's. meter_watts: the error of a home's meter.

    MarketError for shapes that do not fit and for values that are no numbers.
    """

    feeder: Feeder
    nodes: np.ndarray
    watts: Floats
    reactive: Floats
    expected_watts: Floats
    expected_reactive: Floats
    spread_watts: Floats
    spread_reactive: Floats
    devices: Mapping[str, int]
    sensitivity_watts: float
    sensitivity_reactive: float
    groups: tuple[tuple[int, ...], ...] = ()
    nodes_factor: float = 1.0
    meter_watts: float = 10.0
    class_fraction: float = CLASS_FRACTION

    def __post_init__(self) -> None:
        slots, homes = self.watts.shape
        shapes = {
            "reactive": (slots, homes), "expected_watts": (slots, homes), "expected_reactive": (slots, homes),
            "spread_watts": (homes,), "spread_reactive": (homes,), "nodes": (homes,),
        }  # fmt: skip
        for name, shape in shapes.items():
            found = np.asarray(getattr(self, name))
            if found.shape != shape or not np.isfinite(found).all():
                raise MarketError(f"{name} is to be {shape} finite numbers")
        if not np.isfinite(self.watts).all():
            raise MarketError("watts are to be finite numbers")
        if not ((self.spread_watts > 0).all() and (self.spread_reactive > 0).all()):
            raise MarketError("a pseudo-measurement without a spread claims to be exact")
        if not all(0 < node < len(self.feeder) for node in self.devices.values()):
            raise MarketError("a device is at no node below the slack")
        if len(set(self.devices.values())) < len(self.devices):
            raise MarketError("two devices are at one node: they see the same")
        members = [home for group in self.groups for home in group]
        if len(set(members)) < len(members) or not all(0 <= home < homes for home in members):
            raise MarketError("a home is in two groups, or a group names a home that is not there")

    @property
    def homes(self) -> int:
        """How many there are."""
        return len(self.nodes)

    @property
    def slots(self) -> int:
        """How many are judged."""
        return len(self.watts)
