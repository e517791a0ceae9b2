"""A cumulative register that something else publishes: Tasmota, Zigbee2MQTT, Home Assistant.

What a broker kept from before (retained) has no time that can be known, and is passed over; so is what would have waited in a
session: this one ends with its connection.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import AsyncGenerator
from decimal import Decimal, InvalidOperation

from hushgrid.config import read_token
from hushgrid.transport import MqttTransport
from meter_agent.config import TopicSection
from meter_agent.register import Doubt, Sample, SampleRefusedError, whole_watt_hours

_MOST_BYTES = 64 * 1024
_MOST_WATT_HOURS = 10**12


def read_payload(payload: bytes, section: TopicSection) -> Sample:
    """The registers in one message; SampleRefusedError."""
    if len(payload) > _MOST_BYTES:
        raise SampleRefusedError(Doubt.MALFORMED, "too long")
    try:
        content = json.loads(payload, parse_float=Decimal, parse_int=Decimal, parse_constant=_no_number)
    except (ValueError, RecursionError, InvalidOperation):
        raise SampleRefusedError(Doubt.MALFORMED, "no JSON and no number") from None
    exported = 0 if section.export_key is None else _register(content, section.export_key, section.unit)
    return Sample(_register(content, section.import_key, section.unit), exported)


def _no_number(name: str) -> object:
    raise ValueError(name)


def _register(content: object, key: str, unit: str) -> int:
    for step in key.split(".") if key else ():
        if not isinstance(content, dict) or step not in content:
            raise SampleRefusedError(Doubt.NO_REGISTER, f"no {key} in the payload")
        content = content[step]
    if not isinstance(content, Decimal) or not content.is_finite() or abs(content) > _MOST_WATT_HOURS:
        raise SampleRefusedError(Doubt.MALFORMED, f"{key or 'the payload'} is no number")
    return whole_watt_hours(content if unit == "kWh" else content / 1000)


class TopicDevice:
    """See the module."""

    def __init__(self, section: TopicSection) -> None:
        self.label = f"topic {section.topic} at {section.url}"
        self._section = section

    async def samples(self) -> AsyncGenerator[Sample | SampleRefusedError, None]:
        """One per message."""
        section = self._section
        transport = MqttTransport(
            section.url,
            f"hushgrid-meter-{secrets.token_hex(4)}",
            user=section.user,
            password=read_token(section.password_file),
            lasting=False,
        )
        async with transport:
            await transport.subscribe(section.topic)
            async for message in transport.messages():
                if message.retained:
                    continue
                try:
                    sample = read_payload(message.payload, section)
                except SampleRefusedError as error:
                    yield error
                else:
                    yield sample
