"""The one MQTT module: MQTT 3.1.1, QoS 1, persistent session, reconnection for ever.

Nothing is silently discarded here. A publish waits for the broker's acknowledgement and is repeated after a reconnection; a
reader that falls behind makes the socket stop reading, so that TCP holds the broker back. A broker's acknowledgement is no
durability: receipts above this layer are.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
import urllib.parse
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self, cast

import aiomqtt
from tenacity import RetryCallState, wait_random_exponential

from hushgrid.errors import ConfigurationError

log = logging.getLogger("hushgrid.transport")

_OUTSTANDING_PUBLISHES = 500
_INCOMING_HIGH, _INCOMING_LOW = 2000, 500
_RETRY_FIRST_SECONDS, _RETRY_MOST_SECONDS = 0.1, 10.0
_ACKNOWLEDGE_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Message:
    """One message as it came in."""

    topic: str
    payload: bytes
    retained: bool = False


@dataclass(frozen=True, slots=True)
class Will:
    """What the broker says, retained, when this agent is gone. The topic ends in the agent's pseudonym."""

    topic: str
    payload: bytes


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

    def messages(self) -> AsyncIterator[Message]:
        """Everything that comes in, for ever."""
        ...

    async def rename(self, pseudonym: str) -> None:
        """Go on under another client id and user name, with the same subscriptions."""
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
        parts = urllib.parse.urlsplit(url)
        try:
            port = parts.port
        except ValueError:
            port = 0
        if parts.scheme not in ("mqtt", "mqtts") or not parts.hostname or port == 0 or parts.path not in ("", "/"):
            raise ConfigurationError(f"broker URL {url!r}: expected mqtt://host:port or mqtts://host:port")
        secure = parts.scheme == "mqtts"
        return cls(parts.hostname, port or (8883 if secure else 1883), secure)


class _GatedQueue(asyncio.Queue[aiomqtt.Message]):
    """Never drops: above a high-water mark it stops the socket's reader, below a low one it starts it again.

    While a publish waits for the broker the socket is read all the same: its acknowledgement comes the same way, and whoever
    publishes may be the reader that is behind.
    """

    def __init__(self, gate: Callable[[bool], None]) -> None:
        super().__init__(0)
        self._gate = gate
        self._full = False
        self._publishing = 0
        self._reading = True

    def put_nowait(self, item: aiomqtt.Message) -> None:
        super().put_nowait(item)
        if self.qsize() >= _INCOMING_HIGH:
            self._full = True
            self._adjust()

    def get_nowait(self) -> aiomqtt.Message:
        item = super().get_nowait()
        if self._full and self.qsize() <= _INCOMING_LOW:
            self._full = False
            self._adjust()
        return item

    @contextlib.contextmanager
    def publishing(self) -> Iterator[None]:
        """Around every wait for an acknowledgement."""
        self._publishing += 1
        self._adjust()
        try:
            yield
        finally:
            self._publishing -= 1
            self._adjust()

    def _adjust(self) -> None:
        reading = not self._full or self._publishing > 0
        if reading is not self._reading:
            self._reading = reading
            self._gate(reading)


