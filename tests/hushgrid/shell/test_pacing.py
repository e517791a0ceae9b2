"""Whose clock decides when a round ends: the one on the wall, or a conductor whose code a deployed agent never loads."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest

from hushgrid.core.schedule import Pace
from hushgrid.errors import MessageError, RejectReason
from hushgrid.shell.config import PaceSection
from hushgrid.shell.pacing import UtcPace, pace_follower
from hushgrid.testing.clock import FakeClock
from hushgrid.wire.role import Role

LOOK = """
import sys
from hushgrid.shell.config import PaceSection
from hushgrid.shell.pacing import pace_follower
import configurator.service, consumer_node.service
loaded = lambda: any(name.startswith("hushgrid.conducted") for name in sys.modules)
pace_follower(PaceSection())
assert not loaded()
pace_follower(PaceSection(mode="conducted", conductor=bytes(32), conductor_agreement=bytes(32)))
assert loaded()
"""


def test_an_agent_under_the_clock_on_the_wall_loads_nothing_of_compressed_rounds():
    done = subprocess.run([sys.executable, "-c", LOOK], capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr


async def test_the_clock_on_the_wall_moves_the_pace_and_never_back(monkeypatch):
    clock, moved, slept = FakeClock(1000 * 60 + 5), [], []
    pacing = UtcPace(grace_seconds=10.0, now=clock)

    async def sleep(seconds):
        slept.append(seconds)
        if len(slept) == 1:
            clock.advance(seconds)
        elif len(slept) == 2:
            clock._now_seconds = 900 * 60
        else:
            raise asyncio.CancelledError

    monkeypatch.setattr(asyncio, "sleep", sleep)
    loops = pacing.loops(lambda: moved.append(pacing.pace), Role.METER, lambda: (0, {}, ()), None, None)
    pacing.set_interval(60)
    pacing.set_interval(30)
    with pytest.raises(asyncio.CancelledError):
        await loops.pop("clock")
    assert not loops
    assert moved == [Pace(999, 998), Pace(999, 999)]
    assert pacing.pace == Pace(999, 999), "a clock that is set back takes no round back"
    assert max(slept) <= 60.0


def test_nobody_says_the_time_to_who_has_a_clock():
    pacing = pace_follower(PaceSection())
    assert pacing.subscriptions("g") == []
    with pytest.raises(MessageError) as refused:
        pacing.hear(b"{}", "conductor")
    assert refused.value.reason is RejectReason.WRONG_SENDER
