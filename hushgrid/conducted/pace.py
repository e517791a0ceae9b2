"""The pace of a testbed's compressed rounds, as an agent follows it: heard from the conductor, who hears how far the agent is.

It stands in the place of the clock on the wall (`hushgrid.shell.pacing.UtcPace`), and imports nothing of the shell.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from hushgrid.conducted.link_settings import LinkStage
from hushgrid.conducted.statements import Clock, Report
from hushgrid.core.schedule import Pace
from hushgrid.errors import MessageError, RejectReason
from hushgrid.statements.statement import Body, Kinds, Statement
from hushgrid.wire.role import Role
from hushgrid.wire.topics import Channel, inbox

_HEARD = Kinds(Clock)
_REPORT_PAUSE_SECONDS = 0.05
_REPORT_REPEAT_SECONDS = 1.0
#: How often an agent reports that does not say when something changed.
_REPORT_EVERY_SECONDS = 0.1


class ConductedPace:
    """See the module. conductor, agreement: the conductor's public keys. link_stages: what it lets a lossy link do."""

    def __init__(self, conductor: bytes, agreement: bytes) -> None:
        self._conductor = conductor
        self._agreement = agreement
        self._conductor_pseudonym: str | None = None
        self.pace: Pace | None = None
        self.link_stages: tuple[LinkStage, ...] = ()

    def set_interval(self, interval_seconds: int) -> None:
        """A round has no length here."""

    def subscriptions(self, grid: str) -> list[str]:
        """Where the conductor says the pace."""
        return [inbox(grid, Channel.CLOCK)]

    def hear(self, wire: bytes, sender: str) -> bool:
        """Take in a clock statement; True when the pace moved. MessageError when it is not the conductor's."""
        statement, signed = Statement.from_bytes(wire, _HEARD)
        signed.check(self._conductor)
        if not isinstance(statement.body, Clock):
            raise MessageError(RejectReason.UNKNOWN_KIND, "clock")
        self._conductor_pseudonym = sender
        if len(statement.body.link) > len(self.link_stages):
            self.link_stages = statement.body.link
        before, heard = self.pace, Pace(statement.body.metered_through, statement.body.frozen_through)
        self.pace = heard if before is None else before.merge(heard)
        return self.pace != before

    def loops(
        self,
        moved: Callable[[], None],  # noqa: ARG002  # what is heard moves the pace, no loop does
        role: Role,
        progress: Callable[[], tuple[int, dict[str, int], tuple[str, ...]]],
        say: Callable[[str, str, bytes, Body], Awaitable[None]],
        changed: asyncio.Event | None,
    ) -> dict[str, Coroutine[Any, Any, None]]:
        """What goes on beside the role's work: reports (see `hushgrid.shell.pacing.PaceFollower.loops`)."""

        async def report() -> Report | None:
            version, figures, notes = progress()
            body = Report(role=role, plan_version=version, figures=figures, notes=notes)
            if self._conductor_pseudonym is None:
                return None
            await say(self._conductor_pseudonym, "conductor", self._agreement, body)
            return body

        return {"report": _report_always(report) if changed is None else _report_changes(report, changed)}


async def _report_always(report: Callable[[], Awaitable[Report | None]]) -> None:
    while True:
        await asyncio.sleep(_REPORT_EVERY_SECONDS)
        await report()


async def _report_changes(report: Callable[[], Awaitable[Report | None]], changed: asyncio.Event) -> None:
    """At once when a figure changed, and now and then: what the conductor misses is said again."""
    said: Report | None = None
    while True:
        changed.clear()
        latest = await report()
        pause = _REPORT_REPEAT_SECONDS if latest is None or latest == said else _REPORT_PAUSE_SECONDS
        said = latest
        await asyncio.sleep(_REPORT_PAUSE_SECONDS)
        try:
            async with asyncio.timeout(pause):
                await changed.wait()
        except TimeoutError:
            continue
