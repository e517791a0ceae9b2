"""What an operator may know of homes, mode by mode, with the noise that each brings; and how well it then knows its grid."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from experiments.grid.homes import TANGENT, LivedIn
from grid_operator import noise
from grid_operator.arrays import Floats
from grid_operator.estimation.equations import MeasurementModel
from grid_operator.estimation.least_squares import estimate
from grid_operator.estimation.measurements import GridQuantity, Measured, measured, of_each_load, of_group
from grid_operator.estimation.noise import group_sigma, reading_sigma
from grid_operator.market.privacy import printed_noise
from grid_operator.market.scene import CLASS_FRACTION
from grid_operator.network.feeder import Feeder

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
    """Whole feeders put together, into as many groups as reach the minimum; one group of all where it is the only one, or too few."""
    listed = feeders(feeder, nodes)
    grouped = {load for _, loads in listed for load in loads}
    if rest := [load for load in range(len(nodes)) if load not in grouped]:
        listed.append((0, rest))  # homes at the busbar itself
    for count in range(min(len(listed), len(nodes) // minimum), 1, -1):
        bins: list[list[int]] = [[] for _ in range(count)]
        for _, loads in listed:
            min(bins, key=len).extend(loads)
        if min(map(len, bins)) >= minimum:
            return bins
    return [[load for _, loads in listed for load in loads]]


def measure(
    lived: LivedIn,
    mode: str,
    epsilon: float | None,
    devices: int,
    factor: float,
    seed: int,
    minimum: int = MINIMUM_GROUP,
) -> ErrorRow:
    """One row; devices: so many, at the beginning of the largest feeders. The same seed gives them the same errors whatever the mode."""
    places = beginnings(lived, devices)
    given = HomesOffer(mode, epsilon, factor, minimum)
    model = MeasurementModel(lived.feeder, lived.nodes, rows_of(lived, given, places, seed))
    found = estimate(model)
    volts = np.abs(found.flow.voltage_per_unit - lived.truth.voltage_per_unit)
    loading = np.abs(found.flow.loading_fraction - lived.truth.loading_fraction)
    guaranteed = None if epsilon is None else epsilon * (len(lived.nodes) if mode == "paper" else 1)
    return ErrorRow(
        mode, epsilon, devices, factor, float(volts.max(axis=1).mean()), float(loading.max(axis=1).mean()),
        float((volts < 1.959964 * found.voltage_sigma).mean()), guaranteed,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class HomesOffer:
    """What homes give: mode and epsilon as in `ErrorRow`; factor: of the loads, and so of the sensitivity.

    minimum: homes of a group at least. willing: who accepts, by number; None: all.
    """

    mode: str
    epsilon: float | None
    factor: float
    minimum: int = MINIMUM_GROUP
    willing: tuple[int, ...] | None = None


def rows_of(lived: LivedIn, given: HomesOffer, places: Sequence[tuple[int, int]], seed: int) -> list[Measured]:
    """Everything the operator has: the head's meter, its devices, what it assumes, and what homes give.

    places: of each device the branch whose power and the node whose voltage it measures.
    """
    return [
        *device_rows(lived, [(0, 0), *places], np.random.default_rng([seed, 1])),
        *_assumed(lived),
        *_of_homes(lived, given, np.random.default_rng([seed, 2, MODES.index(given.mode)])),
    ]


def beginnings(lived: LivedIn, devices: int) -> list[tuple[int, int]]:
    """One place at the beginning of each of so many of the largest feeders."""
    listed = feeders(lived.feeder, lived.nodes)[:devices]
    return [(child, max(int(lived.feeder.up[child]), 0)) for child, _ in listed]


def device_rows(lived: LivedIn, places: Sequence[tuple[int, int]], rng: np.random.Generator) -> list[Measured]:
    """What devices at (branch, node) read: u at the node, P and Q at the upper end of the branch."""
    feeder, truth = lived.feeder, lived.truth
    found = []
    for branch, node in places:
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


def _of_homes(lived: LivedIn, given: HomesOffer, rng: np.random.Generator) -> list[Measured]:
    """What homes give: nothing, each its reading with or without noise, or sums of groups."""
    mode, epsilon = given.mode, given.epsilon
    rows: list[Measured] = []
    willing = list(range(len(lived.nodes)) if given.willing is None else given.willing)
    for quantity, truth, scale in (
        (GridQuantity.LOAD_WATTS, lived.watts, 1.0), (GridQuantity.LOAD_VARS, lived.vars, TANGENT),
    ):  # fmt: skip
        sensitivity = scale * given.factor * SENSITIVITY_WATTS
        read, sigma = _read(truth, LEAST_SIGMA, rng)
        if mode == "group":
            listed = groups(lived.feeder, tuple(lived.nodes[home] for home in willing), given.minimum)
            for number, places in enumerate(each for each in listed if len(each) >= given.minimum):
                loads = [willing[place] for place in places]
                rows.append(_sum(f"group {number + 1}", quantity, loads, read, sigma, sensitivity, epsilon, rng))
        elif mode in {"individual", "paper"}:
            if epsilon is None:
                raise ValueError(f"mode {mode} needs an epsilon")
            if mode == "individual":
                noise_sigma = np.full(len(truth), reading_sigma(epsilon, sensitivity))
            else:
                noise_sigma = np.maximum(math.sqrt(2) * printed_noise(truth, epsilon).scales, 1e-6)
            noisy = read + rng.laplace(size=truth.shape) * (noise_sigma / math.sqrt(2))[:, None]
            sigmas = np.hypot(sigma, noise_sigma[:, None])
            rows += of_each_load(lived.meters, quantity, noisy[:, willing], sigmas[:, willing], loads=willing)
        elif mode == "exact":
            rows += of_each_load(lived.meters, quantity, read[:, willing], sigma[:, willing], loads=willing)
    return rows


def _sum(
    name: str, quantity: GridQuantity, loads: list[int], read: Floats, sigma: Floats, sensitivity: float,
    epsilon: float | None, rng: np.random.Generator,
) -> Measured:  # fmt: skip
    """Of a group, with the noise of its nodes; epsilon None: with none."""
    total, error = read[:, loads].sum(axis=1), (sigma[:, loads] ** 2).sum(axis=1)
    if epsilon is not None:
        factor = noise.nodes_factor(COUNTED, FEWEST, THRESHOLD)
        total = total + noise.draw(noise.laplace_scale(sensitivity, epsilon), factor, len(total), rng)
        error = error + group_sigma(epsilon, sensitivity, counted=COUNTED, fewest=FEWEST, threshold=THRESHOLD) ** 2
    return of_group(name, quantity, loads, total, np.sqrt(error))
