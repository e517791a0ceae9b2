"""DSMR P1: a stream of bytes cut into telegrams, their checksum, and the electricity registers in them.

A telegram runs from `/` to `!` and its CRC (CRC-16/ARC over both and all between). Countries differ in which registers they
send: a total (1.8.0, 2.8.0) or one per tariff (1.8.1, 1.8.2, ...); this reads whichever is there. Telegrams of DSMR 2.2, 3 and
of Easymeter's Q3D have no CRC: they are refused unless the configuration says `crc = "absent"`. Why no library does this:
docs/decisions/0012-meter-sources.md.
"""

from __future__ import annotations

import re
from decimal import Decimal

from meter_agent.register import Doubt, Sample, SampleRefusedError, whole_watt_hours

#: Longer than any telegram; what is not finished by then is noise.
_MOST_BYTES = 16 * 1024
_END = re.compile(rb"^!([^\r\n]*)\r?\n", re.MULTILINE)
_CRC = re.compile(rb"[0-9A-F]{1,4}")
_REGISTER = re.compile(rb"^1-0:([12])\.8\.([0-9])(?:\*255)?\(([0-9]{1,12}(?:\.[0-9]{1,9})?)\*kWh\)\r?$", re.MULTILINE)
_SERIAL = re.compile(rb"^0-0:(?:96\.1\.[01]|42\.0\.0)(?:\*255)?\(([0-9A-Za-z]{1,64})\)\r?$", re.MULTILINE)
_TOTAL = b"0"


def _crc_of_byte(byte: int) -> int:
    for _ in range(8):
        byte = (byte >> 1) ^ (0xA001 if byte & 1 else 0)
    return byte


_CRC_TABLE = tuple(_crc_of_byte(byte) for byte in range(256))


def crc16(content: bytes) -> int:
    """CRC-16/ARC: polynomial 0x8005, reflected, from 0."""
    crc = 0
    for byte in content:
        crc = (crc >> 8) ^ _CRC_TABLE[(crc ^ byte) & 0xFF]
    return crc


class TelegramReader:
    """Cuts a stream into telegrams. No I/O; never holds more than 16 KiB."""

    def __init__(self) -> None:
        self._buffer = b""

    def feed(self, received: bytes) -> list[bytes]:
        """The telegrams that are now complete, each from `/` to the end of the line that begins with `!`."""
        self._buffer += received
        found = []
        while (end := _END.search(self._buffer)) is not None:
            # A telegram cut short is followed by the next one's `/` at a line's start.
            start = max(self._buffer.rfind(b"\n/", 0, end.start()) + 1, 0)
            if self._buffer[start : start + 1] == b"/" or (start := self._buffer.find(b"/", 0, end.start())) >= 0:
                found.append(self._buffer[start : end.end()])
            self._buffer = self._buffer[end.end() :]
        if len(self._buffer) > _MOST_BYTES:
            self._buffer = self._buffer[-1:]
        return found


def read_telegram(telegram: bytes, *, crc_absent: bool = False) -> Sample:
    """The registers of one telegram, checked. crc_absent: telegrams without a CRC are believed, too.

    SampleRefusedError: CHECKSUM when it is damaged, NO_CHECKSUM when it has none, NO_REGISTER when it is no electricity
    meter's, MALFORMED when a register occurs twice.
    """
    end = _END.search(telegram)
    if not telegram.startswith(b"/") or end is None:
        raise SampleRefusedError(Doubt.MALFORMED, "no telegram")
    said = end[1].strip(b" \0")
    if said:
        if not _CRC.fullmatch(said):
            raise SampleRefusedError(Doubt.MALFORMED, "the CRC is no hexadecimal number")
        if int(said, 16) != crc16(telegram[: end.start() + 1]):
            raise SampleRefusedError(Doubt.CHECKSUM)
    elif not crc_absent:
        raise SampleRefusedError(Doubt.NO_CHECKSUM, 'this meter sends no CRC; crc = "absent" would believe it')
    registers: dict[tuple[bytes, bytes], Decimal] = {}
    for direction, tariff, kilowatt_hours in _REGISTER.findall(telegram):
        if (direction, tariff) in registers:
            raise SampleRefusedError(Doubt.MALFORMED, "a register occurs twice")
        registers[direction, tariff] = Decimal(kilowatt_hours.decode("ascii"))
    imported, exported = _direction(registers, b"1"), _direction(registers, b"2")
    if imported is None and exported is None:
        raise SampleRefusedError(Doubt.NO_REGISTER, "no electricity register in the telegram")
    serial = _SERIAL.search(telegram)
    device = serial[1] if serial else telegram[1 : telegram.find(b"\n")].strip()
    return Sample(
        whole_watt_hours(imported or Decimal(0)),
        whole_watt_hours(exported or Decimal(0)),
        device.decode("ascii", "replace"),
    )


def _direction(registers: dict[tuple[bytes, bytes], Decimal], direction: bytes) -> Decimal | None:
    """The total register where there is one, else the sum over tariffs; None when there is neither."""
    if (direction, _TOTAL) in registers:
        return registers[direction, _TOTAL]
    tariffs = [kilowatt_hours for (which, _), kilowatt_hours in registers.items() if which == direction]
    return sum(tariffs, Decimal(0)) if tariffs else None
