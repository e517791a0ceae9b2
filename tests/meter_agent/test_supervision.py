"""sd_notify over a real socket."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket

import pytest

from meter_agent.supervision import keep_alive, notify, watchdog_seconds


@pytest.fixture(params=["file", "abstract"])
def supervisor(request, tmp_path):
    name = str(tmp_path / "notify") if request.param == "file" else f"@hushgrid-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind("\0" + name[1:] if name.startswith("@") else name)
        listening.setblocking(False)
        yield listening, {"NOTIFY_SOCKET": name}


def test_what_is_said_arrives(supervisor):
    listening, environment = supervisor
    assert notify("READY=1", environment)
    assert listening.recv(100) == b"READY=1"


@pytest.mark.parametrize("environment", [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "/nowhere/at/all"}])
def test_without_a_supervisor_nothing_happens(environment):
    assert not notify("READY=1", environment)


@pytest.mark.parametrize(
    ("environment", "seconds"),
    [
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_the_watchdog_is_for_this_process_or_for_none(environment, seconds):
    assert watchdog_seconds(environment) == seconds


async def test_a_living_loop_says_so_until_it_stops(supervisor):
    listening, environment = supervisor
    alive = asyncio.create_task(keep_alive(environment | {"WATCHDOG_USEC": "3000"}))
    loop = asyncio.get_running_loop()
    said = [await asyncio.wait_for(loop.sock_recv(listening, 100), 5) for _ in range(4)]
    assert said == [b"READY=1", b"WATCHDOG=1", b"WATCHDOG=1", b"WATCHDOG=1"]
    alive.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await alive
    while (last := await asyncio.wait_for(loop.sock_recv(listening, 100), 5)) == b"WATCHDOG=1":
        continue
    assert last == b"STOPPING=1"
