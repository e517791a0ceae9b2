"""The shell that every role but the configurator shares: one place on the line, one membership, one pace."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from typing import Any

from hushgrid.errors import MessageError, RejectReason
from hushgrid.plan.following import AdoptedPlan
from hushgrid.shell.config import RoleConfig
from hushgrid.shell.connection import Attendance, Hearer, Loops
from hushgrid.shell.keyring import EpochKeys, Keyring
from hushgrid.shell.membership import Member, Membership
from hushgrid.shell.pacing import pace_follower
from hushgrid.shell.runtime import Backoff
from hushgrid.shell.transport import Transport
from hushgrid.statements.statement import Body
from hushgrid.wire.presence import OFFLINE
from hushgrid.wire.role import Role
from hushgrid.wire.topics import Channel, Topic, inbox

log = logging.getLogger("hushgrid.agent")

_MEMBERSHIP_CHANNELS = frozenset({Channel.CARD, Channel.HEAD, Channel.CONTROL})
_HEARD_CLEARED = frozenset({Channel.PRESENCE})
_FAREWELL_SECONDS = 2.0


class Agent:
    """One process's place in the grid. The role hands in what it does with plans, pace, statements and its own channels.

    hearers: what to do with messages of the role's own channels; a MessageError from them is counted, and stops nothing.
    hears: the kinds of statements that this role takes from the configurator; on_statement gets them.
    figures: counts for the conductor of a testbed. keys: what the agent itself (not a member it carries) shares with others.
    """

    def __init__(
        self,
        config: RoleConfig,
        role: Role,
        members: Iterable[Member],
        *,
        hearers: Mapping[Channel, Hearer],
        on_plan: Callable[[AdoptedPlan], None],
        on_pace: Callable[[], None],
        hears: Iterable[type[Body]] = (),
        on_statement: Callable[[str, Body], None] = lambda _member, _body: None,
        figures: Callable[[], dict[str, int]] = dict,
        transport: Transport | None = None,
    ) -> None:
        self.config = config
        self.role = role
        self.id = config.agent.id
        self.grid = config.agent.grid
        directory = config.agent.state_directory
        self.keyring = Keyring(directory / "keys.sqlite")
        self.pacing = pace_follower(config.pace)
        self.identity = self.keyring.identity(self.id)
        self.keys = EpochKeys(lambda epoch: self.keyring.agreement(self.id, epoch), self.grid)
        self._hearers = hearers
        self._role_on_plan = on_plan
        self._on_pace = on_pace
        self._figures = figures
        self._reported = asyncio.Event()
        self._listening: set[int] = set()
        self._doubted = False
        self._line = Attendance(config, role, self.identity, transport=transport)
        self.transport = self._line.transport
        self.counters = self._line.counters
        self.membership = Membership(
            self._line,
            self.keyring,
            directory / "plans.sqlite",
            configurator=config.configurator.identity,
            members=members,
            floors=config.floors.floors,
            on_plan=self._adopt,
            hears=hears,
            on_statement=on_statement,
        )

    def pseudonym(self, epoch: int) -> str:
        """This connection's pseudonym in an epoch."""
        return self._line.pseudonym(epoch)

    def erase_keys_through(self, epoch: int) -> None:
        """Destroy this agent's own keys of all epochs up to this one, and what was derived from them."""
        self.keyring.erase_through([self.id], epoch)
        self.keys.forget_through(epoch)

    async def send(self, channel: Channel, recipient: str, payload: bytes) -> None:
        """Say something to one pseudonym, under the name in use."""
        await self._line.send(channel, recipient, payload)

    async def run(self, *loops: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Connect and serve until cancelled; `loops` are the role's own, begun once the broker is reached."""
        epoch = self._epoch_begun()
        await self._line.certify(range(epoch, epoch + 2))
        await self.transport.rename(self.pseudonym(epoch))
        async with self.transport:
            await self.transport.subscribe(*self._published())
            await self._subscribe(epoch)
            await self._line.say_online()
            log.info("%s %s is up", self.role.value, self.id)
            for adopted in [entry for _, entry in self.membership.plans]:
                self.pacing.set_interval(adopted.head.interval_seconds)
                self._role_on_plan(adopted)
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._line.listen(self._hear, hears_cleared=_HEARD_CLEARED), name="listen")
                    for name, loop in self._shared_loops().items():
                        group.create_task(loop, name=name)
                    group.create_task(self.membership.run(), name="membership")
                    group.create_task(self._keep_address(), name="address")
                    for number, role_loop in enumerate(loops):
                        group.create_task(role_loop(), name=f"role-{number}")
            finally:
                await self._line.say_offline(_FAREWELL_SECONDS)

    def close(self) -> None:
        """Close the stores of keys and plans. Whoever made the agent does so when `run` has ended."""
        self.membership.close()
        self.keyring.close()

    async def _subscribe(self, epoch: int) -> None:
        pseudonym = self.pseudonym(epoch)
        channels = [Channel.CONTROL, *(channel for channel in self._hearers if channel.addressed)]
        filters = [inbox(self.grid, channel, pseudonym) for channel in channels]
        await self.transport.subscribe(*filters, address=pseudonym)
        self._listening.add(epoch)

    def _published(self) -> list[str]:
        own = [inbox(self.grid, channel) for channel in self._hearers if not channel.addressed]
        return [*self.membership.published(), *self.pacing.subscriptions(self.grid), *own]

    def _shared_loops(self) -> Loops:
        pace = self.pacing.loops(self._on_pace, self.role, self._progress, self._line.send_own, self._reported)
        return self._line.loops(self._epochs_ahead) | pace

    def _epochs_ahead(self) -> list[int]:
        """The epochs whose names are in use, and the one to come."""
        return sorted(self._listening | {max(self._listening, default=0) + 1})

    def _epochs_in_use(self, begun: int) -> set[int]:
        """The one that has begun, the one before for what is late, those announced, and whose key is still needed."""
        announced = {head.epoch for head, _ in self.membership.plans}
        kept = announced & set(self.keyring.epochs(self.id))
        return {epoch for epoch in announced if epoch >= begun - 1} | kept | {begun, self.membership.epoch}

    def _adopt(self, adopted: AdoptedPlan) -> None:
        self.pacing.set_interval(adopted.head.interval_seconds)
        self._role_on_plan(adopted)
        self.changed()

    async def _keep_address(self) -> None:
        """Listen under the pseudonyms of every epoch in use, and speak under the newest that has begun."""
        known: tuple[int, int] | None = None
        generation = self.transport.generation
        while True:
            if self.transport.generation != generation:  # while it was away, the broker may have said the last will
                generation, self._doubted = self.transport.generation, True
            if self._doubted:
                self._doubted = False
                await self._line.say_online()
            begun, newest = self._epoch_begun(), self.membership.plans.newest
            state = (begun, newest[0].version if newest else -1)
            if state != known:
                known, epochs = state, self._epochs_in_use(begun)
                await self._line.certify(sorted(epochs))
                for epoch in sorted(epochs - self._listening):
                    await self._subscribe(epoch)
            if self.transport.pseudonym != self.pseudonym(begun):
                await self._line.rename(begun)
                await self._line.say_online()
                for epoch in self._listening - self._epochs_in_use(begun):
                    await self.transport.leave(self.pseudonym(epoch))
                    self._listening.discard(epoch)
            await asyncio.sleep(0.2)

    def _epoch_begun(self) -> int:
        pace = self.pacing.pace
        plan = self.membership.plans.in_force(pace.metered_through) if pace else None
        return plan[0].epoch if plan else self.membership.epoch

    async def _hear(self, parsed: Topic, payload: bytes) -> None:
        if parsed.channel in _MEMBERSHIP_CHANNELS:
            self.membership.hear(parsed, payload)
        elif parsed.channel is Channel.CLOCK:
            if self.pacing.hear(payload, parsed.sender):
                self._on_pace()
        elif parsed.channel in self._hearers:
            await self._hearers[parsed.channel](parsed, payload)
        else:
            raise MessageError(RejectReason.UNKNOWN_KIND, "channel")

    async def keep_working(self, step: Callable[[], Awaitable[None]], work: asyncio.Event, backoff: Backoff) -> None:
        """Take a step whenever there is work or something is due to be repeated; after a reconnection everything is due."""
        generation = self.transport.generation
        while True:
            if self.transport.generation != generation:
                generation = self.transport.generation
                backoff.restart()
            work.clear()
            await step()
            try:
                async with asyncio.timeout(backoff.seconds_to_next(time.monotonic())):
                    await work.wait()
            except TimeoutError:
                continue

    def hear_presence(self, parsed: Topic, payload: bytes) -> None:
        """A last will of one's own that comes late (a broker's node noticed it late) is contradicted."""
        self._doubted |= payload == OFFLINE and parsed.sender == self.transport.pseudonym

    def changed(self) -> None:
        """Tell the conductor soon: a figure changed."""
        self._reported.set()

    def _progress(self) -> tuple[int, dict[str, int], tuple[str, ...]]:
        newest = self.membership.plans.newest
        refused = {name: count for name, count in self.counters.counts.items() if name.startswith("refused")}
        return newest[0].version if newest else 0, {**self._figures(), **refused}, ()
