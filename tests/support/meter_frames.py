"""What SML and HAN meters send, written down from their standards. Constructed."""

from __future__ import annotations

import struct


def crc_x25(content: bytes) -> int:
    crc = 0xFFFF
    for byte in content:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x8408 if crc & 1 else 0)
    return crc ^ 0xFFFF


# SML, written down from BSI TR-03109-1: values with a type-length byte, messages with a CRC, files between escapes.


def octets(content: bytes) -> bytes:
    return bytes([len(content) + 1]) + content if len(content) < 15 else bytes([0x81, len(content) - 14]) + content


def unsigned(value: int, size: int) -> bytes:
    return bytes([0x60 + size + 1]) + value.to_bytes(size, "big")


def row(*items: bytes) -> bytes:
    return bytes([0x70 + len(items)]) + b"".join(items)


def sml_message(kind: int, body: bytes) -> bytes:
    content = row(octets(b"\x01"), unsigned(0, 1), unsigned(0, 1), row(unsigned(kind, 2), body), b"", b"")
    content = b"\x76" + content[1:]
    return content + unsigned(int.from_bytes(crc_x25(content).to_bytes(2, "little"), "big"), 2) + b"\x00"


def sml_register(obis: bytes, unit: int, scaler: int, value: int) -> bytes:
    scale = bytes([0x52]) + struct.pack("b", scaler)
    return row(octets(obis), b"\x01", b"\x01", unsigned(unit, 1), scale, unsigned(value, 8), b"\x01")


def sml_file(registers: list[bytes], server: bytes = bytes.fromhex("0a014d59500000bc614e")) -> bytes:
    opened = sml_message(0x0101, row(b"\x01", b"\x01", octets(b"f"), octets(server), b"\x01", b"\x01"))
    listed = sml_message(0x0701, row(b"\x01", octets(server), b"\x01", b"\x01", row(*registers), b"\x01", b"\x01"))
    closed = sml_message(0x0201, row(b"\x01"))
    content = opened + listed + closed
    padding = -len(content) % 4
    framed = b"\x1b" * 4 + b"\x01" * 4 + content + b"\0" * padding + b"\x1b" * 4 + b"\x1a" + bytes([padding])
    return framed + crc_x25(framed).to_bytes(2, "little")


# HAN: an HDLC frame around a DLMS notification, a list of (OBIS, value, scaler and unit) as Aidon's meters push it.


def han_register(obis: str, value: int, scaler: int, unit: int) -> bytes:
    code = bytes(int(part) for part in obis.split("."))
    scale = b"\x02\x02\x0f" + struct.pack("b", scaler) + b"\x16" + bytes([unit])
    return b"\x02\x03\x09\x06" + code + b"\x06" + value.to_bytes(4, "big") + scale


def han_text(obis: str, text: str) -> bytes:
    code = bytes(int(part) for part in obis.split("."))
    return b"\x02\x02\x09\x06" + code + b"\x0a" + bytes([len(text)]) + text.encode()


def han_frame(items: list[bytes]) -> bytes:
    information = b"\xe6\xe7\x00\x0f\x40\x00\x00\x00\x00\x01" + bytes([len(items)]) + b"".join(items)
    header = b"\x41\x08\x83\x13"
    length = 2 + len(header) + 2 + len(information) + 2
    header = (0xA000 | length).to_bytes(2, "big") + header
    body = header + crc_x25(header).to_bytes(2, "little") + information
    return b"\x7e" + body + crc_x25(body).to_bytes(2, "little") + b"\x7e"
