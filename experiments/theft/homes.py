"""Whose readings the experiments on theft take: real homes of a file, or a constructed village, labelled so."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from experiments.home_readings import read_from_midnight
from grid_operator.arrays import Floats
from grid_operator.theft.errors import TheftError
from hushgrid.errors import ConfigurationError

SLOTS_PER_DAY = 48
_INTERVAL_SECONDS = 1800
#: Constructed homes, after what London's show: how much homes differ, and weeks, and days of a week, and slots of a day; all of logarithms,
#: but for slots, which are Gamma of this shape about the profile; and how much of a week's difference is there in the next one.
_HOMES, _WEEKS, _DAYS, _SLOTS, _LASTING = 0.6, 0.24, 0.25, 1.2, 0.64
_MEAN_WATT_HOURS_PER_DAY = 9400
#: A week's difference has a heavy tail: guests, holidays. Degrees of freedom of its law.
_TAIL_DEGREES = 3


@contextmanager
def one_line() -> Iterator[None]:
    """What cannot be worked out is a person's to change: one line, exit status 2."""
    try:
        yield
    except TheftError as error:
        raise ConfigurationError(str(error)) from None


@dataclass(frozen=True, slots=True)
class HomeHistories:
    """watt_hours: homes x slots, from midnight on, NaN for a gap; feeders: of each home, its number; label: what a person is told."""

    names: tuple[str, ...]
    feeders: tuple[int, ...]
    watt_hours: Floats
    label: str


def constructed_homes(count: int, days: int, seed: int) -> HomeHistories:
    """HomeHistories whose weeks, days and half hours vary as London's do. Measured nowhere; nobody feeds in."""
    rng = np.random.default_rng([seed, count])
    weeks = -(-days // 7)
    week, level = np.zeros((count, weeks)), rng.normal(size=count)
    for at in range(weeks):
        fresh = rng.standard_t(_TAIL_DEGREES, count) / np.sqrt(_TAIL_DEGREES)
        level = _LASTING * level + np.sqrt(1 - _LASTING**2) * fresh
        week[:, at] = level
    day = np.repeat(np.clip(_WEEKS * week, -2.5, 1.5), 7, axis=1)[:, :days] + _DAYS * rng.normal(size=(count, days))
    size = _MEAN_WATT_HOURS_PER_DAY / SLOTS_PER_DAY * np.exp(_HOMES * rng.normal(size=count) - _HOMES**2 / 2)
    hours = (np.arange(SLOTS_PER_DAY) + 0.5) / 2
    profile = 0.5 + 0.7 * np.exp(-((hours - 8) ** 2) / 4) + 1.4 * np.exp(-((hours - 19) ** 2) / 8)
    profile /= profile.mean()
    mean = size[:, None, None] * np.exp(day)[:, :, None] * profile
    readings = np.round(mean * rng.gamma(_SLOTS, 1 / _SLOTS, mean.shape)).reshape(count, -1)
    names = tuple(f"m{number:04d}" for number in range(1, count + 1))
    return HomeHistories(
        names, tuple(at * 6 // count + 1 for at in range(count)), readings, f"{count} constructed homes (not measured)"
    )


def read_homes(data: Path, grid: Path | None, count: int, days: int) -> HomeHistories:
    """Real homes, from the first midnight (UTC) of the file on: those of a feeder's file in its order, or the file's first ones."""
    where = _loads(grid) if grid is not None else None
    found = read_from_midnight(data, count if where is None else list(where), days, _INTERVAL_SECONDS)
    names, readings = found.names, np.ascontiguousarray(found.watt_hours.T)
    feeders = (
        tuple(where.values()) if where is not None else tuple(at * 6 // len(names) + 1 for at in range(len(names)))
    )
    silent = [name for name, row in zip(names, readings, strict=True) if not np.isfinite(row).any()]
    if silent:
        raise ConfigurationError(f"{data}: it has no reading of {silent[0]} in these {days} days")
    return HomeHistories(names, feeders, readings, f"{len(names)} homes {found.label}")


def grouped(homes: HomeHistories, partition: str | None, groups: int, least: int) -> tuple[tuple[int, ...], ...]:
    """Homes in groups of whole feeders, each with a balance meter. partition: feeders as "3/4+5/1+2+6"; None: filled evenly.

    ConfigurationError for a group of fewer homes than `least`, or feeders that are not all there once.
    """
    of_feeder: dict[int, list[int]] = {}
    for at, feeder in enumerate(homes.feeders):
        of_feeder.setdefault(feeder, []).append(at)
    chosen: list[list[int]] = [[] for _ in range(groups)]
    if partition is not None:
        try:
            chosen = [[int(feeder) for feeder in part.split("+")] for part in partition.split("/")]
        except ValueError:
            raise ConfigurationError(f"--partition {partition}: feeders are numbers, as in 3/4+5/1+2+6") from None
        if sorted(feeder for part in chosen for feeder in part) != sorted(of_feeder):
            raise ConfigurationError(
                f"--partition {partition}: the feeders are {', '.join(map(str, sorted(of_feeder)))}, each once"
            )
    else:
        for feeder in sorted(of_feeder, key=lambda feeder: -len(of_feeder[feeder])):
            min(chosen, key=lambda part: sum(len(of_feeder[f]) for f in part)).append(feeder)
    found = tuple(tuple(sorted(home for feeder in part for home in of_feeder[feeder])) for part in chosen)
    smallest = min(map(len, found))
    if smallest < least:
        raise ConfigurationError(f"a group of {smallest} homes is below the minimum of {least} contributors")
    return found


def _loads(grid: Path) -> dict[str, int]:
    """Meter -> number of its feeder, as the feeders leave the busbar behind the transformer, of a feeder's JSON file."""
    try:
        content = json.loads(grid.read_text(encoding="utf-8"))
        lines = [(line["from"], line["to"]) for line in content["lines"]]
        roots = {trafo["lv"] for trafo in content["trafos"]}
        loads = [(load["lcl_meter"], load["bus"]) for load in content["loads"]]
    except OSError as error:
        raise ConfigurationError(f"{grid}: {error.strerror or error}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigurationError(f"{grid}: it is no feeder: {type(error).__name__} {error}") from None
    feeder_of: dict[int, int] = dict.fromkeys(roots, 0)
    count, waiting = 0, lines
    while waiting:
        later = []
        for begin, end in waiting:
            known, other = (begin, end) if begin in feeder_of else (end, begin)
            if known not in feeder_of:
                later.append((begin, end))
                continue
            if known in roots:
                count += 1
            feeder_of[other] = count if known in roots else feeder_of[known]
        if len(later) == len(waiting):
            raise ConfigurationError(f"{grid}: {len(later)} lines lead to no transformer")
        waiting = later
    if not loads or any(bus not in feeder_of for _, bus in loads) or len(dict(loads)) < len(loads):
        raise ConfigurationError(f"{grid}: its loads are not each on a feeder with a meter of its own")
    return {str(meter): feeder_of[bus] for meter, bus in loads}
