"""A grid whose homes are real: what each used, what is assumed of it, and the truth that follows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from experiments.home_readings import Gaps, HomeReadings, read_all
from grid_operator.arrays import Floats
from grid_operator.estimation.pseudo import DAYS_BEFORE, assumed, class_shape
from grid_operator.network.errors import NetworkError
from grid_operator.network.feeder import Feeder, feeder_of
from grid_operator.network.files import read_network
from grid_operator.network.power_flow import Equations, PowerFlow, power_flow
from grid_operator.network.tables import MeterMap, meters_of, read_meters
from hushgrid.errors import ConfigurationError

SLOTS_A_DAY = 48
#: A half hour's mean.
_WATTS_PER_WH = 2.0
#: London's homes were not metered for reactive power: constructed.
POWER_FACTOR = 0.95
TANGENT = float(np.tan(np.arccos(POWER_FACTOR)))


@dataclass(frozen=True, eq=False)
class LivedIn:
    """A grid over some slots. watts, vars (slots, homes); assumed_watts, assumed_sigma of homes that are not read."""

    feeder: Feeder
    meters: tuple[str, ...]
    nodes: tuple[int, ...]
    watts: Floats
    vars: Floats
    assumed_watts: Floats
    assumed_sigma: Floats
    truth: PowerFlow


def lived_in(grid: Path, meters: Path | None, homes: Path, *, first_day: int, days: int, factor: float) -> LivedIn:
    """Every home's power of `days` days from `first_day` of the file, times `factor`. ConfigurationError for what cannot be used.

    The class's shape and spread come from the file's other homes, in the 28 days before; of a home itself only its year is used.
    """
    try:
        network = read_network(grid)
        placed = meters_of(network) if meters is None else read_meters(meters, network)
        feeder = feeder_of(network)
        return _lived_in(feeder, placed, read_all(homes), factor, first_day, days)
    except (NetworkError, ValueError) as error:
        raise ConfigurationError(str(error)) from None


def whole_file(grid: Path, homes: Path) -> tuple[Feeder, Floats, Floats]:
    """A grid, and what each of its nodes takes in every slot of the file: watts and vars, (slots, n). ConfigurationError."""
    try:
        network = read_network(grid)
        feeder, placed = feeder_of(network), meters_of(network)
    except NetworkError as error:
        raise ConfigurationError(str(error)) from None
    watts = feeder.at_nodes([feeder.node(node) for node in placed.nodes], _of_the_grid(read_all(homes), placed))
    return feeder, watts, TANGENT * watts


def _of_the_grid(readings: HomeReadings, placed: MeterMap) -> Floats:
    """Watts of the grid's homes, (slots, homes); a gap is the home's mean."""
    known = set(readings.names)
    missing = [meter for meter in placed.meters if meter not in known]
    if missing:
        raise ConfigurationError(f"meter {missing[0]} of the grid is not among the homes ({len(missing)} such meters)")
    return np.asarray(_WATTS_PER_WH * readings.of(placed.meters).filled(Gaps.MEAN).watt_hours)


def printed_errors(lived: LivedIn) -> list[dict[str, object]]:
    """The largest voltage error of the paper's equations as they are printed, over all slots."""
    watts, reactive = (lived.feeder.at_nodes(lived.nodes, each) for each in (lived.watts, lived.vars))
    found: list[dict[str, object]] = []
    for name, equations in (("eq. 2", Equations.PRINTED_VOLTAGE), ("eq. 1.b", Equations.PRINTED_CHARGING)):
        wrong = power_flow(lived.feeder, watts, reactive, equations=equations)
        apart = np.abs(wrong.voltage_per_unit - lived.truth.voltage_per_unit)
        found.append({"equation": name, "voltage_error_per_unit": float(apart.max())})
    return found


def _lived_in(
    feeder: Feeder, placed: MeterMap, readings: HomeReadings, factor: float, first_day: int, days: int
) -> LivedIn:
    own = _of_the_grid(readings, placed)
    names, start, power = readings.names, readings.start, factor * _WATTS_PER_WH * readings.watt_hours
    count = start.hour * 2 + start.minute // 30 + np.arange(len(power))
    weekend = (start.weekday() + count // SLOTS_A_DAY) % 7 >= 5
    begin = first_day * SLOTS_A_DAY
    used, before = slice(begin, begin + days * SLOTS_A_DAY), slice(begin - DAYS_BEFORE * SLOTS_A_DAY, begin)
    if before.start < 0 or used.stop > len(power):
        last = len(power) // SLOTS_A_DAY - days
        raise ConfigurationError(
            f"{days} days from day {first_day}: only days {DAYS_BEFORE} to {last} have {DAYS_BEFORE} days before them"
        )
    columns = [names.index(meter) for meter in placed.meters]
    others = sorted(set(range(len(names))) - set(columns))
    means = np.nanmean(power, axis=0)
    sample = [at for at in others if means[at] > 0]
    if not sample:
        raise ConfigurationError(
            "every home of the file is in the grid: nobody is left to say what a class of homes does"
        )
    shape = class_shape(
        power[before][:, sample], means[sample], count[before] % SLOTS_A_DAY, weekend[before], SLOTS_A_DAY
    )
    values, sigmas = assumed(shape, means[columns], count[used] % SLOTS_A_DAY, weekend[used])
    watts = factor * own[used]
    nodes = tuple(feeder.node(node) for node in placed.nodes)
    reactive = TANGENT * watts
    truth = power_flow(feeder, feeder.at_nodes(nodes, watts), feeder.at_nodes(nodes, reactive))
    return LivedIn(feeder, placed.meters, nodes, watts, reactive, values, sigmas, truth)
