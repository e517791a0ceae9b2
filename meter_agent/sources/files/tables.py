"""A meter's csv source, whichever table it is: one of hushgrid's own formats, or one that a person describes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hushgrid.errors import ConfigurationError
from meter_agent.sources.files.csv_formats import PUBLISHED_INTERVAL_SECONDS, CsvFormat, open_csv
from meter_agent.sources.files.csv_rows import Faults
from meter_agent.sources.files.replay import CsvReplay, replay_csv, within

if TYPE_CHECKING:
    from meter_agent.sources.files.exports import Exported

#: What `exports.Layout` is told of a table; None: it is one of hushgrid's own formats.
Said = Mapping[str, Any] | None


def open_table(path: Path, said: Said) -> str:
    """What the file is, for a person; ConfigurationError when that is unknown. Its rows are not read."""
    if said is None:
        return f"{open_csv(path).format.value} readings"
    from meter_agent.sources.files.portals import described  # noqa: PLC0415 - as below

    return described(path, said).name


def usual_step(path: Path, said: Said, meter: str) -> int:
    """How long a meter's intervals are, by most of them. ConfigurationError when the file does not tell."""
    if said is not None:
        found = {each.meter: each.step_seconds for each in _exported(path, said, [meter], _passed_over)}
    else:
        file = open_csv(path)
        starts = sorted({entry.start_seconds for entry in file.entries([meter], faults=_passed_over)})
        steps = Counter(later - earlier for earlier, later in pairwise(starts))
        if file.format is CsvFormat.PUBLISHED:
            return PUBLISHED_INTERVAL_SECONDS
        found = {meter: min(steps, key=lambda step: (-steps[step], step))} if steps else {}
    if meter not in found:
        raise ConfigurationError(f"{path}: meter {meter} has fewer than two readings in it")
    return found[meter]


def _passed_over(_: ConfigurationError) -> None:
    """Whoever reads the file for its readings hears of it."""


def read_table(
    path: Path,
    said: Said,
    meters: Collection[str],
    first_round: int | None,
    last_round: int | None,
    interval_seconds: int,
    faults: Faults | None = None,
) -> dict[str, CsvReplay]:
    """One replay per meter, as `replay_csv` gives them. A table without a column of meters is that of the one meter.

    ConfigurationError as `replay_csv` and `read_export`. faults: takes those of rows, and reading goes on.
    """
    if said is None:
        return replay_csv(path, meters, first_round, last_round, interval_seconds, faults)
    found = {each.meter: each for each in _exported(path, said, meters, faults)}
    replays = {}
    for meter in meters:
        if meter not in found:
            raise ConfigurationError(f"{path}: meter {meter} is not in the file")
        each = found[meter]
        if each.step_seconds != interval_seconds:
            raise ConfigurationError(
                f"{path}: meter {meter} has readings every {each.step_seconds} s, the grid's rounds last {interval_seconds} s"
            )
        if any(start % interval_seconds for start in each.starts):
            raise ConfigurationError(f"{path}: meter {meter}: its times are not on the grid of {interval_seconds} s")
        rounds = {start // interval_seconds: watt_hours for start, watt_hours in each.starts.items()}
        kept = {number: watt_hours for number, watt_hours in rounds.items() if within(number, first_round, last_round)}
        replays[meter] = CsvReplay(meter, f"replay of {path.name}", first_round, last_round, kept)
    return replays


def _exported(
    path: Path, said: Mapping[str, Any], meters: Collection[str], faults: Faults | None
) -> Sequence[Exported]:
    """The readings of a table that a person describes: of its one meter, or of all that it names."""
    # A meter whose file is in one of hushgrid's own formats has no memory for this.
    from meter_agent.sources.files.exports import read_export  # noqa: PLC0415
    from meter_agent.sources.files.portals import described  # noqa: PLC0415

    layout = described(path, said)
    if layout.meter is None and len(meters) != 1:
        raise ConfigurationError(f"{path}: no column names the meter, and there are {len(meters)}")
    return read_export(path, layout, next(iter(meters)), faults)
