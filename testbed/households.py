"""The truth of a run: every household's reading in every round, from a file or constructed, and slices of it for the meters."""

from __future__ import annotations

import csv
import datetime as dt
import itertools
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from hushgrid.core.cohorts import RANGE
from hushgrid.core.schedule import round_at, round_start
from hushgrid.errors import ConfigurationError
from hushgrid.extras import not_installed
from meter_agent.sources.constructed import ConstructedHouseholds
from meter_agent.sources.files.csv_formats import PUBLISHED_INTERVAL_SECONDS, CsvFormat, open_csv
from meter_agent.sources.files.replay import read_rounds
from meter_agent.sources.files.steps import check_step
from meter_agent.sources.sample import MOST_WATT_HOURS

DEFAULT_INTERVAL_SECONDS = 1800
CONSTRUCTED_START = dt.datetime(2013, 3, 11, tzinfo=dt.UTC)
_PARQUET_COLUMNS = ("meter_id", "start_utc", "wh")
METER_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", re.ASCII)  # as `hushgrid.wire.model.Name`


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


def constructed_truth(
    meters: int | Sequence[str], rounds: int, *, start: dt.datetime | None = None, seed: int = 1
) -> Truth:
    """Households made up from a seed, `m0001` and on or under the names given; some feed in at midday."""
    interval = DEFAULT_INTERVAL_SECONDS
    first = round_at((start or CONSTRUCTED_START).timestamp(), interval)
    names = tuple(f"m{number:04d}" for number in range(1, meters + 1)) if isinstance(meters, int) else tuple(meters)
    households = ConstructedHouseholds(seed, interval)
    values = {name: [households.watt_hours(name, r) for r in range(first, first + rounds)] for name in names}
    return Truth(names, first, rounds, interval, "constructed (not measured)", values)


def read_truth(path: Path, meters: int | Sequence[str], rounds: int | None, start: dt.datetime | None) -> Truth:
    """Read a file of any known format; more meters than it has repeat its households under distinct identities.

    meters: how many, or which households, all of which are in the file then. start: the first interval, the file's first when None.
    rounds: None for all from there on.
    ConfigurationError naming what is wrong.
    """
    source = _Parquet(path) if path.suffix == ".parquet" else _Csv(path)
    interval = source.interval_seconds
    begin, end = source.first_round, source.last_round
    first = begin if start is None else round_at(start.timestamp(), interval)
    if start is not None and start.timestamp() % interval:
        raise ConfigurationError(f"--start is not the beginning of an interval of {interval} s")
    rounds = max(end - first + 1, 1) if rounds is None else rounds
    if not begin <= first <= first + rounds - 1 <= end:
        span = f"{round_start(begin, interval):%Y-%m-%dT%H:%MZ} to {round_start(end, interval):%Y-%m-%dT%H:%MZ}"
        raise ConfigurationError(f"{path}: it holds {span}; {rounds} rounds from {round_start(first, interval):%Y-%m-%dT%H:%MZ} "
                                 "are not all inside")  # fmt: skip
    known = source.meters
    identities = _identities(known, meters) if isinstance(meters, int) else _named(known, meters, path)
    for identity in identities:
        if not METER_ID.fullmatch(identity) or RANGE in identity:
            raise ConfigurationError(
                f"{path}: {identity!r} cannot be a meter's id: letters, digits, '_', '.', '-', at most 64, no '{RANGE}'"
            )
    rows = source.values(list(dict.fromkeys(identities.values())), first, first + rounds - 1)
    values = {identity: rows[household] for identity, household in identities.items()}
    label = f"from {path.name}"
    if isinstance(meters, int) and meters > len(known):
        label += f", its {len(known)} households repeated under {meters} identities"
    return Truth(tuple(sorted(values)), first, rounds, interval, label, values)


def _named(known: Sequence[str], meters: Sequence[str], path: Path) -> dict[str, str]:
    """These households and no others; ConfigurationError for those that are not there."""
    there = set(known)
    missing = [meter for meter in meters if meter not in there]
    if missing:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        raise ConfigurationError(f"{path}: it has no readings of {', '.join(missing[:3])}{more}")
    return {meter: meter for meter in meters}


