"""The conductor of compressed rounds: tells everybody when a round has ended and when it freezes, and hears how far they are.

With `--round-seconds auto` a round follows as soon as every share of the one before that the link let through has its receipt:
nothing freezes by the clock, so that results do not depend on the machine's speed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from configurator.config import PlanSection
from hushgrid.control import EVERYBODY, Clock, Report, Role, Statement, box_context
from hushgrid.errors import HushgridError, MessageError, RejectReason
from hushgrid.link_settings import LinkStage
from hushgrid.sealing import Agreement, Identity, open_box
from hushgrid.topics import Channel, Topic, inbox, parse, topic
from hushgrid.transport import Transport
from testbed.containers.places import BROKER

log = logging.getLogger("hushgrid.conductor")

#: A round without those who are gone for good is over when all others have stated it and no report has changed for so long.
_QUIET_SECONDS = 3.0
#: The pace is said again when nothing has moved for so long.
_REPEAT_SECONDS = 3.0
#: What agents count while nothing gets on: shares sent again, asked for again and refused.
_RETRIES = frozenset({"repeated", "repair_requests"})
LEAD_ROUNDS = PlanSection().lead_rounds


class StalledError(HushgridError):
    """Nothing moved for too long; the text says what was waited for."""


@dataclass(slots=True)
class Progress:
    """What the agents last reported, by agent id."""

    reports: dict[str, Report] = field(default_factory=dict)

    def figure(self, agent: str, name: str, default: int = -1) -> int:
        """One count of one agent; `default` before it reported."""
        report = self.reports.get(agent)
        return report.figures.get(name, default) if report else default

    def notes(self, agent: str) -> tuple[str, ...]:
        """What an agent reported in words; nothing before it reported."""
        report = self.reports.get(agent)
        return report.notes if report else ()

    def total(self, name: str) -> int:
        """A count summed over all agents."""
        return sum(report.figures.get(name, 0) for report in self.reports.values())


class Conductor:
    """See the module.

    stations: ids of meters or concentrators; adopters: ids of everybody who follows plans. stall_seconds: how long nothing may
    move. between: what is done once a round, counted from 1, has been played.
    """

    def __init__(
        self,
        transport: Transport,
        identity: Identity,
        agreement: Agreement,
        grid: str,
        *,
        configurator: str,
        stations: list[str],
        adopters: list[str],
        stall_seconds: float = 60.0,
        moved: Callable[[str], None] = lambda _text: None,
        between: Callable[[int], Awaitable[None]] | None = None,
    ) -> None:
        self._transport = transport
        self._identity = identity
        self._agreement = agreement
        self._grid = grid
        self._configurator = configurator
        self._stations = stations
        self._adopters = adopters
        self._stall_seconds = stall_seconds
        self._moved = moved
        self._between = between
        self._changed = asyncio.Event()
        self._clock = Clock(metered_through=-1, frozen_through=-1)
        self._link: tuple[LinkStage, ...] = ()
        self._said = 0.0
        self._got_on = 0.0
        self._away: set[str] = set()
        self.progress = Progress()

    def leave_behind(self, agent: str) -> None:
        """An agent is away: nobody waits for it to adopt a plan, and a round is over when nothing has moved for a while."""
        self._away.add(agent)

    def welcome(self, agent: str) -> None:
        """An agent is back: it is waited for again."""
        self._away.discard(agent)

    @property
    def _cut_off(self) -> bool:
        """Whether the broker itself is away: nobody can be heard."""
        return BROKER in self._away

    async def listen(self) -> None:
        """Take in reports for ever; one that cannot be opened is passed over."""
        pseudonym = self._transport.pseudonym
        await self._transport.subscribe(inbox(self._grid, Channel.CONTROL, pseudonym))
        async for message in self._transport.messages():
            try:
                self._hear(parse(message.topic), message.payload)
            except MessageError as error:
                log.debug("report refused: %s", error)

    def _hear(self, parsed: Topic, payload: bytes) -> None:
        if parsed.recipient is None:
            raise MessageError(RejectReason.MALFORMED, "report")
        wire = open_box(self._agreement, payload, box_context(self._grid, parsed.sender, parsed.recipient))
        statement, _ = Statement.from_bytes(wire)
        if not isinstance(statement.body, Report):
            raise MessageError(RejectReason.UNKNOWN_KIND, statement.body.kind)
        before = self.progress.reports.get(statement.sender)
        if before == statement.body:
            return
        self.progress.reports[statement.sender] = statement.body
        self._changed.set()
        if before is None or _reached(before) != _reached(statement.body):
            self._got_on = time.monotonic()

    async def announce(self, metered_through: int, frozen_through: int) -> None:
        """Publish the pace, retained."""
        self._clock = Clock(metered_through=metered_through, frozen_through=frozen_through, link=self._link)
        await self._say()

    async def _say(self) -> None:
        self._said = time.monotonic()
        statement = Statement(sender="conductor", recipient=EVERYBODY, sequence=0, body=self._clock)
        name = topic(self._grid, Channel.CLOCK, self._transport.pseudonym)
        await self._transport.publish(name, statement.to_bytes(self._identity), retain=True)

    def change_link(self, stages: Sequence[LinkStage]) -> None:
        """What the lossy link does, all stages so far: said together with the pace from now on."""
        self._link = tuple(stages)

    async def until(
        self,
        condition: Callable[[], bool],
        waiting_for: Callable[[], str],
        quiet: Callable[[], bool] = lambda: False,
    ) -> None:
        """Wait until the reports say so, or, while `quiet` does, until none has changed for a while. Meanwhile the pace is said
        again: no broker has to be believed to have brought it.

        StalledError when for `stall_seconds` no report says more than that something was tried again.
        """
        last = self._got_on = time.monotonic()
        while not condition():
            if time.monotonic() - self._got_on > self._stall_seconds:
                raise StalledError(f"nothing moved for {self._stall_seconds:.0f} s while waiting for {waiting_for()}")
            self._changed.clear()
            try:
                async with asyncio.timeout(1.0):
                    await self._changed.wait()
                last = time.monotonic()
            except TimeoutError:
                if time.monotonic() - self._said > _REPEAT_SECONDS:
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(_REPEAT_SECONDS):
                            await self._say()
                if time.monotonic() - last > _QUIET_SECONDS and quiet():
                    return

    # What is waited for

    def planned(self, round_number: int) -> bool:
        """Whether the plan for a round stands and everybody has it, and no plan to come begins before the round after: the
        configurator makes plans for rounds some way behind the pace that it has heard.
        """
        version = self.progress.reports.get(self._configurator, Report(role=Role.CONFIGURATOR)).plan_version
        covered = self.progress.figure(self._configurator, "planned_through") >= round_number
        heard = (
            self.progress.figure(self._configurator, "heard_through") >= self._clock.metered_through + 1 - LEAD_ROUNDS
        )
        return covered and (heard or self._cut_off or self._configurator in self._away) and not self.behind(version)

    def behind(self, version: int) -> list[str]:
        """Who has not adopted this plan yet."""
        reports = self.progress.reports
        expected = [a for a in self._adopters if a not in self._away]
        return [a for a in expected if a not in reports or reports[a].plan_version < version]

    def settled(self, round_number: int) -> bool:
        """Whether every share of a round that the link let through is receipted, and the others are given up."""
        figure = self.progress.figure
        return all(figure(s, "stated_through") >= round_number and figure(s, "waiting") == 0 for s in self._stations)

    def stated(self, round_number: int) -> bool:
        """Whether every station that is here has stated a round."""
        here = [s for s in self._stations if s not in self._away]
        return all(self.progress.figure(s, "stated_through") >= round_number for s in here)

    def _done_without_some(self, round_number: int) -> bool:
        return bool(self._away) and (self._cut_off or self.stated(round_number))

    def unsettled(self, round_number: int) -> str:
        """Whom `settled` waits for, in words."""
        figure = self.progress.figure
        late = [s for s in self._stations if figure(s, "stated_through") < round_number or figure(s, "waiting") != 0]
        return f"the shares of round {round_number} from {', '.join(late[:5])}"

    # Rounds

    async def gather(self, rules: dict[str, int], meters: dict[str, int], first_round: int) -> None:
        """Wait until all rules are answered, and a plan that everybody has covers them and all meters.

        rules: how many each consumer asks for; meters: how many each station carries.
        """
        await self.announce(-1, -1)
        figure = self.progress.figure

        def unanswered() -> list[str]:
            return [c for c, count in rules.items() if figure(c, "granted", 0) + figure(c, "refused", 0) < count]

        def outside() -> list[str]:
            late = [c for c in rules if figure(c, "in_plan") != figure(c, "granted", 0)]
            return late + [s for s, count in meters.items() if figure(s, "in_plan") != count]

        await self.until(lambda: not unanswered(), lambda: f"the rules of {', '.join(unanswered()[:5])}")
        if any(figure(c, "granted", 0) for c in rules):
            await self.until(lambda: not outside(), lambda: f"a plan with {', '.join(outside()[:5])}")
            await self._plan(first_round)

    async def play(self, first_round: int, last_round: int, round_seconds: float | None) -> None:
        """Play the rounds; round_seconds None: each as soon as the one before is settled."""
        await self.announce(first_round - 1, first_round - 1)
        for round_number in range(first_round, last_round + 1):
            await self._plan(round_number)
            await self.announce(round_number, round_number - 1)
            started = time.monotonic()  # behind it: while nobody hears the pace no round goes by
            if round_seconds is None:
                over, waiting_for = partial(self.settled, round_number), partial(self.unsettled, round_number)
                await self.until(over, waiting_for, partial(self._done_without_some, round_number))
            else:
                await asyncio.sleep(max(0.0, started + round_seconds - time.monotonic()))
            await self.announce(round_number, round_number)
            played = round_number - first_round + 1
            self._moved(f"round {played} of {last_round - first_round + 1}")
            if self._between is not None:
                await self._between(played)

    async def _plan(self, round_number: int) -> None:
        def waiting_for() -> str:
            version = self.progress.reports.get(self._configurator, Report(role=Role.CONFIGURATOR)).plan_version
            return f"plan {version} at {', '.join(self.behind(version)[:5]) or self._configurator}"

        await self.until(lambda: self.planned(round_number), waiting_for)


def _reached(report: Report) -> tuple[object, ...]:
    """What a report says but for what was tried again or refused."""
    counts = {n: c for n, c in report.figures.items() if n not in _RETRIES and not n.startswith("refused ")}
    return report.plan_version, report.notes, counts
