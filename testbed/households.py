"""The truth of a run: every household's reading in every round, from a file or constructed, and slices of it for the meters."""

from __future__ import annotations

import csv
import datetime as dt
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hushgrid.errors import ConfigurationError
from hushgrid.schedule import round_at, round_start
from meter_agent.sources import ConstructedHouseholds
from meter_agent.sources.csv_formats import CsvFormat, open_csv
from meter_agent.sources.replay import read_rounds

DEFAULT_INTERVAL_SECONDS = 1800
CONSTRUCTED_START = dt.datetime(2013, 3, 11, tzinfo=dt.UTC)
_PARQUET_COLUMNS = ("meter_id", "start_utc", "wh")


@dataclass(frozen=True, slots=True)
class Truth:
    """values: per meter, one entry per round from first_round on; None is a gap. label: what a person is told of the origin."""

    meters: tuple[str, ...]
    first_round: int
    rounds: int
    interval_seconds: int
    label: str
    values: Mapping[str, Sequence[int | None]] = field(repr=False)

    @property
    def last_round(self) -> int:
        """The last round of the run."""
        return self.first_round + self.rounds - 1

    def watt_hours(self, meter: str, round_number: int) -> int | None:
        """One reading; None for a gap. IndexError outside the run."""
        at = round_number - self.first_round
        if not 0 <= at < self.rounds:
            raise IndexError(round_number)
        return self.values[meter][at]

    def gaps(self) -> list[tuple[str, int]]:
        """The (meter, round) pairs without a reading."""
        return [(m, self.first_round + at) for m in self.meters for at, wh in enumerate(self.values[m]) if wh is None]


def constructed_truth(meters: int, rounds: int, *, start: dt.datetime | None = None, seed: int = 1) -> Truth:
    """Households made up from a seed, `m0001` and on; some feed in at midday."""
    interval = DEFAULT_INTERVAL_SECONDS
    first = round_at((start or CONSTRUCTED_START).timestamp(), interval)
    names = tuple(f"m{number:04d}" for number in range(1, meters + 1))
    households = ConstructedHouseholds(seed, interval)
    values = {name: [households.watt_hours(name, r) for r in range(first, first + rounds)] for name in names}
    return Truth(names, first, rounds, interval, "constructed (not measured)", values)


def read_truth(path: Path, meters: int, rounds: int, start: dt.datetime | None) -> Truth:
    """Read a file of any known format; more meters than it has repeat its households under distinct identities.

    start: the first interval, the file's first when None. ConfigurationError naming what is wrong.
    """
    source = _Parquet(path) if path.suffix == ".parquet" else _Csv(path)
    interval = source.interval_seconds
    begin, end = source.first_round, source.last_round
    first = begin if start is None else round_at(start.timestamp(), interval)
    if start is not None and start.timestamp() % interval:
        raise ConfigurationError(f"--start is not the beginning of an interval of {interval} s")
    if not begin <= first <= first + rounds - 1 <= end:
        span = f"{round_start(begin, interval):%Y-%m-%dT%H:%MZ} to {round_start(end, interval):%Y-%m-%dT%H:%MZ}"
        raise ConfigurationError(f"{path}: it holds {span}; {rounds} rounds from {round_start(first, interval):%Y-%m-%dT%H:%MZ} "
                                 "are not all inside")  # fmt: skip
    known = source.meters
    chosen = known[: min(meters, len(known))]
    rows = source.values(chosen, first, first + rounds - 1)
    values: dict[str, Sequence[int | None]] = {}
    for number in range(meters):
        household, copy = known[number % len(known)], number // len(known)
        values[household if copy == 0 else f"{household}-{copy + 1}"] = rows[household]
    label = f"from {path.name}"
    if meters > len(known):
        label += f", its {len(known)} households repeated under {meters} identities"
    return Truth(tuple(sorted(values)), first, rounds, interval, label, values)


