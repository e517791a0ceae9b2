"""Which branches get a device so that the state is known well enough: by greed, and exactly for few places (paper 000, eq. 12).

How sure an estimate will be follows from what is assumed of homes and from the devices' classes, before anything is measured. With P
the variances of the assumed state and H, R the slopes and variances of what devices read, all at the expected loads,

    var(y) = Y P Y' - Y P H' (H P H' + R)^-1 H P Y'                  (H' W H)^-1, in the devices' small dimension

for voltages and loadings y with slopes Y. Devices never make an estimate less sure. What they read they read of few homes, too: two
devices in a row tell the sum of the homes between them.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from grid_operator.arrays import Floats
from grid_operator.market.errors import MarketError
from grid_operator.market.scene import LEAST_READING, Scene
from grid_operator.market.state_error import Targets
from grid_operator.network.feeder import BASE_VA
from grid_operator.network.power_flow import PowerFlow, power_flow
from grid_operator.network.sensitivity import LoadOrder, Sensitivity, sensitivity

#: Half the width of a 95 % interval, in standard deviations.
_WIDTH = 1.959964
#: Errors of two sets of devices that differ by less, relatively, are equal: the earlier name is taken.
_EQUAL = 1e-9


@dataclass(frozen=True, slots=True)
class DevicePlacement:
    """devices: by name, in the order in which they were chosen. error: of the state, 1 at the target. reached: whether it is at most 1.

    fewest_homes: of the smallest sum of homes that the devices together tell. evaluated: sets of devices looked at.
    """

    devices: tuple[str, ...]
    error: float
    reached: bool
    fewest_homes: int
    evaluated: int


@dataclass(frozen=True, slots=True)
class HomeTold:
    """What devices tell of one home's watts: the standard deviation before and after, and what that is worth.

    epsilon: of the noisy reading (Laplace noise of scale Delta/epsilon) that would tell as much; 0 for nothing.
    """

    home: int
    assumed_watts: float
    left_watts: float
    epsilon: float


class Placing:
    """One question: the fewest devices of a scene, beside the meter at its head, with which the state error is within the targets.

    The state error is the largest 95 % half width of any node's voltage and any branch's loading, over the expected loads of all of
    the scene's slots, each in units of its target. minimum: homes whose sum devices may tell at least, 1 for any.
    """

    def __init__(self, scene: Scene, targets: Targets, minimum: int = 1) -> None:
        """MarketError where the minimum is below 1, or there are fewer homes."""
        if not 1 <= minimum <= scene.homes:
            raise MarketError(f"a minimum of {minimum} homes among {scene.homes}")
        self.scene, self.minimum, self.names = scene, minimum, tuple(sorted(scene.devices))
        self._widths: dict[frozenset[str], float] = {}
        self._above = [self._devices_above(int(node)) for node in scene.nodes]
        flow = self._expected_flow()
        order = LoadOrder(scene.feeder, scene.nodes)
        by = sensitivity(flow, order, range(len(scene.feeder)))
        places = [0, *(scene.devices[name] for name in self.names)]
        roots = np.sqrt(self._variances())  # P, in per unit
        read = self._read(flow, by, places) * roots
        asked = self._asked(flow, by, targets) * roots
        self._own = np.einsum("sij,sij->si", asked, asked)
        self._between = read @ read.transpose(0, 2, 1) + np.eye(read.shape[1])
        self._shared = asked @ read.transpose(0, 2, 1)
        self._homes, self._roots = read, roots

    # What a set of devices is worth

    def error(self, devices: Iterable[str]) -> float:
        """Of the state, 1 at the target. MarketError for a device that is not there."""
        chosen = frozenset(devices)
        if chosen not in self._widths:
            self._widths[chosen] = self._width(self._rows(chosen))
        return self._widths[chosen]

    def cells(self, devices: Iterable[str]) -> dict[str, tuple[int, ...]]:
        """The homes whose sum each device tells once those below it are taken away; "head" for the meter at the slack.

        A device between which and the next there is no home is left out.
        """
        chosen = set(devices)
        found: dict[str, list[int]] = {}
        for home, above in enumerate(self._above):
            found.setdefault(next((name for name in above if name in chosen), "head"), []).append(home)
        return {name: tuple(found[name]) for name in sorted(found)}

    def fewest_homes(self, devices: Iterable[str]) -> int:
        """Of the smallest sum that is told."""
        return min(map(len, self.cells(devices).values()))

    def told(self, devices: Iterable[str], *, voltage_only: bool = False) -> list[HomeTold]:
        """What the devices tell of each home, in the slot in which they tell most of it; voltage_only: all but the head's meter
        measure no power.
        """
        rows, homes = self._rows(frozenset(devices)), self.scene.homes
        if voltage_only:
            rows = np.concatenate([rows[:3], rows[3::3]])
        inverse = np.linalg.inv(self._between[:, rows[:, None], rows])
        mine = self._homes[:, rows, 1 : 1 + homes]
        known = np.einsum("sih,sij,sjh->sh", mine, inverse, mine).max(axis=0)
        found = []
        for home, part in enumerate(np.clip(known, 0.0, 1.0).tolist()):
            before = float(self._roots[1 + home]) * BASE_VA
            # A reading of variance s^2 leaves P s^2 / (P + s^2): as much as the devices do where s^2 = P (1 - part) / part.
            spread = before * math.sqrt((1 - part) / part) if part else math.inf
            epsilon = math.sqrt(2) * self.scene.sensitivity_watts / spread if spread else math.inf
            found.append(HomeTold(home, before, before * math.sqrt(1 - part), epsilon))
        return found

    # Which are chosen

    def greedy(self) -> DevicePlacement:
        """From none: each step the device that lowers the error most and leaves no sum of fewer homes than the minimum.

        At the end what is not needed is given back, the last chosen last.
        """
        chosen = self.best_first(len(self.names))
        if self.error(chosen) <= 1:
            for name in list(chosen):
                without = [each for each in chosen if each != name]
                if self.error(without) <= 1:
                    chosen = without
        return self._placement(chosen)

    def best_first(self, most: int) -> list[str]:
        """At most so many, each the one that lowers the error most and is allowed; none more once the target is reached."""
        chosen: list[str] = []
        while self.error(chosen) > 1 and len(chosen) < most:
            others = [[*chosen, name] for name in self.names if name not in chosen]
            better = min(filter(self.allowed, others), key=self._by_error, default=None)
            if better is None or self.error(better) >= self.error(chosen) * (1 - _EQUAL):
                break
            chosen = better
        return chosen

    def exact(self, most: int = 100_000) -> DevicePlacement:
        """The fewest devices that reach the target, of equally many those that leave the least error; without any, the least error.

        A set is left aside with all that it belongs to when even everything that may be added does not help, or when it tells too
        small a sum: neither is mended by more devices. MarketError after `most` sets.
        """
        for count in range(len(self.names) + 1):
            reaching = [each for each in self._sets(count, most) if self.error(each) <= 1]
            if reaching:
                return self._placement(min(reaching, key=self._by_error))
        every = (each for count in range(len(self.names) + 1) for each in itertools.combinations(self.names, count))
        return self._placement(min(filter(self.allowed, self._counted(every, most)), key=self._by_error))

    def allowed(self, devices: Iterable[str]) -> bool:
        """Whether no sum of fewer homes than the minimum is told."""
        return self.fewest_homes(devices) >= self.minimum

    def _sets(self, count: int, most: int, begun: tuple[str, ...] = (), first: int = 0) -> Iterator[tuple[str, ...]]:
        """Allowed sets of so many devices, but those that cannot reach the target."""
        if len(self._widths) > most:
            raise MarketError(f"an exact placement among {len(self.names)} devices is too long: more than {most} sets")
        if not self.allowed(begun):
            return
        if len(begun) == count:
            yield begun
            return
        if self.error([*begun, *self.names[first:]]) > 1:
            return
        for at in range(first, len(self.names) - (count - len(begun)) + 1):
            yield from self._sets(count, most, (*begun, self.names[at]), at + 1)

    def _counted(self, sets: Iterable[tuple[str, ...]], most: int) -> Iterator[tuple[str, ...]]:
        for at, each in enumerate(sets):
            if at >= most:
                raise MarketError(
                    f"an exact placement among {len(self.names)} devices is too long: more than {most} sets"
                )
            yield each

    def _by_error(self, devices: Sequence[str]) -> tuple[float, Sequence[str]]:
        """Errors equal but for rounding count as equal."""
        return float(f"{self.error(devices):.9e}"), devices

    def _placement(self, devices: Sequence[str]) -> DevicePlacement:
        error = self.error(devices)
        return DevicePlacement(tuple(devices), error, error <= 1, self.fewest_homes(devices), len(self._widths))

    # How sure

    def _rows(self, chosen: frozenset[str]) -> npt.NDArray[np.intp]:
        """Of the chosen devices and the head's meter, three each."""
        unknown = sorted(chosen - set(self.names))
        if unknown:
            raise MarketError(f"there is no device {unknown[0]}")
        places = [0, *(1 + at for at, name in enumerate(self.names) if name in chosen)]
        return np.array([3 * place + at for place in places for at in range(3)], dtype=np.intp)

    def _width(self, rows: npt.NDArray[np.intp]) -> float:
        shared = self._shared[:, :, rows]
        solved = np.linalg.solve(self._between[:, rows[:, None], rows], shared.transpose(0, 2, 1))
        left = self._own - np.einsum("sij,sji->si", shared, solved)
        return _WIDTH * math.sqrt(max(0.0, float(left.max())))

    def _expected_flow(self) -> PowerFlow:
        scene = self.scene
        loads = (scene.feeder.at_nodes(scene.nodes, each) for each in (scene.expected_watts, scene.expected_reactive))
        return power_flow(scene.feeder, *loads)

    def _devices_above(self, node: int) -> tuple[str, ...]:
        """Where a device might be on the way from a node to the slack, the nearest first."""
        at, found = {place: name for name, place in self.scene.devices.items()}, []
        while node > 0:
            found += [at[node]] if node in at else []
            node = int(self.scene.feeder.up[node])
        return tuple(found)

    def _variances(self) -> Floats:
        """Of the state before anything is measured, per unit: the slack's voltage is as good as unknown."""
        scene = self.scene
        return np.concatenate([[1.0], (scene.spread_watts / BASE_VA) ** 2, (scene.spread_reactive / BASE_VA) ** 2])

    def _read(self, flow: PowerFlow, by: Sensitivity, places: list[int]) -> Floats:
        """Slopes of what the devices read, over their deviations: (slots, 3 places, states)."""
        volts = by.squared_voltage[:, places] / (2 * flow.voltage_per_unit[:, places, None])
        slopes = np.stack([volts, by.flow_p[:, places], by.flow_q[:, places]], axis=2)
        exact = np.stack([
            flow.voltage_per_unit[:, places], *(
                np.where(np.array(places) == 0, slack[:, None], branch[:, places]) / BASE_VA
                for slack, branch in ((flow.slack_watts, flow.branch_watts), (flow.slack_vars, flow.branch_vars))
            ),
        ], axis=2)  # fmt: skip
        rated = self._rated_per_unit()
        rated[0] = rated[1:].max()
        least = LEAST_READING * np.stack([np.zeros(len(places)), rated[places], rated[places]], axis=1)
        sigma = self.scene.class_fraction * np.maximum(np.abs(exact), least)
        return (slopes / sigma[:, :, :, None]).reshape(len(slopes), 3 * len(places), -1)

    def _asked(self, flow: PowerFlow, by: Sensitivity, targets: Targets) -> Floats:
        """Slopes of all voltages and loadings over their targets: (slots, 2 nodes - 1, states)."""
        volts = by.squared_voltage / (2 * flow.voltage_per_unit[:, :, None]) / targets.voltage_per_unit
        apparent = np.hypot(flow.branch_watts, flow.branch_vars)[:, 1:] / BASE_VA
        share = np.where(apparent > 0, apparent, 1.0)
        cosine, sine = flow.branch_watts[:, 1:] / BASE_VA / share, flow.branch_vars[:, 1:] / BASE_VA / share
        loading = cosine[:, :, None] * by.flow_p[:, 1:] + sine[:, :, None] * by.flow_q[:, 1:]
        rated = self._rated_per_unit()[1:, None]
        return np.concatenate([volts, loading / rated / targets.loading_fraction], axis=1)

    def _rated_per_unit(self) -> Floats:
        """(n,), of the branch above each node."""
        feeder = self.scene.feeder
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(feeder.rated_amperes / feeder.base_amperes)
