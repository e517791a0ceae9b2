"""An infrared head on an SML meter (Germany). Framing, checksum and decoding are pysml's."""

from __future__ import annotations

import logging
import re
from collections.abc import AsyncGenerator, Iterator
from decimal import Decimal

from sml import SmlBase, SmlParserError

from meter_agent.sources.devices.byte_stream import Port
from meter_agent.sources.obis import Direction, NamedRegisters
from meter_agent.sources.sample import Doubt, Sample, SampleRefusedError

#: Longer than any SML file of a meter; what is not finished by then is noise.
_MOST_BYTES = 16 * 1024
_BEGIN = b"\x1b\x1b\x1b\x1b\x01\x01\x01\x01"
_REGISTER = re.compile(r"1-([0-9]{1,3}):([12])\.8\.([0-9]{1,3})\*([0-9]{1,3})")
#: Of a register as it is now; others are of the past.
_NOW = "255"
# Its debug lines hold what the meter says.
logging.getLogger("sml").setLevel(logging.WARNING)


class SmlReader:
    """Cuts a stream into SML files and takes the registers out of them. No I/O."""

    def __init__(self) -> None:
        self._buffer = b""

    def feed(self, received: bytes) -> Iterator[Sample | SampleRefusedError]:
        """What is now complete."""
        self._buffer += received
        while True:
            try:
                end, frame = SmlBase.find_frame(self._buffer)
            except (SmlParserError, ValueError, LookupError, TypeError, AttributeError, AssertionError) as error:
                yield self._pass_over(error)
                continue
            self._buffer = self._buffer[end:]
            if frame is not None:
                yield _registers(frame)
            elif end:
                yield SampleRefusedError(Doubt.CHECKSUM)
            else:
                break
        self._buffer = self._buffer[-_MOST_BYTES:]

    def _pass_over(self, error: Exception) -> SampleRefusedError:
        """Go on behind the beginning of a file that cannot be decoded: the next one may be sound."""
        self._buffer = self._buffer[self._buffer.index(_BEGIN) + len(_BEGIN) :]
        if str(error) == "CRC16 mismatch":
            return SampleRefusedError(Doubt.CHECKSUM, "of a message within the SML file")
        return SampleRefusedError(Doubt.MALFORMED, "SML that cannot be decoded")


def _registers(frame: list[dict[str, object]]) -> Sample | SampleRefusedError:
    """Of the first list that names an energy register."""
    for message in frame:
        body = message.get("messageBody")
        if not isinstance(body, dict) or "valList" not in body:
            continue
        registers, past = NamedRegisters(), set[Direction]()
        try:
            for entry in body["valList"]:
                named = _REGISTER.fullmatch(str(entry.get("objName", "")))
                if named is not None and named[4] == _NOW:
                    registers.add(Direction(int(named[2])), int(named[3]), _watt_hours(entry), named[1])
                elif named is not None:
                    past.add(Direction(int(named[2])))
            if registers or past:
                registers.refuse_only_past(past)
                seconds = body.get("actSensorTime")
                own_time = float(seconds) if isinstance(seconds, int | float) else None
                return registers.sample(str(body.get("serverId", "")), own_time)
        except SampleRefusedError as error:
            return error
    return SampleRefusedError(Doubt.NO_REGISTER, "no electricity register in the SML file")


def _watt_hours(entry: dict[str, object]) -> Decimal | None:
    """What an entry counts; None when it has no value, or one that is no number of Wh."""
    value = entry.get("value")
    if entry.get("unit") != "Wh" or isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return Decimal(str(value))


class SmlDevice:
    """See the module."""

    def __init__(self, port: Port) -> None:
        self.label = f"SML at {port.place}"
        self.port = port

    async def samples(self) -> AsyncGenerator[Sample | SampleRefusedError, None]:
        """One per SML file."""
        reader = SmlReader()
        async for piece in self.port.for_ever():
            if piece is None:
                reader = SmlReader()
                continue
            for sample in reader.feed(piece):
                yield sample
