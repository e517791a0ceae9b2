"""Where a meter's readings come from.

`open_source` gives one `Source` per meter that knows all its rounds beforehand: replay of a CSV file, or a constructed household.
Real meters are devices (`devices`) behind a `live.LiveSource`, which answers the same `read`.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hushgrid.errors import ConfigurationError
from meter_agent.sources.reading import Reading, ReplaySource, Source

if TYPE_CHECKING:
    from meter_agent.sources.files.tables import Said

__all__ = ["LIVE_KINDS", "Reading", "ReplaySource", "Source", "SourceKind", "open_source"]


class SourceKind(enum.StrEnum):
    """What `[source] kind` in a meter's configuration can say."""

    CSV = "csv"
    CONSTRUCTED = "constructed"
    P1 = "p1"
    SML = "sml"
    HAN = "han"
    MODBUS = "modbus"
    PULSES = "pulses"
    TOPIC = "topic"


#: The kinds that read a device.
LIVE_KINDS = frozenset(SourceKind) - {SourceKind.CSV, SourceKind.CONSTRUCTED}


def open_source(
    kind: SourceKind | str,
    path: Path | None,
    meters: Sequence[str],
    *,
    first_round: int | None,
    last_round: int | None,
    interval_seconds: int,
    seed: int,
    said: Said = None,
) -> dict[str, ReplaySource]:
    """One source per meter; a file that serves several meters is read once.

    path, said: for `csv` only: the file, and what a person says of its table. first_round, last_round: what is kept in memory,
    both inclusive; None for no limit on that side. seed: for `constructed` only. ConfigurationError when the source cannot be
    used.
    """
    if kind == SourceKind.CONSTRUCTED:
        from meter_agent.sources.constructed import ConstructedHouseholds  # noqa: PLC0415 - as below

        households = ConstructedHouseholds(seed, interval_seconds)
        return {meter: households.household(meter) for meter in meters}
    if kind == SourceKind.CSV:
        if path is None:
            raise ConfigurationError("a source of kind csv needs a path")
        # Each meter has one kind of source, and no memory for the others.
        from meter_agent.sources.files.tables import read_table  # noqa: PLC0415

        return dict(read_table(path, said, meters, first_round, last_round, interval_seconds))
    known = ", ".join(each.value for each in SourceKind if each not in LIVE_KINDS)
    raise ConfigurationError(f"the source kind {kind} is unknown; known are {known}")
