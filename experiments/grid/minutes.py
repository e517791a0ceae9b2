"""What a half hour's mean hides: states of its minutes against that of its mean load, with one home metered by the minute.

The home stands in place of the one at the end of the feeder, its reactive power measured as well; every other home takes its mean.
So what is shown is one home's part: with all of them moving a branch that many share is off by less, relatively.
"""

from __future__ import annotations

import csv
import gzip
import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np

from experiments.grid.homes import LivedIn
from grid_operator.arrays import Floats
from grid_operator.network.power_flow import power_flow
from hushgrid.errors import ConfigurationError

MINUTES = 30
_MINUTE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Averaging:
    """Of one home's voltage (per unit) and of its line's loading: how far a minute's is from that of the half hour's mean load.

    mean: the root of the mean square; quantile_99: what one minute in a hundred exceeds.
    """

    load_factor: float
    node: str
    half_hours: int
    voltage_mean: float
    voltage_quantile_99: float
    voltage_largest: float
    loading_mean: float
    loading_quantile_99: float
    loading_largest: float


def read_minutes(path: Path) -> tuple[Floats, Floats]:
    """Watts and vars (half hours, 30) of whole half hours: columns t_local, p_w, q_var of a CSV, or of one that is packed.

    ConfigurationError, naming the line, for what is no number or not in the order of time, and where no half hour is whole.
    """
    whole: list[list[tuple[float, float]]] = []
    begun: list[tuple[float, float]] = []
    before: datetime | None = None
    opened = gzip.open if path.suffix == ".gz" else open
    try:
        with opened(path, "rt", encoding="utf-8", newline="") as file:
            for number, row in enumerate(csv.DictReader(file), start=2):
                at, watts, reactive = _minute(path, number, row)
                if before is not None and at <= before:
                    raise ConfigurationError(f"{path}:{number}: {row['t_local']} is not after the minute before it")
                if at.minute % MINUTES == 0 or before is None or at - before != _MINUTE:
                    begun = []  # a new half hour, or what is left of this one has a gap
                if len(begun) == at.minute % MINUTES:
                    begun.append((watts, reactive))
                if len(begun) == MINUTES:
                    whole.append(begun)
                before = at
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: {error}".splitlines()[0]) from None
    if not whole:
        raise ConfigurationError(f"{path}: no half hour has all its minutes")
    both = np.array(whole)
    return both[:, :, 0], both[:, :, 1]


def _minute(path: Path, number: int, row: dict[str, str]) -> tuple[datetime, float, float]:
    try:
        found = datetime.fromisoformat(row["t_local"]), float(row["p_w"]), float(row["q_var"])
    except (KeyError, TypeError, ValueError):
        raise ConfigurationError(f"{path}:{number}: no minute with t_local, p_w and q_var") from None
    if not (math.isfinite(found[1]) and math.isfinite(found[2])):
        raise ConfigurationError(f"{path}:{number}: a power that is no number")
    return found


def averaging(lived: LivedIn, factor: float, watts: Floats, reactive: Floats) -> Averaging:
    """The home in place of the one with the lowest voltage."""
    feeder, home = lived.feeder, int(np.argmin(lived.truth.voltage_per_unit[:, lived.nodes].mean(axis=0)))
    node = lived.nodes[home]
    rest_watts, rest_vars = (feeder.at_nodes(lived.nodes, each).mean(axis=0) for each in (lived.watts, lived.vars))
    rest_watts[node] -= lived.watts[:, home].mean()
    rest_vars[node] -= lived.vars[:, home].mean()

    def state(p: Floats, q: Floats) -> tuple[Floats, Floats]:
        taken = [np.tile(rest, (p.size, 1)) for rest in (rest_watts, rest_vars)]
        taken[0][:, node] += factor * p.ravel()
        taken[1][:, node] += factor * q.ravel()
        flow = power_flow(feeder, *taken)
        return flow.voltage_per_unit[:, node].reshape(p.shape), flow.loading_fraction[:, node].reshape(p.shape)

    by_minute = state(watts, reactive)
    by_mean = state(watts.mean(axis=1, keepdims=True), reactive.mean(axis=1, keepdims=True))
    voltage, loading = (np.abs(minute - mean) for minute, mean in zip(by_minute, by_mean, strict=True))
    return Averaging(
        factor, feeder.names[node], len(watts), *(
            float(value) for off in (voltage, loading)
            for value in (np.sqrt((off**2).mean()), np.quantile(off, 0.99), off.max())
        ),
    )  # fmt: skip
