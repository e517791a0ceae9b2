"""What a way of summing readings is to its consumer: `consumer_node.shares` and `consumer_node.masked` know nothing of each other."""

from __future__ import annotations

from typing import Protocol

from hushgrid.plan.following import AdoptedPlan
from hushgrid.statements.statement import Body
from hushgrid.wire.topics import Channel, Topic


class ConsumerMechanism(Protocol):
    """One way of summing.

    channel: what it hears of its own. hears: the kinds of statements that it takes from the configurator.
    """

    channel: Channel
    hears: tuple[type[Body], ...]

    def adopt(self, adopted: AdoptedPlan) -> None:
        """Take in a plan, and go on with what is not done under it."""

    async def hear(self, parsed: Topic, payload: bytes) -> None:
        """A message of its channel; MessageError when it is refused."""

    def hear_statement(self, body: Body) -> None:
        """A statement of a kind that it hears; MessageError when it is refused."""

    async def advance(self) -> None:
        """Do what is due: after something came, and now and then."""

    def keeps_from_round(self, frozen_through: int) -> int:
        """The first round whose keys it may still need, when rounds up to this one are frozen."""
        ...

    def figures(self) -> dict[str, int]:
        """Counts for a testbed's conductor."""
        ...

    def close(self) -> None:
        """Close its own store; results are whoever's opened them."""
