"""Meters on the wall whose registers are known beforehand, and the wires that carry what they say."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pty
import re
import time
import tty

from meter_agent.sources.devices.telegram import crc16


class Household:
    """A meter on the wall: its registers move in the middle of every round, by amounts known beforehand."""

    def __init__(self, template: bytes, interval_seconds: int, seed: int, *, export: bool) -> None:
        self.template, self.interval_seconds = template, interval_seconds
        self.seed, self.export = seed, export

    def step(self, number: int) -> tuple[int, int]:
        """(imported, exported) in a round, Wh."""
        return 1 + (number * 37 + self.seed * 101) % 90, (number * 53 + self.seed * 7) % 95 if self.export else 0

    def net(self, number: int) -> int:
        imported, exported = self.step(number)
        return imported - exported

    def registers(self, now: float, since: int) -> tuple[int, int]:
        half_rounds = int(now / self.interval_seconds - 0.5)
        steps = [self.step(number) for number in range(since, half_rounds + 1)]
        return 4_426_000 + sum(s[0] for s in steps), 2_444_000 + sum(s[1] for s in steps)

    def telegram(self, now: float, since: int) -> bytes:
        imported, exported = self.registers(now, since)
        content = self.template[: self.template.rindex(b"!") + 1]
        for name, wh in ((b"1.8.1", imported), (b"2.8.1", exported)):
            shown = b"%06d.%03d" % divmod(wh, 1000)
            content = re.sub(rb"(1-0:" + name + rb"\()[0-9.]+", rb"\g<1>" + shown, content)
        return content + b"%04X\r\n" % crc16(content)


class Wire:
    """Carries telegrams to where a meter listens: a pseudo-terminal, or a TCP port. Every fifth one is damaged on its way."""

    def __init__(self, household: Household, since: int) -> None:
        self.household, self.since, self.sent = household, since, 0

    def next(self) -> bytes:
        self.sent += 1
        telegram = self.household.telegram(time.time(), self.since)
        return telegram.replace(b"1-0:1.8.1(00", b"1-0:1.8.1(09") if self.sent % 5 == 0 else telegram

    async def feed_terminal(self, master: int) -> None:
        os.set_blocking(master, False)
        while True:
            with contextlib.suppress(BlockingIOError):
                os.write(master, self.next())
            await asyncio.sleep(0.25)

    async def serve_tcp(self, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.CancelledError):
            while True:
                writer.write(self.next())
                await writer.drain()
                await asyncio.sleep(0.25)
        writer.close()


def terminal() -> tuple[int, str]:
    master, slave = pty.openpty()
    tty.setraw(slave)
    return master, os.ttyname(slave)


class Network:
    """Between a meter and its broker; can be away. What was on the line is cut, as when a router loses its power."""

    def __init__(self, broker_url: str) -> None:
        host, port = broker_url.removeprefix("mqtt://").split(":")
        self._broker = (host, int(port))
        self._away = False
        self._lines: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> str:
        self._server = await asyncio.start_server(self._carry, "127.0.0.1", 0)
        return f"mqtt://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def __aexit__(self, *_: object) -> None:
        self.cut()
        self._server.close()

    def cut(self) -> None:
        self._away = True
        for line in self._lines:
            line.cancel()

    def mend(self) -> None:
        self._away = False

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._away:
            writer.close()
            return
        there_reader, there_writer = await asyncio.open_connection(*self._broker)
        for source, sink in ((reader, there_writer), (there_reader, writer)):
            line = asyncio.create_task(self._pour(source, sink))
            self._lines.add(line)
            line.add_done_callback(self._lines.discard)

    async def _pour(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError), contextlib.closing(sink):
            while piece := await source.read(65_536):
                sink.write(piece)
                await sink.drain()
