"""Following the pace of rounds: the clock on the wall, or whatever a configuration puts in its place."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Protocol

from hushgrid.core.schedule import Pace, pace_at, seconds_to_next
from hushgrid.errors import ConfigurationError, MessageError, RejectReason
from hushgrid.shell.config import PaceMode, PaceSection
from hushgrid.statements.statement import Body
from hushgrid.wire.role import Role


class PaceFollower(Protocol):
    """The pace as an agent knows it; it never goes back.

    link_stages: what a testbed's conductor lets a lossy link do (`hushgrid.conducted.link_settings.LinkStage`); else nothing.
    """

    pace: Pace | None
    link_stages: tuple[Any, ...]

    def set_interval(self, interval_seconds: int) -> None:
        """The plan's interval; the first one stays."""

    def subscriptions(self, grid: str) -> list[str]:
        """Where the pace is heard, if it is."""
        ...

    def hear(self, wire: bytes, sender: str) -> bool:
        """Take in a statement about the pace; True when it moved. MessageError when it is nobody's to say."""
        ...

    def loops(
        self,
        moved: Callable[[], None],
        role: Role,
        progress: Callable[[], tuple[int, dict[str, int], tuple[str, ...]]],
        say: Callable[[str, str, bytes, Body], Awaitable[None]],
        changed: asyncio.Event | None,
    ) -> dict[str, Coroutine[Any, Any, None]]:
        """What goes on beside the role's own work, by name.

        moved: called when the pace moved by itself. progress, say, changed: for who wants to be told how far the agent is:
        (plan version, figures, notes); (pseudonym, id, agreement key, statement) to say it; set when something changed.
        """
        ...


class UtcPace:
    """The clock on the wall. The interval comes with the first plan; now: Unix seconds, an argument for tests."""

    def __init__(self, grace_seconds: float, now: Callable[[], float] = time.time) -> None:
        self._grace_seconds = grace_seconds
        self._now = now
        self._interval_known = asyncio.Event()
        self._interval_seconds: int | None = None
        self.pace: Pace | None = None
        self.link_stages: tuple[Any, ...] = ()

    def set_interval(self, interval_seconds: int) -> None:
        """The plan's interval; the first one stays."""
        if self._interval_seconds is None:
            self._interval_seconds = interval_seconds
            self._interval_known.set()

    def subscriptions(self, _grid: str) -> list[str]:
        """Nobody says the time."""
        return []

    def hear(self, _wire: bytes, _sender: str) -> bool:
        """MessageError: nobody says the time."""
        raise MessageError(RejectReason.WRONG_SENDER, "clock")

    def loops(
        self,
        moved: Callable[[], None],
        _role: Role,
        _progress: Callable[[], tuple[int, dict[str, int], tuple[str, ...]]],
        _say: Callable[[str, str, bytes, Body], Awaitable[None]],
        _changed: asyncio.Event | None,
    ) -> dict[str, Coroutine[Any, Any, None]]:
        """The clock."""
        return {"clock": self.follow_clock(moved)}

    async def follow_clock(self, moved: Callable[[], None]) -> None:
        """Call `moved` whenever the clock ends or freezes a round."""
        while self._interval_seconds is None:
            await self._interval_known.wait()
        grace = self._grace_seconds
        while True:
            before = self.pace
            now = pace_at(self._now(), self._interval_seconds, grace)
            self.pace = now if before is None else before.merge(now)
            if self.pace != before:
                moved()
            # Never longer than a minute: a clock that is set while we sleep is noticed.
            await asyncio.sleep(min(60.0, seconds_to_next(self._now(), self._interval_seconds, grace) + 0.005))


def pace_follower(section: PaceSection) -> PaceFollower:
    """What a configuration asks for."""
    if section.mode is PaceMode.UTC:
        return UtcPace(section.grace_seconds)
    if section.conductor is None or section.conductor_agreement is None:
        raise ConfigurationError("pace: mode conducted needs conductor and conductor_agreement")
    # Imported here, the one door to it: a deployed agent does not load what exists for compressed rounds only.
    from hushgrid.conducted.pace import ConductedPace  # noqa: PLC0415

    return ConductedPace(section.conductor, section.conductor_agreement)
