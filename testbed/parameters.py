"""What a person can choose about a testbed, checked before anything is started."""

from __future__ import annotations

import dataclasses
import datetime as dt
from dataclasses import dataclass
from pathlib import Path

from hushgrid.errors import ConfigurationError
from hushgrid.field import check_modulus, choose_modulus, is_prime
from hushgrid.plan import Recovery
from testbed.broker import check_choice


@dataclass(frozen=True, slots=True)
class Parameters:
    """One run. round_seconds: None for auto; data: None for constructed households; windows: the consumers take them in turn.

    kills: (agent id, round counted from 1) of processes to be killed (SIGKILL) when that round has been played.
    """

    meters: int = 100
    ppns: int = 5
    consumers: int = 3
    threshold: int = 3
    width: int = 4
    rounds: int = 8
    windows: tuple[int, ...] = (1, 2)
    round_seconds: float | None = None
    minimum_contributors: int = 15
    recovery: Recovery = Recovery.AGREE
    loss: float = 0.0
    seed: int = 1
    data: Path | None = None
    start: dt.datetime | None = None
    broker: str = "auto"
    port: int | None = None
    process_per_meter: bool = False
    epoch_rounds: int = 336
    modulus: int | None = None
    reading_bound_watt_hours: int = 100_000
    kills: tuple[tuple[str, int], ...] = ()

    def check(self) -> None:
        """ConfigurationError with one line for what cannot be played."""
        for name in (
            "meters",
            "ppns",
            "consumers",
            "threshold",
            "width",
            "rounds",
            "minimum_contributors",
            "epoch_rounds",
        ):
            if getattr(self, name) < 1:
                raise ConfigurationError(f"--{name.replace('_', '-')} must be at least 1")
        if self.threshold > self.width:
            raise ConfigurationError(f"--threshold {self.threshold} exceeds --width {self.width}")
        if self.width > self.ppns:
            raise ConfigurationError(
                f"--width {self.width} exceeds --ppns {self.ppns}: every share goes to a PPN of its own"
            )
        if self.recovery is not Recovery.NONE and 2 * self.threshold <= self.width:
            raise ConfigurationError(
                f"--threshold {self.threshold} is not above half of --width {self.width}: allowed with --recovery none only"
            )
        if self.recovery is Recovery.REPAIR:
            raise ConfigurationError("--recovery repair is not built yet: use agree or none")
        if not 0 <= self.loss <= 1:
            raise ConfigurationError(f"--loss {self.loss} is outside 0 to 1")
        if not self.windows or min(self.windows) < 1:
            raise ConfigurationError("--window takes whole numbers from 1, separated by commas")
        if self.round_seconds is not None and self.round_seconds <= 0:
            raise ConfigurationError("--round-seconds must be positive, or auto")
        if self.port is not None and not 1 <= self.port <= 65535:
            raise ConfigurationError(f"--port {self.port} is outside 1 to 65535")
        self._check_modulus()
        check_choice(self.broker)

    def _check_modulus(self) -> None:
        if self.modulus is None:
            return
        if not is_prime(self.modulus):
            raise ConfigurationError(f"--modulus {self.modulus} is not prime")
        check_modulus(self.modulus, self.meters, max(self.windows), self.reading_bound_watt_hours)

    @property
    def modulus_in_force(self) -> int:
        """q: the one given, or the smallest known that is large enough."""
        return self.modulus or choose_modulus(self.meters, max(self.windows), self.reading_bound_watt_hours)

    def as_json(self) -> dict[str, object]:
        """For the report."""
        shown = dataclasses.asdict(self)
        shown |= {
            "windows": list(self.windows),
            "recovery": self.recovery.value,
            "data": str(self.data) if self.data else None,
            "start": self.start.isoformat() if self.start else None,
            "modulus": str(self.modulus_in_force),
            "kills": [f"{agent}@{round_number}" for agent, round_number in self.kills],
            "round_seconds": self.round_seconds or "auto",
        }
        return shown
