"""The broker's doors on the real Mosquitto over TLS: every (role, topic, action), and who does not come in at all."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiomqtt
import pytest

from configurator.authority.authority import Authority, utc_now
from hushgrid.wire.access import CONDUCTED_DOORS, door_of
from hushgrid.wire.role import Role
from hushgrid.wire.topics import Channel, topic

GRID = "grid"
DEADLINE_SECONDS = 120.0
ME, OTHER = "me", "other"

#: Who says what, written down a second time by hand from docs/protocol.md: the access table is tested against it.
SAYS = {
    Role.METER: {"share", "masked", "pair", "control", "status"},
    Role.CARRIER: {"share", "masked", "pair", "control", "status"},
    Role.PPN: {"receipt", "aggregate", "control", "presence"},
    Role.CONSUMER: {"receipt", "masked", "control", "status"},
    Role.CONFIGURATOR: {"control", "card", "head", "status"},
    Role.CONDUCTOR: {"clock"},
}
HEARS = {
    Role.METER: {"receipt", "masked", "pair", "control", "card", "head", "presence", "clock"},
    Role.CARRIER: {"receipt", "masked", "pair", "control", "card", "head", "presence", "clock"},
    Role.PPN: {"share", "receipt", "control", "card", "head", "presence", "clock"},
    Role.CONSUMER: {"aggregate", "masked", "control", "card", "head", "clock"},
    Role.CONFIGURATOR: {"control", "status", "presence", "clock"},
    Role.CONDUCTOR: {"control"},
}


def every_topic() -> list[str]:
    """Each channel from me and from another, to me and to another, and topics that are none of ours."""
    found = []
    for channel in Channel:
        for sender in (ME, OTHER):
            recipients = (ME, OTHER) if channel.addressed else (None,)
            found += [topic(GRID, channel, sender, recipient) for recipient in recipients]
    foreign = [name.replace("/grid/", "/another-grid/") for name in found]
    return [*found, *foreign, "elsewhere", f"hushgrid/1/{GRID}", f"hushgrid/1/{GRID}/share/{OTHER}/{ME}/deeper"]


def may_say(role: Role, name: str) -> bool:
    parts = name.split("/")
    ours = name.startswith(f"hushgrid/1/{GRID}/") and len(parts) in (5, 6)
    return ours and parts[3] in SAYS[role] and parts[-1] == ME


def may_hear(role: Role, name: str) -> bool:
    parts = name.split("/")
    ours = name.startswith(f"hushgrid/1/{GRID}/") and len(parts) in (5, 6)
    return ours and parts[3] in HEARS[role] and (len(parts) == 5 or parts[4] == ME)


def test_a_meters_receipts_and_nobody_elses() -> None:
    assert may_hear(Role.METER, "hushgrid/1/grid/receipt/me/other")
    assert not may_hear(Role.METER, "hushgrid/1/grid/receipt/other/me")
    assert not may_say(Role.METER, "hushgrid/1/grid/receipt/other/me")


async def received(client: aiomqtt.Client, until: str) -> set[str]:
    """Topics that came before the one that is surely heard."""
    found: set[str] = set()
    async with asyncio.timeout(DEADLINE_SECONDS):
        async for message in client.messages:
            if str(message.topic) == until:
                return found
            found.add(str(message.topic))
    raise AssertionError


def say_all(doors: Any, role: Role, certificate: Path) -> None:
    """Publish on every topic. Mosquitto acknowledges what it refuses, and then ends the connection."""
    visit = Visit()
    left = every_topic()
    while left:
        with contextlib.suppress(OSError), come_in(doors, role, certificate, visit) as sock:
            while left:
                name = mqtt_string(left[0])
                sock.sendall(bytes([0x32, len(name) + 3]) + name + b"\x00\x01x")
                if sock.recv(4) == b"\x40\x02\x00\x01":
                    del left[0]


@pytest.mark.parametrize("role", list(Role))
async def test_a_role_publishes_on_exactly_its_topics(doors: Any, role: Role) -> None:
    async with doors.looking() as looking:
        await looking.subscribe("#", qos=1)
        await asyncio.to_thread(say_all, doors, role, doors.certify("me", role, ME))
        await looking.publish("end", b"", qos=1)
        seen = await received(looking, "end")
    assert seen == {name for name in every_topic() if may_say(role, name)}


@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize("kept", [False, True], ids=["live", "retained"])
async def test_a_role_reads_exactly_its_topics_whatever_it_subscribes_to(doors: Any, role: Role, kept: bool) -> None:
    me = doors.connection(role, doors.certify("me", role, ME))
    end = topic(GRID, Channel.CONTROL, "end", ME)
    async with doors.looking() as looking, me:
        if not kept:
            await me.subscribe([(name, 1) for name in ("#", "hushgrid/1/+/+/+/+", *every_topic())])
        for name in every_topic():
            await looking.publish(name, b"x", qos=1, retain=kept)
        if kept:
            await me.subscribe([(name, 1) for name in ("#", "hushgrid/1/+/+/+/+", *every_topic())])
        await looking.publish(end, b"x", qos=1)
        seen = await received(me, end)
    assert seen == {name for name in every_topic() if may_hear(role, name)}


@dataclass
class Visit:
    """What TLS lets a later visit resume by."""

    context: ssl.SSLContext | None = None
    session: ssl.SSLSession | None = None


def mqtt_string(text: str) -> bytes:
    return len(text).to_bytes(2, "big") + text.encode()


@contextlib.contextmanager
def come_in(
    doors: Any, role: Role, certificate: Path | None, visit: Visit, will: str | None = None
) -> Iterator[ssl.SSLSocket]:
    """A connection that the broker has welcomed, in plain bytes; OSError when it has not."""
    packet = mqtt_string("MQTT") + bytes([4, 2 | (0 if will is None else 0b1100), 0, 60]) + mqtt_string("anybody")
    packet += b"" if will is None else mqtt_string(will) + mqtt_string("gone")
    visit.context = visit.context or doors.context(certificate)
    address = ("127.0.0.1", doors.files.ports[door_of(role)])
    with (
        socket.create_connection(address, timeout=DEADLINE_SECONDS) as raw,
        visit.context.wrap_socket(raw, server_hostname="localhost", session=visit.session) as sock,
    ):
        sock.sendall(bytes([0x10, len(packet)]) + packet)
        if sock.recv(4) != b"\x20\x02\x00\x00":
            raise ConnectionRefusedError
        visit.session = sock.session
        yield sock


def knock(doors: Any, role: Role, certificate: Path | None, visit: Visit) -> bool:
    try:
        with come_in(doors, role, certificate, visit):
            return True
    except OSError:
        return False


async def enters(doors: Any, role: Role, certificate: Path | None, visit: Visit | None = None) -> bool:
    return await asyncio.to_thread(knock, doors, role, certificate, visit or Visit())


async def test_a_will_on_anothers_topic_is_not_said(doors: Any) -> None:
    certificate = doors.certify("me", Role.METER, ME)
    async with doors.looking() as looking:
        await looking.subscribe("#", qos=1)
        for name in (OTHER, ME):
            # Left without a DISCONNECT: now the broker says the will.
            with come_in(doors, Role.METER, certificate, Visit(), will=topic(GRID, Channel.STATUS, name)):
                pass
        assert await received(looking, topic(GRID, Channel.STATUS, ME)) == set()


@pytest.mark.parametrize("door", CONDUCTED_DOORS)
async def test_nobody_comes_in_without_a_certificate_of_that_door(doors: Any, door: Role, tmp_path: Path) -> None:
    foreign = Authority(tmp_path / "foreign")
    own = doors.certify("me", door, ME)
    assert await enters(doors, door, own)
    assert not await enters(doors, door, None)
    assert not await enters(doors, door, doors.certify("me", door, ME, by=foreign))
    assert not await enters(doors, door, doors.certify("me", door, ME, life=dt.timedelta(seconds=-1)))
    for other in CONDUCTED_DOORS:
        if other is not door:
            assert not await enters(doors, other, own)
    foreign.close()


async def test_a_broker_of_another_authority_is_not_believed(doors: Any, tmp_path: Path) -> None:
    foreign = Authority(tmp_path / "foreign")
    certificate = doors.certify("me", Role.METER, ME)
    assert await enters(doors, Role.METER, certificate)
    (doors.directory / "broker" / "servers.pem").write_bytes(foreign.server_trust)
    assert not await enters(doors, Role.METER, certificate)
    foreign.close()


async def test_whoever_is_shut_out_does_not_come_in_again_and_the_others_stay(doors: Any) -> None:
    first, second = doors.certify("first", Role.METER, ME), doors.certify("second", Role.METER, OTHER)
    visit = Visit()
    async with doors.connection(Role.METER, second) as staying:
        assert await enters(doors, Role.METER, first, visit)
        assert doors.authority.revoke("first", utc_now()) == [ME]
        doors.authority.write_revocations(doors.directory / "broker", utc_now())
        doors.reload()
        async with asyncio.timeout(DEADLINE_SECONDS):
            while await enters(doors, Role.METER, first):  # noqa: ASYNC110 - Mosquitto does not say when it has reloaded
                await asyncio.sleep(0.05)
        assert visit.session is not None
        assert not await enters(doors, Role.METER, first, visit)
        await staying.publish(topic(GRID, Channel.STATUS, OTHER), b"x", qos=1)
        assert await enters(doors, Role.METER, doors.certify("third", Role.METER, "third"))


async def test_a_client_id_cannot_be_taken_from_its_owner(doors: Any) -> None:
    first, second = doors.certify("first", Role.METER, ME), doors.certify("second", Role.METER, OTHER)
    async with doors.connection(Role.METER, first, identifier=ME) as owner:
        async with doors.connection(Role.METER, second, identifier=ME) as thief:
            await thief.publish(topic(GRID, Channel.STATUS, OTHER), b"x", qos=1)
        await owner.publish(topic(GRID, Channel.STATUS, ME), b"x", qos=1)
