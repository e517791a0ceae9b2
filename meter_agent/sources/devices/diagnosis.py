"""What the bytes of a port look like when no sample came of them: which meter, which settings of the line. Pure.

It is said to a person who sets up a meter, and decides nothing. No text carries what the meter said.
"""

from __future__ import annotations

import re

from meter_agent.sources import SourceKind
from meter_agent.sources.devices.byte_stream import Heard, Line
from meter_agent.sources.devices.ciphered import CIPHERED
from meter_agent.sources.sections import Parity

#: What telegrams of P1, also without a medium before their names, are full of.
_OBIS = re.compile(rb"[0-9]\.[0-9]{1,2}\.[0-9]{1,3}(?:\*[0-9]{1,3})?\(")
_HEAT = re.compile(rb"[0-9]\.[0-9]{1,2}\([0-9.]+\*(?:GJ|m3|MWh)\)")
_SML = b"\x1b\x1b\x1b\x1b\x01\x01\x01\x01"
_HDLC = re.compile(rb"\x7e[\xa0-\xa7]")
#: M-Bus long frames, as meters in Austria wrap what they encrypt.
_MBUS = re.compile(rb"\x68(.)\1\x68", re.DOTALL)
#: So few bytes say nothing of the line.
_ENOUGH_BYTES = 24
_PRINTABLE_FRACTION = 0.9


def diagnosis(kind: SourceKind, line: Line | None, heard: Heard) -> str:
    """One line. line: how the port is set, None where something else holds the line (tcp://)."""
    if heard.bytes_seen == 0:
        return "nothing was heard: not one byte"
    return f"{heard.bytes_seen} bytes were heard: {_looks(kind, line, heard.newest)}"


def _looks(kind: SourceKind, line: Line | None, newest: bytes) -> str:
    found = _protocol(newest)
    if found is not None:
        named, fits = found
        return named if fits in (None, kind) else f'{named}: source.kind = "{fits.value}"'
    bare = bytes(byte & 0x7F for byte in newest)
    if any(byte > 0x7F for byte in newest) and _OBIS.search(bare):
        return f"text of 7 bits, read as 8: {_set_to(line, 7, _parity_of(newest))}"
    if len(newest) < _ENOUGH_BYTES:
        return "too few to say what they are"
    return f"nothing that is known: another speed or parity ({_now(line)}), or a damaged line"


def _protocol(newest: bytes) -> tuple[str, SourceKind | None] | None:
    """What it is, and the kind that reads it; None for the kind when none does."""
    if CIPHERED.search(newest):
        return "an encrypted port (AES-GCM): it needs its key from the grid operator, and is not read here", None
    if _MBUS.search(newest):
        return "M-Bus frames, which are encrypted as a rule: not read here", None
    if _SML in newest:
        return "SML, of which nothing was believed", SourceKind.SML
    if _OBIS.search(newest) and _printable(newest):
        end = b"!" in newest
        return ("a P1 telegram" if end else "a P1 telegram without its end"), SourceKind.P1
    if _HEAT.search(newest):
        return "the telegram of a heat or gas meter", None
    if _HDLC.search(newest):
        return "HDLC frames (DLMS)", SourceKind.HAN
    return None


def _printable(newest: bytes) -> bool:
    plain = sum(0x20 <= byte < 0x7F or byte in b"\r\n\x02\x03\0" for byte in newest)
    return plain >= _PRINTABLE_FRACTION * len(newest)


def _parity_of(newest: bytes) -> Parity:
    """Of bytes whose top bit is a parity: what most of them agree with."""
    even = sum(byte.bit_count() % 2 == 0 for byte in newest)
    return Parity.EVEN if 2 * even >= len(newest) else Parity.ODD


def _set_to(line: Line | None, data_bits: int, parity: Parity) -> str:
    if line is None:
        return f"set the reader at the other end to {data_bits}{parity.value[0].upper()}1"
    return f'source.data_bits = {data_bits}, source.parity = "{parity.value}" (now {line})'


def _now(line: Line | None) -> str:
    return "of the reader at the other end" if line is None else f"now {line}"
