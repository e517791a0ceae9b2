"""The file whose age tells a container's health check how an agent is."""

from __future__ import annotations

import asyncio

import pytest

from hushgrid.errors import ConfigurationError
from hushgrid.shell.runtime import keep_pulse


async def turn_of_the_loop(pulse: asyncio.Task[None]) -> None:
    for _ in range(3):
        await asyncio.sleep(0)
    pulse.cancel()
    await asyncio.wait({pulse})


async def test_the_file_is_touched_while_the_broker_is_reached(tmp_path):
    file = tmp_path / "pulse"
    await turn_of_the_loop(asyncio.create_task(keep_pulse(file, lambda: True)))
    assert file.exists()


async def test_the_file_ages_while_the_broker_is_away(tmp_path):
    file = tmp_path / "pulse"
    await turn_of_the_loop(asyncio.create_task(keep_pulse(file, lambda: False)))
    assert not file.exists()


async def test_a_file_that_cannot_be_written_ends_the_agent_with_one_line(tmp_path):
    with pytest.raises(ConfigurationError, match=r"pulse_file .*absent"):
        await keep_pulse(tmp_path / "absent" / "pulse", lambda: True)
