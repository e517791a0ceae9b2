"""A HAN port that pushes DLMS in HDLC frames (Norway, Sweden: Aidon, Kaifa, Kamstrup). Framing and decoding are amshan's."""

from __future__ import annotations

import datetime as dt
import logging
import re
from collections.abc import AsyncGenerator, Iterator
from decimal import Decimal

import construct
from han.autodecoder import AutoDecoder
from han.hdlc import HdlcFrame, HdlcFrameReader
from han.obis_map import (
    FIELD_ACTIVE_POWER_EXPORT_TOTAL,
    FIELD_ACTIVE_POWER_IMPORT_TOTAL,
    FIELD_METER_DATETIME,
    FIELD_METER_ID,
)

from meter_agent.sources.devices import ciphered
from meter_agent.sources.devices.byte_stream import Port
from meter_agent.sources.devices.ciphered import CIPHERED
from meter_agent.sources.obis import TOTAL, Direction, NamedRegisters
from meter_agent.sources.sample import Doubt, Sample, SampleRefusedError

_REGISTERS = {
    Direction.IMPORT: FIELD_ACTIVE_POWER_IMPORT_TOTAL,
    Direction.EXPORT: FIELD_ACTIVE_POWER_EXPORT_TOTAL,
}
#: What amshan calls a register that it has no name for.
_TARIFF = re.compile(r"([12])\.8\.([0-9]{1,3})")
# Its warnings and debug lines hold what the meter says.
logging.getLogger("han").setLevel(logging.CRITICAL)


class HanReader:
    """Cuts a stream into frames and takes the registers out of those that have them: one list in many. No I/O."""

    def __init__(self) -> None:
        self._frames = HdlcFrameReader(use_octet_stuffing=False)
        self._decoder = AutoDecoder()

    def feed(self, received: bytes) -> Iterator[Sample | SampleRefusedError]:
        """What is now complete; lists of power and voltage, which carry no register, say nothing."""
        for frame in self._frames.read(received):
            if len(frame) <= 1:
                continue
            if not (frame.is_good_ffc and frame.is_expected_length):
                yield SampleRefusedError(Doubt.CHECKSUM)
                continue
            if CIPHERED.search(frame.payload or b""):
                yield ciphered.refusal()
                continue
            try:
                sample = self._registers(frame)
            except SampleRefusedError as error:
                yield error
                continue
            except (construct.ConstructError, ValueError, LookupError, TypeError, AttributeError, AssertionError):
                yield SampleRefusedError(Doubt.MALFORMED, "DLMS that cannot be decoded")
                continue
            if sample is not None:
                yield sample

    def _registers(self, frame: HdlcFrame) -> Sample | None:
        decoded = self._decoder.decode_message(frame)
        if decoded is None:
            raise ValueError("no decoder takes it")
        registers = NamedRegisters()
        for direction, name in _REGISTERS.items():
            if name in decoded:
                registers.add(direction, TOTAL, _watt_hours(decoded[name]))
        for name, value in decoded.items():
            tariff = _TARIFF.fullmatch(name)
            if tariff is not None:
                registers.add(Direction(int(tariff[1])), int(tariff[2]), _watt_hours(value))
        if not registers:
            return None
        moment = decoded.get(FIELD_METER_DATETIME)
        own_time = moment.timestamp() if isinstance(moment, dt.datetime) else None
        return registers.sample(str(decoded.get(FIELD_METER_ID, "")), own_time)


def _watt_hours(value: object) -> Decimal | None:
    """Wh as the decoder gives them; None for what is no number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return Decimal(str(value))


class HanDevice:
    """See the module."""

    def __init__(self, port: Port) -> None:
        self.label = f"HAN at {port.place}"
        self.port = port

    async def samples(self) -> AsyncGenerator[Sample | SampleRefusedError, None]:
        """One per list that carries registers."""
        reader = HanReader()
        async for piece in self.port.for_ever():
            if piece is None:
                reader = HanReader()
                continue
            for sample in reader.feed(piece):
                yield sample
