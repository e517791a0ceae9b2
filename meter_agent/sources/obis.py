"""What a meter names of its energy registers (OBIS), and what it has counted by them.

Absent, there but not understood, and zero are three things. Per direction the total register counts, else the sum of the
tariffs. A register that is there and not understood refuses the sample. A direction that the meter does not name at all
never counted anything: only that is zero.
"""

from __future__ import annotations

import enum
from collections.abc import Collection
from dataclasses import dataclass, field
from decimal import ROUND_FLOOR, Decimal

from meter_agent.sources.sample import MOST_WATT_HOURS, Doubt, Sample, SampleRefusedError

#: The tariff that stands for the total (OBIS value group E).
TOTAL = 0


class Direction(enum.IntEnum):
    """Which way energy went (OBIS value group C of active energy)."""

    IMPORT = 1
    EXPORT = 2


@dataclass(slots=True)
class NamedRegisters:
    """The energy registers of one message, as they are found in it."""

    _found: dict[tuple[Direction, int], Decimal | None] = field(default_factory=dict)
    _channel: str | None = None
    _step: Decimal = Decimal(1)

    def add(
        self,
        direction: Direction,
        tariff: int,
        watt_hours: Decimal | None,
        channel: str = "",
        step_watt_hours: Decimal = Decimal(1),
    ) -> None:
        """One register. watt_hours: None when it is there and not understood. channel: OBIS value group B, "" for none.
        step_watt_hours: the last digit that it is told to.

        SampleRefusedError(MALFORMED) when it occurs twice, or beside one of another channel: which of them counts?
        """
        if self._channel not in (None, channel):
            raise SampleRefusedError(Doubt.MALFORMED, "registers of two channels")
        if (direction, tariff) in self._found:
            raise SampleRefusedError(Doubt.MALFORMED, "a register occurs twice")
        self._channel = channel
        understood = watt_hours is not None and watt_hours.is_finite() and abs(watt_hours) < MOST_WATT_HOURS
        self._found[direction, tariff] = watt_hours if understood else None
        self._step = max(self._step, step_watt_hours)

    def __bool__(self) -> bool:
        return bool(self._found)

    def refuse_only_past(self, past: Collection[Direction]) -> None:
        """past: directions whose registers of past periods are named. SampleRefusedError where those of now are not."""
        for direction in past:
            if all(which is not direction for which, _ in self._found):
                raise SampleRefusedError(Doubt.MALFORMED, f"register {direction.value}.8 is named for the past only")

    def sample(self, device: str, device_seconds: float | None = None) -> Sample:
        """What the meter has counted; SampleRefusedError as the module says."""
        if not self._found:
            raise SampleRefusedError(Doubt.NO_REGISTER, "no electricity register in it")
        imported, exported = self._counted(Direction.IMPORT), self._counted(Direction.EXPORT)
        return Sample(imported, exported, device, device_seconds, int(self._step))

    def _counted(self, direction: Direction) -> int:
        """Whole Wh, rounded down."""
        tariffs = {tariff: found for (which, tariff), found in self._found.items() if which is direction}
        counting = {TOTAL: tariffs[TOTAL]} if TOTAL in tariffs else tariffs
        understood = [watt_hours for watt_hours in counting.values() if watt_hours is not None]
        if len(understood) < len(counting):
            name = f"{direction.value}.8.{next(tariff for tariff, found in counting.items() if found is None)}"
            raise SampleRefusedError(Doubt.MALFORMED, f"register {name} is there and says nothing that is understood")
        return int(sum(understood, Decimal(0)).to_integral_value(ROUND_FLOOR))
