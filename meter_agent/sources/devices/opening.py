"""The device that a configuration names. Each kind's library is loaded only where that kind is configured."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar, runtime_checkable

from hushgrid.errors import ConfigurationError
from hushgrid.extras import not_installed
from meter_agent.sources import SourceKind
from meter_agent.sources.devices.byte_stream import Line, Port
from meter_agent.sources.devices.scaled import ScaledDevice
from meter_agent.sources.guard import Device
from meter_agent.sources.sections import ModbusProfile, Parity, SourceSection

# ruff: noqa: PLC0415 - see the module

Given = TypeVar("Given")

_P1_BAUD_RATE, _P1_OLD_BAUD_RATE = 115_200, 9_600
_SML_BAUD_RATE, _HAN_BAUD_RATE = 9_600, 2_400
_MODBUS_BAUD_RATES = {ModbusProfile.SDM120: 2_400, ModbusProfile.SDM630: 9_600}


def open_device(section: SourceSection) -> Device:
    """The device, not touched yet. ConfigurationError when what it needs is missing; KeyError for a kind that is none."""
    try:
        device = _OPENERS[section.kind](section)
        return device if section.factor is None else ScaledDevice(device, section.factor)
    except ModuleNotFoundError as error:
        raise not_installed(f"source.kind {section.kind.value}", error, "meters") from None


@runtime_checkable
class _OnAPort(Protocol):
    port: Port


def port_of(device: Device) -> Port | None:
    """Where the device is; None for one that has no port."""
    while isinstance(device, ScaledDevice):
        device = device.device
    return device.port if isinstance(device, _OnAPort) else None


def _given(value: Given | None, name: str) -> Given:
    if value is None:
        raise ConfigurationError(f"source.{name} is missing")
    return value


def _port(section: SourceSection, baud_rate: int, data_bits: int = 8, parity: Parity = Parity.NONE) -> Port:
    """Of the settings given: what is usual for the kind, where they say nothing."""
    line = Line(section.baud_rate or baud_rate, section.data_bits or data_bits, section.parity or parity)
    return Port(_given(section.port, "port"), line)


def _p1(section: SourceSection) -> Device:
    from meter_agent.sources.devices.p1 import P1Device

    if section.crc == "absent":  # DSMR 2.2 and 3, and the Q3D: an older, slower line
        return P1Device(_port(section, _P1_OLD_BAUD_RATE, 7, Parity.EVEN), crc_absent=True)
    return P1Device(_port(section, _P1_BAUD_RATE), crc_absent=False)


def _sml(section: SourceSection) -> Device:
    from meter_agent.sources.devices.sml_head import SmlDevice

    return SmlDevice(_port(section, _SML_BAUD_RATE))


def _han(section: SourceSection) -> Device:
    from meter_agent.sources.devices.han_push import HanDevice

    return HanDevice(_port(section, _HAN_BAUD_RATE, parity=Parity.EVEN))


def _modbus(section: SourceSection) -> Device:
    from meter_agent.sources.devices.modbus import ModbusDevice

    modbus = _given(section.modbus, "modbus")
    return ModbusDevice(_port(section, _MODBUS_BAUD_RATES[modbus.profile]), modbus)


def _pulses(section: SourceSection) -> Device:
    from meter_agent.sources.devices.pulses import PulsesDevice

    return PulsesDevice(_given(section.pulses, "pulses"))


def _topic(section: SourceSection) -> Device:
    from meter_agent.sources.devices.mqtt_topic import TopicDevice

    return TopicDevice(_given(section.topic, "topic"))


_OPENERS: dict[SourceKind, Callable[[SourceSection], Device]] = {
    SourceKind.P1: _p1,
    SourceKind.SML: _sml,
    SourceKind.HAN: _han,
    SourceKind.MODBUS: _modbus,
    SourceKind.PULSES: _pulses,
    SourceKind.TOPIC: _topic,
}
