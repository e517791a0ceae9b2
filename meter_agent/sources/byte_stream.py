"""Bytes from a meter's port: a serial line, or the same over TCP (ser2net, a network P1 reader). Opens it again for ever."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import termios
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass

from hushgrid.errors import ConfigurationError

log = logging.getLogger("hushgrid.meter")

_READ_BYTES = 4096
_CONNECT_SECONDS = 10.0
_SILENCE_SECONDS = 120.0
_RETRY_FIRST_SECONDS, _RETRY_MOST_SECONDS = 1.0, 30.0
_TCP = "tcp://"
_DATA_BITS = {7: termios.CS7, 8: termios.CS8}


@dataclass(frozen=True, slots=True)
class Line:
    """How a serial line is set: bits per second, data bits (7 or 8), even parity or none; one stop bit."""

    baud_rate: int
    data_bits: int = 8
    even_parity: bool = False

    def apply(self, descriptor: int) -> None:
        """Set the terminal raw and to this speed; OSError when it is no terminal or does not know the speed."""
        speed = getattr(termios, f"B{self.baud_rate}", None)
        if speed is None:
            raise OSError(f"a line of {self.baud_rate} baud is not known here")
        control = _DATA_BITS[self.data_bits] | termios.CREAD | termios.CLOCAL
        control |= termios.PARENB if self.even_parity else 0
        try:
            characters = termios.tcgetattr(descriptor)[6]
            termios.tcsetattr(descriptor, termios.TCSANOW, [0, 0, control, 0, speed, speed, characters])
            fcntl.ioctl(descriptor, termios.TIOCEXCL)  # a second reader would take half of the bytes
        except termios.error as error:
            raise OSError(error.args[1]) from None


@dataclass(frozen=True, slots=True)
class Port:
    """Where the bytes come from. place: a device file, or tcp://host:port. ConfigurationError when it is neither."""

    place: str
    line: Line

    def __post_init__(self) -> None:
        if self.tcp_address is None and not self.place.startswith("/"):
            raise ConfigurationError(f"source.port: {self.place!r} is neither /dev/... nor tcp://host:port")

    @property
    def tcp_address(self) -> tuple[str, int] | None:
        """(host, port), None for a device file."""
        if not self.place.startswith(_TCP):
            return None
        host, _, port = self.place.removeprefix(_TCP).rpartition(":")
        if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 1 << 16:
            raise ConfigurationError(f"source.port: {self.place!r} is not of the form tcp://host:port")
        return host.strip("[]"), int(port)

    async def once(self) -> AsyncGenerator[bytes, None]:
        """What comes in until the port ends, which an unplugged cable does, or is silent for long. OSError."""
        address = self.tcp_address
        if address is not None:
            async with asyncio.timeout(_CONNECT_SECONDS):
                reader, writer = await asyncio.open_connection(*address)
            close = writer.close
        else:
            reader, close = await _open_device(self.place, self.line)
        try:
            while True:
                async with asyncio.timeout(_SILENCE_SECONDS):
                    piece = await reader.read(_READ_BYTES)
                if not piece:
                    raise OSError("it ended")
                yield piece
        finally:
            close()

    async def for_ever(self) -> AsyncGenerator[bytes | None, None]:
        """What comes in, for ever. None says that the port was opened anew: what came before is not continued."""
        pause_seconds = _RETRY_FIRST_SECONDS
        while True:
            try:
                yield None
                async with contextlib.aclosing(self.once()) as pieces:
                    async for piece in pieces:
                        pause_seconds = _RETRY_FIRST_SECONDS
                        yield piece
            except TimeoutError:
                log.warning("%s is silent, it is opened again", self.place)
            except OSError as error:
                log.warning("%s: %s; tried again in %.0f s", self.place, error.strerror or error, pause_seconds)
            await asyncio.sleep(pause_seconds)
            pause_seconds = min(_RETRY_MOST_SECONDS, 2 * pause_seconds)


async def _open_device(path: str, line: Line) -> tuple[asyncio.StreamReader, Callable[[], None]]:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK)
    try:
        line.apply(descriptor)
        reader = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(reader)
        file = os.fdopen(descriptor, "rb", buffering=0)
    except BaseException:
        os.close(descriptor)
        raise
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, file)
    return reader, transport.close
