"""A DSMR P1 port, on a serial cable or a network reader."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from meter_agent.sources.devices.byte_stream import Port
from meter_agent.sources.devices.telegram import TelegramReader, read_telegram
from meter_agent.sources.sample import Sample, SampleRefusedError


class P1Device:
    """See the module. crc_absent: a meter of DSMR 2.2 or 3, or a Q3D, which protect nothing by a checksum."""

    def __init__(self, port: Port, *, crc_absent: bool) -> None:
        self.label = f"P1 at {port.place}"
        self.port = port
        self._crc_absent = crc_absent

    async def samples(self) -> AsyncGenerator[Sample | SampleRefusedError, None]:
        """One per telegram."""
        reader = TelegramReader()
        async for piece in self.port.for_ever():
            if piece is None:
                reader = TelegramReader()
                continue
            for telegram in reader.feed(piece):
                try:
                    sample = read_telegram(telegram, crc_absent=self._crc_absent)
                except SampleRefusedError as error:
                    yield error
                else:
                    yield sample
