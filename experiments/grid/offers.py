"""What an operator may know of homes, mode by mode, with the noise that each brings; and how well it then knows its grid."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from experiments.grid.homes import TANGENT, LivedIn
from grid_operator.estimation.equations import MeasurementModel
from grid_operator.estimation.least_squares import estimate
from grid_operator.estimation.measurements import GridQuantity, Measured, measured, of_each_load, of_group
from grid_operator.estimation.noise import group_sigma, reading_sigma
from grid_operator.market.scene import CLASS_FRACTION
from grid_operator.network.feeder import Feeder, Floats

MODES = ("none", "individual", "group", "exact", "paper")
#: Wh a half hour that no London home exceeds: a single phase of 60 A. Mean watts are twice that.
SENSITIVITY_WATTS = 2 * 6_900.0
#: What a device is off by however little flows, and a meter by its last digit.
LEAST_SIGMA = 5.0
#: The rule behind a group's sum: five nodes, any three recover it, four contributions at least.
COUNTED, FEWEST, THRESHOLD = 5, 4, 3
#: Homes of a group at least.
MINIMUM_GROUP = 15


@dataclass(frozen=True, slots=True)
class ErrorRow:
    """How far the estimate is from the truth; means over slots of the largest error of any node or branch.

    epsilon: per home, slot and quantity; None where nothing is protected or nothing is given. guaranteed_epsilon: what a home really has.
    coverage_95: how often a node's voltage lies in its own 95 % interval.
    """

    mode: str
    epsilon: float | None
    devices: int
    load_factor: float
    voltage_error_per_unit: float
    loading_error_fraction: float
    coverage_95: float
    guaranteed_epsilon: float | None


def feeders(feeder: Feeder, nodes: tuple[int, ...]) -> list[tuple[int, list[int]]]:
    """Each branch at the first busbar that has several, with the loads below it; the largest first."""
    top, below = 0, feeder.below.toarray() > 0
    while len(children := np.flatnonzero(feeder.up == top)) == 1:
        top = int(children[0])
    found = [(int(child), [at for at, node in enumerate(nodes) if below[child, node]]) for child in children]
    return sorted((each for each in found if each[1]), key=lambda each: (-len(each[1]), each[0]))


def groups(feeder: Feeder, nodes: tuple[int, ...], minimum: int = MINIMUM_GROUP) -> list[list[int]]:
    """Whole feeders put together, into as many groups as reach the minimum; one group where none does."""
    listed = feeders(feeder, nodes) or [(0, list(range(len(nodes))))]
    for count in range(min(len(listed), len(nodes) // minimum), 1, -1):
        bins: list[list[int]] = [[] for _ in range(count)]
        for _, loads in listed:
            min(bins, key=len).extend(loads)
        if min(map(len, bins)) >= minimum:
            return bins
    return [[load for _, loads in listed for load in loads]]


def measure(lived: LivedIn, mode: str, epsilon: float | None, devices: int, factor: float, seed: int) -> ErrorRow:
    """One row. The same seed gives the devices the same errors whatever the mode."""
    model = MeasurementModel(lived.feeder, lived.nodes, rows_of(lived, mode, epsilon, devices, factor, seed))
    found = estimate(model)
    volts = np.abs(found.flow.voltage_per_unit - lived.truth.voltage_per_unit)
    loading = np.abs(found.flow.loading_fraction - lived.truth.loading_fraction)
    guaranteed = None if epsilon is None else epsilon * (len(lived.nodes) if mode == "paper" else 1)
    return ErrorRow(
        mode, epsilon, devices, factor, float(volts.max(axis=1).mean()), float(loading.max(axis=1).mean()),
        float((volts < 1.959964 * found.voltage_sigma).mean()), guaranteed,
    )  # fmt: skip


def rows_of(lived: LivedIn, mode: str, epsilon: float | None, devices: int, factor: float, seed: int) -> list[Measured]:
    """Everything the operator has: its devices, what it assumes, and what homes give."""
    return [
        *_devices(lived, devices, np.random.default_rng([seed, 1])),
        *_assumed(lived),
        *_of_homes(lived, mode, epsilon, factor, np.random.default_rng([seed, 2, MODES.index(mode)])),
    ]


def _devices(lived: LivedIn, devices: int, rng: np.random.Generator) -> list[Measured]:
    """The meter at the head, then one at the beginning of each of the largest feeders: u, P and Q."""
    feeder, truth = lived.feeder, lived.truth
    found = []
    for branch in (0, *(child for child, _ in feeders(feeder, lived.nodes)[:devices])):
        node = max(int(feeder.up[branch]), 0)
        for quantity, place, values in (
            (GridQuantity.VOLTAGE_PER_UNIT, feeder.names[node], truth.voltage_per_unit[:, node]),
            (GridQuantity.BRANCH_WATTS, feeder.branches[branch], truth.sent_watts[:, branch]),
            (GridQuantity.BRANCH_VARS, feeder.branches[branch], truth.sent_vars[:, branch]),
        ):
            least = 0.0 if quantity is GridQuantity.VOLTAGE_PER_UNIT else LEAST_SIGMA
            read, sigma = _read(values, least, rng)
            found.append(measured(feeder, quantity, place, read, sigma))
    return found


def _read(values: Floats, least: float, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """What a meter of class 0.5 says of values, and its sigma."""
    sigma = np.hypot(CLASS_FRACTION * np.abs(values), least)
    width = math.sqrt(3) * CLASS_FRACTION * np.abs(values)
    return values + rng.uniform(-1, 1, values.shape) * width + least * rng.normal(size=values.shape), sigma


def _assumed(lived: LivedIn) -> list[Measured]:
    return [
        *of_each_load(lived.meters, GridQuantity.LOAD_WATTS, lived.assumed_watts, lived.assumed_sigma, pseudo=True),
        *of_each_load(
            lived.meters,
            GridQuantity.LOAD_VARS,
            TANGENT * lived.assumed_watts,
            TANGENT * lived.assumed_sigma,
            pseudo=True,
        ),
    ]


def _of_homes(
    lived: LivedIn, mode: str, epsilon: float | None, factor: float, rng: np.random.Generator
) -> list[Measured]:
    """What homes give: nothing, each its reading with or without noise, or sums of groups."""
    rows: list[Measured] = []
    for quantity, truth, scale in (
        (GridQuantity.LOAD_WATTS, lived.watts, 1.0), (GridQuantity.LOAD_VARS, lived.vars, TANGENT),
    ):  # fmt: skip
        sensitivity = scale * factor * SENSITIVITY_WATTS
        read, sigma = _read(truth, LEAST_SIGMA, rng)
        if mode == "group":
            for number, loads in enumerate(groups(lived.feeder, lived.nodes)):
                noise = 0.0 if epsilon is None else group_sigma(
                    epsilon, sensitivity, counted=COUNTED, fewest=FEWEST, threshold=THRESHOLD
                )  # fmt: skip
                total = read[:, loads].sum(axis=1) + _group_noise(noise, len(truth), rng)
                error = np.sqrt((sigma[:, loads] ** 2).sum(axis=1) + noise**2)
                rows.append(of_group(f"group {number + 1}", quantity, loads, total, error))
        elif mode in {"individual", "paper"}:
            if epsilon is None:
                raise ValueError(f"mode {mode} needs an epsilon")
            if mode == "individual":
                noise_sigma = np.full(len(truth), reading_sigma(epsilon, sensitivity))
            else:
                noise_sigma = np.maximum(math.sqrt(2) * np.ptp(truth, axis=1) / (epsilon * truth.shape[1]), 1e-6)
            noisy = read + rng.laplace(size=truth.shape) * (noise_sigma / math.sqrt(2))[:, None]
            rows += of_each_load(lived.meters, quantity, noisy, np.hypot(sigma, noise_sigma[:, None]))
        elif mode == "exact":
            rows += of_each_load(lived.meters, quantity, read, sigma)
    return rows


def _group_noise(sigma: float, slots: int, rng: np.random.Generator) -> Floats:
    """Of so many contributions, each a part of one Laplace law: the difference of two gammas."""
    if sigma == 0:
        return np.zeros(slots)
    honest = FEWEST - THRESHOLD + 1
    scale = sigma / math.sqrt(2 * COUNTED / honest)
    return np.asarray(scale * (rng.gamma(COUNTED / honest, size=slots) - rng.gamma(COUNTED / honest, size=slots)))
