"""One MQTT connection, from its settings to its end."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import aiomqtt
import paho.mqtt.client as paho_client
from paho.mqtt.enums import MQTTErrorCode

from hushgrid.shell.transport.interface import BrokerAddress, Contexts, Message, Will
from hushgrid.shell.transport.silence import SILENCE_SECONDS, Subscriptions

log = logging.getLogger("hushgrid.transport")

#: Messages waiting for the reader: above the low mark nothing is acknowledged, above the high one the socket is not read.
INCOMING_HIGH, INCOMING_LOW = 2000, 200
_ANSWER_SECONDS = 10.0
#: A publish that is not acknowledged for so long is repeated; when nothing was meanwhile, over another connection.
_ACKNOWLEDGE_SECONDS = 20.0
_SETTLE_SECONDS = 0.01
#: SUBACK's answer to a subscription that is refused.
_REFUSED = 0x80


@dataclass(frozen=True, slots=True)
class Settings:
    urls: tuple[str, ...]
    addresses: tuple[BrokerAddress, ...]
    will: Will | None
    password: str | None
    contexts: Contexts | None
    keepalive_seconds: int
    user: str | None = None
    lasting: bool = True
    silence_seconds: float = SILENCE_SECONDS

    @property
    def label(self) -> str:
        """All addresses, for a person."""
        return ", ".join(self.urls)

    def client(self, pseudonym: str, place: int, *, clean_session: bool = False) -> aiomqtt.Client:
        """A connection to be entered. place: index of the address; clean_session: the broker forgets what it kept for this name.

        ConfigurationError when there is no certificate for the name.
        """
        clean_session = clean_session or not self.lasting
        will = None
        if self.will is not None and not clean_session:
            will = aiomqtt.Will(self.will.topic_of(pseudonym), self.will.payload, qos=1, retain=True)
        address = self.addresses[place]
        return aiomqtt.Client(
            address.host,
            address.port,
            identifier=pseudonym,
            username=self.user or pseudonym,
            password=self.password,
            clean_session=clean_session,
            protocol=aiomqtt.ProtocolVersion.V311,
            keepalive=self.keepalive_seconds,
            will=will,
            tls_context=self.contexts(pseudonym) if self.contexts is not None else None,
            max_inflight_messages=0,  # no second bound in paho, whose queue is slow: OUTSTANDING_PUBLISHES is the bound
            timeout=_ANSWER_SECONDS,
            # A small publish behind a small acknowledgement would wait 40 ms for the broker's delayed TCP acknowledgement.
            socket_options=[(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)],
        )


class SubscriptionRefusedError(aiomqtt.MqttError):
    """An agent that does not hear all it has to hear is not connected."""

    def __init__(self, filters: list[str]) -> None:
        super().__init__(f"its access rules refuse the subscription to {', '.join(filters)}")


def heed_cancellation() -> None:
    """Asked behind everything aiomqtt waits for: it does so by `asyncio.wait_for`, which before Python 3.12 forgets a cancellation
    that meets the answer, and whoever cancelled would wait for ever. asyncio.CancelledError when this task was cancelled.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


