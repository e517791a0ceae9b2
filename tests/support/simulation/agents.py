"""What the shells of the roles need of an agent, without a broker, a clock or an event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from types import SimpleNamespace
from typing import Any, TypeVar

from hushgrid.core.schedule import Pace
from hushgrid.shell.runtime import Counters
from hushgrid.statements.statement import Body
from hushgrid.wire.topics import Channel, Topic
from support.simulation.grid import FIRST, NAME, Grid

Returned = TypeVar("Returned")


def run(step: Coroutine[Any, Any, Returned]) -> Returned:
    """Play a coroutine that never waits to its end."""
    try:
        step.send(None)
    except StopIteration as ended:
        return ended.value
    raise RuntimeError(f"{step} waits")


class StandIn:
    """In the place of `hushgrid.shell.agent.Agent`: what is said is handed over, and work is done one step at a time.

    say: gets (channel, recipient's name, payload). tell: gets a statement for the configurator.
    """

    def __init__(
        self, name: str, grid: Grid, say: Callable[[Channel, str, bytes], None], tell: Callable[[Body], None]
    ) -> None:
        self.id, self.grid = name, NAME
        self.identity, self.keys, self.counters = grid.identities[name], grid.keys[name], Counters()
        self.membership = SimpleNamespace(plans=grid.plans, tell=self._tell)
        self.pacing = SimpleNamespace(pace=Pace(FIRST - 1, FIRST - 1))
        self.keyring = SimpleNamespace(epochs=lambda _agent: [grid.head.epoch])
        self._names, self._say, self._told = grid.names, say, tell

    async def send(self, channel: Channel, recipient: str, payload: bytes) -> None:
        self._say(channel, self._names[recipient], payload)

    async def _tell(self, _member: str, body: Body) -> None:
        self._told(body)

    async def keep_working(self, step: Callable[[], Awaitable[None]], work: asyncio.Event, _backoff: object) -> None:
        work.clear()
        await step()

    def changed(self) -> None:
        """Nobody is told of figures."""


def topic(grid: Grid, channel: Channel, recipient: str, sender: str) -> Topic:
    """Where a message lies, from names; a stranger has no pseudonym."""
    return Topic(NAME, channel, grid.pseudonyms[recipient], grid.pseudonyms.get(sender, sender))
