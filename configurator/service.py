"""The configurator's shell. It only ever answers: agents ask again until they are heard, so that it may be killed at any time."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass

from configurator.config import ConfiguratorConfig
from configurator.deciding import Decisions, Told
from configurator.history import PlanHistory
from configurator.masked_service import MaskedRules
from configurator.planner import Planner
from configurator.presence import Presence
from configurator.registry import Registry
from configurator.rule_requests import Answer, Asked, RuleRequests
from hushgrid import control
from hushgrid.agent import mqtt_transport
from hushgrid.certificates import certificates_of
from hushgrid.control import EVERYBODY, Role, Statement, box_context
from hushgrid.errors import ConfigurationError, MessageError, RefusedError, RejectReason
from hushgrid.keyring import Keyring
from hushgrid.pacing import PaceFollower
from hushgrid.plan import EpochKey
from hushgrid.runtime import Counters, keep_pulse
from hushgrid.sealing import box_key_id, key_id, open_box, seal_box
from hushgrid.topics import Channel, Topic, inbox, parse, topic
from hushgrid.transport import Transport

log = logging.getLogger("hushgrid.configurator")

_BATCH = 512
_TICK_SECONDS = 0.1
_PRESENCE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class _Reply:
    """A statement to one agent, with the key it is sealed to."""

    recipient: str
    pseudonym: str
    agreement: bytes
    body: control.Body


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
        self.counters = Counters()
        self.pacing = PaceFollower(config.pace)
        self.pacing.set_interval(config.plan.interval_seconds)
        self.history = PlanHistory(self.registry)
        self.presence = Presence()
        self.planner = Planner(config, self.registry, self.history, self.masked, self.pacing, time.monotonic())
        self.requests = RuleRequests(config, self.registry, self.history, self.planner)
        self._looked_at = 0.0
        self._observations = 0
        self.decisions = Decisions(config, self.registry, self.history, self.identity, modulus=self.planner.modulus)
        self._certificates = None
        if transport is None:
            self._certificates = certificates_of(config, Role.CONFIGURATOR, self.identity)
        name = self.identity.pseudonym(self.grid, self.epoch)
        self.transport = transport or mqtt_transport(config, name, self._certificates)
        self._incoming: asyncio.Queue[tuple[Topic, bytes]] = asyncio.Queue(4096)

    # Life

    async def run(self) -> None:
        """Serve until cancelled."""
        try:
            await self._certify()
            async with self.transport:
                await self._publish_all()
                log.info("configurator %s is up", self.id)
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._listen(), name="listen")
                    group.create_task(self._work(), name="work")
                    group.create_task(self._tick(), name="tick")
                    pulse = keep_pulse(self.config.agent.pulse_file, lambda: self.transport.reachable)
                    group.create_task(pulse, name="pulse")
                    group.create_task(self.pacing.follow_clock(lambda: None), name="clock")
                    if self._certificates is not None:
                        keeping = self._certificates.keep(self._names, self.transport.renew)
                        group.create_task(keeping, name="certificates")
                    if self.pacing.conducted:
                        group.create_task(self._report(), name="report")
        finally:
            self.registry.close()
            self.masked.close()
            self.keyring.close()

    @property
    def epoch(self) -> int:
        """The epoch of the newest plan; 0 before any."""
        return self.planner.epoch

    def _pseudonym(self, epoch: int) -> str:
        return self.identity.pseudonym(self.grid, epoch)

    def _names(self) -> list[str]:
        """Of the epoch before, this one and the next: each has a certificate of its own."""
        return [self._pseudonym(epoch) for epoch in range(max(0, self.epoch - 1), self.epoch + 2)]

    async def _certify(self) -> None:
        if self._certificates is not None:
            try:
                await self._certificates.ensure(self._names())
            except RefusedError as error:
                raise ConfigurationError(str(error)) from None

    async def _publish_all(self) -> None:
        """Card and newest head, retained; the inboxes of this epoch and the last."""
        epoch = self.epoch
        self.keyring.agreements([self.id], range(max(0, epoch - 1), epoch + 2))
        if epoch >= 2:
            self.keyring.erase_through([self.id], epoch - 2)
        for each in range(max(0, epoch - 1), epoch + 1):
            name = self._pseudonym(each)
            await self.transport.subscribe(inbox(self.grid, Channel.CONTROL, name), address=name)
        if self.pacing.conducted:
            await self.transport.subscribe(inbox(self.grid, Channel.CLOCK))
        await self.transport.subscribe(inbox(self.grid, Channel.STATUS))
        if self.transport.pseudonym != self._pseudonym(epoch):
            for channel in (Channel.CARD, Channel.HEAD, Channel.STATUS):
                await self._publish(channel, b"")
            await self.transport.rename(self._pseudonym(epoch))
        if epoch >= 2:
            await self.transport.leave(self._pseudonym(epoch - 2))
        agreement = self.keyring.agreement(self.id, epoch)
        if agreement is None:
            raise MessageError(RejectReason.WRONG_RECIPIENT, "card")
        key = EpochKey.sign(self.identity, self.grid, epoch, agreement.public)
        await self._publish(Channel.CARD, self._for_everybody(control.Card(grid=self.grid, key=key)))
        await self._publish(Channel.STATUS, b"online")
        if self.history.newest is not None:
            await self._publish(Channel.HEAD, self._for_everybody(control.PublishedHead(head=self.history.newest)))

    async def _publish(self, channel: Channel, payload: bytes) -> None:
        await self.transport.publish(topic(self.grid, channel, self.transport.pseudonym), payload, retain=True)

    def _for_everybody(self, body: control.Body) -> bytes:
        return Statement(sender=self.id, recipient=EVERYBODY, sequence=0, body=body).to_bytes(self.identity)

    async def _listen(self) -> None:
        async for message in self.transport.messages():
            try:
                parsed = parse(message.topic)
                if parsed.channel is Channel.STATUS:
                    self.presence.hear(parsed.sender, message.payload, time.monotonic())
                elif not message.payload:
                    continue
                elif parsed.channel is Channel.CLOCK:
                    self.pacing.hear(message.payload, parsed.sender)
                elif parsed.channel is Channel.CONTROL:
                    await self._incoming.put((parsed, message.payload))
                else:
                    raise MessageError(RejectReason.UNKNOWN_KIND, "channel")
            except MessageError as error:
                self.counters.refuse("topic", error)

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
            replies += _replies(self.decisions.due(time.monotonic(), self.planner.away))
            await self._send(replies)

    def _open(self, parsed: Topic, payload: bytes) -> Asked:
        wanted = box_key_id(payload)
        for epoch in self.keyring.epochs(self.id):
            agreement = self.keyring.agreement(self.id, epoch)
            if agreement is None or key_id(agreement.public) != wanted or parsed.recipient is None:
                continue
            wire = open_box(agreement, payload, box_context(self.grid, parsed.sender, parsed.recipient))
            statement, signed = Statement.from_bytes(wire)
            if statement.recipient != self.id:
                raise MessageError(RejectReason.WRONG_RECIPIENT, "control")
            if isinstance(statement.body, control.Enrol):
                signed.check(statement.body.identity)
            else:
                agent = self.registry.agent(statement.sender)
                if agent is None:
                    raise MessageError(RejectReason.UNKNOWN_SENDER, statement.sender)
                signed.check(agent.identity)
            return Asked(statement, parsed.sender)
        raise MessageError(RejectReason.WRONG_RECIPIENT, "control")

    async def _send(self, replies: list[_Reply]) -> None:
        for reply in replies:
            statement = Statement(sender=self.id, recipient=reply.recipient, sequence=0, body=reply.body)
            sender = self.transport.pseudonym
            context = box_context(self.grid, sender, reply.pseudonym)
            box = seal_box(reply.agreement, statement.to_bytes(self.identity), context)
            await self.transport.publish(topic(self.grid, Channel.CONTROL, sender, reply.pseudonym), box)

    # Answers

    def _answer(self, asked: Asked) -> list[_Reply]:
        body, sender = asked.statement.body, asked.statement.sender
        match body:
            case control.Enrol():
                return self._enrol(asked, body)
            case control.AnnounceKeys():
                return self._announce_keys(asked, body)
            case control.RequestRule():
                return self._answered(self.requests.request(asked, body, time.monotonic()))
            case control.WithdrawRule():
                return self._answered(self.requests.withdraw(asked, body, time.monotonic()))
            case control.RequestParts():
                return self._request_parts(asked, body)
            case control.RequestHead():
                return self._request_head(asked, body)
            case control.RosterPage():
                return self._hear_roster(asked, body)
            case control.MaskedRoster():
                return self._close_round(asked, body)
            case control.Countersignature():
                return _replies(self.decisions.hear_countersignature(sender, body))
            case control.Observation():
                self._observations += 1
                self.decisions.hear_observation(sender, body)
                return []
            case _:
                raise MessageError(RejectReason.UNKNOWN_KIND, body.kind)

    def _reply(self, asked: Asked, body: control.Body, recipient: str | None = None) -> list[_Reply]:
        name = recipient or asked.statement.sender
        agent = self.registry.agent(name)
        if agent is None or agent.key is None:
            raise MessageError(RejectReason.UNKNOWN_SENDER, name)
        return [_Reply(name, asked.pseudonym, agent.key.agreement, body)]

    def _announce_keys(self, asked: Asked, body: control.AnnounceKeys) -> list[_Reply]:
        sender = asked.statement.sender
        agent = self.registry.agent(sender)
        if agent is None:
            raise MessageError(RejectReason.UNKNOWN_SENDER, sender)
        for key in body.keys:
            key.check(agent.identity, self.grid)
        self.planner.note_change(time.monotonic())
        return self._reply(asked, control.KeysKnown(epoch=self.registry.store_keys(sender, body.keys)))

    def _hear_roster(self, asked: Asked, body: control.RosterPage) -> list[_Reply]:
        forgotten = self.decisions.forgotten_through(body.round)
        if forgotten is not None:
            return self._reply(asked, control.Forgotten(through=forgotten))
        return _replies(self.decisions.hear_roster(asked.statement.sender, body, time.monotonic()))

    def _request_head(self, asked: Asked, body: control.RequestHead) -> list[_Reply]:
        head = next((head for head in self.history.heads if head.version == body.version), None)
        if head is None:
            raise MessageError(RejectReason.WRONG_PLAN, f"plan {body.version}")
        return self._reply(asked, control.PublishedHead(head=head))

    def _enrol(self, asked: Asked, body: control.Enrol) -> list[_Reply]:
        sender = asked.statement.sender
        for key in body.keys:
            key.check(body.identity, self.grid)
        if not body.keys:
            raise MessageError(RejectReason.MALFORMED, "enrolment without keys")
        try:
            number = self.registry.enrol(sender, body.role, body.token, body.identity, body.operator, body.carrier)
        except RefusedError as error:
            refusal = control.Refusal(of="enrol", reason=error.reason)
            return [_Reply(sender, asked.pseudonym, body.keys[-1].agreement, refusal)]
        epoch = self.registry.store_keys(sender, body.keys)
        self.planner.note_change(time.monotonic())
        return self._reply(asked, control.Enrolled(number=number, epoch=epoch))

    def _answered(self, answers: list[Answer]) -> list[_Reply]:
        return [reply for answer in answers for reply in self._reply(answer.asked, answer.body)]

    def _request_parts(self, asked: Asked, body: control.RequestParts) -> list[_Reply]:
        replies: list[_Reply] = []
        for name in body.agents:
            agent = self.registry.agent(name)
            if agent is None or asked.statement.sender not in (agent.id, agent.carrier):
                raise MessageError(RejectReason.WRONG_SENDER, f"parts of {name}")
            pages = self.registry.parts(body.version, name)
            for part, index, path in pages:
                page = control.PartPage(
                    version=body.version,
                    recipient=name,
                    page=part.page,
                    pages=part.pages,
                    leaf=index,
                    path=path,
                    part=part.json,
                )
                replies += self._reply(asked, page, name)
            if not pages:
                replies += self._reply(asked, control.NoPart(version=body.version, recipient=name), name)
        return replies

    def _close_round(self, asked: Asked, body: control.MaskedRoster) -> list[_Reply]:
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
            replies += _replies(self.decisions.due(time.monotonic(), self.planner.away))
            await self._send(replies)
            self._look_around()
            if not self.requests.waiting and self.planner.plan_if_due(time.monotonic()) is not None:
                await self._publish_all()

    def _look_around(self) -> None:
        """Notice PPNs that went away or came back, and rounds that are over; not more often than it matters."""
        now = time.monotonic()
        if now - self._looked_at < _PRESENCE_SECONDS:
            return
        self._looked_at = now
        self.decisions.prune(self.epoch - 1)
        pseudonyms = self.registry.ppn_pseudonyms(range(max(0, self.epoch - 1), self.epoch + 2))
        away = self.presence.away(pseudonyms, now, self.config.placement.away_seconds)
        if away != self.planner.away:
            for ppn in sorted(away - self.planner.away):
                log.warning("%s is away: its rules are placed elsewhere", ppn)
            for ppn in sorted(self.planner.away - away):
                log.info("%s is back", ppn)
            self.planner.away = away
            self.planner.note_change(time.monotonic())

    # Progress, for a testbed's conductor

    async def _report(self) -> None:
        key = self.config.pace.conductor_agreement
        while True:
            await asyncio.sleep(_TICK_SECONDS)
            conductor = self.pacing.conductor_pseudonym
            if conductor is None or key is None:
                continue
            newest, pace = self.history.newest, self.pacing.pace
            figures = {
                "planned_through": self.planner.planned_through,
                "observations": self._observations,
                "heard_through": -1 if pace is None else pace.metered_through,
            }
            version = newest.version if newest else 0
            body = control.Report(
                role=Role.CONFIGURATOR, plan_version=version, figures=figures, notes=self.decisions.faults.texts
            )
            await self._send_to_conductor(body, key, conductor)

    async def _send_to_conductor(self, body: control.Report, key: bytes, conductor: str) -> None:
        statement = Statement(sender=self.id, recipient="conductor", sequence=0, body=body)
        sender = self.transport.pseudonym
        box = seal_box(key, statement.to_bytes(self.identity), box_context(self.grid, sender, conductor))
        await self.transport.publish(topic(self.grid, Channel.CONTROL, sender, conductor), box)


async def serve(config: ConfiguratorConfig) -> None:
    """Run one configurator."""
    await Configurator(config).run()
