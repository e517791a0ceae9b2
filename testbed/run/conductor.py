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

from configurator.sections import PlanSection
from hushgrid.conducted.link_settings import LinkStage
from hushgrid.conducted.statements import Clock, Report
from hushgrid.core.sealing import Agreement, Identity, open_box
from hushgrid.errors import HushgridError, MessageError, RejectReason
from hushgrid.shell.transport import Transport
from hushgrid.statements.statement import EVERYBODY, Kinds, Statement, box_context
from hushgrid.wire.role import Role
from hushgrid.wire.topics import Channel, Topic, inbox, parse, topic
from testbed.places import BROKER
from testbed.run.waiting import Words, names_of

log = logging.getLogger("hushgrid.conductor")
_HEARD = Kinds(Report)

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
class Reported:
    """What the agents last reported, by agent id."""

    by_agent: dict[str, Report] = field(default_factory=dict)

    def figure(self, agent: str, name: str, default: int = -1) -> int:
        """One count of one agent; `default` before it reported."""
        report = self.by_agent.get(agent)
        return report.figures.get(name, default) if report else default

    def notes(self, agent: str) -> tuple[str, ...]:
        """What an agent reported in words; nothing before it reported."""
        report = self.by_agent.get(agent)
        return report.notes if report else ()

    def total(self, name: str) -> int:
        """A count summed over all agents."""
        return sum(report.figures.get(name, 0) for report in self.by_agent.values())


