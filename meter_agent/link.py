"""What becomes of what a station says and hears. In a grid that is the network's affair; a testbed can lose some of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Protocol

from hushgrid.wire.shares import Envelope, RepairRequest

if TYPE_CHECKING:
    from hushgrid.wire.masked import MaskedEnvelope

#: Publishes an envelope's bytes to the receiver.
Send = Callable[[bytes], Awaitable[None]]


class MeterLink(Protocol):
    """The way between a station and the others, as a testbed plays it. PPNs and consumers are named by their ids."""

    async def say(self, said: Envelope | MaskedEnvelope, receiver: str, send: Send, /) -> None:
        """Say an envelope, by as many calls of `send` as it takes."""

    def given_up(self, said: Envelope | MaskedEnvelope, receiver: str, /) -> int:
        """Of how many readings in it no answer is to be expected, as they are known to be lost."""
        ...

    def heard(self, request: RepairRequest, ppn: str, /) -> RepairRequest:
        """What of a PPN's request is heard."""
        ...

    def figures(self) -> dict[str, int]:
        """Counts for a testbed's conductor."""
        ...


class _Perfect:
    async def say(self, said: Envelope | MaskedEnvelope, _receiver: str, send: Send, /) -> None:
        await send(said.to_bytes())

    def given_up(self, _said: Envelope | MaskedEnvelope, _receiver: str, /) -> int:
        return 0

    def heard(self, request: RepairRequest, _ppn: str, /) -> RepairRequest:
        return request

    def figures(self) -> dict[str, int]:
        return {}


#: What every deployed meter has: nothing is lost here, and all is heard.
PERFECT: MeterLink = _Perfect()
