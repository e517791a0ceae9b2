"""The configurator's shell. It only ever answers: agents ask again until they are heard, so that it may be killed at any time."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass

from configurator.config import ConfiguratorConfig
from configurator.masked.streams import MaskedRules
from configurator.plans.planner import Planner
from configurator.registry.history import PlanHistory
from configurator.registry.registry import Registry
from configurator.rounds.decisions import Decisions, Told
from configurator.rules.requests import Answer, Asked, RuleRequests
from hushgrid.core.sealing import box_key_id, key_id, open_box
from hushgrid.errors import MessageError, RefusedError, RejectReason
from hushgrid.plan.head import EpochKey
from hushgrid.shell.connection import Attendance, Loops
from hushgrid.shell.keyring import Keyring
from hushgrid.shell.pacing import pace_follower
from hushgrid.shell.transport import Transport
from hushgrid.statements.joining import AnnounceKeys, Card, Enrol, Enrolled, KeysKnown, Refusal
from hushgrid.statements.masked import MaskedRoster
from hushgrid.statements.plans import NoPart, PartPage, PublishedHead, RequestHead, RequestParts
from hushgrid.statements.rounds import Countersignature, Forgotten, Observation, RosterPage
from hushgrid.statements.rules import RequestRule, WithdrawRule
from hushgrid.statements.statement import EVERYBODY, Body, Kinds, Statement, box_context
from hushgrid.wire.presence import Presence
from hushgrid.wire.role import Role
from hushgrid.wire.topics import Channel, Topic, inbox

log = logging.getLogger("hushgrid.configurator")

#: What agents say to the configurator.
_HEARD = Kinds(
    Enrol,
    AnnounceKeys,
    RequestRule,
    WithdrawRule,
    RequestParts,
    RequestHead,
    RosterPage,
    MaskedRoster,
    Countersignature,
    Observation,
)
_HEARD_CLEARED = frozenset({Channel.STATUS, Channel.PRESENCE})
_BATCH = 512
_TICK_SECONDS = 0.1
_PRESENCE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class _Reply:
    """A statement to one agent, with the key it is sealed to."""

    recipient: str
    pseudonym: str
    agreement: bytes
    body: Body


def _replies(told: list[Told]) -> list[_Reply]:
    return [_Reply(each.ppn.id, each.ppn.key.pseudonym, each.ppn.key.agreement, each.body) for each in told]


class Configurator:
    """One configurator for one grid."""

    def __init__(self, config: ConfiguratorConfig, transport: Transport | None = None) -> None:
        self.config = config
        self.id = config.agent.id
        self.grid = config.agent.grid
        directory = config.agent.state_directory
        self.keyring = Keyring(directory / "keys.sqlite")
        self.identity = self.keyring.identity(self.id)
        self.registry = Registry(directory / "registry.sqlite")
        self.masked = MaskedRules(config.pairwise, directory, config.plan.minimum_contributors)
        self.pacing = pace_follower(config.pace)
        self.pacing.set_interval(config.plan.interval_seconds)
        self.history = PlanHistory(self.registry.plans)
        self.presence = Presence()
        self.planner = Planner(config, self.registry, self.history, self.masked, self.pacing, time.monotonic())
        self.requests = RuleRequests(config, self.registry, self.history, self.planner)
        self._looked_at = 0.0
        self._gone: frozenset[str] = frozenset()
        self._observations = 0
        self.decisions = Decisions(config, self.registry, self.history, self.identity, modulus=self.planner.modulus)
        self._line = Attendance(config, Role.CONFIGURATOR, self.identity, epoch=self.epoch, transport=transport)
        self.transport = self._line.transport
        self.counters = self._line.counters
        self._incoming: asyncio.Queue[tuple[Topic, bytes]] = asyncio.Queue(4096)

    # Life

    async def run(self) -> None:
        """Serve until cancelled."""
        try:
            await self._line.certify(self._epochs_near())
            async with self.transport:
                await self._publish_all()
                log.info("configurator %s is up", self.id)
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._line.listen(self._hear, hears_cleared=_HEARD_CLEARED), name="listen")
                    for name, loop in self._shared_loops().items():
                        group.create_task(loop, name=name)
                    group.create_task(self._work(), name="work")
                    group.create_task(self._tick(), name="tick")
        finally:
            self.registry.close()
            self.masked.close()
            self.keyring.close()

    @property
    def epoch(self) -> int:
        """The epoch of the newest plan; 0 before any."""
        return self.planner.epoch

    def _epochs_near(self) -> range:
        """The epoch before, this one and the next: the names of each have a certificate of their own."""
        return range(max(0, self.epoch - 1), self.epoch + 2)

    async def _publish_all(self) -> None:
        """Card and newest head, retained; the inboxes of this epoch and the last."""
        epoch = self.epoch
        self.keyring.agreements([self.id], self._epochs_near())
        if epoch >= 2:
            self.keyring.erase_through([self.id], epoch - 2)
        for each in range(max(0, epoch - 1), epoch + 1):
            name = self._line.pseudonym(each)
            await self.transport.subscribe(inbox(self.grid, Channel.CONTROL, name), address=name)
        said = [inbox(self.grid, channel) for channel in sorted(_HEARD_CLEARED)]
        await self.transport.subscribe(*self.pacing.subscriptions(self.grid), *said)
        if self.transport.pseudonym != self._line.pseudonym(epoch):
            await self._line.rename(epoch, published=(Channel.CARD, Channel.HEAD))
        if epoch >= 2:
            await self.transport.leave(self._line.pseudonym(epoch - 2))
        agreement = self.keyring.agreement(self.id, epoch)
        if agreement is None:
            raise MessageError(RejectReason.WRONG_RECIPIENT, "card")
        key = EpochKey.sign(self.identity, self.grid, epoch, agreement.public)
        await self._line.publish(Channel.CARD, self._for_everybody(Card(grid=self.grid, key=key)))
        await self._line.say_online()
        if self.history.newest is not None:
            await self._line.publish(Channel.HEAD, self._for_everybody(PublishedHead(head=self.history.newest)))

    def _for_everybody(self, body: Body) -> bytes:
        return Statement(sender=self.id, recipient=EVERYBODY, sequence=0, body=body).to_bytes(self.identity)

    async def _hear(self, parsed: Topic, payload: bytes) -> None:
        if parsed.channel in _HEARD_CLEARED:
            self.presence.hear(parsed.sender, payload, time.monotonic())
        elif parsed.channel is Channel.CLOCK:
            self.pacing.hear(payload, parsed.sender)
        elif parsed.channel is Channel.CONTROL:
            await self._incoming.put((parsed, payload))
        else:
            raise MessageError(RejectReason.UNKNOWN_KIND, "channel")

    async def _work(self) -> None:
        """Answer in batches: one commit for all that is waiting, then the answers."""
        while True:
            batch = [await self._incoming.get()]
            while len(batch) < _BATCH and not self._incoming.empty():
                batch.append(self._incoming.get_nowait())
            replies: list[_Reply] = []
            with self.registry.transaction():
                for parsed, payload in batch:
                    try:
                        replies += self._answer(self._open(parsed, payload))
                    except MessageError as error:
                        self.counters.refuse("control", error)
            replies += self._decide()
            await self._send(replies)

    def _open(self, parsed: Topic, payload: bytes) -> Asked:
        wanted = box_key_id(payload)
        for epoch in self.keyring.epochs(self.id):
            agreement = self.keyring.agreement(self.id, epoch)
            if agreement is None or key_id(agreement.public) != wanted or parsed.recipient is None:
                continue
            wire = open_box(agreement, payload, box_context(self.grid, parsed.sender, parsed.recipient))
            statement, signed = Statement.from_bytes(wire, _HEARD)
            if statement.recipient != self.id:
                raise MessageError(RejectReason.WRONG_RECIPIENT, "control")
            if isinstance(statement.body, Enrol):
                signed.check(statement.body.identity)
            else:
                agent = self.registry.agents.find(statement.sender)
                if agent is None:
                    raise MessageError(RejectReason.UNKNOWN_SENDER, statement.sender)
                signed.check(agent.identity)
            return Asked(statement, parsed.sender)
        raise MessageError(RejectReason.WRONG_RECIPIENT, "control")

    async def _send(self, replies: list[_Reply]) -> None:
        for reply in replies:
            await self._line.send_own(reply.pseudonym, reply.recipient, reply.agreement, reply.body)

    # Answers

    def _answer(self, asked: Asked) -> list[_Reply]:
        body, sender = asked.statement.body, asked.statement.sender
        match body:
            case Enrol():
                return self._enrol(asked, body)
            case AnnounceKeys():
                return self._announce_keys(asked, body)
            case RequestRule():
                return self._answered(self.requests.request(asked, body, time.monotonic()))
            case WithdrawRule():
                return self._answered(self.requests.withdraw(asked, body, time.monotonic()))
            case RequestParts():
                return self._request_parts(asked, body)
            case RequestHead():
                return self._request_head(asked, body)
            case RosterPage():
                return self._hear_roster(asked, body)
            case MaskedRoster():
                return self._close_round(asked, body)
            case Countersignature():
                return _replies(self.decisions.hear_countersignature(sender, body))
            case Observation():
                self._observations += 1
                self.decisions.hear_observation(sender, body)
                return []
            case _:
                raise MessageError(RejectReason.UNKNOWN_KIND, body.kind)

    def _reply(self, asked: Asked, body: Body, recipient: str | None = None) -> list[_Reply]:
        name = recipient or asked.statement.sender
        agent = self.registry.agents.find(name)
        if agent is None or agent.key is None:
            raise MessageError(RejectReason.UNKNOWN_SENDER, name)
        return [_Reply(name, asked.pseudonym, agent.key.agreement, body)]

    def _announce_keys(self, asked: Asked, body: AnnounceKeys) -> list[_Reply]:
        sender = asked.statement.sender
        agent = self.registry.agents.find(sender)
        if agent is None:
            raise MessageError(RejectReason.UNKNOWN_SENDER, sender)
        for key in body.keys:
            key.check(agent.identity, self.grid)
        self.planner.note_change(time.monotonic())
        return self._reply(asked, KeysKnown(epoch=self.registry.agents.store_keys(sender, body.keys)))

    def _hear_roster(self, asked: Asked, body: RosterPage) -> list[_Reply]:
        forgotten = self.decisions.forgotten_through(body.round)
        if forgotten is not None:
            return self._reply(asked, Forgotten(through=forgotten))
        return _replies(self.decisions.hear_roster(asked.statement.sender, body, time.monotonic()))

    def _request_head(self, asked: Asked, body: RequestHead) -> list[_Reply]:
        head = next((head for head in self.history.heads if head.version == body.version), None)
        if head is None:
            raise MessageError(RejectReason.WRONG_PLAN, f"plan {body.version}")
        return self._reply(asked, PublishedHead(head=head))

    def _enrol(self, asked: Asked, body: Enrol) -> list[_Reply]:
        sender = asked.statement.sender
        for key in body.keys:
            key.check(body.identity, self.grid)
        if not body.keys:
            raise MessageError(RejectReason.MALFORMED, "enrolment without keys")
        try:
            number = self.registry.agents.enrol(
                sender, body.role, body.token, body.identity, body.operator, body.carrier
            )
        except RefusedError as error:
            refusal = Refusal(of="enrol", reason=error.reason)
            return [_Reply(sender, asked.pseudonym, body.keys[-1].agreement, refusal)]
        epoch = self.registry.agents.store_keys(sender, body.keys)
        self.planner.note_change(time.monotonic())
        return self._reply(asked, Enrolled(number=number, epoch=epoch))

    def _answered(self, answers: list[Answer]) -> list[_Reply]:
        return [reply for answer in answers for reply in self._reply(answer.asked, answer.body)]

    def _request_parts(self, asked: Asked, body: RequestParts) -> list[_Reply]:
        replies: list[_Reply] = []
        for name in body.agents:
            agent = self.registry.agents.find(name)
            if agent is None or asked.statement.sender not in (agent.id, agent.carrier):
                raise MessageError(RejectReason.WRONG_SENDER, f"parts of {name}")
            pages = self.registry.plans.parts(body.version, name)
            for each in pages:
                page = PartPage(
                    version=body.version,
                    recipient=name,
                    page=each.part.page,
                    pages=each.part.pages,
                    leaf=each.leaf,
                    path=each.path,
                    part=each.part.json,
                )
                replies += self._reply(asked, page, name)
            if not pages:
                replies += self._reply(asked, NoPart(version=body.version, recipient=name), name)
        return replies

    def _close_round(self, asked: Asked, body: MaskedRoster) -> list[_Reply]:
        """Close a round of masked readings, or say nothing: the consumer asks again, and the round waits until then."""
        pace = self.pacing.pace
        if pace is None:
            raise MessageError(RejectReason.FUTURE_ROUND, f"roster of round {body.round}")
        try:
            closing = self.masked.hear_roster(
                asked.statement.sender,
                body,
                self.history,
                pace.metered_through,
                lambda fresh: fresh.signed(self.identity, self.grid),
            )
        except RefusedError as error:
            log.info("round %d of stream %d is not closed: %s", body.round, body.stream, error.reason)
            return []
        return self._reply(asked, closing)

    # What time brings

    async def _tick(self) -> None:
        generation = self.transport.generation
        while True:
            await asyncio.sleep(_TICK_SECONDS)
            if self.transport.generation != generation:
                generation = self.transport.generation
                await self._publish_all()
            with self.registry.transaction():
                replies = self._answered(self.requests.due(time.monotonic()))
            replies += self._decide()
            await self._send(replies)
            self._look_around()
            if not self.requests.waiting and self.planner.plan_if_due(time.monotonic()) is not None:
                await self._publish_all()

    def _decide(self) -> list[_Reply]:
        """What is decided now; a PPN that is gone asks when it is back."""
        told = self.decisions.due(time.monotonic(), self._gone)
        return _replies([each for each in told if each.ppn.id not in self._gone])

    def _look_around(self) -> None:
        """Notice PPNs that went away or came back, and rounds that are over; not more often than it matters."""
        now = time.monotonic()
        if now - self._looked_at < _PRESENCE_SECONDS:
            return
        self._looked_at = now
        self.decisions.prune(self.epoch - 1)
        pseudonyms = self.registry.agents.ppn_pseudonyms(range(max(0, self.epoch - 1), self.epoch + 2))
        self._gone = self.presence.away(pseudonyms, now, self.config.agreement.gone_patience_seconds)
        away = self.presence.away(pseudonyms, now, self.config.placement.away_seconds)
        if away != self.planner.away:
            for ppn in sorted(away - self.planner.away):
                log.warning("%s is away: its rules are placed elsewhere", ppn)
            for ppn in sorted(self.planner.away - away):
                log.info("%s is back", ppn)
            self.planner.away = away
            self.planner.note_change(time.monotonic())

    # Progress, for a testbed's conductor

    def _shared_loops(self) -> Loops:
        pace = self.pacing.loops(lambda: None, Role.CONFIGURATOR, self._progress, self._line.send_own, None)
        return self._line.loops(self._epochs_near) | pace

    def _progress(self) -> tuple[int, dict[str, int], tuple[str, ...]]:
        newest, pace = self.history.newest, self.pacing.pace
        figures = {
            "planned_through": self.planner.planned_through,
            "observations": self._observations,
            "heard_through": -1 if pace is None else pace.metered_through,
        }
        return newest.version if newest else 0, figures, self.decisions.faults.texts


async def serve(config: ConfiguratorConfig) -> None:
    """Run one configurator."""
    await Configurator(config).run()
