"""How an agent belongs to a grid: it enrols, announces its keys, and keeps the plan that is in force.

One `Membership` serves all agents behind one connection: a PPN or a consumer alone, a meter alone, or a concentrator with its
meters. It asks again until it is answered; the configurator only ever answers. What it learns is on disk before it is used.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from hushgrid.core.sealing import box_key_id, key_id, open_box
from hushgrid.errors import ConfigurationError, MessageError, RejectReason
from hushgrid.plan.floors import Floors
from hushgrid.plan.following import AdoptedPlan, Adoption, HeardPart, PlanFollower
from hushgrid.plan.head import EpochKey, Head
from hushgrid.shell.connection import Attendance
from hushgrid.shell.keyring import Keyring
from hushgrid.shell.plan_store import PlanStore
from hushgrid.shell.runtime import Backoff
from hushgrid.statements.joining import AnnounceKeys, Card, Enrol, Enrolled, KeysKnown, Refusal
from hushgrid.statements.plans import NoPart, PartPage, PublishedHead, RequestHead, RequestParts
from hushgrid.statements.statement import EVERYBODY, Body, Kinds, Statement, box_context
from hushgrid.wire.role import Role
from hushgrid.wire.topics import Channel, Topic, inbox

log = logging.getLogger("hushgrid.membership")

#: What the configurator publishes for everybody, and what it says to every agent.
_PUBLISHED = Kinds(Card, PublishedHead)
_TOLD = (Enrolled, KeysKnown, Refusal, PartPage, NoPart, PublishedHead)

_PARTS_PER_REQUEST = 256
#: How long after a connection the newest head, which the broker keeps, may take to come.
_HEAD_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Member:
    """One agent behind the connection."""

    id: str
    role: Role
    token: str | None = None
    operator: str | None = None
    carrier: str | None = None


class Membership:
    """See the module. Its owner feeds it messages of the channels card, head and control, and runs `run`.

    on_plan: called with every plan newly adopted, in order of versions. hears: what the configurator says to this role beside
    what is about membership; on_statement: called with (member id, statement) for it.
    """

    def __init__(
        self,
        line: Attendance,
        keyring: Keyring,
        store: Path,
        *,
        configurator: bytes,
        members: Iterable[Member],
        floors: Floors,
        on_plan: Callable[[AdoptedPlan], None],
        hears: Iterable[type[Body]] = (),
        on_statement: Callable[[str, Body], None] = lambda _member, _body: None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._line = line
        self._transport = line.transport
        self._keyring = keyring
        self._grid = line.grid
        self._configurator = configurator
        self._members = {member.id: member for member in members}
        self._store = PlanStore(store)
        self._follower = PlanFollower([*self._members], line.grid, floors, self._store.adopted())
        self._on_plan = on_plan
        self._kinds = Kinds(*_TOLD, *hears)
        self._on_statement = on_statement
        self._now = now
        self._backoff = Backoff()
        # Many parts take the configurator a while: asking again too soon would only make it later.
        self._parts_backoff = Backoff(first_seconds=3.0)
        self._changed = asyncio.Event()
        self._card: tuple[EpochKey, str] | None = None  # key, id of the configurator
        self._heard_head = -1  # the connection on which the head was heard
        self._connected_at = now()
        self._known_epoch: dict[str, int] = {}
        self._by_key_id: dict[bytes, tuple[str, int]] = {}
        self.plans = self._follower.plans
        self.numbers: dict[str, int] = {}
        keyring.prepare(list(self._members))
        for member in self._members:
            number = keyring.number(member)
            if number is not None:
                self.numbers[member] = number
        self._learn_key_ids()

    def close(self) -> None:
        """Close the store of plans."""
        self._store.close()

    # What is known

    @property
    def epoch(self) -> int:
        """The epoch of the newest plan or card known; 0 before any."""
        newest = self.plans.newest
        known = newest[0].epoch if newest else 0
        return max(known, self._card[0].epoch if self._card else 0)

    @property
    def enrolled(self) -> bool:
        """True when every member is."""
        return len(self.numbers) == len(self._members)

    @property
    def current(self) -> bool:
        """Whether the plan in force is known: the newest head was heard on this connection, and every plan up to it adopted."""
        if not self._follower.settled:
            return False
        heard = self._heard_head == self._transport.generation
        return heard or (self._transport.generation > 0 and self._now() - self._connected_at > _HEAD_SECONDS)

    def published(self) -> tuple[str, ...]:
        """Subscriptions to what the configurator publishes for everybody."""
        return (inbox(self._grid, Channel.CARD), inbox(self._grid, Channel.HEAD))

    # What comes in

    def hear(self, parsed: Topic, payload: bytes) -> None:
        """Take in a message of channel card, head or control; MessageError when it is refused."""
        if parsed.channel is Channel.CARD:
            self._hear_card(parsed, payload)
        elif parsed.channel is Channel.HEAD:
            self._hear_head(payload)
        else:
            self._hear_control(parsed, payload)
        self._changed.set()

    def _published(self, payload: bytes) -> Statement:
        statement, signed = Statement.from_bytes(payload, _PUBLISHED)
        signed.check(self._configurator)
        if statement.recipient != EVERYBODY:
            raise MessageError(RejectReason.WRONG_RECIPIENT, "published statement")
        return statement

    def _hear_card(self, parsed: Topic, payload: bytes) -> None:
        statement = self._published(payload)
        if not isinstance(statement.body, Card) or statement.body.grid != self._grid:
            raise MessageError(RejectReason.UNKNOWN_KIND, "card")
        key = statement.body.key
        key.check(self._configurator, self._grid)
        if key.pseudonym != parsed.sender:
            raise MessageError(RejectReason.WRONG_SENDER, "card")
        if self._card is None or key.epoch >= self._card[0].epoch:
            self._card = (key, statement.sender)

    def _hear_head(self, payload: bytes) -> None:
        statement = self._published(payload)
        if not isinstance(statement.body, PublishedHead):
            raise MessageError(RejectReason.UNKNOWN_KIND, "head")
        with self._announcing():
            self._follower.hear_head(statement.body.head)
        self._heard_head = self._transport.generation

    def _hear_missed_head(self, head: Head) -> None:
        self._backoff.settle(("head", head.version))
        with self._announcing():
            self._follower.hear_missed_head(head)

    @contextlib.contextmanager
    def _announcing(self) -> Iterator[None]:
        """Say which plan's parts are awaited from now on, if another: what is heard may also bring one forward that was known."""
        before = self._follower.awaited
        try:
            yield
        finally:
            head = self._follower.awaited
            if head is not None and head is not before:
                log.info("plan %d is announced, valid from round %d", head.version, head.valid_from_round)

    def _hear_control(self, parsed: Topic, payload: bytes) -> None:
        member_epoch = self._by_key_id.get(box_key_id(payload))
        if member_epoch is None or parsed.recipient is None:
            raise MessageError(RejectReason.WRONG_RECIPIENT, "control")
        member, epoch = member_epoch
        agreement = self._keyring.agreement(member, epoch)
        if agreement is None:
            raise MessageError(RejectReason.WRONG_RECIPIENT, "control")
        wire = open_box(agreement, payload, box_context(self._grid, parsed.sender, parsed.recipient))
        statement, signed = Statement.from_bytes(wire, self._kinds)
        signed.check(self._configurator)
        if statement.recipient != member:
            raise MessageError(RejectReason.WRONG_RECIPIENT, "control")
        self._take(member, statement.body)

    def _take(self, member: str, body: Body) -> None:
        match body:
            case Enrolled(number=number, epoch=epoch):
                self._known_epoch[member] = max(epoch, self._known_epoch.get(member, -1))
                if member not in self.numbers:
                    self._keyring.enrolled({member: number})
                    self.numbers[member] = number
                self._backoff.settle(("enrol", member))
            case KeysKnown(epoch=epoch):
                self._known_epoch[member] = max(epoch, self._known_epoch.get(member, -1))
                self._backoff.settle(("keys", member))
            case PartPage():
                self._take_part(member, body)
            case NoPart(version=version):
                with self._announcing():
                    adoption = self._follower.hear_no_part(member, version)
                self._adopt(adoption)
            case PublishedHead(head=head):
                self._hear_missed_head(head)
            case Refusal(of="enrol", reason=reason):
                raise ConfigurationError(f"{member}: enrolment refused: {reason}")
            case _:
                self._on_statement(member, body)

    def _take_part(self, member: str, body: PartPage) -> None:
        if body.recipient != member:
            return
        part = HeardPart(body.version, member, body.page, body.pages, body.leaf, body.path, body.part.encode())
        with self._announcing():
            adoption = self._follower.hear_part(part)
        self._adopt(adoption)

    def _adopt(self, adoption: Adoption | None) -> None:
        """On disk before anybody uses it."""
        if adoption is None:
            return
        self._store.keep(adoption)
        head = adoption.plan.head
        log.info("plan %d adopted, epoch %d, valid from round %d", head.version, head.epoch, head.valid_from_round)
        self._on_plan(adoption.plan)

    # What goes out

    async def tell(self, member: str, body: Body, *, ordered: bool = False) -> bool:
        """Say something to the configurator, sealed to it; False when its card has not come yet.

        ordered: the statement's sequence number is new and on disk, so that it cannot be replayed.
        """
        if self._card is None:
            return False
        key, configurator_id = self._card
        sequence = self._keyring.next_sequence(member) if ordered else 0
        statement = Statement(sender=member, recipient=configurator_id, sequence=sequence, body=body)
        await self._line.send_sealed(key.pseudonym, key.agreement, statement, self._keyring.identity(member))
        return True

    async def run(self) -> None:
        """Enrol, announce, fetch parts; for ever, asking again what is not answered."""
        generation = self._transport.generation
        while True:
            if self._transport.generation != generation:
                generation = self._transport.generation
                self._connected_at = self._now()
                self._backoff.restart()
                self._parts_backoff.restart()
            self._changed.clear()
            if self._card is not None:
                await self._ask()
            pause = self._backoff.seconds_to_next(self._now())
            try:
                async with asyncio.timeout(pause):
                    await self._changed.wait()
            except TimeoutError:
                continue

    async def _ask(self) -> None:
        now = self._now()
        wanted = range(self.epoch, self.epoch + 2)
        unannounced = [m for m in self._members if self._known_epoch.get(m, -1) < wanted[-1] or m not in self.numbers]
        if unannounced:
            self._keyring.agreements(unannounced, wanted)
            self._learn_key_ids()
        for member in unannounced:
            if member not in self.numbers:
                if self._backoff.due(("enrol", member), now):
                    await self._enrol(self._members[member], wanted)
            elif self._backoff.due(("keys", member), now):
                keys = self._keyring.announcements(member, self._grid, wanted)
                await self.tell(member, AnnounceKeys(keys=keys))
        if self.enrolled:
            await self._ask_plans(now, announced=not unannounced)

    async def _ask_plans(self, now: float, *, announced: bool) -> None:
        """The head of a plan that was missed; the parts of the one that is awaited, once every member's keys are known."""
        asker = next(iter(self._members))
        missed, awaited = self._follower.wanted_head, self._follower.awaited
        if missed is not None and self._backoff.due(("head", missed), now):
            await self.tell(asker, RequestHead(version=missed))
        if awaited is not None and announced and self._parts_backoff.due(("parts", awaited.version), now):
            missing = self._follower.wanted_parts
            for start in range(0, len(missing), _PARTS_PER_REQUEST):
                group = tuple(missing[start : start + _PARTS_PER_REQUEST])
                await self.tell(asker, RequestParts(version=awaited.version, agents=group))

    async def _enrol(self, member: Member, epochs: range) -> None:
        if member.token is None:
            raise ConfigurationError(f"{member.id} is not enrolled and has no token: set agent.token_file")
        body = Enrol(
            role=member.role,
            token=member.token,
            identity=self._keyring.identity(member.id).public,
            operator=member.operator,
            carrier=member.carrier,
            keys=self._keyring.announcements(member.id, self._grid, epochs),
        )
        await self.tell(member.id, body)

    def _learn_key_ids(self) -> None:
        found = {}
        for member in self._members:
            for epoch in self._keyring.epochs(member):
                agreement = self._keyring.agreement(member, epoch)
                if agreement is not None:
                    found[key_id(agreement.public)] = (member, epoch)
        self._by_key_id = found
