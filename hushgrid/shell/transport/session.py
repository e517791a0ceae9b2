"""What the broker keeps under one pseudonym, and the connections that follow one another for it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Callable

import aiomqtt
from aiomqtt.exceptions import MqttConnectError

from hushgrid.errors import ConfigurationError
from hushgrid.shell.transport.connection import (
    Arrival,
    Connection,
    Settings,
    SubscriptionRefusedError,
    heed_cancellation,
)

log = logging.getLogger("hushgrid.transport")

_RETRY_FIRST_SECONDS, _RETRY_MOST_SECONDS = 0.1, 10.0
_STABLE_SECONDS = 5.0
_RETIRE_PAUSE_SECONDS = 0.05
_RETIRE_QUIET_SECONDS, _RETIRE_MOST_SECONDS = 0.5, 300.0
#: A silence ends a backlog when it is longer than this many of the longest pause within it: a busy broker pauses, too.
_RETIRE_LONGEST_PAUSES = 4


class Session:
    """What the broker keeps under one pseudonym, and the task that stays connected to it."""

    def __init__(
        self,
        settings: Settings,
        pseudonym: str,
        filters: Callable[[], list[str]],
        incoming: asyncio.Queue[Arrival],
        made: Callable[[], None],
    ) -> None:
        self.pseudonym = pseudonym
        self.outstanding = 0
        self.trouble = "no answer"
        self._settings = settings
        self._place = 0
        self._filters = filters
        self._incoming = incoming
        self._made = made
        self._connection: Connection | None = None
        self._up = asyncio.Event()
        self._again = asyncio.Event()
        self._task = asyncio.create_task(self._keep_connected(), name=f"mqtt {pseudonym}")

    @property
    def connection(self) -> Connection | None:
        """The connection, while there is one."""
        found = self._connection
        return None if found is None or found.ended else found

    async def connected(self) -> Connection:
        """The connection, or the next one."""
        while (found := self.connection) is None:
            self._up.clear()
            await self._up.wait()
        return found

    async def subscribe(self) -> None:
        """What is wanted and not subscribed yet, when there is a connection; the next one begins with it anyway."""
        connection = self.connection
        if connection is None:
            return
        try:
            if missing := [name for name in self._filters() if name not in connection.subscribed]:
                await connection.subscribe(missing)
        except SubscriptionRefusedError as refused:
            log.error("%s: %s", self.pseudonym, refused)
            self.renew()
        except aiomqtt.MqttError:
            pass

    def renew(self) -> None:
        """Disconnect in order and connect again at once."""
        self._again.set()

    async def close(self) -> None:
        """Disconnect in order; the broker keeps the session."""
        self._task.cancel()
        await asyncio.wait({self._task})
        if not self._task.cancelled() and (error := self._task.exception()) is not None:
            raise error

    async def retire(self, successor: Session) -> None:
        """Once the successor is there: finish what was begun under this name, read what the broker still has for it, then
        have the broker forget it.
        """
        try:
            await successor.connected()
            filters = self._filters() or sorted(self.connection.subscribed if self.connection else ())
            if filters:
                await self._fall_quiet()
            # Polled: this happens once an epoch, and an event would cost every message.
            while self.outstanding or (filters and not await self._is_read(filters)):  # noqa: ASYNC110
                await asyncio.sleep(_RETIRE_PAUSE_SECONDS)
        finally:
            await self.close()
        with contextlib.suppress(aiomqtt.MqttError):
            async with self._settings.client(self.pseudonym, self._place, clean_session=True):
                pass

    async def _fall_quiet(self) -> None:
        """Return when nothing has come for a while, or in the end anyway: with a subscription NATS also drops what it has not
        sent for it yet.
        """
        clock = asyncio.get_running_loop().time
        end, since, longest_seconds, heard = clock() + _RETIRE_MOST_SECONDS, clock(), 0.0, -1
        while clock() < end:
            await asyncio.sleep(_RETIRE_PAUSE_SECONDS)
            now, seconds = self.connection, clock() - since
            if now is None or not now.quiet or now.heard != heard:
                longest_seconds = max(longest_seconds, seconds)
                since, heard = clock(), now.heard if now else -1
            elif seconds >= max(_RETIRE_QUIET_SECONDS, _RETIRE_LONGEST_PAUSES * longest_seconds):
                return

    async def _is_read(self, filters: list[str]) -> bool:
        connection = await self.connected()
        try:  # the answer comes behind all that the acknowledgements so far have released
            await connection.unsubscribe(filters)
        except aiomqtt.MqttError:
            return False
        return connection.quiet and not connection.ended

    async def _keep_connected(self) -> None:
        pause_seconds = _RETRY_FIRST_SECONDS
        loop = asyncio.get_running_loop()
        while True:
            heed_cancellation()
            began, was_up, url = loop.time(), False, self._settings.urls[self._place]
            try:
                await self._one_connection()
                continue
            except (aiomqtt.MqttError, ConfigurationError) as error:
                was_up = self._connection is not None
                if was_up or str(error) != self.trouble:
                    level = logging.ERROR if isinstance(error, SubscriptionRefusedError) else logging.INFO
                    log.log(level, "%s is away from %s: %s", self.pseudonym, url, error)
                refused = isinstance(error, MqttConnectError)
                self.trouble = f"it refuses {self.pseudonym}: {error}" if refused else str(error)
                self._place = (self._place + 1) % len(self._settings.urls)
            finally:
                self._drop()
            if was_up and loop.time() - began > _STABLE_SECONDS:
                pause_seconds = _RETRY_FIRST_SECONDS
            heed_cancellation()
            # Anywhere within the pause: after a broker's restart not everybody comes at once.
            await asyncio.sleep(pause_seconds * secrets.randbelow(1000) / 1000)
            pause_seconds = min(_RETRY_MOST_SECONDS, 2 * pause_seconds)

    async def _one_connection(self) -> None:
        """Until it breaks, an aiomqtt.MqttError, or until it is to be made anew."""
        client = self._settings.client(self.pseudonym, self._place)
        connection = Connection(client, self._incoming, self._settings)
        self._again.clear()
        async with client:
            heed_cancellation()
            if connection.lost:
                raise aiomqtt.MqttError("the broker ends the connection as soon as it is made")
            ending = asyncio.ensure_future(connection.last())
            tending = asyncio.ensure_future(connection.tend(self._filters))
            again = asyncio.ensure_future(self._again.wait())
            try:
                while missing := [name for name in self._filters() if name not in connection.subscribed]:
                    await connection.subscribe(missing)
                self._connection = connection
                log.info("%s is connected to %s", self.pseudonym, self._settings.urls[self._place])
                self._made()
                self._up.set()
                await asyncio.wait({ending, again, tending}, return_when=asyncio.FIRST_COMPLETED)
                for broken in (ending, tending):
                    if broken.done():
                        await broken
            finally:
                ending.cancel()
                tending.cancel()
                again.cancel()
                connection.end()

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.end()
        self._connection = None
