"""The configurator's shell. It only ever answers: agents ask again until they are heard, so that it may be killed at any time."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass

from configurator.config import ConfiguratorConfig
from configurator.decision import Coverage, Roster, contributors, coverage_of, decision_core, decision_pages, withhold
from configurator.granting import approve
from configurator.planning import build_plan
from configurator.registry import Registry
from hushgrid import control
from hushgrid.agent import mqtt_transport
from hushgrid.bitmap import Bitmap
from hushgrid.control import (
    EVERYBODY,
    Role,
    RuleState,
    Statement,
    box_context,
    check_certificate,
    countersignature_payload,
)
from hushgrid.errors import MessageError, RefusedError, RejectReason
from hushgrid.field import choose_modulus
from hushgrid.keyring import Keyring
from hushgrid.pacing import PaceFollower
from hushgrid.plan import EpochKey, Head, Recovery, Rule
from hushgrid.runtime import Counters
from hushgrid.sealing import box_key_id, key_id, open_box, seal_box, verify
from hushgrid.topics import Channel, Topic, inbox, parse, topic
from hushgrid.transport import Transport

log = logging.getLogger("hushgrid.configurator")

_BATCH = 512
_TICK_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class _Asked:
    """A statement that was opened and believed, and where its answer goes."""

    statement: Statement
    pseudonym: str


@dataclass(frozen=True, slots=True)
class _Reply:
    """A statement to one agent, with the key it is sealed to."""

    recipient: str
    pseudonym: str
    agreement: bytes
    body: control.Body


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
        self.counters = Counters()
        self.pacing = PaceFollower(config.pace)
        self.pacing.set_interval(config.plan.interval_seconds)
        self._heads = self.registry.heads()
        self._cohorts: dict[int, list[tuple[Rule, Bitmap]]] = {}
        self._charges: dict[int, dict[int, Bitmap]] = {}
        self._coverage: dict[int, Coverage] = {}
        epoch = self._heads[-1].epoch if self._heads else 0
        self.transport = transport or mqtt_transport(config, self.identity.pseudonym(self.grid, epoch))
        self._incoming: asyncio.Queue[tuple[Topic, bytes]] = asyncio.Queue(4096)
        self._dirty_since: float | None = None
        self._waiting_since: dict[int, float] = {}
        self._pending: dict[tuple[str, str], tuple[_Asked, control.RequestRule, float]] = {}

    # Life

    async def run(self) -> None:
        """Serve until cancelled."""
        try:
            async with self.transport:
                await self._publish_all()
                log.info("configurator %s is up", self.id)
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._listen(), name="listen")
                    group.create_task(self._work(), name="work")
                    group.create_task(self._tick(), name="tick")
                    group.create_task(self.pacing.follow_clock(lambda: None), name="clock")
                    if self.pacing.conducted:
                        group.create_task(self._report(), name="report")
        finally:
            self.registry.close()
            self.keyring.close()

    @property
    def epoch(self) -> int:
        """The epoch of the newest plan; 0 before any."""
        return self._heads[-1].epoch if self._heads else 0

    def _pseudonym(self, epoch: int) -> str:
        return self.identity.pseudonym(self.grid, epoch)

    async def _publish_all(self) -> None:
        """Card and newest head, retained; the inboxes of this epoch and the last."""
        epoch = self.epoch
        self.keyring.agreements([self.id], range(max(0, epoch - 1), epoch + 2))
        if epoch >= 2:
            self.keyring.erase_through([self.id], epoch - 2)
        for each in range(max(0, epoch - 1), epoch + 1):
            await self.transport.subscribe(inbox(self.grid, Channel.CONTROL, self._pseudonym(each)))
        if self.pacing.conducted:
            await self.transport.subscribe(inbox(self.grid, Channel.CLOCK))
        if self.transport.pseudonym != self._pseudonym(epoch):
            for channel in (Channel.CARD, Channel.HEAD, Channel.STATUS):
                await self._publish(channel, b"")
            await self.transport.rename(self._pseudonym(epoch))
        agreement = self.keyring.agreement(self.id, epoch)
        if agreement is None:
            raise MessageError(RejectReason.WRONG_RECIPIENT, "card")
        key = EpochKey.sign(self.identity, self.grid, epoch, agreement.public)
        await self._publish(Channel.CARD, self._for_everybody(control.Card(grid=self.grid, key=key)))
        await self._publish(Channel.STATUS, b"online")
        if self._heads:
            await self._publish(Channel.HEAD, self._for_everybody(control.PublishedHead(head=self._heads[-1])))

    async def _publish(self, channel: Channel, payload: bytes) -> None:
        await self.transport.publish(topic(self.grid, channel, self.transport.pseudonym), payload, retain=True)

    def _for_everybody(self, body: control.Body) -> bytes:
        return Statement(sender=self.id, recipient=EVERYBODY, sequence=0, body=body).to_bytes(self.identity)

    async def _listen(self) -> None:
        async for message in self.transport.messages():
            if not message.payload:
                continue
            try:
                parsed = parse(message.topic)
                if parsed.channel is Channel.CLOCK:
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
            replies += self._decide_due()
            await self._send(replies)

    def _open(self, parsed: Topic, payload: bytes) -> _Asked:
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
            return _Asked(statement, parsed.sender)
        raise MessageError(RejectReason.WRONG_RECIPIENT, "control")

    async def _send(self, replies: list[_Reply]) -> None:
        for reply in replies:
            statement = Statement(sender=self.id, recipient=reply.recipient, sequence=0, body=reply.body)
            sender = self.transport.pseudonym
            context = box_context(self.grid, sender, reply.pseudonym)
            box = seal_box(reply.agreement, statement.to_bytes(self.identity), context)
            await self.transport.publish(topic(self.grid, Channel.CONTROL, sender, reply.pseudonym), box)

    # Answers

    def _answer(self, asked: _Asked) -> list[_Reply]:
        body, sender = asked.statement.body, asked.statement.sender
        match body:
            case control.Enrol():
                return self._enrol(asked, body)
            case control.AnnounceKeys():
                self._check_keys(sender, body.keys)
                epoch = self.registry.store_keys(sender, body.keys)
                return self._reply(asked, control.KeysKnown(epoch=epoch))
            case control.RequestRule():
                return self._request_rule(asked, body)
            case control.WithdrawRule():
                return self._withdraw_rule(asked, body)
            case control.RequestParts():
                return self._request_parts(asked, body)
            case control.RosterPage():
                return self._hear_roster(asked, body)
            case control.Countersignature():
                return self._hear_countersignature(asked, body)
            case _:
                raise MessageError(RejectReason.UNKNOWN_KIND, body.kind)

    def _reply(self, asked: _Asked, body: control.Body, recipient: str | None = None) -> list[_Reply]:
        name = recipient or asked.statement.sender
        agent = self.registry.agent(name)
        if agent is None or agent.key is None:
            raise MessageError(RejectReason.UNKNOWN_SENDER, name)
        return [_Reply(name, asked.pseudonym, agent.key.agreement, body)]

    def _check_keys(self, sender: str, keys: tuple[EpochKey, ...]) -> None:
        agent = self.registry.agent(sender)
        if agent is None:
            raise MessageError(RejectReason.UNKNOWN_SENDER, sender)
        for key in keys:
            key.check(agent.identity, self.grid)
        self._note_change()

    def _enrol(self, asked: _Asked, body: control.Enrol) -> list[_Reply]:
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
        self._note_change()
        return self._reply(asked, control.Enrolled(number=number, epoch=epoch))

    def _request_rule(self, asked: _Asked, body: control.RequestRule) -> list[_Reply]:
        agent = self.registry.agent(asked.statement.sender)
        if agent is None or agent.role is not Role.CONSUMER:
            return self._reply(
                asked, control.RuleAnswer(name=body.name, state=RuleState.REFUSED, reason="not a consumer")
            )
        standing = [
            (g, r) for g, r in self.registry.rules() if g.rule.consumer == agent.id and g.rule.name == body.name
        ]
        for granted, request in standing:
            if granted.rule.until_round is None:
                if request == body:
                    answer = control.RuleAnswer(name=body.name, state=RuleState.GRANTED, number=granted.rule.number)
                else:
                    answer = control.RuleAnswer(
                        name=body.name, state=RuleState.REFUSED, reason="another rule of this name stands",
                        because_of=(body.name,),
                    )  # fmt: skip
                return self._reply(asked, answer)
        if not self.registry.raise_sequence(agent.id, asked.statement.sequence):
            raise MessageError(RejectReason.REPLAYED, f"rule request of {agent.id}")
        since = self._pending.get((agent.id, body.name), (None, None, time.monotonic()))[2]
        self._pending[agent.id, body.name] = (asked, body, since)
        return self._resolve_pending()

    def _resolve_pending(self) -> list[_Reply]:
        """Answer the requests that can be answered; those that may name meters still to enrol wait a while."""
        replies: list[_Reply] = []
        outstanding = self.registry.expected(Role.METER) | self.registry.expected(Role.PPN)
        for key, (asked, body, since) in sorted(self._pending.items()):
            if outstanding and time.monotonic() - since < self.config.agreement.pending_seconds:
                continue
            del self._pending[key]
            replies += self._reply(asked, self._judge(asked.statement.sender, body))
        return replies

    def _judge(self, consumer: str, body: control.RequestRule) -> control.RuleAnswer:
        # By id: the order in which they happened to enrol decides nothing.
        ppns = sorted((agent for agent in self.registry.agents(None) if agent.role is Role.PPN), key=lambda ppn: ppn.id)
        try:
            approved = approve(
                body,
                meters=self.registry.meters(),
                granted=[granted for granted, _ in self.registry.rules()],
                points=[ppn.number for ppn in ppns],
                policy=self.config.plan,
                modulus=self._modulus(),
            )
        except RefusedError as error:
            log.info("rule %s of %s is refused: %s", body.name, consumer, error.reason)
            return control.RuleAnswer(
                name=body.name, state=RuleState.REFUSED, reason=error.reason, because_of=error.because_of
            )
        granted = self.registry.grant(
            body, consumer, approved.points, self._next_valid_round(), approved.minimum_contributors, approved.cohort
        )
        log.info("rule %s of %s is granted as number %d", body.name, consumer, granted.rule.number)
        self._note_change()
        return control.RuleAnswer(name=body.name, state=RuleState.GRANTED, number=granted.rule.number)

    def _withdraw_rule(self, asked: _Asked, body: control.WithdrawRule) -> list[_Reply]:
        for granted, _ in self.registry.rules():
            rule = granted.rule
            if rule.consumer == asked.statement.sender and rule.name == body.name and rule.until_round is None:
                k = rule.window_rounds
                until = -(-self._next_valid_round() // k) * k
                self.registry.end_rule(rule.model_copy(update={"until_round": until}))
                self._note_change()
        return self._reply(asked, control.RuleAnswer(name=body.name, state=RuleState.WITHDRAWN))

    def _request_parts(self, asked: _Asked, body: control.RequestParts) -> list[_Reply]:
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

    # Plans

    def _note_change(self) -> None:
        self._dirty_since = time.monotonic()

    def _modulus(self) -> int:
        plan = self.config.plan
        if self._heads:
            return self._heads[0].modulus
        if plan.modulus != "auto":
            return plan.modulus
        return choose_modulus(plan.cohort_bound, plan.window_bound, plan.reading_bound_watt_hours)

    def _next_valid_round(self) -> int:
        """The first round a plan made now may hold for."""
        plan, pace = self.config.plan, self.pacing.pace
        metered = pace.metered_through if pace else -1
        if plan.first_round is not None and metered < plan.first_round - 1:
            return plan.first_round  # a testbed's rounds have not begun
        ahead = metered + 1 + plan.lead_rounds
        return max(ahead, self._heads[-1].valid_from_round if self._heads else 0)

    def _epoch_start(self, epoch: int) -> int:
        """Epochs have equal lengths, counted from the first plan's first round."""
        return self._heads[0].valid_from_round + epoch * self.config.plan.epoch_rounds

    async def _tick(self) -> None:
        generation = self.transport.generation
        while True:
            await asyncio.sleep(_TICK_SECONDS)
            if self.transport.generation != generation:
                generation = self.transport.generation
                await self._publish_all()
            with self.registry.transaction():
                replies = self._resolve_pending()
            replies += self._decide_due()
            await self._send(replies)
            await self._plan_if_due()

    async def _plan_if_due(self) -> None:
        rotate = bool(self._heads) and self._next_valid_round() >= self._epoch_start(self.epoch + 1)
        settled = (
            self._dirty_since is not None and time.monotonic() - self._dirty_since >= self.config.plan.settle_seconds
        )
        if (not settled and not rotate) or self._pending:
            return
        self._dirty_since = None
        epoch = self.epoch + 1 if rotate else self.epoch
        agents = self.registry.agents(epoch)
        rules = [granted for granted, _ in self.registry.rules()]
        ppns = [agent for agent in agents if agent.role is Role.PPN and agent.key is not None]
        if not rules or len(ppns) < self.config.plan.width:
            return
        valid = max(self._next_valid_round(), self._epoch_start(epoch)) if rotate else self._next_valid_round()
        built = build_plan(self._template(epoch, valid), agents, rules)
        if self._heads and not rotate and self._same(built.head, self._heads[-1]):
            return
        self.registry.add_plan(built, rules)
        self._heads.append(built.head)
        log.info("plan %d: epoch %d, valid from round %d, %d rules", built.head.version, epoch, valid, len(rules))
        await self._publish_all()

    @staticmethod
    def _same(new: Head, old: Head) -> bool:
        """True when a plan would say what the one before says."""
        return (new.parts_root, new.ppns, new.epoch) == (old.parts_root, old.ppns, old.epoch)

    def _template(self, epoch: int, valid_from_round: int) -> Head:
        plan = self.config.plan
        previous = self._heads[-1] if self._heads else None
        return Head.model_construct(
            grid=self.grid,
            version=previous.version + 1 if previous else 1,
            previous=previous.digest if previous else b"",
            epoch=epoch,
            valid_from_round=valid_from_round,
            interval_seconds=plan.interval_seconds,
            threshold=plan.threshold,
            width=plan.width,
            modulus=self._modulus(),
            slots=1,
            reading_bound_watt_hours=plan.reading_bound_watt_hours,
            recovery=plan.recovery,
            minimum_contributors=plan.minimum_contributors,
            coverage_floor_fraction=plan.coverage_floor_fraction if plan.recovery is not Recovery.NONE else 0.0,
            ppns=(),
            meters=0,
            parts=0,
            parts_root=b"",
        )

    def _head_of(self, round_number: int) -> Head | None:
        found = [head for head in self._heads if head.valid_from_round <= round_number]
        return found[-1] if found else None

    def _rules_of(self, head: Head) -> list[tuple[Rule, Bitmap]]:
        """The rules of a plan with their cohorts as bitmaps."""
        if head.version not in self._cohorts:
            cohorts = self.registry.plan_cohorts(head.version)
            rules = {granted.rule.number: granted.rule for granted, _ in self.registry.rules()}
            self._cohorts[head.version] = [
                (rules[n], Bitmap.of(head.meters, c)) for n, c in cohorts.items() if n in rules
            ]
        return self._cohorts[head.version]

    def _charges_of(self, head: Head) -> dict[int, Bitmap]:
        """point -> the meters that send to it under a plan, as the PPNs' parts say."""
        if head.version not in self._charges:
            charges = {ppn.point: Bitmap(head.meters) for ppn in head.ppns}
            for rule, cohort in self._rules_of(head):
                for point in rule.points:
                    if point in charges:
                        charges[point] = charges[point] | cohort
            self._charges[head.version] = charges
        return self._charges[head.version]

    # Decisions

    def _hear_roster(self, asked: _Asked, body: control.RosterPage) -> list[_Reply]:
        head = self._head_of(body.round)
        if head is None or head.version != body.version:
            raise MessageError(RejectReason.WRONG_PLAN, f"roster of round {body.round}")
        if head.ppn(body.point).id != asked.statement.sender:
            raise MessageError(RejectReason.WRONG_SENDER, f"roster of point {body.point}")
        body.held()
        if self.registry.decision(body.round) is not None:
            return self._decision_replies(body.round, [body.point])
        self.registry.add_roster(body)
        self._waiting_since.setdefault(body.round, time.monotonic())
        return []

    def _decide_due(self) -> list[_Reply]:
        """Decide, in order, every round whose rosters are there or have been waited for long enough."""
        replies: list[_Reply] = []
        while self._heads:
            decided = self.registry.decided_through()
            round_number = self._heads[0].valid_from_round if decided is None else decided + 1
            head = self._head_of(round_number)
            if head is None:
                return replies
            pages = self.registry.rosters(round_number)
            since = self._waiting_since.get(round_number)
            if pages and since is None:  # after a restart
                since = self._waiting_since[round_number] = time.monotonic()
            patience = self.config.agreement.roster_patience_seconds
            late = since is not None and time.monotonic() - since >= patience
            if len(pages) < len(head.ppns) and not (late and 2 * len(pages) > len(head.ppns)):
                return replies
            self._decide(round_number, head, {p: Roster.of(listed, head.meters) for p, listed in pages.items()})
            self._waiting_since.pop(round_number, None)
            replies += self._decision_replies(round_number, [ppn.point for ppn in head.ppns])
        return replies

    def _decide(self, round_number: int, head: Head, rosters: dict[int, Roster]) -> None:
        charges = self._charges_of(head)
        coverage = contributors(head, charges, rosters)
        self._coverage[round_number] = coverage
        rules = self._window_rules(round_number, head)
        longest = max((rule.window_rounds for rule, _ in rules), default=1)
        first = self._heads[0].valid_from_round
        near = {r: self._coverage_of(r) for r in range(max(first, round_number - longest + 1), round_number + 1)}
        withheld = withhold(head, rules, round_number, near)
        pages = decision_pages(coverage)
        core = decision_core(head, round_number, pages, withheld, list(rosters))
        self.registry.add_decision(core, self.identity.sign("decision", core.to_json()), pages)
        self._coverage = {r: c for r, c in self._coverage.items() if r > round_number - max(longest, 2)}
        log.info("round %d decided: %d in, %d gaps, %d withheld", round_number, len(coverage.included), len(coverage.gaps),
                 len(withheld))  # fmt: skip

    def _window_rules(self, round_number: int, head: Head) -> list[tuple[Rule, Bitmap]]:
        """The rules whose window ends with this round, each under the plan of the window's first round."""
        found = {}
        for candidate in [h for h in self._heads if h.version <= head.version]:
            for rule, cohort in self._rules_of(candidate):
                own = self._head_of(round_number - round_number % rule.window_rounds)
                if own is not None and own.version == candidate.version:
                    found[rule.number] = (rule, cohort)
        return list(found.values())

    def _coverage_of(self, round_number: int) -> Coverage:
        if round_number not in self._coverage:
            stored = self.registry.decision(round_number)
            if stored is None:
                raise MessageError(RejectReason.FUTURE_ROUND, f"round {round_number} is not decided")
            self._coverage[round_number] = coverage_of(stored[2])
        return self._coverage[round_number]

    def _decision_replies(self, round_number: int, points: list[int]) -> list[_Reply]:
        stored, head = self.registry.decision(round_number), self._head_of(round_number)
        if stored is None or head is None:
            return []
        core, signature, pages, _ = stored
        replies = []
        for point in points:
            ppn = head.ppn(point)
            for index, page in enumerate(pages):
                body = control.DecisionMessage(core=core, signature=signature, index=index, page=page)
                replies.append(_Reply(ppn.id, ppn.key.pseudonym, ppn.key.agreement, body))
        return replies

    def _hear_countersignature(self, asked: _Asked, body: control.Countersignature) -> list[_Reply]:
        stored, head = self.registry.decision(body.round), self._head_of(body.round)
        if stored is None or head is None:
            raise MessageError(RejectReason.FUTURE_ROUND, f"countersignature of round {body.round}")
        core, _, _, certificate = stored
        ppn = head.ppn(body.point)
        if ppn.id != asked.statement.sender or body.digest != core.digest:
            raise MessageError(RejectReason.CONFLICTING, f"countersignature of round {body.round}")
        verify(
            ppn.identity, "countersign", countersignature_payload(body.round, body.point, body.digest), body.signature
        )
        if certificate is not None:
            return [_Reply(ppn.id, ppn.key.pseudonym, ppn.key.agreement, certificate)]
        signatures = self.registry.add_countersignature(body)
        if 2 * len(signatures) <= len(head.ppns):
            return []
        certificate = control.Certificate(
            round=body.round, digest=core.digest, signatures=tuple((s.point, s.signature) for s in signatures)
        )
        check_certificate(certificate, head)
        self.registry.set_certificate(certificate)
        done = {s.point for s in signatures}
        ready = [entry for entry in head.ppns if entry.point in done]
        return [_Reply(entry.id, entry.key.pseudonym, entry.key.agreement, certificate) for entry in ready]

    # Progress, for a testbed's conductor

    async def _report(self) -> None:
        key = self.config.pace.conductor_agreement
        while True:
            await asyncio.sleep(_TICK_SECONDS)
            conductor = self.pacing.conductor_pseudonym
            if conductor is None or key is None:
                continue
            figures = {"planned_through": self._epoch_start(self.epoch + 1) - 1 if self._heads else -1}
            version = self._heads[-1].version if self._heads else 0
            body = control.Report(role=Role.CONFIGURATOR, plan_version=version, figures=figures)
            await self._send_to_conductor(body, key, conductor)

    async def _send_to_conductor(self, body: control.Report, key: bytes, conductor: str) -> None:
        statement = Statement(sender=self.id, recipient="conductor", sequence=0, body=body)
        sender = self.transport.pseudonym
        box = seal_box(key, statement.to_bytes(self.identity), box_context(self.grid, sender, conductor))
        await self.transport.publish(topic(self.grid, Channel.CONTROL, sender, conductor), box)


async def serve(config: ConfiguratorConfig) -> None:
    """Run one configurator."""
    await Configurator(config).run()
