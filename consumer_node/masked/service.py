"""The shell of masked readings at a consumer: open, check, store, receipt; write columns and bills when they are complete.

It computes what `consumer_node.masked.ledger` gives and nothing else: there is no other sum of masked readings that is not
uniformly random.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable

from consumer_node.masked.ledger import Ledger
from consumer_node.masked.store import BillingStore
from consumer_node.masked.stream import BilledStream, OpenPeriod, Recorded, Row
from consumer_node.results.store import AskedCohort, ResultStore
from consumer_node.results.tables import ResultKind
from hushgrid.core.schedule import Pace, Window
from hushgrid.core.sealing import Kind
from hushgrid.errors import ConfigurationError, MessageError, RefusedError, RejectReason
from hushgrid.plan.following import AdoptedPlan
from hushgrid.plan.parts import BillingPart
from hushgrid.plan.periods import stream_in_force
from hushgrid.shell.agent import Agent
from hushgrid.shell.keyring import Way
from hushgrid.shell.runtime import Backoff
from hushgrid.statements.masked import MaskedClosing, MaskedRoster
from hushgrid.statements.statement import Body
from hushgrid.wire.frames import FrameKind, frame_kind
from hushgrid.wire.masked import (
    MaskedEnvelope,
    MaskedReceipt,
    MaskedText,
    OpeningEnvelope,
    OpeningText,
    OpenRequest,
    RoundClosing,
    masked_context,
    opening_context,
)
from hushgrid.wire.topics import Channel, Topic

log = logging.getLogger("hushgrid.consumer")


def _nobody_knows(_name: str, _number: int) -> None:
    """A cohort."""


class Billing:
    """See the module. cohort: of a rule by its name and number, as it was asked for. wake: there is something to do."""

    channel = Channel.MASKED
    hears: tuple[type[Body], ...] = (MaskedClosing,)

    def __init__(
        self,
        agent: Agent,
        store: BillingStore,
        results: ResultStore,
        patience_seconds: float,
        wake: Callable[[], None],
        *,
        cohort: Callable[[str, int], AskedCohort | None] = _nobody_knows,
    ) -> None:
        self._agent = agent
        self._results = results
        self._cohort = cohort
        self._patience_seconds = patience_seconds
        self._wake = wake
        self.store = store
        self._streams: dict[tuple[int, int], BilledStream] = {}  # (plan version, stream)
        self._open: dict[tuple[int, int], OpenPeriod] = {}  # (stream, first round)
        self._since: dict[tuple[int, int], float] = {}
        self._explained: set[tuple[int, int]] = set()
        self._repeats: dict[tuple[int, int], Backoff] = {}  # of each open period: gone with it

    # Plans

    def adopt(self, adopted: AdoptedPlan) -> None:
        """Take in the parts of kind "billing" of a plan, and go on with the periods that are not done."""
        pages: dict[int, list[BillingPart]] = {}
        for part in adopted.parts.get(self._agent.id, ()):
            if isinstance(part, BillingPart):
                pages.setdefault(part.terms.stream, []).append(part)
        for stream, listed in pages.items():
            found = BilledStream.of(adopted.head, listed)
            self._streams[adopted.head.version, stream] = found
        for stream, first in self.store.open_periods():
            self._period(stream, first)

    def _stream(self, stream: int, round_number: int) -> tuple[BilledStream, Window]:
        """What the plan in force for the first round of the round's period says; MessageError(WRONG_PLAN) for nothing."""
        plans = self._agent.membership.plans
        found = stream_in_force(plans, lambda version: self._streams.get((version, stream)), round_number)
        if found is None:
            raise MessageError(RejectReason.WRONG_PLAN, f"stream {stream} in round {round_number}")
        return found

    def _period(self, stream: int, round_number: int) -> OpenPeriod | None:
        """The open period of a round, with all that is on disk of it; None where there is no plan for it, or it has just ended."""
        try:
            billed, period = self._stream(stream, round_number)
        except MessageError:
            return None
        key = (stream, period.first)
        if key not in self._open:
            try:
                ledger = Ledger(billed.frame(period))
            except ConfigurationError as error:
                log.error("stream %d of plan %d cannot be billed: %s", stream, billed.head.version, error)
                return None
            columns = self._results.concluded(ResultKind.COLUMN, stream, period.first, period.last)
            billed_already = self._results.concluded(ResultKind.BILL, stream, period.first, period.first)
            bills = {meter for _, meter in billed_already}
            found = OpenPeriod(billed, period, ledger, columns, bills)
            for one in self.store.recorded(stream, period.first):
                found.record(one.meter, one.round, one.element, reading=one.reading)
            for closing in self.store.closings(stream, period.first, period.last).values():
                found.close(closing)
            for opened in self.store.opened(stream, period.first):
                with contextlib.suppress(MessageError, RefusedError):  # it was refused and counted when it came
                    found.disclose(opened)
            self._open[key] = found
            for each in period:
                if key in self._open:  # it ends here where a kill fell between its last bill and its end
                    self._conclude(found, each)
        return self._open.get(key)

    # Masked readings

    async def hear(self, parsed: Topic, payload: bytes) -> None:
        """Masked readings, or what holders disclose."""
        if frame_kind(payload) is FrameKind.OPENINGS:
            self._hear_openings(OpeningEnvelope.from_bytes(payload))
        else:
            await self._hear_masked(parsed, payload)
        self._wake()

    async def _hear_masked(self, parsed: Topic, payload: bytes) -> None:
        """One envelope: what is new is on disk before it is receipted; what is refused is counted, and answered if for good."""
        envelope = MaskedEnvelope.from_bytes(payload)
        billed, period = self._stream(envelope.stream, envelope.round)
        if billed.head.version != envelope.plan_version:
            raise MessageError(RejectReason.WRONG_PLAN, f"plan {envelope.plan_version} for round {envelope.round}")
        self._check_time(envelope.round)
        held, refused = set[int](), frozenset[int]()
        closing = self.store.closings(envelope.stream, envelope.round, envelope.round).get(envelope.round)
        if closing is not None:
            refused = closing.absent.intersection(envelope.sealed)
        if self.store.done(envelope.stream, period.first):
            held = (envelope.sealed.keys() & billed.meters.keys()) - refused
        else:
            found = self._period(envelope.stream, envelope.round)
            if found is None:
                raise MessageError(RejectReason.WRONG_PLAN, f"stream {envelope.stream}")
            held = self._record(found, envelope)
            self._conclude(found, envelope.round)
        if held or refused:
            reason = RejectReason.CLOSED_ROUND if refused else None
            receipt = MaskedReceipt(envelope.stream, envelope.round, frozenset(held), refused, reason)
            await self._agent.send(Channel.MASKED, parsed.sender, receipt.to_bytes(self._agent.identity, parsed.sender))

    def _check_time(self, round_number: int) -> None:
        pace = self._agent.pacing.pace
        if pace is not None and round_number > pace.metered_through + 1:
            raise MessageError(RejectReason.FUTURE_ROUND, f"round {round_number}")

    def _record(self, found: OpenPeriod, envelope: MaskedEnvelope) -> set[int]:
        """The numbers whose masked reading is on disk now. One bad entry spoils no other."""
        fresh, held = [], set[int]()
        for number, sealed in envelope.sealed.items():
            try:
                one = self._open_one(found.stream, number, sealed, envelope)
                if found.record(one.meter, one.round, one.element, reading=one.reading):
                    fresh.append(one)
                held.add(number)
            except MessageError as error:
                self._agent.counters.refuse("masked", error)
        self.store.record(envelope.stream, found.period.first, fresh)
        return held

    def _open_one(self, billed: BilledStream, number: int, sealed: bytes, envelope: MaskedEnvelope) -> Recorded:
        meter = billed.meters.get(number)
        if meter is None:
            raise MessageError(RejectReason.UNKNOWN_METER, f"number {number}")
        head = billed.head
        key = self._agent.keys.with_(meter.agreement, Kind.MASKED, head.epoch, Way.IN)
        context = masked_context(billed.digest, envelope.stream, number, envelope.round)
        plain = key.unseal(sealed, context, stream=envelope.stream, round_number=envelope.round)
        text = MaskedText.from_bytes(plain, head.slots, head.field)
        return Recorded(envelope.round, meter.id, text.elements[0], text.reading)

    def _conclude(self, found: OpenPeriod, round_number: int) -> None:
        stream, period = found.stream.rule.number, found.period
        columns = found.due_columns(round_number)
        bills = found.due_bills()
        if columns:
            self._write(found, ResultKind.COLUMN, columns)
        if bills:
            self._write(found, ResultKind.BILL, bills)
        if found.complete:
            self._write(found, ResultKind.DOUBLE_ENTRY, found.double_entries())
            self.store.finish(stream, period.first)
            for table in (self._open, self._repeats):
                table.pop((stream, period.first), None)
            log.info(
                "rule %s rounds %d to %d: all bills and columns written",
                found.stream.rule.name,
                period.first,
                period.last,
            )
        if columns or bills:
            self._agent.changed()

    def _write(self, found: OpenPeriod, kind: ResultKind, rows: list[tuple[int, str, Row]]) -> None:
        """On disk before the period's masked readings are erased."""
        rule = found.stream.rule
        self._results.add(kind, [row for _, _, row in rows], self._cohort(rule.name, rule.number))

    # Closing rounds under self-masks

    async def advance(self) -> None:
        """Ask for closings, and pass them on to the holders that have not answered."""
        pace = self._agent.pacing.pace
        now = time.monotonic()
        for found in list(self._open.values()):
            if pace is not None and pace.frozen_through >= found.period.last:
                self._explain(found)
            if pace is None or not found.stream.terms.self_masks:
                continue
            for round_number in range(found.period.first, min(found.period.last, pace.metered_through) + 1):
                if round_number in found.closings:
                    await self._pass_on(found, round_number, now)
                else:
                    await self._ask_closing(found, round_number, pace, now)

    def _explain(self, found: OpenPeriod) -> None:
        """Say once what an ended period still waits for: nothing of it is given until it comes."""
        key = (found.stream.terms.stream, found.period.first)
        if key in self._explained:
            return
        self._explained.add(key)
        missing = {r: found.ledger.missing(r) for r in found.period}
        if not any(missing.values()):
            return
        meters = {meter for absent in missing.values() for meter in absent}
        log.warning(
            "rule %s rounds %d to %d: %d columns and %d bills wait for %d masked readings",
            found.stream.rule.name,
            found.period.first,
            found.period.last,
            sum(map(bool, missing.values())),
            len(meters),
            sum(map(len, missing.values())),
        )

    async def _ask_closing(self, found: OpenPeriod, round_number: int, pace: Pace, now: float) -> None:
        """At once when nobody is missing; else when the round froze and patience is over."""
        stream = found.stream.terms.stream
        missing = set(found.ledger.missing(round_number))
        if missing:
            if round_number > pace.frozen_through:
                return
            since = self._since.setdefault((stream, round_number), now)
            if now - since < self._patience_seconds:
                return
        if self._repeats_of(found).due(("closing", round_number, len(missing)), now):
            numbers = tuple(sorted(meter.number for meter in found.stream.meters.values() if meter.id in missing))
            version = found.stream.head.version
            body = MaskedRoster(stream=stream, round=round_number, version=version, missing=numbers)
            await self._agent.membership.tell(self._agent.id, body)

    def hear_statement(self, body: Body) -> None:
        """The configurator's closing of a round: on disk before anybody is asked to open."""
        if not isinstance(body, MaskedClosing):
            raise MessageError(RejectReason.UNKNOWN_KIND, body.kind)
        self._close_round(body)
        self._wake()

    def _close_round(self, body: MaskedClosing) -> None:
        closing = RoundClosing(body.stream, body.round, body.graph, frozenset(body.absent), body.signature)
        closing.check(self._agent.config.configurator.identity, self._agent.grid)
        found = self._period(body.stream, body.round)
        if found is None or found.stream.terms.graph != body.graph:
            raise MessageError(RejectReason.WRONG_PLAN, f"closing of round {body.round}")
        if self.store.done(body.stream, found.period.first) or body.round in found.closings:
            return
        found.close(closing)
        self.store.close_round(closing)
        self._since.pop((body.stream, body.round), None)

    def _repeats_of(self, found: OpenPeriod) -> Backoff:
        return self._repeats.setdefault((found.stream.terms.stream, found.period.first), Backoff())

    async def _pass_on(self, found: OpenPeriod, round_number: int, now: float) -> None:
        waiting = found.unanswered(round_number)
        version = found.stream.head.version
        by_sender: dict[str, set[int]] = {}
        for number in waiting:
            by_sender.setdefault(found.stream.meters[number].sender, set()).add(number)
        for sender, holders in by_sender.items():
            if self._repeats_of(found).due(("open", round_number, sender), now):
                request = OpenRequest(version, found.closings[round_number], frozenset(holders))
                await self._agent.send(Channel.MASKED, sender, request.to_bytes())

    def _hear_openings(self, envelope: OpeningEnvelope) -> None:
        billed, period = self._stream(envelope.stream, envelope.round)
        if self.store.done(envelope.stream, period.first):
            return
        found = self._period(envelope.stream, envelope.round)
        if found is None or billed.head.version != envelope.plan_version:
            raise MessageError(RejectReason.WRONG_PLAN, f"openings of round {envelope.round}")
        with self.store.transaction():
            for number, sealed in envelope.sealed.items():
                try:
                    self._open_answer(found, number, sealed, envelope.round)
                except MessageError as error:
                    self._agent.counters.refuse("openings", error)
                except RefusedError as error:
                    log.warning("openings of round %d are refused: %s", envelope.round, error.reason)
        self._conclude(found, envelope.round)

    def _open_answer(self, found: OpenPeriod, number: int, sealed: bytes, round_number: int) -> None:
        """One holder's answer: on disk, and into the ledger; MessageError when it is refused."""
        billed = found.stream
        meter = billed.meters.get(number)
        if meter is None:
            raise MessageError(RejectReason.UNKNOWN_METER, f"number {number}")
        if meter.id in found.answered.get(round_number, ()):
            return
        stream = billed.terms.stream
        context = opening_context(billed.digest, stream, number, round_number)
        key = self._agent.keys.with_(meter.agreement, Kind.OPENING, billed.head.epoch, Way.IN)
        plain = key.unseal(sealed, context, stream=stream, round_number=round_number)
        text = OpeningText.from_bytes(plain, len(billed.neighbours(number)), billed.head.field)
        opened = found.openings(meter, round_number, text)
        self.store.open(stream, found.period.first, opened)
        for one in opened:
            found.disclose(one)

    # Progress and the end of things

    def keeps_from_round(self, frozen_through: int) -> int:
        """The first round of the oldest period that is not done."""
        return min([frozen_through, *(first for _, first in self._open)])

    def figures(self) -> dict[str, int]:
        """Counts for a testbed's conductor."""
        return {kind.value: self._results.count(kind) for kind in ResultKind if kind is not ResultKind.SUM}

    def close(self) -> None:
        """Close the store of what is collected."""
        self.store.close()
