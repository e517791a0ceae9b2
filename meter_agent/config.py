"""Configuration of a meter."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from hushgrid.config import PaceMode, RoleConfig
from hushgrid.link_settings import LinkSection
from hushgrid.plan import Model
from meter_agent.sources import LIVE_KINDS, SourceKind

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
    topic: Annotated[str, Field(pattern=r"^[^#+\x00]{1,200}$")]
    import_key: str = ""
    export_key: str | None = None
    unit: Literal["kWh", "Wh"] = "kWh"
    user: Annotated[str, Field(pattern=r"^[ -~]{1,64}$")] | None = None
    password_file: Path | None = None


class SourceSection(Model):
    """Where readings come from. path: for csv; meter: its name in the file, where that is not the agent's id; from_now: move the
    file's first round to the coming one; seed: for constructed households; last_round: of a replay, to spare memory.

    port: of a real meter, /dev/... or tcp://host:port. baud_rate: None for what is usual. crc: absent believes P1 telegrams
    without a checksum.
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
    crc: Literal["required", "absent"] = "required"
    modbus: ModbusSection | None = None
    pulses: PulsesSection | None = None
    topic: TopicSection | None = None

    @property
    def live(self) -> bool:
        """Whether a device is read."""
        return self.kind in LIVE_KINDS

    @model_validator(mode="after")
    def _complete(self) -> SourceSection:
        for name in _NEEDED.get(self.kind, ()):
            if getattr(self, name) is None:
                raise ValueError(f"a source of kind {self.kind.value} needs source.{name}")
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


class OutboxSection(Model):
    """How what is not acknowledged is sent again. envelope_positions: most shares in one envelope."""

    repeat_seconds: Annotated[float, Field(gt=0)] = 2.0
    repeat_most_seconds: Annotated[float, Field(gt=0)] = 60.0
    envelope_positions: Annotated[int, Field(ge=1, le=4096)] = 250


class MeterConfig(RoleConfig):
    """`hushgrid-meter --config FILE.toml`: one meter on a connection of its own."""

    source: SourceSection = SourceSection()
    registers: RegistersSection = RegistersSection()
    outbox: OutboxSection = OutboxSection()
    link: LinkSection = LinkSection()

    @model_validator(mode="after")
    def _by_the_clock(self) -> MeterConfig:
        if self.source.live and self.pace.mode is not PaceMode.UTC:
            raise ValueError(f"a source of kind {self.source.kind.value} needs pace.mode utc")
        return self
