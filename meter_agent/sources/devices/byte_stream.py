"""Bytes from a meter's port: a serial line, or the same over TCP (ser2net, a network P1 reader). Opens it again for ever.

A byte whose parity is wrong arrives as zero, so that a number it stood in is no number.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import stat
import termios
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from pathlib import Path

from hushgrid.errors import ConfigurationError
from meter_agent.sources.sections import Parity

log = logging.getLogger("hushgrid.meter")

_READ_BYTES = 4096
_CONNECT_SECONDS = 10.0
_SILENCE_SECONDS = 120.0
_RETRY_FIRST_SECONDS, _RETRY_MOST_SECONDS = 1.0, 30.0
_TCP = "tcp://"
_DATA_BITS = {7: termios.CS7, 8: termios.CS8}
#: So many of the newest bytes are kept, for a person who asks what is wrong with them.
_KEPT_BYTES = 4096


_PARITY = {Parity.NONE: 0, Parity.EVEN: termios.PARENB, Parity.ODD: termios.PARENB | termios.PARODD}


@dataclass(frozen=True, slots=True)
class Line:
    """How a serial line is set: bits per second, data bits (7 or 8), parity; one stop bit."""

    baud_rate: int
    data_bits: int = 8
    parity: Parity = Parity.NONE

    def __str__(self) -> str:
        return f"{self.baud_rate} {self.data_bits}{self.parity.value[0].upper()}1"

    def apply(self, descriptor: int) -> None:
        """Set the terminal raw and to this speed; OSError when it is no terminal or does not know the speed."""
        speed = getattr(termios, f"B{self.baud_rate}", None)
        if speed is None:
            raise OSError(f"a line of {self.baud_rate} baud is not known here")
        control = _DATA_BITS[self.data_bits] | termios.CREAD | termios.CLOCAL
        control |= _PARITY[self.parity]
        checked = termios.INPCK if self.parity is not Parity.NONE else 0
        try:
            characters = termios.tcgetattr(descriptor)[6]
            termios.tcsetattr(descriptor, termios.TCSANOW, [checked, 0, control, 0, speed, speed, characters])
            fcntl.ioctl(descriptor, termios.TIOCEXCL)  # a second reader would take half of the bytes
        except termios.error as error:
            raise OSError(error.args[1]) from None


@dataclass(slots=True, repr=False)
class Heard:
    """What came from a port so far. newest: its last bytes. They hold what the meter says: for no log."""

    bytes_seen: int = 0
    newest: bytes = b""

    def add(self, piece: bytes) -> None:
        """One piece more."""
        self.bytes_seen += len(piece)
        self.newest = (self.newest + piece)[-_KEPT_BYTES:]


@dataclass(frozen=True, slots=True)
class Port:
    """Where the bytes come from. place: a device file, or tcp://host:port. ConfigurationError when it is neither."""

    place: str
    line: Line
    heard: Heard = field(default_factory=Heard, compare=False, repr=False)

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

    async def trouble(self, seconds: float) -> str | None:
        """Why it cannot be opened, if that is known at once; None when it can. Nothing is read from it."""
        address = self.tcp_address
        try:
            if address is None:
                return self._trouble_of_device()
            async with asyncio.timeout(seconds):
                _, writer = await asyncio.open_connection(*address)
            writer.close()
        except TimeoutError:
            return f"no answer within {seconds:.0f} s"
        except OSError as error:
            return error.strerror or str(error)
        return None

    def _trouble_of_device(self) -> str | None:
        if not stat.S_ISCHR(Path(self.place).stat().st_mode):
            return "it is no serial line"
        return None if os.access(self.place, os.R_OK) else "this user may not read it"

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
                        self.heard.add(piece)
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
