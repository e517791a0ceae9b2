"""What homes used, of a file or constructed, as one array; and what stands where a reading is not there.

The experiments differ in what they may put in place of a gap, and say it: nothing, the home's own mean, or its nearest day.
"""

from __future__ import annotations

import datetime as dt
import enum
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from grid_operator.arrays import Floats
from hushgrid.core.schedule import round_at, round_start
from hushgrid.errors import ConfigurationError
from hushgrid.extras import not_installed
from testbed.households import Truth, read_truth

_DAY_SECONDS, _HALF_HOUR_SECONDS = 86_400, 1800


class Gaps(enum.Enum):
    """What stands in place of a reading that is not there."""

    #: The mean of all that the home's readings say.
    MEAN = "mean"
    #: The same slot's of the nearest day that has one, the earlier of two.
    NEAREST_DAY = "nearest day"


@dataclass(frozen=True, slots=True)
class HomeReadings:
    """watt_hours: (slots, homes), NaN for a gap; first_round: of the first slot, as rounds are numbered; label: what a person is told."""

    names: tuple[str, ...]
    watt_hours: Floats = field(repr=False)
    first_round: int
    interval_seconds: int
    label: str

    @property
    def slots_per_day(self) -> int:
        """ConfigurationError where the day is no multiple of the interval."""
        if _DAY_SECONDS % self.interval_seconds:
            raise ConfigurationError(f"intervals of {self.interval_seconds} s do not divide the day")
        return _DAY_SECONDS // self.interval_seconds

    @property
    def start(self) -> dt.datetime:
        """Of the first slot, UTC."""
        return round_start(self.first_round, self.interval_seconds)

    def of(self, names: Sequence[str]) -> HomeReadings:
        """These homes, in this order."""
        place = {name: at for at, name in enumerate(self.names)}
        return replace(self, names=tuple(names), watt_hours=self.watt_hours[:, [place[name] for name in names]])

    def whole_days(self) -> HomeReadings:
        """From the first UTC midnight on. ConfigurationError where there is no whole day."""
        day = self.slots_per_day
        late = -self.first_round % day
        slots = (len(self.watt_hours) - late) // day * day
        if slots <= 0:
            raise ConfigurationError("the readings hold no whole day")
        return replace(self, watt_hours=self.watt_hours[late : late + slots], first_round=self.first_round + late)

    def filled(self, how: Gaps) -> HomeReadings:
        """Without gaps. ConfigurationError where there is nothing to fill one with."""
        values = self.watt_hours.copy()
        for home, name in enumerate(self.names):
            column = values[:, home]
            gaps = np.isnan(column)
            if not gaps.any():
                continue
            if gaps.all():
                raise ConfigurationError(f"meter {name} has no reading")
            if how is Gaps.MEAN:
                column[gaps] = column[~gaps].mean()
            else:
                self._fill_from_nearest(column.reshape(-1, self.slots_per_day), name)
        return replace(self, watt_hours=values)

    @property
    def gaps(self) -> int:
        """Readings that are not there."""
        return int(np.isnan(self.watt_hours).sum())

    @staticmethod
    def _fill_from_nearest(days: Floats, name: str) -> None:
        """days: (days, slots), filled in place; what was filled fills nothing else."""
        missing = np.isnan(days)
        for day, slot in np.argwhere(missing):
            there = np.flatnonzero(~missing[:, slot])
            if not len(there):
                raise ConfigurationError(f"meter {name} has no reading of round {slot} on any day")
            days[day, slot] = days[there[np.argmin(np.abs(there - day))], slot]


def readings_of(truth: Truth) -> HomeReadings:
    """What a testbed's truth says, as numbers."""
    columns = [np.array([np.nan if wh is None else wh for wh in truth.values[name]], float) for name in truth.meters]
    return HomeReadings(truth.meters, np.stack(columns, axis=1), truth.first_round, truth.interval_seconds, truth.label)


def read_all(path: Path) -> HomeReadings:
    """Every home of a Parquet file of half hours (meter_id, start_utc, wh), all as long as each other, in the file's order."""
    try:
        import pyarrow as pa  # noqa: PLC0415  # an extra that only this format needs
        import pyarrow.parquet as pq  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise not_installed(f"{path}: reading parquet", error, "testbed") from None
    try:
        table = pq.read_table(path, columns=["meter_id", "start_utc", "wh"])
    except (OSError, pa.ArrowException) as error:
        raise ConfigurationError(f"{path}: {error}".splitlines()[0]) from None
    ids = table["meter_id"].combine_chunks()
    ids = ids if pa.types.is_dictionary(ids.type) else ids.dictionary_encode()
    names, column = ids.dictionary.to_pylist(), ids.indices.to_numpy()
    watt_hours = table["wh"].to_numpy(zero_copy_only=False).astype(np.float64)
    counts = np.bincount(column, minlength=len(names))
    if len(set(counts.tolist())) != 1 or len(watt_hours) == 0:
        raise ConfigurationError(f"{path}: its meters have different numbers of half hours")
    values = watt_hours[np.argsort(column, kind="stable")].reshape(len(names), -1).T
    start = table["start_utc"][0].as_py()
    start = start if start.tzinfo else start.replace(tzinfo=dt.UTC)
    return HomeReadings(
        tuple(names), values, round_at(start.timestamp(), _HALF_HOUR_SECONDS), _HALF_HOUR_SECONDS, f"from {path.name}"
    )


def read_from_midnight(path: Path, homes: int | Sequence[str], days: int, interval_seconds: int) -> HomeReadings:
    """So many homes, or these in their order, from the file's first midnight (UTC) on. ConfigurationError as `read_truth`."""
    first = round_start(read_truth(path, 1, 1, None).first_round, interval_seconds)
    midnight = (first + dt.timedelta(hours=23, minutes=59, seconds=59)).replace(hour=0, minute=0, second=0)
    truth = read_truth(path, homes, days * _DAY_SECONDS // interval_seconds, midnight)
    if truth.interval_seconds != interval_seconds:
        raise ConfigurationError(f"{path}: its intervals are not of {interval_seconds} s")
    found = readings_of(truth)
    return found if isinstance(homes, int) else found.of(homes)
