"""Replay of a CSV file: the rounds asked for are read once, at start, and answered from memory."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from hushgrid.errors import ConfigurationError
from meter_agent.sources.files.csv_formats import PUBLISHED_INTERVAL_SECONDS, CsvFile, CsvFormat, Entry, open_csv
from meter_agent.sources.files.csv_rows import Faults
from meter_agent.sources.files.steps import check_step
from meter_agent.sources.reading import Reading


def within(round_number: int, first_round: int | None, last_round: int | None) -> bool:
    """Whether a round lies between two, both inclusive; None for no limit on that side."""
    return (first_round is None or first_round <= round_number) and (last_round is None or round_number <= last_round)


@dataclass(frozen=True, slots=True)
class CsvReplay:
    """One meter of a file. A round the file does not list is a gap; first_round, last_round: what it was opened for."""

    meter: str
    label: str
    first_round: int | None
    last_round: int | None
    watt_hours: Mapping[int, int | None]

    def reading(self, round_number: int) -> Reading:
        """The file's word on the round. LookupError outside the rounds it was opened for."""
        if not within(round_number, self.first_round, self.last_round):
            raise LookupError(f"round {round_number} is outside what the replay of {self.meter} was opened for")
        return Reading(round_number, self.watt_hours.get(round_number))

    async def read(self, round_number: int) -> Reading:
        """The same; a replay never waits."""
        return self.reading(round_number)

    def beginning_at(self, round_number: int) -> CsvReplay:
        """The same readings, moved so that the first one falls on this round: old days, replayed to a grid of today."""
        first = min(self.watt_hours, default=round_number)
        moved = {at - first + round_number: watt_hours for at, watt_hours in self.watt_hours.items()}
        return CsvReplay(self.meter, f"{self.label}, moved", None, None, moved)


@dataclass(frozen=True, slots=True)
class _Span:
    """The rounds to keep, and the grid they must lie on."""

    path: Path
    interval_seconds: int
    first_round: int | None
    last_round: int | None

    def __call__(self, start_seconds: int, line: int, column: str) -> bool:
        round_number, off_grid = divmod(start_seconds, self.interval_seconds)
        if off_grid:
            raise ConfigurationError(
                f"{self.path}, line {line}, column {column}: the time is not on the grid of {self.interval_seconds} s"
            )
        return within(round_number, self.first_round, self.last_round)


def replay_csv(
    path: Path,
    meters: Collection[str],
    first_round: int | None,
    last_round: int | None,
    interval_seconds: int,
    faults: Faults | None = None,
) -> dict[str, CsvReplay]:
    """One replay per meter, in the order of `meters`; the file is streamed once, whatever its length.

    Both rounds inclusive, None for no limit. ConfigurationError naming file, line and column when the file cannot be
    used, and when it does not know a meter.
    """
    file = open_csv(path)
    rounds = read_rounds(file, meters, first_round, last_round, interval_seconds, faults)
    label = f"replay of {path.name}"
    return {meter: CsvReplay(meter, label, first_round, last_round, rounds[meter]) for meter in meters}


def read_rounds(
    file: CsvFile,
    meters: Collection[str],
    first_round: int | None,
    last_round: int | None,
    interval_seconds: int,
    faults: Faults | None = None,
) -> dict[str, dict[int, int | None]]:
    """Per meter, the rounds of the span that the file lists. Errors as `replay_csv`; faults: takes those of rows."""
    if file.format is CsvFormat.PUBLISHED and interval_seconds != PUBLISHED_INTERVAL_SECONDS:
        raise ConfigurationError(f"{file.path}: it holds half hours, the grid's rounds last {interval_seconds} s")
    kept: dict[str, dict[int, int | None]] = {meter: {} for meter in meters}
    span = _Span(file.path, interval_seconds, first_round, last_round)
    for entry in file.entries(kept, span, faults):
        try:
            _keep(entry, kept[entry.meter], file.path, interval_seconds)
        except ConfigurationError as error:
            if faults is None:
                raise
            faults(error)
    _refuse_unknown(file, kept, faults)
    for meter, rounds in kept.items():
        check_step(str(file.path), meter, rounds, interval_seconds)
    return kept


def _keep(entry: Entry, rounds: dict[int, int | None], path: Path, interval_seconds: int) -> None:
    round_number = entry.start_seconds // interval_seconds
    if round_number in rounds and rounds[round_number] != entry.watt_hours:
        raise ConfigurationError(
            f"{path}, line {entry.line}, column {entry.column}: "
            f"meter {entry.meter} has another value for the same interval further up"
        )
    rounds[round_number] = entry.watt_hours


def _passed_over(_: ConfigurationError) -> None:
    """It was told already."""


def _refuse_unknown(file: CsvFile, kept: Mapping[str, Mapping[int, int | None]], faults: Faults | None) -> None:
    """A meter without a row in the span may still be known: it has gaps there."""
    if file.format is CsvFormat.WIDE:
        unknown = {meter for meter in kept if meter not in file.header[1:]}
    else:
        unknown = {meter for meter, rounds in kept.items() if not rounds}
        if unknown:
            unknown -= {entry.meter for entry in file.entries(unknown, faults=faults and _passed_over)}
    if unknown:
        more = f" (and {len(unknown) - 1} more)" if len(unknown) > 1 else ""
        raise ConfigurationError(f"{file.path}: meter {min(unknown)}{more} is not in the file")