class Conductor:
    """See the module.

    stations: ids of meters or concentrators; adopters: ids of everybody who follows plans. stall_seconds: how long nothing may
    move. between: what is done once a round, counted from 1, has been played. words: tells a person what is waited for.
    named: a round in words.
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
        words: Words | None = None,
        named: Callable[[int], str] = lambda round_number: f"round {round_number}",
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
        self._words = words or Words(lambda _text: None, list)
        self._named = named
        self._changed = asyncio.Event()
        self._clock = Clock(metered_through=-1, frozen_through=-1)
        self._link: tuple[LinkStage, ...] = ()
        self._said = 0.0
        self._got_on = 0.0
        self._away: set[str] = set()
        self._ended: set[str] = set()
        self.reported = Reported()

    def leave_behind(self, agent: str, *, for_good: bool = True) -> None:
        """An agent is away: nobody waits for it to adopt a plan, and a round is over when nothing has moved for a while.

        for_good: it is never back, and what is held back for it holds up no round at all.
        """
        self._away.add(agent)
        if for_good:
            self._ended.add(agent)

    def welcome(self, agent: str) -> None:
        """An agent is back: it is waited for again."""
        self._away.discard(agent)
        self._ended.discard(agent)

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
        statement, _ = Statement.from_bytes(wire, _HEARD)
        if not isinstance(statement.body, Report):
            raise MessageError(RejectReason.UNKNOWN_KIND, statement.body.kind)
        before = self.reported.by_agent.get(statement.sender)
        if before == statement.body:
            return
        self.reported.by_agent[statement.sender] = statement.body
        self._changed.set()
        if before is None or _reached(before) != _reached(statement.body):
            self._got_on = time.monotonic()

    async def announce(self, metered_through: int, frozen_through: int) -> None:
        """Publish the pace, retained. StalledError when for `stall_seconds` no broker takes it that should be there."""
        self._clock = Clock(metered_through=metered_through, frozen_through=frozen_through, link=self._link)
        began, saying = time.monotonic(), asyncio.ensure_future(self._say())
        try:
            while not (await asyncio.wait({saying}, timeout=1.0))[0]:
                self._wait(began, lambda: "the broker to take the pace", patient=self._cut_off)
            await saying
        finally:
            saying.cancel()
            self._words.moving()

    def _wait(self, since: float, what: Callable[[], str], *, patient: bool = False) -> None:
        """Nothing has moved since then: a word about it when it is time. StalledError when it is too long, unless `patient`."""
        now = time.monotonic()
        if now - since > self._stall_seconds and not patient:
            raise StalledError(
                f"nothing moved for {self._stall_seconds:.0f} s while waiting for {self._words.described(what())}"
            )
        self._words.waiting(now, since, what)

    async def _say(self) -> None:
        self._said = time.monotonic()
        statement = Statement(sender="conductor", recipient=EVERYBODY, sequence=0, body=self._clock)
        name = topic(self._grid, Channel.CLOCK, self._transport.pseudonym)
        await self._transport.publish(name, statement.to_bytes(self._identity), retain=True)

    async def _say_again(self) -> None:
        """Say the pace again when it is time: no broker has to be believed to have brought it."""
        if time.monotonic() - self._said >= _REPEAT_SECONDS:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_REPEAT_SECONDS):
                    await self._say()

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
        again.

        StalledError when for `stall_seconds` no report says more than that something was tried again.
        """
        last = self._got_on = time.monotonic()
        while not condition():
            self._wait(self._got_on, waiting_for)
            self._changed.clear()
            try:
                async with asyncio.timeout(1.0):
                    await self._changed.wait()
                last = time.monotonic()
            except TimeoutError:
                await self._say_again()
                if time.monotonic() - last > _QUIET_SECONDS and quiet():
                    break
        self._words.moving()

    # What is waited for

    def planned(self, round_number: int) -> bool:
        """Whether the plan for a round stands and everybody has it, and no plan to come begins before the round after: the
        configurator makes plans for rounds some way behind the pace that it has heard.
        """
        version = self.reported.by_agent.get(self._configurator, Report(role=Role.CONFIGURATOR)).plan_version
        covered = self.reported.figure(self._configurator, "planned_through") >= round_number
        heard = (
            self.reported.figure(self._configurator, "heard_through") >= self._clock.metered_through + 1 - LEAD_ROUNDS
        )
        return covered and (heard or self._cut_off or self._configurator in self._away) and not self.behind(version)

    def behind(self, version: int) -> list[str]:
        """Who has not adopted this plan yet."""
        reports = self.reported.by_agent
        expected = [a for a in self._adopters if a not in self._away]
        return [a for a in expected if a not in reports or reports[a].plan_version < version]

    def settled(self, round_number: int) -> bool:
        """Whether every share of a round that the link let through is receipted, and the others are given up or wait for PPNs that
        never come back.
        """
        figure, ended = self.reported.figure, len(self._ended)
        return all(figure(s, "stated_through") >= round_number and self._answered(s, ended) for s in self._stations)

    def _answered(self, station: str, missed: int) -> bool:
        """Whether nothing is under way to anybody but to so many PPNs; whoever else has said a last will is coming back."""
        figure = self.reported.figure
        waiting, held_back = figure(station, "waiting"), figure(station, "held_back", 0)
        return waiting == 0 or (waiting == held_back and figure(station, "gone", 0) <= missed)

    def drained(self) -> bool:
        """Whether no outbox holds anything but shares for PPNs that are away."""
        here = bool(self._away) and all(self._answered(s, len(self._away)) for s in self._stations)
        return here or self.reported.total("outbox") == 0

    def stated(self, round_number: int) -> bool:
        """Whether every station that is here has stated a round."""
        here = [s for s in self._stations if s not in self._away]
        return all(self.reported.figure(s, "stated_through") >= round_number for s in here)

    def _done_without_some(self, round_number: int) -> bool:
        return bool(self._away) and (self._cut_off or self.stated(round_number))

    def unsettled(self, round_number: int) -> str:
        """Whom `settled` waits for, in words."""
        figure, ended = self.reported.figure, len(self._ended)
        late = [s for s in self._stations if figure(s, "stated_through") < round_number or not self._answered(s, ended)]
        return f"the readings of {self._named(round_number)} from {names_of(late)}"

    # Rounds

    async def gather(self, rules: dict[str, int], meters: dict[str, int], first_round: int) -> None:
        """Wait until all rules are answered, and a plan that everybody has covers them and all meters.

        rules: how many each consumer asks for; meters: how many each station carries.
        """
        await self.announce(-1, -1)
        figure = self.reported.figure

        def unanswered() -> list[str]:
            return [c for c, count in rules.items() if figure(c, "granted", 0) + figure(c, "refused", 0) < count]

        def outside() -> list[str]:
            late = [c for c in rules if figure(c, "in_plan") != figure(c, "granted", 0)]
            return late + [s for s, count in meters.items() if figure(s, "in_plan") != count]

        await self.until(lambda: not unanswered(), lambda: f"answers to the rules of {names_of(unanswered())}")
        if any(figure(c, "granted", 0) for c in rules):
            await self.until(lambda: not outside(), lambda: f"a plan with {names_of(outside())}")
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
                await self._pass(started + round_seconds)
            await self.announce(round_number, round_number)
            played = round_number - first_round + 1
            self._moved(f"round {played} of {last_round - first_round + 1}")
            if self._between is not None:
                await self._between(played)

    async def _pass(self, end: float) -> None:
        """Let the time go by until then, and meanwhile say the pace again. end: of the monotonic clock, in seconds."""
        while (now := time.monotonic()) < end:
            await asyncio.sleep(max(0.0, min(end, self._said + _REPEAT_SECONDS) - now))
            await self._say_again()

    async def _plan(self, round_number: int) -> None:
        def waiting_for() -> str:
            version = self.reported.by_agent.get(self._configurator, Report(role=Role.CONFIGURATOR)).plan_version
            return f"plan {version} for {self._named(round_number)} at {names_of(self.behind(version)) or self._configurator}"

        await self.until(lambda: self.planned(round_number), waiting_for)


def _reached(report: Report) -> tuple[object, ...]:
    """What a report says but for what was tried again or refused."""
    counts = {n: c for n, c in report.figures.items() if n not in _RETRIES and not n.startswith("refused ")}
    return report.plan_version, report.notes, counts