class _Csv:
    """One of the three CSV formats."""

    def __init__(self, path: Path) -> None:
        self._file = open_csv(path)
        starts: set[int] = set()
        found: set[str] = set(self._file.header[1:]) if self._file.format is CsvFormat.WIDE else set()
        for entry in self._file.entries():
            starts.add(entry.start_seconds)
            found.add(entry.meter)
        if len(starts) < 2 or not found:
            raise ConfigurationError(f"{path}: it holds fewer than two intervals or no meter")
        ordered = sorted(starts)
        self.interval_seconds = min(b - a for a, b in itertools.pairwise(ordered))
        self.first_round, self.last_round = ordered[0] // self.interval_seconds, ordered[-1] // self.interval_seconds
        self.meters = sorted(found)

    def values(self, meters: Sequence[str], first: int, last: int) -> dict[str, list[int | None]]:
        """Per meter, one entry per round."""
        rounds = read_rounds(self._file, meters, first, last, self.interval_seconds)
        return {meter: [rounds[meter].get(r) for r in range(first, last + 1)] for meter in meters}


class _Parquet:
    """Long form: meter_id, start_utc (of the interval), wh (null: no reading); half-hours."""

    def __init__(self, path: Path) -> None:
        try:
            import pyarrow.compute as pc  # noqa: PLC0415  # an extra that only this format needs
            import pyarrow.parquet as pq  # noqa: PLC0415
        except ModuleNotFoundError:
            raise ConfigurationError(f"{path}: reading parquet needs pyarrow (extra [testbed])") from None
        self._path, self._parquet, self._compute = path, pq, pc
        self.interval_seconds = DEFAULT_INTERVAL_SECONDS
        try:
            schema = pq.read_schema(path)
            for column in _PARQUET_COLUMNS:
                if column not in schema.names:
                    raise ConfigurationError(f"{path}: the column {column} is missing")
            table = pq.read_table(path, columns=["meter_id", "start_utc"])
        except (OSError, ValueError) as error:
            raise ConfigurationError(f"{path}: {str(error).splitlines()[0]}") from None
        self.meters = sorted(pc.unique(table["meter_id"]).to_pylist())
        span = pc.min_max(table["start_utc"]).as_py()
        self.first_round = self._round(span["min"])
        self.last_round = self._round(span["max"])

    def _round(self, moment: dt.datetime) -> int:
        aware = moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
        return round_at(aware.timestamp(), self.interval_seconds)

    def values(self, meters: Sequence[str], first: int, last: int) -> dict[str, list[int | None]]:
        """Per meter, one entry per round."""
        schema = self._parquet.read_schema(self._path)
        zone = schema.field("start_utc").type.tz
        ends = [round_start(r, self.interval_seconds) for r in (first, last)]
        begin, end = (e if zone else e.replace(tzinfo=None) for e in ends)
        wanted = [("meter_id", "in", list(meters)), ("start_utc", ">=", begin), ("start_utc", "<=", end)]
        table = self._parquet.read_table(self._path, columns=list(_PARQUET_COLUMNS), filters=wanted)
        found: dict[str, list[int | None]] = {meter: [None] * (last - first + 1) for meter in meters}
        for meter, start, wh in zip(*(table[name].to_pylist() for name in _PARQUET_COLUMNS), strict=True):
            found[meter][self._round(start) - first] = wh
        return found


def write_slices(truth: Truth, groups: Mapping[str, Sequence[str]], directory: Path) -> dict[str, Path]:
    """One wide CSV per group with its meters' readings; the path by group."""
    directory.mkdir(parents=True, exist_ok=True)
    paths = {}
    starts = [
        f"{round_start(r, truth.interval_seconds):%Y-%m-%dT%H:%M:%SZ}"
        for r in range(truth.first_round, truth.last_round + 1)
    ]
    for group, meters in groups.items():
        paths[group] = directory / f"{group}.csv"
        with paths[group].open("w", newline="", encoding="utf-8") as out:
            writer = csv.writer(out)
            writer.writerow(["start_utc", *meters])
            for at, start in enumerate(starts):
                writer.writerow([start, *("" if (wh := truth.values[m][at]) is None else wh for m in meters)])
    return paths
