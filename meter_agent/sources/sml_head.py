"""An infrared head on an SML meter (Germany). Framing, checksum and decoding are pysml's."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Iterator
from decimal import Decimal

from sml import SmlBase, SmlParserError

from meter_agent.register import Doubt, Sample, SampleRefusedError, whole_watt_hours
from meter_agent.sources.byte_stream import Port

#: Longer than any SML file of a meter; what is not finished by then is noise.
_MOST_BYTES = 16 * 1024
_IMPORT, _EXPORT = "1-0:1.8.0*255", "1-0:2.8.0*255"
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
            except (
                SmlParserError,
                ValueError,
                LookupError,
                TypeError,
                AttributeError,
                AssertionError,
            ):
                self._buffer = b""
                yield SampleRefusedError(Doubt.MALFORMED, "SML that cannot be decoded")
                return
            self._buffer = self._buffer[end:]
            if frame is not None:
                yield _registers(frame)
            elif end:
                yield SampleRefusedError(Doubt.CHECKSUM)
            else:
                break
        self._buffer = self._buffer[-_MOST_BYTES:]


def _registers(frame: list[dict[str, object]]) -> Sample | SampleRefusedError:
    for message in frame:
        body = message.get("messageBody")
        if not isinstance(body, dict) or "valList" not in body:
            continue
        found = {
            entry["objName"]: Decimal(str(entry["value"]))
            for entry in body["valList"]
            if entry.get("objName") in (_IMPORT, _EXPORT) and entry.get("unit") == "Wh"
        }
        if found:
            imported, exported = (whole_watt_hours(found.get(name, Decimal(0)) / 1000) for name in (_IMPORT, _EXPORT))
            return Sample(imported, exported, str(body.get("serverId", "")))
    return SampleRefusedError(Doubt.NO_REGISTER, "no electricity register in the SML file")


class SmlDevice:
    """See the module."""

    def __init__(self, port: Port) -> None:
        self.label = f"SML at {port.place}"
        self._port = port

    async def samples(self) -> AsyncGenerator[Sample | SampleRefusedError, None]:
        """One per SML file."""
        reader = SmlReader()
        async for piece in self._port.for_ever():
            if piece is None:
                reader = SmlReader()
                continue
            for sample in reader.feed(piece):
                yield sample