class Connection:
    """One MQTT connection from its acceptance to its end. Publishing and acknowledging are done on paho itself: aiomqtt
    acknowledges before anybody has read, drops when its queue is full, and leaves publishes waiting when a connection ends.
    """

    def __init__(self, client: aiomqtt.Client, incoming: asyncio.Queue[Arrival], settings: Settings) -> None:
        self.ended = False
        self.lost = False
        self._secure = settings.contexts is not None
        self.heard = 0
        self._unread = 0
        self.subscribed = Subscriptions(settings.silence_seconds)
        self._client = client
        self._incoming = incoming
        self._awaited: dict[int, asyncio.Future[bool]] = {}
        self._owed: deque[int] = deque()
        self._settling = False
        self._paused = False
        self._overflow = 0
        self._loop = asyncio.get_running_loop()
        self._answered = self._loop.time()
        self._unanswered = asyncio.Event()
        self._paho = client._client  # noqa: SLF001 - see the class
        self._paho.manual_ack_set(True)
        self._paho.on_message = self._on_message
        self._paho.on_publish = self._on_publish
        self._told_of_end = self._paho.on_disconnect
        self._paho.on_disconnect = self._on_disconnect

    @property
    def quiet(self) -> bool:
        """Whether all that came has been dealt with and acknowledged."""
        return not self._unread and not self._owed

    async def last(self) -> None:
        """Return never; aiomqtt.MqttError when the connection ends."""
        async for _ in self._client.messages:  # always empty: messages are taken in _on_message
            pass

    async def tend(self, wanted: Callable[[], Collection[str]]) -> None:
        """Make anew what brings nothing, for ever. aiomqtt.MqttError when the broker answers nothing any more.

        wanted: filters that are still to be heard.
        """
        while True:
            try:
                async with asyncio.timeout(self.subscribed.seconds_to_next(self._loop.time())):
                    await self._unanswered.wait()
                raise aiomqtt.MqttError(f"it has acknowledged nothing for {_ACKNOWLEDGE_SECONDS:.0f} s")
            except TimeoutError:
                for name in self.subscribed.silent(wanted(), self._loop.time()):
                    log.debug("a subscription that brings nothing is made anew")
                    # Not by `unsubscribe`: how patient it is stays known.
                    await self._client.unsubscribe([name])
                    heed_cancellation()
                    await self.subscribe([name])

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
        began = self._loop.time()
        if self._paused:
            self.adjust()
        try:
            async with asyncio.timeout(_ACKNOWLEDGE_SECONDS):
                return await acknowledged
        except TimeoutError:
            if self._answered <= began:
                self._unanswered.set()
                self.end()
            return False
        finally:
            self._awaited.pop(sent.mid, None)

    async def subscribe(self, filters: list[str]) -> None:
        """At QoS 1; aiomqtt.MqttError when there is no answer, or when one of them is refused."""
        answers: Any = await self._client.subscribe([(name, 1) for name in filters])
        heed_cancellation()
        if len(answers) != len(filters):
            raise aiomqtt.MqttError(f"{len(answers)} answers to {len(filters)} subscriptions")
        refused = [
            name
            for name, answer in zip(filters, answers, strict=True)
            if (answer if isinstance(answer, int) else answer.value) >= _REFUSED
        ]
        if refused:
            raise SubscriptionRefusedError(refused)
        self.subscribed.made(filters, self._loop.time())

    async def unsubscribe(self, filters: list[str]) -> None:
        """aiomqtt.MqttError when there is no answer."""
        await self._client.unsubscribe(filters)
        heed_cancellation()
        self.subscribed.ended(filters)

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
        self.heard += 1
        self._unread += 1
        mid = message.mid if message.qos else 0
        try:
            name = message.topic
        except UnicodeDecodeError:
            log.warning("a message of %d bytes refused: its topic is not UTF-8", len(message.payload))
            self.acknowledge(mid)
            return
        if not message.retain:
            self.subscribed.heard(name, self._loop.time())
        self._incoming.put_nowait(Arrival(Message(name, bytes(message.payload), message.retain), self, mid))
        self.adjust()

    def _on_disconnect(self, *happened: Any) -> None:
        """aiomqtt waits out its patience for an answer to CONNECT when the connection ends before there is one, and forgets an
        end that comes right behind the answer (`lost`).
        """
        self.lost = True
        welcomed = self._client._connected  # noqa: SLF001 - see the class
        if not welcomed.done():
            hint = ": is the certificate for this door, still valid, and not revoked?" if self._secure else ""
            welcomed.set_exception(aiomqtt.MqttError(f"the broker ends the connection before it answers{hint}"))
        if self._told_of_end is not None:
            self._told_of_end(*happened)

    def _on_publish(self, _paho: paho_client.Client, _userdata: object, mid: int, *_: object) -> None:
        self._answered = self._loop.time()
        acknowledged = self._awaited.get(mid)
        if acknowledged is not None and not acknowledged.done():
            acknowledged.set_result(True)


@dataclass(frozen=True, slots=True)
class Arrival:
    """A message for the reader; mid: 0 when there is nothing to acknowledge."""

    message: Message
    connection: Connection
    mid: int
