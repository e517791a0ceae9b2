"""How an agent belongs to a grid: it enrols, announces its keys, and keeps the plan that is in force.

One `Membership` serves all agents behind one connection: a PPN or a consumer alone, a meter alone, or a concentrator with its
meters. It asks again until it is answered; the configurator only ever answers. What it learns is on disk before it is used.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from hushgrid import control
from hushgrid.control import EVERYBODY, Role, Statement, box_context
from hushgrid.database import Database
from hushgrid.errors import ConfigurationError, MessageError, RejectReason
from hushgrid.keyring import Keyring
from hushgrid.plan import (
    EpochKey,
    Floors,
    Head,
    MaskingPart,
    MeterPart,
    Part,
    PlanBook,
    check_head,
    check_masking,
    check_path,
    check_roofs,
    leaf,
    part_from_json,
)
from hushgrid.runtime import Backoff
from hushgrid.sealing import box_key_id, key_id, open_box, seal_box
from hushgrid.topics import Channel, Topic, inbox, topic
from hushgrid.transport import Transport

log = logging.getLogger("hushgrid.membership")

_PARTS_PER_REQUEST = 256
#: How long after a connection the newest head, which the broker keeps, may take to come.
_HEAD_SECONDS = 5.0
_MIGRATIONS = (
    """
    CREATE TABLE head (version INTEGER PRIMARY KEY, json BLOB NOT NULL, adopted INTEGER NOT NULL DEFAULT 0);
    CREATE TABLE part (
        version INTEGER NOT NULL, agent TEXT NOT NULL, page INTEGER NOT NULL, pages INTEGER NOT NULL, json BLOB,
        PRIMARY KEY (version, agent, page)
    ) WITHOUT ROWID
    """,
)


@dataclass(frozen=True, slots=True)
class Member:
    """One agent behind the connection."""

    id: str
    role: Role
    token: str | None = None
    operator: str | None = None
    carrier: str | None = None


@dataclass(slots=True)
class AdoptedPlan:
    """A plan with all that these members were told of it: agent -> its pages in order. No part: not in this plan."""

    head: Head
    parts: dict[str, tuple[Part, ...]]


@dataclass(slots=True)
class _Pending:
    """A head whose parts are still coming: agent -> page -> part, and how many pages there are. refused: one is below a floor."""

    head: Head
    refused: bool = False
    pages: dict[str, dict[int, bytes]] = field(default_factory=dict)
    expected: dict[str, int] = field(default_factory=dict)

    def missing(self, members: Iterable[str]) -> list[str]:
        return [m for m in members if m not in self.expected or len(self.pages.get(m, {})) < self.expected[m]]


class Membership:
    """See the module. Its owner feeds it messages of the channels card, head and control, and runs `run`.

    on_plan: called with every plan newly adopted, in order of versions. on_statement: called with (member id, statement) for
    everything the configurator says that is not about membership.
    """

    def __init__(
        self,
        transport: Transport,
        keyring: Keyring,
        store: Path,
        *,
        grid: str,
        configurator: bytes,
        members: Iterable[Member],
        floors: Floors,
        on_plan: Callable[[AdoptedPlan], None],
        on_statement: Callable[[str, control.Body], None] = lambda _member, _body: None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._transport = transport
        self._keyring = keyring
        self._database = Database(store, _MIGRATIONS)
        self._grid = grid
        self._configurator = configurator
        self._members = {member.id: member for member in members}
        self._floors = floors
        self._on_plan = on_plan
        self._on_statement = on_statement
        self._now = now
        self._backoff = Backoff()
        # Many parts take the configurator a while: asking again too soon would only make it later.
        self._parts_backoff = Backoff(first_seconds=3.0)
        self._changed = asyncio.Event()
        self._card: tuple[EpochKey, str] | None = None  # key, id of the configurator
        self._newest_head: Head | None = None  # as published; the plans before it are adopted first
        self._pending: _Pending | None = None
        self._skipped = 0  # the last plan that was refused and is waited for no longer
        self._heard_head = -1  # the connection on which the head was heard
        self._connected_at = now()
        self._known_epoch: dict[str, int] = {}
        self._by_key_id: dict[bytes, tuple[str, int]] = {}
        self.plans: PlanBook[AdoptedPlan] = PlanBook()
        self.numbers: dict[str, int] = {}
        keyring.prepare(list(self._members))
        for member in self._members:
            number = keyring.number(member)
            if number is not None:
                self.numbers[member] = number
        self._learn_key_ids()
        self._load_plans()

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
    def configurator_pseudonym(self) -> str | None:
        """Where the configurator is reached now; None before its card came."""
        return self._card[0].pseudonym if self._card else None

    @property
    def current(self) -> bool:
        """Whether the plan in force is known: the newest head was heard on this connection, and every plan up to it adopted."""
        if self._pending is not None or self._next_version is not None:
            return False
        heard = self._heard_head == self._transport.generation
        return heard or (self._transport.generation > 0 and self._now() - self._connected_at > _HEAD_SECONDS)

    @property
    def _next_version(self) -> int | None:
        """The plan to be adopted next; None when all that were published are."""
        head, newest = self._newest_head, self.plans.newest
        if head is None:
            return None
        if newest is None:
            return head.version
        following = max(newest[0].version, self._skipped) + 1
        return following if following <= head.version else None

    def _load_plans(self) -> None:
        rows = self._database.query("SELECT version, json FROM head WHERE adopted = 1 ORDER BY version")
        for version, json in rows:
            head = Head.from_json(json)
            parts: dict[str, list[Part]] = {}
            query = "SELECT agent, json FROM part WHERE version = ? AND json IS NOT NULL ORDER BY agent, page"
            for agent, part in self._database.query(query, version):
                parts.setdefault(agent, []).append(part_from_json(part))
            adopted = AdoptedPlan(head, {agent: tuple(pages) for agent, pages in parts.items()})
            self.plans.add(head, adopted)

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
        statement, signed = Statement.from_bytes(payload)
        signed.check(self._configurator)
        if statement.recipient != EVERYBODY:
            raise MessageError(RejectReason.WRONG_RECIPIENT, "published statement")
        return statement

    def _hear_card(self, parsed: Topic, payload: bytes) -> None:
        statement = self._published(payload)
        if not isinstance(statement.body, control.Card) or statement.body.grid != self._grid:
            raise MessageError(RejectReason.UNKNOWN_KIND, "card")
        key = statement.body.key
        key.check(self._configurator, self._grid)
        if key.pseudonym != parsed.sender:
            raise MessageError(RejectReason.WRONG_SENDER, "card")
        if self._card is None or key.epoch >= self._card[0].epoch:
            self._card = (key, statement.sender)

    def _hear_head(self, payload: bytes) -> None:
        statement = self._published(payload)
        if not isinstance(statement.body, control.PublishedHead) or statement.body.head.grid != self._grid:
            raise MessageError(RejectReason.UNKNOWN_KIND, "head")
        head = statement.body.head
        newest = self.plans.newest
        if newest is not None and head.version <= newest[0].version:
            if head.version == newest[0].version and head.digest == newest[0].digest:
                self._heard_head = self._transport.generation
                return
            raise MessageError(RejectReason.ROLLED_BACK, f"plan {head.version} after {newest[0].version}")
        if self._newest_head is not None and head.version < self._newest_head.version:
            raise MessageError(RejectReason.ROLLED_BACK, f"plan {head.version} after {self._newest_head.version}")
        check_head(head, self._floors)
        self._heard_head = self._transport.generation
        self._newest_head = head
        if self._pending is not None and self._pending.refused:
            self._skip(self._pending.head)
        if head.version == self._next_version:
            self._await_parts(head)

    def _hear_missed_head(self, head: Head) -> None:
        """A plan that came and went while this agent was away: some rounds it still speaks of are judged by it."""
        if head.grid != self._grid or head.version != self._next_version:
            return
        self._backoff.settle(("head", head.version))
        try:
            check_head(head, self._floors)
        except MessageError:
            self._skip(head)
            raise
        self._await_parts(head)

    def _skip(self, head: Head) -> None:
        """A plan that this agent refuses, and that another one has followed."""
        self._skipped, self._pending = head.version, None
        if self._newest_head is not None and self._next_version == self._newest_head.version:
            self._await_parts(self._newest_head)

    def _await_parts(self, head: Head) -> None:
        if self._pending is None or self._pending.head.digest != head.digest:
            self._pending = _Pending(head)
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
        statement, signed = Statement.from_bytes(wire)
        signed.check(self._configurator)
        if statement.recipient != member:
            raise MessageError(RejectReason.WRONG_RECIPIENT, "control")
        self._take(member, statement.body)

    def _take(self, member: str, body: control.Body) -> None:
        match body:
            case control.Enrolled(number=number, epoch=epoch):
                self._known_epoch[member] = max(epoch, self._known_epoch.get(member, -1))
                if member not in self.numbers:
                    self._keyring.enrolled({member: number})
                    self.numbers[member] = number
                self._backoff.settle(("enrol", member))
            case control.KeysKnown(epoch=epoch):
                self._known_epoch[member] = max(epoch, self._known_epoch.get(member, -1))
                self._backoff.settle(("keys", member))
            case control.PartPage():
                self._take_part(member, body)
            case control.NoPart(version=version):
                if self._pending is not None and self._pending.head.version == version:
                    self._pending.expected[member] = 0
                    self._adopt_if_complete()
            case control.PublishedHead(head=head):
                self._hear_missed_head(head)
            case control.Refusal(of="enrol", reason=reason):
                raise ConfigurationError(f"{member}: enrolment refused: {reason}")
            case _:
                self._on_statement(member, body)

    def _take_part(self, member: str, body: control.PartPage) -> None:
        pending = self._pending
        if pending is None or body.version != pending.head.version or body.recipient != member:
            return
        check_path(pending.head.parts_root, leaf(member, body.page, body.part.encode()), body.leaf, body.path)
        part = part_from_json(body.part.encode())
        try:
            if isinstance(part, MeterPart):
                check_roofs(pending.head, part.points)
            elif isinstance(part, MaskingPart):
                check_masking(pending.head, part, self._floors)
        except MessageError:
            pending.refused = True
            if self._newest_head is not None and self._newest_head.version > pending.head.version:
                self._skip(pending.head)
            raise
        pending.pages.setdefault(member, {})[body.page] = body.part.encode()
        pending.expected[member] = body.pages
        self._adopt_if_complete()

    def _adopt_if_complete(self) -> None:
        pending = self._pending
        if pending is None or pending.missing(self._members):
            return
        head = pending.head
        rows = [
            (head.version, agent, page, pending.expected[agent], json)
            for agent, pages in pending.pages.items()
            for page, json in sorted(pages.items())
        ]
        with self._database.transaction():
            self._database.execute("INSERT OR REPLACE INTO head VALUES (?, ?, 1)", head.version, head.to_json())
            self._database.execute_many("INSERT OR REPLACE INTO part VALUES (?, ?, ?, ?, ?)", rows)
        parts = {
            agent: tuple(part_from_json(json) for _, json in sorted(pages.items()))
            for agent, pages in pending.pages.items()
            if pages
        }
        adopted = AdoptedPlan(head, parts)
        self.plans.add(head, adopted)
        self._pending = None
        if self._newest_head is not None and self._next_version == self._newest_head.version:
            self._await_parts(self._newest_head)
        log.info("plan %d adopted, epoch %d, valid from round %d", head.version, head.epoch, head.valid_from_round)
        self._on_plan(adopted)

    # What goes out

    async def tell(self, member: str, body: control.Body, *, ordered: bool = False) -> bool:
        """Say something to the configurator, sealed to it; False when its card has not come yet.

        ordered: the statement's sequence number is new and on disk, so that it cannot be replayed.
        """
        if self._card is None:
            return False
        key, configurator_id = self._card
        sequence = self._keyring.next_sequence(member) if ordered else 0
        statement = Statement(sender=member, recipient=configurator_id, sequence=sequence, body=body)
        wire = statement.to_bytes(self._keyring.identity(member))
        await self._send_box(key, wire)
        return True

    async def _send_box(self, key: EpochKey, wire: bytes) -> None:
        sender = self._transport.pseudonym
        box = seal_box(key.agreement, wire, box_context(self._grid, sender, key.pseudonym))
        await self._transport.publish(topic(self._grid, Channel.CONTROL, sender, key.pseudonym), box)

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
                await self.tell(member, control.AnnounceKeys(keys=keys))
        missed = self._next_version
        if missed is not None and self._pending is None and self.enrolled and self._backoff.due(("head", missed), now):
            await self.tell(next(iter(self._members)), control.RequestHead(version=missed))
        if self._pending is not None and self.enrolled and not unannounced:
            version = self._pending.head.version
            if self._parts_backoff.due(("parts", version), now):
                missing = self._pending.missing(self._members)
                asker = next(iter(self._members))
                for start in range(0, len(missing), _PARTS_PER_REQUEST):
                    group = tuple(missing[start : start + _PARTS_PER_REQUEST])
                    await self.tell(asker, control.RequestParts(version=version, agents=group))

    async def _enrol(self, member: Member, epochs: range) -> None:
        if member.token is None:
            raise ConfigurationError(f"{member.id} is not enrolled and has no token: set agent.token_file")
        body = control.Enrol(
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
