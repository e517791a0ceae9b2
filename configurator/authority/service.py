"""The authority's own door: one request in, one answer out, over TLS. Whoever cannot show a token or an identity gets nothing."""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from configurator.authority.authority import Authority, utc_now
from hushgrid.errors import ConfigurationError, MessageError, RefusedError
from hushgrid.wire.certificate_request import MAX_LINE_BYTES, CertificateAnswer, CertificateRequest

log = logging.getLogger("hushgrid.authority")

_PATIENCE_SECONDS = 10.0
#: Connections at once; further ones wait in the kernel.
_MOST_VISITORS = 64


class AuthorityService:
    """Serves one authority. grid: whose agents it knows; life: of the certificates it signs."""

    def __init__(self, authority: Authority, grid: str, life: dt.timedelta) -> None:
        self._authority = authority
        self._grid = grid
        self._life = life
        self._room = asyncio.Semaphore(_MOST_VISITORS)
        self._visits: dict[asyncio.Task[Any], asyncio.StreamWriter] = {}

    @asynccontextmanager
    async def listening(self, host: str, port: int) -> AsyncIterator[int]:
        """Serve while inside; gives the port. ConfigurationError when the address or the certificate cannot be used."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        directory = self._authority.directory
        try:
            context.load_cert_chain(directory / "server.pem", directory / "server.key")
            server = await asyncio.start_server(self._visit, host or None, port, ssl=context, limit=MAX_LINE_BYTES)
        except OSError as error:
            raise ConfigurationError(f"the authority cannot listen on {host}:{port}: {error}") from None
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            # No `async with`: from Python 3.12 on it waits for whoever is connected, for a minute when they say nothing.
            server.close()
            for writer in self._visits.values():
                writer.transport.abort()
            await asyncio.gather(*self._visits)

    async def _visit(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        visit = asyncio.current_task()
        if visit is not None:
            self._visits[visit] = writer
            visit.add_done_callback(self._visits.pop)
        try:
            async with self._room, asyncio.timeout(_PATIENCE_SECONDS):
                if line := await reader.readline():
                    writer.write(self.answer(line, utc_now()).to_json() + b"\n")
                    await writer.drain()
        except (OSError, TimeoutError, ValueError) as error:  # ValueError: a line without an end
            log.debug("a visitor is left: %s", error or type(error).__name__)
        finally:
            writer.close()

    def answer(self, line: bytes, now: dt.datetime) -> CertificateAnswer:
        """Certificates, or the reason why not."""
        try:
            request = CertificateRequest.from_line(line)
            if request.grid != self._grid:
                raise RefusedError(f"this is the authority of {self._grid}")
            answer = self._authority.answer(request, now, self._life)
        except (RefusedError, MessageError) as error:
            log.info("refused: %s", error)
            return CertificateAnswer(refusal=str(error))
        log.info("%s %s: %d certificates", request.role.value, request.agent, len(answer.certificates))
        return answer


async def serve(authority: Authority, grid: str, host: str, port: int, life: dt.timedelta) -> None:
    """Serve until cancelled."""
    async with AuthorityService(authority, grid, life).listening(host, port) as bound:
        log.info("the authority of %s listens on port %d", grid, bound)
        await asyncio.get_running_loop().create_future()
