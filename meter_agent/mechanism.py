"""What a way of saying readings is to its station: `meter_agent.shares` and `meter_agent.masked` know nothing of each other."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from collections.abc import Set as AbstractSet
from typing import Protocol

from hushgrid.plan.following import AdoptedPlan
from hushgrid.wire.topics import Channel, Topic
from meter_agent.cover import Cover

#: The slots of a meter in a round; None says "no reading".
Read = Callable[[str, int], Awaitable[tuple[int, ...] | None]]


class MeterMechanism(Protocol):
    """One way of saying readings. channels: what it hears of its own."""

    channels: frozenset[Channel]

    def adopt(self, adopted: AdoptedPlan) -> None:
        """Take in what a plan asks of the station's meters."""

    async def hear(self, parsed: Topic, payload: bytes) -> None:
        """A message of one of its channels; MessageError when it is refused."""

    async def advance(self) -> None:
        """Do all that is due."""

    def cover(self, meter: str, round_number: int) -> Cover:
        """What it puts under a reading that another one says."""
        ...

    def let_go(self, metered_through: int) -> int | None:
        """Forget what rounds up to this one no longer need, as they are said; the oldest epoch whose key is needed, None for any."""

    def stated_through(self) -> Iterable[int]:
        """How far each meter has come; -1 before any plan."""
        ...

    def in_plan(self, version: int) -> AbstractSet[str]:
        """The meters that a plan asks something of."""
        ...

    def figures(self) -> dict[str, int]:
        """Counts for a testbed's conductor, added up over mechanisms. outbox: what waits for an answer; waiting: of that, what is not
        known to be lost.
        """
        ...

    def close(self) -> None:
        """Close its stores."""
