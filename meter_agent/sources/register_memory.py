"""What a live source remembers on disk: per round, the register it began with and, once it ended, its energy.

One write per round and none per sample, so that a flash card lasts; a power cut loses at most the round under way. A round is
closed once, for ever: with its energy or as a gap. The file holds readings in clear, for its owner's eyes only.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hushgrid.errors import ConfigurationError
from hushgrid.shell.database import Database
from meter_agent.sources.device_clock import ClockHeard
from meter_agent.sources.register import Crossing, OpeningSample
from meter_agent.sources.sample import Sample

_MIGRATIONS = (
    """
    CREATE TABLE round (
        number INTEGER PRIMARY KEY, import_watt_hours INTEGER, export_watt_hours INTEGER, device TEXT,
        closed INTEGER NOT NULL DEFAULT 0, watt_hours INTEGER
    );
    CREATE TABLE grid (interval_seconds INTEGER NOT NULL)
    """,
    """
    CREATE TABLE heard (
        import_watt_hours INTEGER NOT NULL, export_watt_hours INTEGER NOT NULL, device TEXT NOT NULL,
        device_seconds REAL NOT NULL, at_seconds REAL, goes INTEGER NOT NULL
    )
    """,
)


@dataclass(frozen=True, slots=True, repr=False)
class Closed:
    """A round that has ended. watt_hours: None for a gap."""

    round: int
    watt_hours: int | None


class RegisterMemory:
    """Durable; see the module. keep_rounds: how many rounds stay."""

    def __init__(self, path: Path, interval_seconds: int, keep_rounds: int) -> None:
        self._database = Database(path, _MIGRATIONS)
        self._keep_rounds = keep_rounds
        rows = self._database.query("SELECT interval_seconds FROM grid")
        if not rows:
            self._database.execute("INSERT INTO grid VALUES (?)", interval_seconds)
        elif rows[0][0] != interval_seconds:
            raise ConfigurationError(
                f"{path}: it remembers rounds of {rows[0][0]} s, the grid's rounds last {interval_seconds} s; move it away"
            )

    def opening(self) -> OpeningSample | None:
        """The newest round, unless it is closed."""
        rows = self._database.query(
            "SELECT number, import_watt_hours, export_watt_hours, device, closed FROM round ORDER BY number DESC LIMIT 1"
        )
        if not rows or rows[0][4]:
            return None
        number, imported, exported, device, _ = rows[0]
        return OpeningSample(number, Sample(imported, exported, device))

    def heard(self) -> ClockHeard | None:
        """What the meter's own clock had said when a round last began; None from a meter that tells no time."""
        rows = self._database.query(
            "SELECT import_watt_hours, export_watt_hours, device, device_seconds, at_seconds, goes FROM heard"
        )
        if not rows:
            return None
        imported, exported, device, device_seconds, at_seconds, goes = rows[0]
        return ClockHeard(Sample(imported, exported, device, device_seconds), at_seconds, bool(goes))

    def closed(self, round_number: int) -> Closed | None:
        """What is settled about a round; None while it is open or unknown."""
        rows = self._database.query("SELECT watt_hours FROM round WHERE number = ? AND closed", round_number)
        return Closed(round_number, rows[0][0]) if rows else None

    def cross(self, crossing: Crossing) -> None:
        """Write a boundary down: the round it closes, the one it opens. What is closed already stays as it is."""
        with self._database.transaction():
            if crossing.closed is not None:
                self._database.execute(
                    "UPDATE round SET closed = 1, watt_hours = ? WHERE number = ? AND NOT closed",
                    crossing.watt_hours,
                    crossing.closed,
                )
            if crossing.opening is not None:
                number, sample = crossing.opening.round, crossing.opening.sample
                self._database.execute(
                    "INSERT INTO round (number, import_watt_hours, export_watt_hours, device) VALUES (?, ?, ?, ?) "
                    "ON CONFLICT (number) DO UPDATE SET import_watt_hours = excluded.import_watt_hours, "
                    "export_watt_hours = excluded.export_watt_hours, device = excluded.device WHERE NOT closed",
                    number,
                    sample.import_watt_hours,
                    sample.export_watt_hours,
                    sample.device,
                )
                self._database.execute("DELETE FROM round WHERE number < ?", number - self._keep_rounds)
                self._hear(crossing.opening.heard)

    def _hear(self, heard: ClockHeard | None) -> None:
        self._database.execute("DELETE FROM heard")
        if heard is not None:
            sample = heard.sample
            self._database.execute(
                "INSERT INTO heard VALUES (?, ?, ?, ?, ?, ?)",
                sample.import_watt_hours, sample.export_watt_hours, sample.device, sample.device_seconds, heard.at_seconds,
                heard.goes,
            )  # fmt: skip

    def close_as_gap(self, round_number: int) -> Closed:
        """Settle a round that nobody saw the end of; returns what is settled."""
        self._database.execute(
            "INSERT INTO round (number, closed) VALUES (?, 1) ON CONFLICT (number) DO UPDATE SET closed = 1 WHERE NOT closed",
            round_number,
        )
        settled = self.closed(round_number)
        assert settled is not None  # noqa: S101 - the statement above made it so
        return settled

    def rounds(self) -> list[Closed]:
        """All that is settled, oldest first."""
        rows = self._database.query("SELECT number, watt_hours FROM round WHERE closed ORDER BY number")
        return [Closed(number, watt_hours) for number, watt_hours in rows]

    def close(self) -> None:
        """Close the store."""
        self._database.close()
