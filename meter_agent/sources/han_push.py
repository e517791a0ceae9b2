"""A HAN port that pushes DLMS in HDLC frames (Norway, Sweden: Aidon, Kaifa, Kamstrup). Framing and decoding are amshan's."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Iterator

import construct
from han.autodecoder import AutoDecoder
from han.hdlc import HdlcFrame, HdlcFrameReader
from han.obis_map import FIELD_ACTIVE_POWER_EXPORT_TOTAL, FIELD_ACTIVE_POWER_IMPORT_TOTAL, FIELD_METER_ID

from meter_agent.register import Doubt, Sample, SampleRefusedError
from meter_agent.sources.byte_stream import Port

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
            try:
                sample = self._registers(frame)
            except (construct.ConstructError, ValueError, LookupError, TypeError, AttributeError, AssertionError):
                yield SampleRefusedError(Doubt.MALFORMED, "DLMS that cannot be decoded")
                continue
            if sample is not None:
                yield sample

    def _registers(self, frame: HdlcFrame) -> Sample | None:
        decoded = self._decoder.decode_message(frame)
        if decoded is None:
            raise ValueError("no decoder takes it")
        imported, exported = (
            decoded.get(name) for name in (FIELD_ACTIVE_POWER_IMPORT_TOTAL, FIELD_ACTIVE_POWER_EXPORT_TOTAL)
        )
        if imported is None and exported is None:
            return None
        return Sample(_whole(imported), _whole(exported), str(decoded.get(FIELD_METER_ID, "")))


def _whole(watt_hours: object) -> int:
    """Wh as the decoder gives them, rounded down; a register that the list does not have never counted anything."""
    if watt_hours is None:
        return 0
    if not isinstance(watt_hours, int | float):
        raise TypeError("a register is no number")
    return int(watt_hours // 1)


class HanDevice:
    """See the module."""

    def __init__(self, port: Port) -> None:
        self.label = f"HAN at {port.place}"
        self._port = port

    async def samples(self) -> AsyncGenerator[Sample | SampleRefusedError, None]:
        """One per list that carries registers."""
        reader = HanReader()
        async for piece in self._port.for_ever():
            if piece is None:
                reader = HanReader()
                continue
            for sample in reader.feed(piece):
                yield sample
