"""Following the pace of rounds: the clock on the wall, or a testbed's conductor."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from hushgrid.config import PaceMode, PaceSection
from hushgrid.control import Clock, Statement
from hushgrid.errors import MessageError, RejectReason
from hushgrid.link_settings import LinkStage
from hushgrid.schedule import Pace, pace_at, seconds_to_next


class PaceFollower:
    """The pace as this agent knows it; it never goes back.

    now: Unix seconds, an argument for tests. In UTC mode the interval comes with the first plan. link_stages: what a
    testbed's conductor lets the lossy link do.
    """

    def __init__(self, section: PaceSection, now: Callable[[], float] = time.time) -> None:
        self._section = section
        self._now = now
        self._changed = asyncio.Event()
        self._interval_seconds: int | None = None
        self.pace: Pace | None = None
        self.link_stages: tuple[LinkStage, ...] = ()
        self.conductor_pseudonym: str | None = None

    @property
    def conducted(self) -> bool:
        """True in a testbed's compressed rounds."""
        return self._section.mode is PaceMode.CONDUCTED

    def set_interval(self, interval_seconds: int) -> None:
        """The plan's interval, for the clock on the wall."""
        if self._interval_seconds is None:
            self._interval_seconds = interval_seconds
            self._changed.set()

    def hear(self, wire: bytes, sender: str) -> bool:
        """Take in a conductor's clock statement; True when the pace moved. MessageError when it is not the conductor's."""
        statement, signed = Statement.from_bytes(wire)
        if not self.conducted or self._section.conductor is None:
            raise MessageError(RejectReason.WRONG_SENDER, "clock")
        signed.check(self._section.conductor)
        if not isinstance(statement.body, Clock):
            raise MessageError(RejectReason.UNKNOWN_KIND, "clock")
        self.conductor_pseudonym = sender
        if len(statement.body.link) > len(self.link_stages):
            self.link_stages = statement.body.link
        return self._advance(Pace(statement.body.metered_through, statement.body.frozen_through))

    def _advance(self, pace: Pace) -> bool:
        merged = pace if self.pace is None else self.pace.merge(pace)
        moved = merged != self.pace
        self.pace = merged
        return moved

    async def follow_clock(self, moved: Callable[[], None]) -> None:
        """Call `moved` whenever the clock on the wall ends or freezes a round; waits for ever in conducted mode."""
        while self.conducted:
            await asyncio.Event().wait()
        while self._interval_seconds is None:
            await self._changed.wait()
        grace = self._section.grace_seconds
        while True:
            if self._advance(pace_at(self._now(), self._interval_seconds, grace)):
                moved()
            # Never longer than a minute: a clock that is set while we sleep is noticed.
            await asyncio.sleep(min(60.0, seconds_to_next(self._now(), self._interval_seconds, grace) + 0.005))
