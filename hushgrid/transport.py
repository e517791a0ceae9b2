"""The one MQTT module: MQTT 3.1.1, QoS 1, persistent sessions, reconnection for ever.

Nothing is silently discarded here. A publish waits for the broker's acknowledgement and is repeated after a reconnection. A
message is acknowledged to the broker when the reader asks for the next one, so the broker's window (`max_inflight_messages`)
bounds what waits here, and what a killed reader held comes again. Expect duplicates. A broker's acknowledgement is no
durability: receipts above this layer are.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
import urllib.parse
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self, cast

import aiomqtt
import paho.mqtt.client as paho_client
from aiomqtt.exceptions import MqttConnectError
from paho.mqtt.enums import MQTTErrorCode
from tenacity import RetryCallState, wait_random_exponential

from hushgrid.errors import ConfigurationError

log = logging.getLogger("hushgrid.transport")

#: Publishes that may wait for acknowledgement at once; further ones wait for room.
OUTSTANDING_PUBLISHES = 500
#: Messages waiting for the reader: above the low mark nothing is acknowledged, above the high one the socket is not read.
INCOMING_HIGH, INCOMING_LOW = 2000, 200
_RETRY_FIRST_SECONDS, _RETRY_MOST_SECONDS = 0.1, 10.0
_STABLE_SECONDS = 5.0
_ANSWER_SECONDS = 10.0
_ACKNOWLEDGE_SECONDS = 30.0
_RETIRE_PAUSE_SECONDS = 0.05
_SETTLE_SECONDS = 0.01


@dataclass(frozen=True, slots=True)
class Message:
    """One message as it came in. retained: the broker kept it from before the subscription."""

    topic: str
    payload: bytes
    retained: bool = False


@dataclass(frozen=True, slots=True)
class Will:
    """What the broker says, retained, when this agent is gone. The topic's last level is the agent's pseudonym."""

    topic: str
    payload: bytes

    def topic_of(self, pseudonym: str) -> str:
        """The topic after a change of pseudonym."""
        return f"{self.topic.rpartition('/')[0]}/{pseudonym}"


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files for mqtts://: the authority that signed the broker, and this agent's own certificate and key."""

    ca: Path | None
    certificate: Path | None
    key: Path | None

    def context(self) -> ssl.SSLContext:
        """The TLS context; ConfigurationError when a file cannot be used."""
        try:
            context = ssl.create_default_context(cafile=self.ca)
            if self.certificate is not None:
                context.load_cert_chain(self.certificate, self.key)
        except OSError as error:
            raise ConfigurationError(f"TLS files: {error}") from None
        return context


class Transport(Protocol):
    """What services need of a broker connection. `generation` rises at every connection made."""

    pseudonym: str
    generation: int

    async def __aenter__(self) -> Self: ...
    async def __aexit__(self, *_: object) -> None: ...
    async def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Hand over one message; returns when the broker has acknowledged it, however long that takes."""
        ...

    async def subscribe(self, *filters: str) -> None:
        """Subscribe now and after every reconnection."""
        ...

    async def unsubscribe(self, *filters: str) -> None:
        """Subscribe no longer; what is on its way still comes."""
        ...

    def messages(self) -> AsyncIterator[Message]:
        """Everything that comes in, for ever. Asking for the next message says that the last one is dealt with."""
        ...

    async def wait_generation(self, after: int) -> int:
        """Return the generation once it is above `after`: what has no receipt is to be sent again then."""
        ...

    async def rename(self, pseudonym: str) -> None:
        """Go on under another client id and user name, with the same subscriptions. Topics of publishes made before the
        call carry the old name and leave under it.
        """
        ...


@dataclass(frozen=True, slots=True)
class BrokerAddress:
    """A parsed broker URL."""

    host: str
    port: int
    secure: bool

    @classmethod
    def parse(cls, url: str) -> BrokerAddress:
        """From mqtt://host:port or mqtts://host:port; ConfigurationError otherwise."""
        try:
            parts = urllib.parse.urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError:
            host, port = None, 0
        else:
            if (
                parts.scheme not in ("mqtt", "mqtts")
                or parts.path not in ("", "/")
                or parts.query
                or "@" in parts.netloc
            ):
                host = None
        if not host or port == 0:
            raise ConfigurationError(f"broker URL {url!r}: expected mqtt://host:port or mqtts://host:port")
        secure = parts.scheme == "mqtts"
        return cls(host, port or (8883 if secure else 1883), secure)


