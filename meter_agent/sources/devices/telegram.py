"""DSMR P1: a stream of bytes cut into telegrams, their checksum, and the electricity registers in them.

A telegram runs from `/` to `!` and its CRC (CRC-16/ARC over both and all between). Countries differ in which registers they
send: a total (1.8.0, 2.8.0) or one per tariff (1.8.1, 1.8.2, ...), in kWh or in Wh, on which channel, with or without the medium
before the name (IEC 62056-21). What counts of them: `meter_agent.sources.obis`. Values of past billing periods (`*01`) are not
the register. Telegrams of DSMR 2.2, 3 and
of Easymeter's Q3D have no CRC: they are refused unless the configuration says `crc = "absent"`. Why no library does this:
docs/decisions/0012-meter-sources.md.
"""

from __future__ import annotations

import datetime as dt
import re
from collections import Counter
from decimal import Decimal

from meter_agent.sources.devices import ciphered
from meter_agent.sources.devices.ciphered import CIPHERED
from meter_agent.sources.obis import Direction, NamedRegisters
from meter_agent.sources.sample import Doubt, Sample, SampleRefusedError

#: Longer than any telegram; what is not finished by then is noise.
_MOST_BYTES = 16 * 1024
_END = re.compile(rb"^!([^\r\n]*)\r*\n", re.MULTILINE)
_CRC = re.compile(rb"[0-9A-Fa-f]{1,4}")
#: Any line that names a register of active energy, whatever it says.
_REGISTER = re.compile(rb"^(?:1-([0-9]{1,3}):)?([12])\.8\.([0-9]{1,2})(?:\*255)?\(([^\r\n]*?)\r*$", re.MULTILINE)
#: Whatever else looks like the name of one, however it is written; brackets are emptied before. Media from 4 on are heat, gas, water.
_NAMED = re.compile(
    rb"(?:(?<![0-9.])([0-9]{1,3})-[0-9]{1,3}:|(?<![0-9.:*-]))0*([12])\.0*8\.[0-9]{1,3}(?:[*.&]([0-9]{1,3}))?"
)
_BRACKETS = re.compile(rb"\([^()\r\n]*\)")
_FIRST_OTHER_MEDIUM, _NOW = 4, 255
_VALUE = re.compile(rb"([0-9]{1,12}(?:\.[0-9]{1,9})?)\*(kWh|Wh)\)")
#: What no telegram has behind its first line: where a parity is wrong, a byte arrives as zero.
_DAMAGED = re.compile(rb"[^\x20-\x7e\r\n]")
_SERIAL = re.compile(rb"^0-0:(?:96\.1\.[01]|42\.0\.0)(?:\*255)?\(([0-9A-Za-z]{1,64})\)\r*$", re.MULTILINE)
_TIME = re.compile(rb"^0-0:1\.0\.0(?:\*255)?\(([0-9]{12})([SW]?)\)\r*$", re.MULTILINE)
_HOUR_SECONDS = 3600
#: Powers of ten, in Wh.
_WATT_HOURS = {b"kWh": 3, b"Wh": 0}


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
        """The telegrams that are now complete, each from `/` to the end of the line that begins with `!`; of encrypted ones
        their beginning.
        """
        self._buffer += received
        found = []
        while (secret := CIPHERED.search(self._buffer)) is not None:
            found.append(secret[0])
            self._buffer = self._buffer[secret.end() :]
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

    SampleRefusedError: ENCRYPTED when a key is needed, CHECKSUM when it is damaged, NO_CHECKSUM when it has none, NO_REGISTER
    when it is no electricity meter's, MALFORMED when a register occurs twice or is there and not understood.
    """
    if CIPHERED.match(telegram):
        raise ciphered.refusal()
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
    elif _DAMAGED.search(telegram, telegram.find(b"\n")):
        raise SampleRefusedError(Doubt.MALFORMED, "a byte that is no text, and nothing else shows what it was")
    registers = NamedRegisters()
    _check_names(telegram)
    for channel, direction, tariff, said in _REGISTER.findall(telegram):
        watt_hours = _watt_hours(said)
        step = Decimal(1) if watt_hours is None else _step_of(watt_hours)
        registers.add(Direction(int(direction)), int(tariff), watt_hours, channel.decode("ascii"), step)
    serial = _SERIAL.search(telegram)
    device = serial[1] if serial else telegram[1 : telegram.find(b"\n")].strip()
    return registers.sample(device.decode("ascii", "replace"), _own_time(telegram))


def _check_names(telegram: bytes) -> None:
    """SampleRefusedError when a register is there that is not written as registers are, or only as it was in the past."""
    understood = Counter(int(direction) for _, direction, _, _ in _REGISTER.findall(telegram))
    now, ever = Counter[int](), set[int]()
    body = _BRACKETS.sub(b"()", telegram[telegram.find(b"\n") :])
    for medium, direction, past in _NAMED.findall(body):
        if medium and int(medium) >= _FIRST_OTHER_MEDIUM:
            continue
        ever.add(int(direction))
        now[int(direction)] += not past or int(past) == _NOW
    for direction in ever:
        if now[direction] > understood[direction] or not understood[direction]:
            raise SampleRefusedError(
                Doubt.MALFORMED, f"a register {direction}.8 is there and is not written as it must be"
            )


def _step_of(watt_hours: Decimal) -> Decimal:
    """The last digit that a register is told to, in Wh: its exponent is kept by the multiplication."""
    return Decimal(10) ** max(0, int(watt_hours.as_tuple().exponent))


def _own_time(telegram: bytes) -> float | None:
    """The meter's own time as seconds, without the hour of summer; None where it tells none, or one that no calendar has."""
    said = _TIME.search(telegram)
    if said is None:
        return None
    try:
        moment = dt.datetime.strptime(said[1].decode("ascii"), "%y%m%d%H%M%S").replace(tzinfo=dt.UTC)
    except ValueError:
        return None
    return moment.timestamp() - (_HOUR_SECONDS if said[2] == b"S" else 0)


def _watt_hours(said: bytes) -> Decimal | None:
    """What stands between a register's brackets; None when it is no number of kWh or Wh."""
    value = _VALUE.fullmatch(said)
    return None if value is None else Decimal(value[1].decode("ascii")).scaleb(_WATT_HOURS[value[2]])
