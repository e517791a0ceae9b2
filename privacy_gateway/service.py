"""The gateway as it runs: an open door, and a look at the consumer's files from time to time."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import logging
import socket
import ssl
import sys
from collections.abc import Iterator

import uvicorn
from starlette.types import ASGIApp

from hushgrid.errors import ConfigurationError, HushgridError
from privacy_gateway.config import GatewayConfig, ListenSection
from privacy_gateway.door.application import application_of
from privacy_gateway.door.house import House, opened

log = logging.getLogger("hushgrid")

_BACKLOG = 128
_MOST_AT_ONCE = 500
_CLOSE_SECONDS = 5
_HEAD_BYTES = 64 * 1024


async def serve(config: GatewayConfig) -> None:
    """Until it is cancelled, or a disk does not take what must be on it. ConfigurationError for what cannot be opened."""
    logging.getLogger("alembic").setLevel(logging.WARNING)
    with contextlib.closing(_bound(config.listen)) as door:
        _check_tls(config.listen)
        with opened(config) as house:
            failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

            def fatal(error: HushgridError) -> None:
                if not failed.done():
                    failed.set_exception(error)

            async with asyncio.TaskGroup() as group:
                group.create_task(_listen(config.listen, application_of(house, fatal), door))
                group.create_task(_look(house))
                await failed


def _bound(listen: ListenSection) -> socket.socket:
    family = socket.AF_INET6 if ":" in listen.address else socket.AF_INET
    door = socket.socket(family, socket.SOCK_STREAM)
    try:
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        door.bind((listen.address, listen.port))
        door.listen(_BACKLOG)
    except OSError as error:
        door.close()
        raise ConfigurationError(f"listen {listen.address} port {listen.port}: {error.strerror or error}") from None
    return door


def _check_tls(listen: ListenSection) -> None:
    if listen.certificate_file is None:
        return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(listen.certificate_file, listen.key_file)
    except (OSError, ssl.SSLError) as error:
        said = error.strerror or str(error)
        raise ConfigurationError(f"listen.certificate_file, listen.key_file: {said}") from None


class _Server(uvicorn.Server):
    """Signals are the service's business; says where it listens once it does."""

    said = ""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """None of them."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Then the address, alone on a line."""
        await super().startup(sockets)
        if self.started:
            sys.stdout.write(f"{self.said}\n")
            sys.stdout.flush()


async def _listen(listen: ListenSection, application: ASGIApp, door: socket.socket) -> None:
    server = _Server(
        uvicorn.Config(
            application, log_config=None, access_log=False, lifespan="off", ws="none", http="h11", server_header=False,
            limit_concurrency=_MOST_AT_ONCE, timeout_graceful_shutdown=_CLOSE_SECONDS, h11_max_incomplete_event_size=_HEAD_BYTES,
            ssl_certfile=listen.certificate_file, ssl_keyfile=listen.key_file, proxy_headers=False,
        )
    )  # fmt: skip
    host = f"[{listen.address}]" if ":" in listen.address else listen.address
    server.said = f"{'http' if listen.certificate_file is None else 'https'}://{host}:{door.getsockname()[1]}"
    serving = asyncio.ensure_future(server.serve(sockets=[door]))
    try:
        await asyncio.shield(serving)
    except asyncio.CancelledError:
        server.should_exit = True
        await serving
        raise


async def _look(house: House) -> None:
    """Take in what the consumer has written, end what is kept long enough, publish a head; again and again."""
    said, day = "", _day()
    while True:
        await asyncio.sleep(house.config.results.poll_seconds)
        if day != _day():
            await asyncio.to_thread(house.forget)
            day = _day()
        try:
            new = await asyncio.to_thread(_once, house)
        except ConfigurationError as error:
            if str(error) != said:
                log.warning("%s", error)
            said = str(error)
        else:
            said = ""
            if new:
                log.info("%d sums were taken in", new)


def _day() -> dt.date:
    return dt.datetime.now(dt.UTC).date()


def _once(house: House) -> int:
    new = house.desk.take_in()
    house.publish()
    return new
