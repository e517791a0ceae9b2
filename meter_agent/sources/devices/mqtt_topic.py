"""A cumulative register that something else publishes: Tasmota, Zigbee2MQTT, Home Assistant.

What a broker kept from before (retained) has no time that can be known, and is passed over; so is what would have waited in a
session: this one ends with its connection.
"""

from __future__ import annotations

import itertools
import json
import re
import secrets
from collections.abc import AsyncGenerator, Iterator, Sequence
from decimal import Decimal, InvalidOperation

from hushgrid.shell.config import read_token
from hushgrid.shell.transport import MqttTransport
from meter_agent.sources.sample import Doubt, Sample, SampleRefusedError, whole_watt_hours
from meter_agent.sources.sections import TopicSection

_MOST_BYTES = 64 * 1024
_MOST_DIGITS = 15
_NUMBER = re.compile(r"[0-9]{1,15}(?:\.[0-9]{1,15})?", re.ASCII)


def read_payload(payload: bytes, section: TopicSection) -> Sample:
    """The registers in one message; SampleRefusedError."""
    if len(payload) > _MOST_BYTES:
        raise SampleRefusedError(Doubt.MALFORMED, "too long")
    try:
        content = json.loads(
            payload, parse_float=Decimal, parse_int=Decimal, parse_constant=_no_number, object_pairs_hook=_object
        )
    except (ValueError, RecursionError, InvalidOperation):
        raise SampleRefusedError(Doubt.MALFORMED, "no JSON and no number") from None
    exported = 0 if section.export_key is None else _register(content, section.export_key, section.unit)
    return Sample(_register(content, section.import_key, section.unit), exported)


def _no_number(name: str) -> object:
    raise ValueError(name)


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """ValueError for a name that occurs twice: which of them counts?"""
    names = dict(pairs)
    if len(names) < len(pairs):
        raise ValueError("a name occurs twice")
    return names


def _places(content: object, steps: Sequence[str]) -> Iterator[object]:
    """All that a key can mean: its steps name a member, whose name may have dots in it, or count in a list from 0."""
    if not steps:
        yield content
    elif isinstance(content, dict):
        for length in range(1, len(steps) + 1):
            name = ".".join(steps[:length])
            if name in content:
                yield from _places(content[name], steps[length:])
    elif isinstance(content, list) and steps[0].isascii() and steps[0].isdigit() and int(steps[0]) < len(content):
        yield from _places(content[int(steps[0])], steps[1:])


def _number(content: object, key: str) -> Decimal | None:
    """Programs also write numbers as text; the whole payload as one text is what they say when they know nothing."""
    if key and isinstance(content, str) and _NUMBER.fullmatch(content):
        return Decimal(content)
    return content if isinstance(content, Decimal) else None


def _register(content: object, key: str, unit: str) -> int:
    found = list(itertools.islice(_places(content, key.split(".") if key else ()), 2))
    if not found:
        raise SampleRefusedError(Doubt.NO_REGISTER, f"no {key} in the payload")
    if len(found) > 1:
        raise SampleRefusedError(Doubt.MALFORMED, f"{key} can be two things in the payload")
    content = _number(found[0], key)
    if content is None or not content.is_finite() or content.adjusted() > _MOST_DIGITS:
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
