"""The device that a configuration names. Each kind's library is loaded only where that kind is configured."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from hushgrid.errors import ConfigurationError
from meter_agent.config import ModbusProfile, SourceSection
from meter_agent.sources import SourceKind
from meter_agent.sources.byte_stream import Line, Port
from meter_agent.sources.live import Device

# ruff: noqa: PLC0415 - see the module

Given = TypeVar("Given")

_P1_BAUD_RATE, _P1_OLD_BAUD_RATE = 115_200, 9_600
_SML_BAUD_RATE, _HAN_BAUD_RATE = 9_600, 2_400
_MODBUS_BAUD_RATES = {ModbusProfile.SDM120: 2_400, ModbusProfile.SDM630: 9_600}


def open_device(section: SourceSection) -> Device:
    """The device, not touched yet. ConfigurationError when what it needs is missing; KeyError for a kind that is none."""
    try:
        return _OPENERS[section.kind](section)
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"source.kind {section.kind.value} needs the extra hushgrid[meters]: {error.name} is not installed"
        ) from None


def _given(value: Given | None, name: str) -> Given:
    if value is None:
        raise ConfigurationError(f"source.{name} is missing")
    return value


def _port(section: SourceSection, baud_rate: int, data_bits: int = 8, *, even_parity: bool = False) -> Port:
    return Port(_given(section.port, "port"), Line(section.baud_rate or baud_rate, data_bits, even_parity))


def _p1(section: SourceSection) -> Device:
    from meter_agent.sources.p1 import P1Device

    if section.crc == "absent":  # DSMR 2.2 and 3, and the Q3D: an older, slower line
        return P1Device(_port(section, _P1_OLD_BAUD_RATE, 7, even_parity=True), crc_absent=True)
    return P1Device(_port(section, _P1_BAUD_RATE), crc_absent=False)


def _sml(section: SourceSection) -> Device:
    from meter_agent.sources.sml_head import SmlDevice

    return SmlDevice(_port(section, _SML_BAUD_RATE))


def _han(section: SourceSection) -> Device:
    from meter_agent.sources.han_push import HanDevice

    return HanDevice(_port(section, _HAN_BAUD_RATE, even_parity=True))


def _modbus(section: SourceSection) -> Device:
    from meter_agent.sources.modbus import ModbusDevice

    modbus = _given(section.modbus, "modbus")
    return ModbusDevice(_port(section, _MODBUS_BAUD_RATES[modbus.profile]), modbus)


def _pulses(section: SourceSection) -> Device:
    from meter_agent.sources.pulses import PulsesDevice

    return PulsesDevice(_given(section.pulses, "pulses"))


def _topic(section: SourceSection) -> Device:
    from meter_agent.sources.mqtt_topic import TopicDevice

    return TopicDevice(_given(section.topic, "topic"))


_OPENERS: dict[SourceKind, Callable[[SourceSection], Device]] = {
    SourceKind.P1: _p1,
    SourceKind.SML: _sml,
    SourceKind.HAN: _han,
    SourceKind.MODBUS: _modbus,
    SourceKind.PULSES: _pulses,
    SourceKind.TOPIC: _topic,
}
