"""From the bytes on a serial line to an exact sum at a consumer: pseudo-terminals, real processes, Mosquitto."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from pathlib import Path

import aiomqtt
import pytest
from support.live_grid import GRID, LiveGrid
from support.wires import Household, Network, Wire, terminal

from hushgrid.wire.topics import Channel, inbox
from testbed.processes import Supervisor

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]

INTERVAL = 5
GRACE = 50.0  # longer than the outage on a busy machine: what is late by less is made up for


async def statuses(url: str) -> dict[str, bytes]:
    """What is retained on the status channel, by sender."""
    host, port = url.removeprefix("mqtt://").split(":")
    found: dict[str, bytes] = {}
    async with aiomqtt.Client(host, int(port)) as listener:
        await listener.subscribe(inbox(GRID, Channel.STATUS))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1.0):
                async for message in listener.messages:
                    found[str(message.topic)] = message.payload
    return found


async def said_by(url: str, wanted: Callable[[list[bytes]], bool]) -> list[bytes]:
    """What everybody's status is, once it is so."""
    async with asyncio.timeout(120):
        while not wanted(said := list((await statuses(url)).values())):
            continue
    return said


@pytest.mark.usefixtures("mosquitto")
async def test_bytes_on_a_pseudo_terminal_become_an_exact_sum_at_a_consumer(
    tmp_path: Path, supervisor: Supervisor, template: bytes
) -> None:
    """Two serial lines and a network reader; one meter loses its power, one its network for three rounds, one its life."""
    meters = ["m-serial-1", "m-serial-2", "m-network"]
    grid = await LiveGrid.start(tmp_path, supervisor, meters, interval_seconds=INTERVAL, grace_seconds=GRACE)
    since = int(time.time() // INTERVAL) - 1
    households = [Household(template, INTERVAL, seed, export=seed > 0) for seed in range(3)]
    wires = [Wire(household, since) for household in households]
    network = Network(grid.broker_url)
    async with contextlib.AsyncExitStack() as stack:
        group = await stack.enter_async_context(asyncio.TaskGroup())
        feeding = []
        for meter, wire in zip(meters[:2], wires, strict=False):
            master, path = terminal()
            feeding.append(group.create_task(wire.feed_terminal(master)))
            await grid.run("meter_agent", meter, grid.meter(meter, {"kind": "p1", "port": path}))
        server = await stack.enter_async_context(await asyncio.start_server(wires[2].serve_tcp, "127.0.0.1", 0))
        reader = f"tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        through = await stack.enter_async_context(network)
        content = grid.meter(meters[2], {"kind": "p1", "port": reader}) | {"broker": {"url": through}}
        await grid.run("meter_agent", meters[2], content)

        def complete() -> list[int]:
            return [number for number, result in grid.results().items() if result["included"] == 3]

        await grid.until(lambda: len(complete()) >= 2, 100, "no two complete sums")
        await asyncio.sleep(INTERVAL - time.time() % INTERVAL + 0.6 * INTERVAL)
        first_away = int(time.time() // INTERVAL)
        network.cut()
        supervisor.kill("m-serial-1")  # and its supervisor starts it again, within the round
        await asyncio.sleep(3 * INTERVAL)
        assert len(supervisor.child("m-serial-1").pids) == 2
        network.mend()
        away = range(first_away, first_away + 4)
        await grid.until(lambda: set(away) <= set(complete()), 60, "the rounds of an outage were not made up for")
        # The three meters beside what was there before them; a killed one may need a while to be so again.
        online = (await said_by(grid.broker_url, lambda said: said.count(b"online") >= len(meters))).count(b"online")
        assert online >= len(meters)
        await supervisor.stop(supervisor.child("m-network"))
        supervisor.child("m-serial-2").stopping = True
        supervisor.kill("m-serial-2")  # has no time to say that it goes: its last will does
        said = await said_by(grid.broker_url, lambda said: said.count(b"offline") == 2)
        assert said.count(b"online") == online - 2
        for task in feeding:
            task.cancel()
    for number in complete():
        assert grid.results()[number]["watt_hours"] == sum(household.net(number) for household in households), number
    assert "1 samples not believed: checksum" in grid.log("m-serial-2").read_text()