@dataclass(frozen=True, slots=True)
class _Settings:
    address: BrokerAddress
    url: str
    will: Will | None
    password: str | None
    context: ssl.SSLContext | None
    keepalive_seconds: int

    def client(self, pseudonym: str, *, clean_session: bool = False) -> aiomqtt.Client:
        """A connection to be entered. clean_session: the broker then forgets what it kept for this name."""
        will = None
        if self.will is not None and not clean_session:
            will = aiomqtt.Will(self.will.topic_of(pseudonym), self.will.payload, qos=1, retain=True)
        return aiomqtt.Client(
            self.address.host,
            self.address.port,
            identifier=pseudonym,
            username=pseudonym,
            password=self.password,
            clean_session=clean_session,
            protocol=aiomqtt.ProtocolVersion.V311,
            keepalive=self.keepalive_seconds,
            will=will,
            tls_context=self.context,
            max_inflight_messages=0,  # no second bound in paho, whose queue is slow: OUTSTANDING_PUBLISHES is the bound
            timeout=_ANSWER_SECONDS,
            # A small publish behind a small acknowledgement would wait 40 ms for the broker's delayed TCP acknowledgement.
            socket_options=[(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)],
        )


class _Connection:
    """One MQTT connection from its acceptance to its end. Publishing and acknowledging are done on paho itself: aiomqtt
    acknowledges before anybody has read, drops when its queue is full, and leaves publishes waiting when a connection ends.
    """

    def __init__(self, client: aiomqtt.Client, incoming: asyncio.Queue[_Arrival]) -> None:
        self.ended = False
        self._unread = 0
        self.subscribed: set[str] = set()
        self._client = client
        self._incoming = incoming
        self._awaited: dict[int, asyncio.Future[bool]] = {}
        self._owed: deque[int] = deque()
        self._settling = False
        self._paused = False
        self._overflow = 0
        self._loop = asyncio.get_running_loop()
        self._paho = client._client  # noqa: SLF001 - see the class
        self._paho.manual_ack_set(True)
        self._paho.on_message = self._on_message
        self._paho.on_publish = self._on_publish

    @property
    def quiet(self) -> bool:
        """Whether all that came has been dealt with and acknowledged."""
        return not self._unread and not self._owed

    async def last(self) -> None:
        """Return never; aiomqtt.MqttError when the connection ends."""
        async for _ in self._client.messages:  # always empty: messages are taken in _on_message
            pass

    def end(self) -> None:
        """Nothing more comes: whoever waits for an acknowledgement has to send again."""
        self.ended = True
        for acknowledged in self._awaited.values():
            if not acknowledged.done():
                acknowledged.set_result(False)

    async def publish(self, topic: str, payload: bytes, *, retain: bool) -> bool:
        """True once acknowledged; False when it has to be sent again."""
        sent = self._paho.publish(topic, payload, qos=1, retain=retain)
        if sent.rc != MQTTErrorCode.MQTT_ERR_SUCCESS:
            if sent.rc == MQTTErrorCode.MQTT_ERR_NO_CONN:
                self.end()
            await asyncio.sleep(0)
            return False
        acknowledged: asyncio.Future[bool] = self._loop.create_future()
        self._awaited[sent.mid] = acknowledged
        if self._paused:
            self.adjust()
        try:
            async with asyncio.timeout(_ACKNOWLEDGE_SECONDS):
                return await acknowledged
        except TimeoutError:
            return False
        finally:
            self._awaited.pop(sent.mid, None)

    async def subscribe(self, filters: list[str]) -> None:
        """At QoS 1; aiomqtt.MqttError when there is no answer."""
        answers = await self._client.subscribe([(name, 1) for name in filters])
        refused = sum(not isinstance(answer, int) and answer.is_failure for answer in answers)
        if refused:
            log.error("the broker refuses %d of %d subscriptions", refused, len(filters))
        self.subscribed.update(filters)

    async def unsubscribe(self, filters: list[str]) -> None:
        """aiomqtt.MqttError when there is no answer."""
        await self._client.unsubscribe(filters)
        self.subscribed.difference_update(filters)

    def acknowledge(self, mid: int) -> None:
        """The reader has dealt with a message; the broker may send another."""
        self._unread -= 1
        if mid:
            self._owed.append(mid)
        self._settle()

    def _settle(self) -> None:
        """Mosquitto 2.0.11 sends a whole window for every single acknowledgement while it has a backlog. Hence none while
        much waits, one at a time while a little does, and what is then owed by and by.
        """
        if self.ended:
            return
        waiting = self._incoming.qsize()
        if waiting <= INCOMING_LOW:
            for _ in range(min(len(self._owed), 1 if waiting else 1 + len(self._owed) // 8)):
                self._paho.ack(self._owed.popleft(), 1)
        if self._owed and not self._settling:
            self._settling = True
            self._loop.call_later(_SETTLE_SECONDS, self._settle_later)

    def _settle_later(self) -> None:
        self._settling = False
        self._settle()

    def adjust(self) -> None:
        """Stop or start reading the socket. While a publish waits it is read all the same: the acknowledgement comes that
        way, and whoever publishes may be the reader that is behind.
        """
        waiting = self._incoming.qsize()
        full = waiting > (INCOMING_LOW if self._paused else INCOMING_HIGH)
        pause = full and not self._awaited
        sock = self._paho.socket()
        if pause is self._paused or sock is None or self.ended:
            return
        self._paused = pause
        if pause:
            self._loop.remove_reader(sock.fileno())
        else:
            self._loop.add_reader(sock.fileno(), self._read)
            self._loop.call_soon(self._read)  # TLS may hold bytes that the socket no longer announces

    def _read(self) -> None:
        while not self._paused:
            self._paho.loop_read()
            sock = self._paho.socket()
            if not isinstance(sock, ssl.SSLSocket) or not sock.pending():
                return

    def _on_message(self, _paho: paho_client.Client, _userdata: object, message: paho_client.MQTTMessage) -> None:
        if message.qos == 0 and self._incoming.qsize() >= INCOMING_HIGH:
            # hushgrid sends nothing at QoS 0, and its broker may drop it just as well; it must not fill our memory.
            self._overflow += 1
            if self._overflow.bit_count() == 1:
                log.warning("%d messages at QoS 0 refused: the reader is behind", self._overflow)
            return
        self._unread += 1
        mid = message.mid if message.qos else 0
        try:
            name = message.topic
        except UnicodeDecodeError:
            log.warning("a message of %d bytes refused: its topic is not UTF-8", len(message.payload))
            self.acknowledge(mid)
            return
        self._incoming.put_nowait(_Arrival(Message(name, bytes(message.payload), message.retain), self, mid))
        self.adjust()

    def _on_publish(self, _paho: paho_client.Client, _userdata: object, mid: int, *_: object) -> None:
        acknowledged = self._awaited.get(mid)
        if acknowledged is not None and not acknowledged.done():
            acknowledged.set_result(True)


@dataclass(frozen=True, slots=True)
class _Arrival:
    """A message for the reader; mid: 0 when there is nothing to acknowledge."""

    message: Message
    connection: _Connection
    mid: int


class _Session:
    """What the broker keeps under one pseudonym, and the task that stays connected to it."""

    def __init__(
        self,
        settings: _Settings,
        pseudonym: str,
        filters: dict[str, None],
        incoming: asyncio.Queue[_Arrival],
        made: Callable[[], None],
    ) -> None:
        self.pseudonym = pseudonym
        self.outstanding = 0
        self.trouble = "no answer"
        self._settings = settings
        self._filters = filters
        self._incoming = incoming
        self._made = made
        self._connection: _Connection | None = None
        self._up = asyncio.Event()
        self._task = asyncio.create_task(self._keep_connected(), name=f"mqtt {pseudonym}")

    @property
    def connection(self) -> _Connection | None:
        """The connection, while there is one."""
        found = self._connection
        return None if found is None or found.ended else found

    async def connected(self) -> _Connection:
        """The connection, or the next one."""
        while (found := self.connection) is None:
            self._up.clear()
            await self._up.wait()
        return found

    async def close(self) -> None:
        """Disconnect in order; the broker keeps the session."""
        self._task.cancel()
        await asyncio.wait({self._task})
        if not self._task.cancelled() and (error := self._task.exception()) is not None:
            raise error

    async def retire(self, successor: _Session) -> None:
        """Once the successor is there: finish what was begun under this name, read what the broker still has for it, then
        have the broker forget it.
        """
        try:
            await successor.connected()
            filters = list(self._filters)
            # Polled: this happens once an epoch, and an event would cost every message.
            while self.outstanding or (filters and not await self._is_read(filters)):  # noqa: ASYNC110
                await asyncio.sleep(_RETIRE_PAUSE_SECONDS)
        finally:
            await self.close()
        with contextlib.suppress(aiomqtt.MqttError):
            async with self._settings.client(self.pseudonym, clean_session=True):
                pass

    async def _is_read(self, filters: list[str]) -> bool:
        connection = await self.connected()
        try:  # the answer comes behind all that the acknowledgements so far have released
            await connection.unsubscribe(filters)
        except aiomqtt.MqttError:
            return False
        return connection.quiet and not connection.ended

    async def _keep_connected(self) -> None:
        pause = wait_random_exponential(multiplier=_RETRY_FIRST_SECONDS, max=_RETRY_MOST_SECONDS)
        attempts = RetryCallState(cast("Any", None), None, (), {})
        loop = asyncio.get_running_loop()
        while True:
            began, was_up = loop.time(), False
            try:
                await self._one_connection()
            except aiomqtt.MqttError as error:
                was_up = self._connection is not None
                if was_up or str(error) != self.trouble:
                    log.info("%s is away from %s: %s", self.pseudonym, self._settings.url, error)
                refused = isinstance(error, MqttConnectError)
                self.trouble = f"it refuses {self.pseudonym}: {error}" if refused else str(error)
            finally:
                self._drop()
            if was_up and loop.time() - began > _STABLE_SECONDS:
                attempts = RetryCallState(cast("Any", None), None, (), {})
            await asyncio.sleep(pause(attempts))
            attempts.attempt_number += 1

    async def _one_connection(self) -> None:
        client = self._settings.client(self.pseudonym)
        connection = _Connection(client, self._incoming)
        async with client:
            ending = asyncio.ensure_future(connection.last())
            try:
                while missing := [name for name in self._filters if name not in connection.subscribed]:
                    await connection.subscribe(missing)
                self._connection = connection
                log.info("%s is connected to %s", self.pseudonym, self._settings.url)
                self._made()
                self._up.set()
                await ending
            finally:
                ending.cancel()
                connection.end()

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.end()
        self._connection = None


class MqttTransport:
    """See the module and `Transport`. An async context manager; it keeps trying until left.

    will: its topic follows the pseudonym. keepalive_seconds: after 1.5 of these without a sign the broker says the will.
    ConfigurationError for a URL or TLS files that cannot be used.
    """

    def __init__(
        self,
        url: str,
        pseudonym: str,
        *,
        will: Will | None = None,
        password: str | None = None,
        tls: TlsFiles | None = None,
        keepalive_seconds: int = 30,
    ) -> None:
        self.pseudonym = pseudonym
        self.generation = 0
        address = BrokerAddress.parse(url)
        context = (tls or TlsFiles(None, None, None)).context() if address.secure else None
        self._settings = _Settings(address, url, will, password, context, keepalive_seconds)
        self._filters: dict[str, None] = {}
        self._room = asyncio.Semaphore(OUTSTANDING_PUBLISHES)
        self._incoming: asyncio.Queue[_Arrival] = asyncio.Queue()
        self._changed = asyncio.Event()
        self._session: _Session | None = None
        self._retiring: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._session = self._open()
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._retiring:
            task.cancel()
        await asyncio.gather(*self._retiring, return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    async def connected(self, timeout_seconds: float) -> None:
        """Return once connected; ConfigurationError naming the broker and the trouble when that takes too long."""
        session = self._current()
        try:
            async with asyncio.timeout(timeout_seconds):
                await session.connected()
        except TimeoutError:
            raise ConfigurationError(f"no broker answers at {self._settings.url}: {session.trouble}") from None

    async def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Hand over one message; waits for room, for a connection, and for the broker's acknowledgement."""
        session = self._current()
        session.outstanding += 1
        try:
            async with self._room:
                while True:
                    connection = session.connection or await session.connected()
                    if await connection.publish(topic, payload, retain=retain):
                        return
                    log.debug("a publish of %d bytes is repeated", len(payload))
        finally:
            session.outstanding -= 1

    async def subscribe(self, *filters: str) -> None:
        """Subscribe at QoS 1 now, when connected, and after every reconnection."""
        fresh = [name for name in filters if name not in self._filters]
        self._filters.update(dict.fromkeys(fresh))
        connection = self._current().connection
        if connection is not None and fresh:
            with contextlib.suppress(aiomqtt.MqttError):  # the reconnection subscribes again
                await connection.subscribe(fresh)

    async def unsubscribe(self, *filters: str) -> None:
        """Subscribe no longer, now and after reconnections."""
        known = [name for name in filters if self._filters.pop(name, self) is not self]
        connection = self._current().connection
        if connection is not None and known:
            with contextlib.suppress(aiomqtt.MqttError):
                await connection.unsubscribe(known)

    async def messages(self) -> AsyncIterator[Message]:
        """Everything that comes in, for ever; asking for the next message acknowledges the last one."""
        while True:
            arrival = await self._incoming.get()
            yield arrival.message
            arrival.connection.acknowledge(arrival.mid)
            connection = self._current().connection
            if connection is not None:
                connection.adjust()

    async def wait_generation(self, after: int) -> int:
        """Return the generation once it is above `after`."""
        while self.generation <= after:
            self._changed.clear()
            await self._changed.wait()
        return self.generation

    async def rename(self, pseudonym: str) -> None:
        """Come in under the new name, then leave under the old one: what is sent meanwhile comes twice rather than never."""
        if pseudonym == self.pseudonym:
            return
        before = self._current()
        self.pseudonym = pseudonym
        self._session = self._open()
        self._in_background(before.retire(self._session))
        await self._session.connected()

    def _open(self) -> _Session:
        return _Session(self._settings, self.pseudonym, self._filters, self._incoming, self._count)

    def _current(self) -> _Session:
        if self._session is None:
            raise RuntimeError("the transport has not been entered")
        return self._session

    def _count(self) -> None:
        self.generation += 1
        self._changed.set()

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._retiring.add(task)
        task.add_done_callback(self._retiring.discard)