class MqttTransport:
    """See the module. An async context manager; it keeps trying until left."""

    def __init__(
        self,
        url: str,
        pseudonym: str,
        *,
        will: Will | None = None,
        tls: TlsFiles | None = None,
        keepalive_seconds: int = 30,
    ) -> None:
        self.pseudonym = pseudonym
        self.generation = 0
        self._address = BrokerAddress.parse(url)
        self._url = url
        self._will = will
        self._context = (tls or TlsFiles(None, None, None)).context() if self._address.secure else None
        self._keepalive_seconds = keepalive_seconds
        self._filters: dict[str, None] = {}
        self._client: aiomqtt.Client | None = None
        self._state = asyncio.Condition()
        self._room = asyncio.Semaphore(_OUTSTANDING_PUBLISHES)
        self._incoming: asyncio.Queue[Message] = asyncio.Queue(_INCOMING_LOW)
        self._queue = _GatedQueue(lambda _reading: None)
        self._sending: set[asyncio.Future[None]] = set()
        self._leave = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._last_error = "no answer"

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._keep_connected(), name=f"mqtt {self.pseudonym}")
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def connected(self, timeout_seconds: float) -> None:
        """Return once connected; ConfigurationError naming the broker when it does not answer in time."""
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._connection(0)
        except TimeoutError:
            raise ConfigurationError(f"no broker answers at {self._url}: {self._last_error}") from None

    async def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Hand over one message; waits for room, for a connection, and for the broker's acknowledgement."""
        async with self._room:
            after = 0
            while True:
                client, generation = await self._connection(after)
                if await self._publish_over(client, topic, payload, retain=retain):
                    return
                after = generation if self._client is not client else generation - 1

    async def _publish_over(self, client: aiomqtt.Client, topic: str, payload: bytes, *, retain: bool) -> bool:
        """One try over one connection; False when it is to be repeated. Ends with the connection, not with a time-out."""
        sending = asyncio.ensure_future(
            client.publish(topic, payload, qos=1, retain=retain, timeout=_ACKNOWLEDGE_SECONDS)
        )
        self._sending.add(sending)
        try:
            with self._queue.publishing():
                await asyncio.wait({sending})
            if sending.cancelled():
                return False
            error = sending.exception()
            if error is None:
                return True
            if not isinstance(error, aiomqtt.MqttError):
                raise error
            log.debug("publish of %d bytes is repeated: %s", len(payload), error)
            return False
        finally:
            sending.cancel()
            self._sending.discard(sending)

    async def subscribe(self, *filters: str) -> None:
        """Subscribe at QoS 1 now, when connected, and after every reconnection."""
        fresh = [name for name in filters if name not in self._filters]
        self._filters.update(dict.fromkeys(fresh))
        client = self._client
        if client is not None and fresh:
            with contextlib.suppress(aiomqtt.MqttError):  # the reconnection subscribes again
                await client.subscribe([(name, 1) for name in fresh])

    async def messages(self) -> AsyncIterator[Message]:
        """Everything that comes in, for ever."""
        while True:
            yield await self._incoming.get()

    async def rename(self, pseudonym: str) -> None:
        """Leave the broker under the old name, with nothing kept there for it, and come back under the new one."""
        client = self._client
        if client is not None:
            with contextlib.suppress(aiomqtt.MqttError):
                await client.unsubscribe(list(self._filters))
        self.pseudonym = pseudonym
        generation = self.generation
        self._leave.set()
        await self._connection(generation)

    async def _connection(self, after: int) -> tuple[aiomqtt.Client, int]:
        async with self._state:
            await self._state.wait_for(lambda: self._client is not None and self.generation > after)
            return cast("aiomqtt.Client", self._client), self.generation

    async def _keep_connected(self) -> None:
        pause = wait_random_exponential(multiplier=_RETRY_FIRST_SECONDS, max=_RETRY_MOST_SECONDS)
        state = RetryCallState(cast("Any", None), None, (), {})
        while True:
            before = self.generation
            try:
                await self._one_connection()
            except aiomqtt.MqttError as error:
                if str(error) != self._last_error or self.generation > before:
                    log.warning("broker %s: %s", self._url, error)
                self._last_error = str(error)
            finally:
                self._client = None
            if self.generation > before:
                state = RetryCallState(cast("Any", None), None, (), {})
            if self._leave.is_set():
                self._leave.clear()
                continue
            await asyncio.sleep(pause(state))
            state.attempt_number += 1

    async def _one_connection(self) -> None:
        """Connect, subscribe, and pass on what comes in until the connection ends or is to be left."""
        client = self._make_client()
        async with client:
            if self._filters:
                await client.subscribe([(name, 1) for name in self._filters])
            async with self._state:
                self._client = client
                self.generation += 1
                self._state.notify_all()
            log.info("connected to %s", self._url)
            receiving = asyncio.create_task(self._receive(client))
            leaving = asyncio.create_task(self._leave.wait())
            try:
                await asyncio.wait({receiving, leaving}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                self._client = None
                for sending in self._sending:
                    sending.cancel()
                leaving.cancel()
                if not receiving.done():
                    receiving.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await receiving

    async def _receive(self, client: aiomqtt.Client) -> None:
        async for message in client.messages:
            payload = message.payload if isinstance(message.payload, bytes) else b""
            await self._incoming.put(Message(str(message.topic), payload, bool(message.retain)))

    def _make_client(self) -> aiomqtt.Client:
        will = None
        if self._will is not None:
            name = f"{self._will.topic.rpartition('/')[0]}/{self.pseudonym}"
            will = aiomqtt.Will(name, self._will.payload, qos=1, retain=True)
        holder: list[aiomqtt.Client] = []

        def gate(reading: bool) -> None:  # a callback's only argument
            # paho's socket is the one thing aiomqtt does not expose; reading it is stopped and started here only.
            paho = holder[0]._client  # noqa: SLF001
            sock = paho.socket()
            if sock is None:
                return
            loop = asyncio.get_running_loop()
            loop.remove_reader(sock)
            if reading:
                loop.add_reader(sock, paho.loop_read)

        self._queue = _GatedQueue(gate)
        client = aiomqtt.Client(
            self._address.host,
            self._address.port,
            identifier=self.pseudonym,
            username=self.pseudonym,
            clean_session=False,
            protocol=aiomqtt.ProtocolVersion.V311,
            keepalive=self._keepalive_seconds,
            will=will,
            tls_context=self._context,
            queue_type=cast("Any", lambda maxsize: self._queue),  # noqa: ARG005
            max_inflight_messages=200,
            timeout=10,
        )
        client.pending_calls_threshold = 10_000
        holder.append(client)
        return client
