"""The broker in memory: its faults, its hooks, and that it is deterministic. What it promises like a real one: tests/broker."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.client import topic_matches_sub

from hushgrid.shell.transport import OUTSTANDING_PUBLISHES, Message, Will
from hushgrid.testing.clock import FakeClock
from hushgrid.testing.memory_broker import MemoryBroker, MemoryTransport, matches

LEVELS = st.sampled_from(["a", "b", "", "$x"])


async def settle() -> None:
    """Let every coroutine that can go on do so."""
    for _ in range(20):
        await asyncio.sleep(0)


async def waiting(transport: MemoryTransport, count: int) -> list[bytes]:
    reader = transport.messages()
    return [(await anext(reader)).payload for _ in range(count)]


@given(
    st.lists(st.sampled_from(["a", "b", "", "+", "$x"]), min_size=1, max_size=4),
    st.booleans(),
    st.lists(LEVELS, min_size=1, max_size=4),
)
def test_filters_match_as_in_paho(wanted: list[str], rest: bool, levels: list[str]) -> None:
    topic_filter = "/".join([*wanted, "#"] if rest else wanted)
    topic = "/".join(levels)
    if topic_filter and topic:
        assert matches(topic_filter, topic) == topic_matches_sub(topic_filter, topic)


async def test_a_fault_can_drop_duplicate_and_corrupt() -> None:
    faults = {b"drop": [], b"twice": [b"twice", b"twice"], b"bad": [b"other"]}
    broker = MemoryBroker(fault=lambda _topic, payload: faults.get(payload, [payload]))
    async with broker.transport("r") as receiver, broker.transport("s") as sender:
        await receiver.subscribe("t")
        for payload in [b"drop", b"twice", b"bad", b"end"]:
            await sender.publish("t", payload)
        assert await waiting(receiver, 4) == [b"twice", b"twice", b"other", b"end"]
    assert [payload for _, payload in broker.capture] == [b"drop", b"twice", b"bad", b"end"]


async def test_held_messages_come_after_later_ones_and_flush_brings_the_rest() -> None:
    broker = MemoryBroker(hold=lambda _topic, payload: {b"1": 2, b"4": 9}.get(payload, 0))
    async with broker.transport("r") as receiver:
        await receiver.subscribe("t")
        for number in range(1, 6):
            broker.publish("t", str(number).encode())
        assert await waiting(receiver, 4) == [b"2", b"3", b"1", b"5"]
        assert broker.waiting("r") == 1  # 5 is in the reader's hand
        broker.flush()
        assert await waiting(receiver, 2) == [b"5", b"4"]


async def test_publishes_wait_while_cut_off_and_go_out_on_return() -> None:
    broker = MemoryBroker()
    async with broker.transport("s") as sender, broker.transport("r") as receiver:
        await receiver.subscribe("t")
        broker.disconnect("s")
        publishing = asyncio.gather(*(sender.publish("t", bytes([number])) for number in range(5)))
        await settle()
        assert not broker.capture
        assert not publishing.done()
        broker.reconnect("s")
        await publishing
        assert sender.generation == 2
        assert await waiting(receiver, 5) == [bytes([number]) for number in range(5)]


async def test_outstanding_publishes_are_bounded() -> None:
    broker = MemoryBroker()
    async with broker.transport("s") as sender:
        broker.disconnect("s")
        publishing = [asyncio.create_task(sender.publish("t", b"")) for _ in range(OUTSTANDING_PUBLISHES + 50)]
        await settle()
        assert sender._room.locked()
        broker.reconnect("s")
        await asyncio.gather(*publishing)
        assert len(broker.capture) == OUTSTANDING_PUBLISHES + 50


async def test_a_killed_client_does_nothing_more_and_its_successor_finds_what_waited() -> None:
    broker = MemoryBroker()
    async with broker.transport("r", will=Will("status/r", b"offline")) as first:
        await first.subscribe("t")
        broker.kill("r")
        assert broker.capture == [("status/r", b"offline")]
        assert broker.retained == {"status/r": b"offline"}
        broker.publish("t", b"1")
        publishing = asyncio.create_task(first.publish("t", b"ghost"))
        await settle()
        assert not publishing.done()
        async with broker.transport("r") as second:
            assert await waiting(second, 1) == [b"1"]
        publishing.cancel()


async def test_a_second_client_of_the_same_name_ends_the_first() -> None:
    broker = MemoryBroker()
    async with broker.transport("r") as first, broker.transport("r") as second:
        assert (first.reachable, second.reachable) == (False, True)


async def test_a_crash_of_the_broker_loses_all_it_kept_and_everybody_subscribes_again() -> None:
    broker = MemoryBroker()
    async with broker.transport("r", will=Will("status/r", b"offline")) as receiver:
        await receiver.subscribe("t")
        broker.publish("t", b"lost", retain=True)
        broker.crash()
        assert not receiver.reachable
        broker.restart()
        broker.publish("t", b"after")
        assert receiver.generation == 2
        assert await waiting(receiver, 1) == [b"after"]
    assert broker.retained == {}


async def test_subscribing_again_brings_the_retained_message_again() -> None:
    broker = MemoryBroker()
    broker.publish("t", b"kept", retain=True)
    async with broker.transport("r") as receiver:
        await receiver.subscribe("t")
        reader = receiver.messages()
        assert await anext(reader) == Message("t", b"kept", retained=True)
        broker.disconnect("r")
        broker.reconnect("r")
        assert await anext(reader) == Message("t", b"kept", retained=True)  # it was in hand: it comes again
        assert await anext(reader) == Message("t", b"kept", retained=True)  # and the subscription brings it


async def test_a_rename_while_cut_off_keeps_what_waited_under_the_old_name() -> None:
    broker = MemoryBroker()
    async with broker.transport("old") as receiver:
        await receiver.subscribe("t")
        broker.publish("t", b"1")
        broker.disconnect("old")
        broker.publish("t", b"2")
        renaming = asyncio.create_task(receiver.rename("new"))
        await settle()
        assert not renaming.done()
        broker.reconnect("new")
        await renaming
        assert await waiting(receiver, 2) == [b"1", b"2"]
        assert broker.waiting("old") == 0


async def test_leaving_lets_a_waiting_reader_go_on_after_coming_back() -> None:
    broker = MemoryBroker()
    async with broker.transport("r") as receiver:
        await receiver.subscribe("t")
        reading = asyncio.create_task(waiting(receiver, 1))
        await settle()
        broker.disconnect("r")
        await settle()
        broker.publish("t", b"1")
        broker.reconnect("r")
        assert await reading == [b"1"]


def test_the_clock_moves_only_when_told_and_never_back() -> None:
    clock = FakeClock(1000.0)
    assert clock() == clock.now() == 1000.0
    assert clock.advance(1800) == 2800.0
    assert clock() == 2800.0
    with pytest.raises(ValueError, match="back"):
        clock.advance(-1)