def _identities(known: Sequence[str], meters: int) -> dict[str, str]:
    """The household behind each of `meters` identities: itself first, then as `-2`, `-3`, never under another's own id."""
    found = {household: household for household in known[:meters]}
    own = set(known)
    repeats = (
        (f"{household}-{copy}", household)
        for copy in itertools.count(2)
        for household in known
        if f"{household}-{copy}" not in own
    )
    found.update(itertools.islice(repeats, meters - len(found)))
    return found


def _usual_step(starts_seconds: Sequence[int]) -> int:
    """The interval of a file that does not state one: the step that occurs most often (a stray row is found out later)."""
    steps = Counter(later - earlier for earlier, later in itertools.pairwise(starts_seconds))
    return min(steps, key=lambda step: (-steps[step], step))


class _Csv:
    """One of the three CSV formats."""

    def __init__(self, path: Path) -> None:
        self._file = open_csv(path)
        starts: set[int] = set()
        found: set[str] = set(self._file.header[1:]) if self._file.format is CsvFormat.WIDE else set()
        stated: dict[str, list[int]] = {}
        for entry in self._file.entries():
            starts.add(entry.start_seconds)
            found.add(entry.meter)
            if entry.watt_hours is not None:
                stated.setdefault(entry.meter, []).append(entry.start_seconds)
        published = self._file.format is CsvFormat.PUBLISHED
        if len(starts) < (1 if published else 2) or not found:
            raise ConfigurationError(f"{path}: it holds fewer than two intervals or no meter")
        ordered = sorted(starts)
        self.interval_seconds = PUBLISHED_INTERVAL_SECONDS if published else _usual_step(ordered)
        self.first_round, self.last_round = ordered[0] // self.interval_seconds, ordered[-1] // self.interval_seconds
        self.meters = sorted(found)
        for meter, seconds in stated.items():
            rounds = dict.fromkeys((at // self.interval_seconds for at in seconds), 0)
            check_step(str(path), meter, rounds, self.interval_seconds)

    def values(self, meters: Sequence[str], first: int, last: int) -> dict[str, list[int | None]]:
        """Per meter, one entry per round."""
        rounds = read_rounds(self._file, meters, first, last, self.interval_seconds)
        return {meter: [rounds[meter].get(r) for r in range(first, last + 1)] for meter in meters}


class _Parquet:
    """Long form: meter_id, start_utc (of the interval; UTC when it names no zone), wh (whole Wh; null: no reading)."""

    def __init__(self, path: Path) -> None:
        try:
            import pyarrow as pa  # noqa: PLC0415  # an extra that only this format needs
            import pyarrow.compute as pc  # noqa: PLC0415
            import pyarrow.parquet as pq  # noqa: PLC0415
        except ModuleNotFoundError as error:
            raise not_installed(f"{path}: reading parquet", error, "testbed") from None
        self._path, self._arrow, self._compute, self._parquet = path, pa, pc, pq
        try:
            self._schema = pq.read_schema(path)
            self._check_columns()
            table = pq.read_table(path, columns=["meter_id", "start_utc"])
            starts = pc.unique(self._seconds(table["start_utc"])).to_pylist()
            self.meters = sorted(meter or "" for meter in pc.unique(table["meter_id"]).to_pylist())
        except (OSError, ValueError) as error:
            raise self._unreadable(error) from None
        if len(starts) < 2 or None in starts:
            raise ConfigurationError(f"{path}: it holds fewer than two intervals, or rows without a time")
        ordered = sorted(starts)
        self.interval_seconds = _usual_step(ordered)
        self.first_round, self.last_round = ordered[0] // self.interval_seconds, ordered[-1] // self.interval_seconds

    def _check_columns(self) -> None:
        types = self._arrow.types
        for column in _PARQUET_COLUMNS:
            count = self._schema.names.count(column)
            if count != 1:
                raise ConfigurationError(
                    f"{self._path}: the column {column} {'occurs twice' if count else 'is missing'}"
                )
        ids = self._schema.field("meter_id").type
        names = ids.value_type if types.is_dictionary(ids) else ids
        if not (types.is_string(names) or types.is_large_string(names) or types.is_string_view(names)):
            raise ConfigurationError(f"{self._path}: the column meter_id does not hold names")
        if not types.is_timestamp(self._schema.field("start_utc").type):
            raise ConfigurationError(f"{self._path}: the column start_utc does not hold times")
        energy = self._schema.field("wh").type
        fractional = types.is_floating(energy) or types.is_decimal(energy)
        if not (types.is_integer(energy) or (fractional and self._holds_whole_numbers(energy))):
            raise ConfigurationError(f"{self._path}: the column wh does not hold whole numbers of Wh")

    def _unreadable(self, error: Exception) -> ConfigurationError:
        return ConfigurationError(f"{self._path}: cannot be read as parquet: {str(error).partition(chr(10))[0]}")

    def _seconds(self, times: Any) -> Any:
        """A column of times as Unix seconds; ValueError for a part of a second."""
        zone = self._schema.field("start_utc").type.tz
        return times.cast(self._arrow.timestamp("s", tz=zone)).cast(self._arrow.int64())

    def values(self, meters: Sequence[str], first: int, last: int) -> dict[str, list[int | None]]:
        """Per meter, one entry per round."""
        kind = self._schema.field("start_utc").type
        ends = [round_start(r, self.interval_seconds) for r in (first, last + 1)]
        begin, end = (self._arrow.scalar(e if kind.tz else e.replace(tzinfo=None), kind) for e in ends)
        wanted = [("meter_id", "in", list(meters)), ("start_utc", ">=", begin), ("start_utc", "<", end)]
        try:
            table = self._rows_where(wanted)
            starts = self._seconds(table["start_utc"]).to_pylist()
        except (OSError, ValueError) as error:
            raise self._unreadable(error) from None
        rows = zip(table["meter_id"].to_pylist(), starts, table["wh"].to_pylist(), strict=True)
        found = self._by_round(rows, meters)
        return {meter: [found[meter].get(r) for r in range(first, last + 1)] for meter in meters}

    def _rows_where(self, wanted: list[tuple[str, str, Any]]) -> Any:
        """The rows that fit; of names as views, which Arrow cannot look up, only once they are plain."""
        columns, names = list(_PARQUET_COLUMNS), self._schema.field("meter_id").type
        if not self._arrow.types.is_string_view(names):
            return self._parquet.read_table(self._path, columns=columns, filters=wanted)
        table = self._parquet.read_table(self._path, columns=columns)
        at = table.schema.get_field_index("meter_id")
        table = table.set_column(at, "meter_id", table["meter_id"].cast(self._arrow.string()))
        return table.filter(self._parquet.filters_to_expression(wanted))

    def _by_round(
        self, rows: Iterable[tuple[str, int, float | Decimal | None]], meters: Sequence[str]
    ) -> dict[str, dict[int, int | None]]:
        found: dict[str, dict[int, int | None]] = {meter: {} for meter in meters}
        for meter, start_seconds, said in rows:
            watt_hours = None if said is None or math.isnan(said) else int(said)
            round_number, off_grid = divmod(start_seconds, self.interval_seconds)
            if off_grid:
                when = dt.datetime.fromtimestamp(start_seconds, tz=dt.UTC)
                raise ConfigurationError(
                    f"{self._path}: meter {meter}, {when:%Y-%m-%dT%H:%M:%SZ}: the time is not on the grid of "
                    f"{self.interval_seconds} s"
                )
            if watt_hours is not None and abs(watt_hours) >= MOST_WATT_HOURS:
                raise ConfigurationError(
                    f"{self._path}: meter {meter}, {round_start(round_number, self.interval_seconds):%Y-%m-%dT%H:%MZ}: "
                    f"{watt_hours} Wh is more than a meter counts in its life"
                )
            if found[meter].setdefault(round_number, watt_hours) != watt_hours:
                when = round_start(round_number, self.interval_seconds)
                raise ConfigurationError(f"{self._path}: meter {meter} has two values for {when:%Y-%m-%dT%H:%MZ}")
        for meter, rounds in found.items():
            check_step(str(self._path), meter, rounds, self.interval_seconds)
        return found

    def _holds_whole_numbers(self, kind: Any) -> bool:
        """Of a column of decimals or floats: beside gaps, whole numbers are often stored so. NaN stands for nothing there."""
        energy = self._parquet.read_table(self._path, columns=["wh"])["wh"].drop_null()
        if self._arrow.types.is_float16(kind):
            energy = energy.cast(self._arrow.float32())  # of which Arrow knows more
        whole = self._compute.equal(self._compute.trunc(energy), energy)
        if not self._arrow.types.is_decimal(kind):
            whole = self._compute.and_(self._compute.is_finite(energy), whole)
            whole = self._compute.or_(self._compute.is_nan(energy), whole)
        return self._compute.all(whole).as_py() is not False


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
