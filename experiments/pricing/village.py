"""The village as a market: what devices, readings and sums cost there, and how well the state is then known (Fig. 7, and beyond).

Homes are London's, their attitudes the paper's; acceptance and noise are simulated, reactive power and loads x4 constructed. Every
state is estimated as an operator would (`grid_operator.estimation`), from what was bought and assumed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from experiments.grid.homes import TANGENT, LivedIn
from experiments.grid.offers import COUNTED, FEWEST, SENSITIVITY_WATTS, THRESHOLD, HomesOffer, beginnings, rows_of
from experiments.pricing.tables import PAPER
from grid_operator.arrays import Floats
from grid_operator.estimation.equations import MeasurementModel
from grid_operator.estimation.least_squares import estimate, estimated_flow
from grid_operator.market.placement import Placing
from grid_operator.market.privacy import nodes_factor
from grid_operator.market.scene import Scene
from grid_operator.market.state_error import Targets
from grid_operator.network.power_flow import PowerFlow

#: Fewest homes whose sum may be told, by devices and by groups.
MINIMUM = 12
DEVICE_COST = 10_000.0
ACCEPTANCE = 0.9
EPSILONS = (0.25, 1.0, 10.0, 100.0)
#: The paper's solution: 1 - eps = 0.7788 is exp(-0.25).
PAPER_EPSILON, PAPER_COMPENSATION = 0.25, 420.37
_MOST_DEVICES = 6
_DRAWS = 2


@dataclass(frozen=True, slots=True)
class PricedError:
    """What one purchase costs a campaign, in model money, and leaves of errors: means over slots of the largest of any node or branch.

    channel: what is bought. epsilon: None without noise. accepted: homes, on average over draws. told_homes: of the smallest sum that
    is told exactly, by devices or groups; None where none is.
    """

    load_factor: float
    channel: str
    devices: int
    epsilon: float | None
    accepted: float
    cost: float
    voltage_error_per_unit: float
    loading_error_fraction: float
    told_homes: int | None


@dataclass(frozen=True, slots=True)
class DevicesPlaced:
    """Devices for a target. error: 95 % half width in units of it, as expected beforehand. fewest_homes: of the smallest sum told."""

    load_factor: float
    target: float
    minimum: int
    devices: tuple[str, ...]
    exact_devices: int | None
    error: float
    reached: bool
    fewest_homes: int


@dataclass(frozen=True, slots=True)
class ToldOfHomes:
    """What devices tell of one home: the standard deviation of its watts before and after.

    epsilon: of the noisy reading that would tell as much.
    """

    load_factor: float
    devices: str
    fewest_homes: int
    assumed_watts: float
    left_watts: float
    epsilon: float


@dataclass(frozen=True, eq=False)
class PeakState:
    """Fig. 7: the slot of the highest loading. Arrays over nodes and the branches above them; sigma: how sure the estimate says it is.

    error_at_loads, error_elsewhere: mean voltage errors over all slots, per unit. largest_at_load: slots, of all, whose largest
    voltage error is at a node with a home. loads, nodes: how many there are.
    """

    load_factor: float
    noise: str
    device: str
    slot: int
    accepted: int
    voltage: Floats = field(repr=False)
    estimated_voltage: Floats = field(repr=False)
    voltage_sigma: Floats = field(repr=False)
    loading: Floats = field(repr=False)
    estimated_loading: Floats = field(repr=False)
    loading_sigma: Floats = field(repr=False)
    error_at_loads: float
    error_elsewhere: float
    largest_at_load: int
    slots: int
    loads: int
    nodes: int
    names: tuple[str, ...] = field(repr=False)
    branches: tuple[str, ...] = field(repr=False)

    def rows(self) -> list[dict[str, object]]:
        """Of each node and the branch above it."""
        columns = ("voltage", "estimated_voltage", "voltage_sigma", "loading", "estimated_loading", "loading_sigma")
        return [
            {"load_factor": self.load_factor, "noise": self.noise, "node": name, "branch": branch}
            | {column: float(getattr(self, column)[at]) for column in columns}
            for at, (name, branch) in enumerate(zip(self.names, self.branches, strict=True))
        ]

    def summary(self) -> dict[str, object]:
        """Everything that is one number."""
        names = (
            "load_factor", "noise", "device", "slot", "accepted", "error_at_loads", "error_elsewhere", "largest_at_load",
            "slots", "loads", "nodes",
        )  # fmt: skip
        return {name: getattr(self, name) for name in names}


class Village:
    """A grid with real homes over some slots, at one load factor; what can be bought there. Acceptance and noise are seeded."""

    def __init__(self, lived: LivedIn, factor: float, seed: int) -> None:
        self.lived, self.factor, self.seed = lived, factor, seed
        self.scene = _scene(lived, factor)
        self._willing = np.random.default_rng([seed, 3]).uniform(size=(_DRAWS, len(lived.nodes)))

    # Cost against error

    @cached_property
    def _orders(self) -> dict[int, list[str]]:
        """By the fewest homes whose sum may be told: devices, the most useful first; the target is out of reach."""
        return {
            minimum: Placing(self.scene, Targets(1e-6, 1e-6), minimum).best_first(_MOST_DEVICES)
            for minimum in (1, MINIMUM)
        }

    def priced(self) -> list[PricedError]:
        """Devices, readings, noisy sums and exact sums."""
        rows = [self._of_devices(count, MINIMUM) for count in range(len(self._orders[MINIMUM]) + 1)]
        rows += [self._of_devices(count + 1, 1) for count in range(len(self._orders[1]))]
        for channel in ("individual", "group"):
            rows += [self._of_homes(channel, epsilon, epsilon) for epsilon in EPSILONS]
        exact = self._of_homes("exact sums", None, EPSILONS[0])
        return [*rows, *(replace(exact, cost=self._paid(epsilon)) for epsilon in EPSILONS)]

    def _paid(self, epsilon: float) -> float:
        """What is expected to be paid for an offer that `ACCEPTANCE` of homes accept."""
        return PAPER.compensation(epsilon, ACCEPTANCE) * ACCEPTANCE * len(self.lived.nodes)

    def _of_devices(self, count: int, minimum: int) -> PricedError:
        chosen = self._orders[minimum][:count]
        flow = self._flow(HomesOffer("none", None, self.factor), chosen)
        told = Placing(self.scene, Targets()).fewest_homes(chosen)
        channel = f"devices, {MINIMUM} homes or more" if minimum == MINIMUM else "devices, any sum"
        return self._row(channel, count, None, 0.0, DEVICE_COST * count, [flow], told)

    def _of_homes(self, channel: str, epsilon: float | None, priced_at: float) -> PricedError:
        """An offer that `ACCEPTANCE` of homes accept. Exact sums have no epsilon: they are paid as a noisy one at `priced_at` is."""
        mode = "individual" if channel == "individual" else "group"
        flows = []
        for draw in self._willing:
            willing = tuple(np.flatnonzero(draw < ACCEPTANCE).tolist())
            flows.append(self._flow(HomesOffer(mode, epsilon, self.factor, MINIMUM, willing), ()))
        accepted = float((self._willing < ACCEPTANCE).sum(axis=1).mean())
        return self._row(
            channel, 0, epsilon, accepted, self._paid(priced_at), flows, MINIMUM if channel == "exact sums" else None
        )

    def _row(
        self, channel: str, devices: int, epsilon: float | None, accepted: float, cost: float,
        flows: Sequence[PowerFlow], told: int | None,
    ) -> PricedError:  # fmt: skip
        truth = self.lived.truth
        voltage = [np.abs(flow.voltage_per_unit - truth.voltage_per_unit).max(axis=1).mean() for flow in flows]
        loading = [np.abs(flow.loading_fraction - truth.loading_fraction).max(axis=1).mean() for flow in flows]
        return PricedError(
            self.factor,
            channel,
            devices,
            epsilon,
            accepted,
            cost,
            float(np.mean(voltage)),
            float(np.mean(loading)),
            told,
        )

    def _flow(self, given: HomesOffer, devices: Sequence[str]) -> PowerFlow:
        return estimated_flow(self._model(given, devices))

    def _model(self, given: HomesOffer, devices: Sequence[str]) -> MeasurementModel:
        places = [(self.scene.devices[name], self.scene.devices[name]) for name in devices]
        return MeasurementModel(self.lived.feeder, self.lived.nodes, rows_of(self.lived, given, places, self.seed))

    # Placement

    def placed(self, targets: Sequence[float], minimums: Sequence[int], exact_below: int) -> list[DevicesPlaced]:
        """The greedy's devices for each target; the exact search's number where so few branches or less may have one."""
        found = []
        for minimum in minimums:
            scene = _scene(self.lived, self.factor, minimum)
            for target in targets:
                placing = Placing(scene, Targets(target, target), minimum)
                greedy = placing.greedy()
                exact = placing.exact() if len(scene.devices) <= exact_below else None
                fewest = None if exact is None else len(exact.devices)
                found.append(
                    DevicesPlaced(
                        self.factor,
                        target,
                        minimum,
                        greedy.devices,
                        fewest,
                        greedy.error,
                        greedy.reached,
                        greedy.fewest_homes,
                    )
                )
        return found

    def told(self) -> list[ToldOfHomes]:
        """What devices tell of the home that is assumed to within most."""
        placing = Placing(self.scene, Targets())
        home = int(np.argmax(self.scene.spread_watts))
        spur = next(name for name, node in self.scene.devices.items() if node == self.lived.nodes[home])
        allowed, any_sum = self._orders[MINIMUM], self._orders[1]
        heads = [self.lived.feeder.branches[branch] for branch, _ in beginnings(self.lived, _MOST_DEVICES)]
        cases = [
            ("the head's meter alone", (), False), (f"{len(allowed)} of the greedy, {MINIMUM} homes or more", allowed, False),
            (f"{len(heads)}, one for each feeder", heads, False), (f"{len(any_sum)} of the greedy, any sum", any_sum, False),
            ("one at the home's own line", (spur,), False), ("the same, voltage only", (spur,), True),
        ]  # fmt: skip
        found = []
        for name, devices, voltage_only in cases:
            of_home = placing.told(devices, voltage_only=voltage_only)[home]
            fewest = placing.fewest_homes(() if voltage_only else devices)
            found.append(
                ToldOfHomes(self.factor, name, fewest, of_home.assumed_watts, of_home.left_watts, of_home.epsilon)
            )
        return found

    # Fig. 7

    def at_peak(self, mode: str) -> PeakState:
        """With what the paper bought: readings at its epsilon and compensation, and one device. mode: individual, or paper (unsafe)."""
        lived, truth = self.lived, self.lived.truth
        accepts = PAPER.acceptance(PAPER_EPSILON, PAPER_COMPENSATION)
        willing = tuple(np.flatnonzero(self._willing[0] < accepts).tolist())
        device = self._orders[MINIMUM][:1]
        found = estimate(self._model(HomesOffer(mode, PAPER_EPSILON, self.factor, MINIMUM, willing), device))
        slot = int(np.argmax(truth.loading_fraction.max(axis=1)))
        missed = np.abs(found.flow.voltage_per_unit - truth.voltage_per_unit)
        at_loads = np.isin(np.arange(missed.shape[1]), lived.nodes)
        return PeakState(
            self.factor, mode, device[0], slot, len(willing),
            truth.voltage_per_unit[slot], found.flow.voltage_per_unit[slot], found.voltage_sigma[slot],
            truth.loading_fraction[slot], found.flow.loading_fraction[slot], found.loading_sigma[slot],
            float(missed[:, at_loads].mean()), float(missed[:, ~at_loads].mean()),
            int(at_loads[missed.argmax(axis=1)].sum()), len(missed), int(at_loads.sum()), len(at_loads), lived.feeder.names,
            lived.feeder.branches,
        )  # fmt: skip


def _scene(lived: LivedIn, factor: float, minimum: int = 1) -> Scene:
    """The village as placement sees it: the slot of each day for which most is assumed; devices where so many homes are below."""
    feeder = lived.feeder
    total = lived.assumed_watts.sum(axis=1)
    days = [day + int(np.argmax(total[day : day + 48])) for day in range(0, len(total), 48)]
    below = (feeder.below[:, np.array(lived.nodes)].sum(axis=1)).astype(int)
    devices = {feeder.branches[node]: node for node in range(1, len(feeder)) if below[node] >= minimum}
    expected, spread = lived.assumed_watts[days], np.sqrt((lived.assumed_sigma[days] ** 2).mean(axis=0))
    sensitivity = factor * SENSITIVITY_WATTS
    return Scene(
        feeder, np.array(lived.nodes), lived.watts[days], lived.vars[days], expected, TANGENT * expected, spread,
        TANGENT * spread, devices, sensitivity, TANGENT * sensitivity,
        nodes_factor=nodes_factor(COUNTED, FEWEST, THRESHOLD),
    )  # fmt: skip
