"""What a meter's configuration says of its source and of what is believed of its registers."""

from __future__ import annotations

import enum
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from hushgrid.wire.model import Model
from meter_agent.sources import LIVE_KINDS, SourceKind
from meter_agent.sources.files.meanings import Label, Quantity

#: What the kinds for real meters must be told besides their name.
_NEEDED: dict[SourceKind, tuple[str, ...]] = {
    SourceKind.P1: ("port",),
    SourceKind.SML: ("port",),
    SourceKind.HAN: ("port",),
    SourceKind.MODBUS: ("port", "modbus"),
    SourceKind.PULSES: ("pulses",),
    SourceKind.TOPIC: ("topic",),
}


class ModbusProfile(enum.StrEnum):
    """Which registers a Modbus meter has."""

    SDM120 = "sdm120"
    SDM630 = "sdm630"


class Parity(enum.StrEnum):
    """The bit that checks a byte of a serial line."""

    NONE = "none"
    EVEN = "even"
    ODD = "odd"


class ModbusSection(Model):
    """A Modbus meter of the Eastron class. unit: its address on the line."""

    profile: ModbusProfile
    unit: Annotated[int, Field(ge=1, le=247)] = 1
    poll_seconds: Annotated[float, Field(ge=0.5, le=60)] = 5.0


class PulsesSection(Model):
    """A meter's S0 output on a pin. pin: its BCM number. exports: the pulses count feed-in."""

    pin: Annotated[int, Field(ge=0, le=27)]
    pulses_per_kwh: Annotated[int, Field(ge=1, le=100_000)] = 1000
    exports: bool = False


class TopicSection(Model):
    """A cumulative register that something else publishes on a broker of its own.

    topic: what to subscribe to, no wildcards. import_key, export_key: where in the JSON payload the registers are
    ("ENERGY.Total"); "" for a payload that is just the number. unit: of the registers. user, password_file: for that broker.
    """

    url: str
    topic: Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^#+\x00]*$")]  # {1,200} takes 0.3 MiB, twice
    import_key: str = ""
    export_key: str | None = None
    unit: Literal["kWh", "Wh"] = "kWh"
    user: Annotated[str, Field(pattern=r"^[ -~]{1,64}$")] | None = None
    password_file: Path | None = None


class CsvSection(Model):
    """How the table of a csv source is to be read, with the names and meanings of `hushgrid convert`. Of the export of a known
    portal, only what differs.
    """

    time: Annotated[tuple[str, ...], Field(min_length=1, max_length=2)] | None = None
    energy: str | None = None
    feed_in: str | None = None
    meter: str | None = None
    unit: Literal["Wh", "kWh", "MWh", "W", "kW"] | None = None
    unit_column: str | None = None
    quantity: Quantity | None = None
    label: Label | None = None
    zone: str | None = None
    formats: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    step_seconds: Annotated[int, Field(ge=1)] | None = None
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] | None = None
    decimal_comma: bool | None = None
    encoding: str | None = None
    most_watts: Annotated[int, Field(ge=1)] | None = None


class SourceSection(Model):
    """Where readings come from. path: for csv; meter: its name in the file, where that is not the agent's id; from_now: move the
    file's first round to the coming one; seed: for constructed households; last_round: of a replay, to spare memory.

    port: of a real meter, /dev/... or tcp://host:port. baud_rate, data_bits, parity: None for what is usual. factor: what the
    meter's registers are multiplied with: a transformer ratio, or a unit that is not the usual one. crc: absent believes P1
    telegrams without a checksum.
    """

    kind: SourceKind = SourceKind.CSV
    path: Path | None = None
    meter: str | None = None
    from_now: bool = False
    seed: int = 1
    first_round: int | None = None
    last_round: int | None = None
    port: str | None = None
    baud_rate: Annotated[int, Field(ge=300, le=4_000_000)] | None = None
    data_bits: Literal[7, 8] | None = None
    parity: Parity | None = None
    factor: Annotated[Decimal, Field(gt=0, le=100_000, max_digits=12)] | None = None
    crc: Literal["required", "absent"] = "required"
    modbus: ModbusSection | None = None
    pulses: PulsesSection | None = None
    topic: TopicSection | None = None
    csv: CsvSection | None = None

    @property
    def described(self) -> dict[str, Any] | None:
        """What is said of a csv source's table; None for one of hushgrid's own formats."""
        return None if self.csv is None else self.csv.model_dump(exclude_none=True)

    @property
    def live(self) -> bool:
        """Whether a device is read."""
        return self.kind in LIVE_KINDS

    @model_validator(mode="after")
    def _complete(self) -> SourceSection:
        for name in _NEEDED.get(self.kind, ()):
            if getattr(self, name) is None:
                raise ValueError(f"a source of kind {self.kind.value} needs source.{name}")
        if self.factor is not None and not self.live:
            raise ValueError(f"source.factor: a source of kind {self.kind.value} has no registers")
        if self.csv is not None and self.kind is not SourceKind.CSV:
            raise ValueError(f"source.csv: a source of kind {self.kind.value} reads no file")
        if self.crc == "absent" and self.kind is not SourceKind.P1:
            raise ValueError(f"source.crc: a source of kind {self.kind.value} never goes without a checksum")
        return self


class RegistersSection(Model):
    """What is believed of a real meter's registers. tolerance_seconds: how late the first sample of a round may be;
    largest_watts: more than the house's connection carries; exchange_seconds: how long a meter without a serial number must
    contradict its past before it is another one; keep_days: how long rounds are remembered.
    """

    tolerance_seconds: Annotated[float, Field(gt=0, le=600)] = 30.0
    largest_watts: Annotated[int, Field(ge=100)] = 100_000
    exchange_seconds: Annotated[float, Field(ge=0)] = 600.0
    keep_days: Annotated[int, Field(ge=1, le=400)] = 40
    require_synchronised_clock: bool = True
