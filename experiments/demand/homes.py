"""The homes of a feeder, measured or constructed, as mean powers per round from a UTC midnight on."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from experiments.home_readings import Gaps, readings_of
from grid_operator.arrays import Floats
from grid_operator.demand.baselines import Habit, fit_alpha, habit_begins, habit_of
from grid_operator.demand.feeder import CappedFeeder
from hushgrid.errors import ConfigurationError
from testbed.households import constructed_truth, read_truth

#: Days of constructed homes.
CONSTRUCTED_DAYS = 70


@dataclass(frozen=True, slots=True)
class Homes:
    """power_kw: (rounds, homes). label: what a person is told of the origin. estimated: readings that are not there."""

    power_kw: Floats = field(repr=False)
    first_round: int
    rounds_per_day: int
    label: str
    estimated: int

    @property
    def flow_kw(self) -> Floats:
        """All homes together, (rounds,)."""
        return np.asarray(self.power_kw.sum(axis=1))

    @property
    def days(self) -> int:
        """Whole days."""
        return len(self.power_kw) // self.rounds_per_day

    def feeder(self, habit: Habit, first_day: int, days: int, fitted: slice | None = None) -> CappedFeeder:
        """These days as a feeder. Its alpha is fitted on the days of `fitted`, all that have a baseline when None.

        ConfigurationError where there are not so many days, or none before them for the baseline.
        """
        day = self.rounds_per_day
        if not (first_day >= 7 and days >= 1 and first_day + days <= self.days):
            raise ConfigurationError(
                f"days {first_day} to {first_day + days - 1} are not all inside: there are {self.days}, and the first 7 only make baselines"
            )
        flow = self.flow_kw
        begin = habit_begins(day)
        usual = habit_of(flow, habit, day, self.first_round)
        deviation = flow[begin:] - usual
        chosen = slice(None) if fitted is None else slice(fitted.start * day - begin, fitted.stop * day - begin)
        alpha, variance = fit_alpha(deviation[chosen])
        played = slice(first_day * day, (first_day + days) * day)
        return CappedFeeder(flow[played], usual[played.start - begin : played.stop - begin], alpha, variance)


def read_homes(data: Path | None, grid: Path | None, meters: int, seed: int) -> Homes:
    """The homes of a file, those that hang at a grid's loads or its first ones; constructed ones without a file.

    ConfigurationError where a file cannot be used.
    """
    if data is None and grid is not None:
        raise ConfigurationError("--grid names homes of a file of readings: --data FILE")
    if data is None:
        truth = constructed_truth(meters, CONSTRUCTED_DAYS * 48, seed=seed)
    else:
        truth = read_truth(data, meters if grid is None else grid_meters(grid), None, None)
    read = readings_of(truth).whole_days()
    kilowatts = read.filled(Gaps.NEAREST_DAY).watt_hours * (3600 / read.interval_seconds / 1000)
    return Homes(kilowatts, read.first_round, read.slots_per_day, read.label, read.gaps)


def grid_meters(path: Path) -> list[str]:
    """The homes at the loads of a grid's JSON: `loads`, each with its `lcl_meter`. ConfigurationError."""
    try:
        found = [load["lcl_meter"] for load in json.loads(path.read_text(encoding="utf-8"))["loads"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigurationError(f"{path}: no grid with loads that name their meter ({type(error).__name__})") from None
    if not found or not all(isinstance(meter, str) for meter in found) or len(set(found)) < len(found):
        raise ConfigurationError(f"{path}: each load has to name a meter of its own")
    return found
