"""The shell in which neighbours agree before they mask a period: says, repeats, hears and answers (`meter_agent.masked.setup`)."""

from __future__ import annotations

import time

from hushgrid.core.schedule import Window
from hushgrid.errors import MessageError, RejectReason
from hushgrid.shell.agent import Agent
from hushgrid.shell.runtime import Backoff
from hushgrid.wire.masked import PairEntry, PairEnvelope
from hushgrid.wire.topics import Channel, Topic
from meter_agent.masked.journal import MaskingJournal
from meter_agent.masked.setup import check_text
from meter_agent.masked.stream import MaskedStream
from meter_agent.masked.streams import MaskedStreams
from meter_agent.masked.values import PairPeriod

_MOST_PAIR_ENTRIES = 100


class Pairing:
    """See the module."""

    def __init__(self, agent: Agent, journal: MaskingJournal, streams: MaskedStreams, backoff: Backoff) -> None:
        self._agent = agent
        self._journal = journal
        self._streams = streams
        self._backoff = backoff
        self._begun: set[PairPeriod] = set()
        self._open: dict[PairPeriod, tuple[MaskedStream, Window]] = {}

    def prepare(self, metered_through: int) -> None:
        """Decide what is said to the neighbours about the period of the round metered last, and of the one being metered."""
        for member in sorted(self._streams.members):
            for round_number in (metered_through, metered_through + 1):
                found = self._streams.stream_of(member, round_number)
                if found is None:
                    continue
                self._begin(*found)

    async def publish(self) -> None:
        """Say what has no answer yet, in one envelope per connection and period."""
        now = time.monotonic()
        entries: dict[tuple[str, int, int, int], list[PairEntry]] = {}
        for place, (stream, period) in list(self._open.items()):
            texts = self._journal.setups(place)
            silent = {peer: kept for peer, kept in texts.items() if not kept.answered}
            if not silent or not self._in_force(place, stream, period):
                del self._open[place]
                for peer in texts:
                    self._backoff.settle(("pair", place, peer))
                self._agent.changed()
                continue
            senders = {neighbour.number: neighbour.sender for neighbour in stream.part.neighbours}
            for peer, kept in silent.items():
                if self._backoff.due(("pair", place, peer), now):
                    context = stream.pair_context(peer, period, outward=True)
                    sealed = stream.channel(peer, outward=True).seal(kept.said, context, period.first)
                    where = (senders[peer], stream.head.version, stream.terms.stream, period.first)
                    entries.setdefault(where, []).append(PairEntry(stream.part.number, peer, False, sealed))
        await self._send(entries)

    def _in_force(self, place: PairPeriod, stream: MaskedStream, period: Window) -> bool:
        """Whether this is still what the meter masks that period with, and the period is not done with."""
        found = self._streams.stream_of((place.meter, place.stream), period.first)
        return found is not None and found[0] is stream and period.first >= self._journal.floor

    async def _send(self, entries: dict[tuple[str, int, int, int], list[PairEntry]]) -> None:
        for (recipient, version, stream, first_round), listed in sorted(entries.items()):
            for at in range(0, len(listed), _MOST_PAIR_ENTRIES):
                envelope = PairEnvelope(version, stream, first_round, tuple(listed[at : at + _MOST_PAIR_ENTRIES]))
                await self._agent.send(Channel.PAIR, recipient, envelope.to_bytes())

    async def hear(self, parsed: Topic, payload: bytes) -> None:
        """What neighbours of this station's meters say; set-ups are on disk before they are answered."""
        envelope = PairEnvelope.from_bytes(payload)
        by_number = {
            stream.part.number: stream
            for stream in self._streams.of_version(envelope.plan_version)
            if stream.terms.stream == envelope.stream
        }
        heard: list[tuple[PairPeriod, int, bytes]] = []
        answered: list[tuple[PairPeriod, int]] = []
        answers: list[PairEntry] = []
        for entry in envelope.entries:
            stream = by_number.get(entry.recipient)
            if stream is None or entry.sender not in stream.pairs:
                raise MessageError(RejectReason.NOT_IN_PLAN, "pair")
            period = stream.period_of(envelope.first_round)
            if period.first != envelope.first_round or not stream.covers(period):
                raise MessageError(RejectReason.NOT_IN_PLAN, "period of a pair")
            place = stream.place(period)
            if not self._in_force(place, stream, period):
                raise MessageError(RejectReason.WRONG_PLAN, f"pair of plan {envelope.plan_version}")
            channel = stream.channel(entry.sender, outward=False)
            context = stream.pair_context(entry.sender, period, outward=False)
            if entry.acknowledges:
                channel.check_answer(entry.sealed, context, period.first)
                answered.append((place, entry.sender))
                continue
            text = channel.unseal(entry.sealed, context, period.first)
            check_text(text, stream.pairs[entry.sender], period, stream.terms, stream.head.slots)
            self._begin(stream, period)  # perhaps before this meter has come to the period itself
            heard.append((place, entry.sender, text))
            outward = stream.pair_context(entry.sender, period, outward=True)
            sealed = stream.channel(entry.sender, outward=True).answer(outward, period.first)
            answers.append(PairEntry(entry.recipient, entry.sender, True, sealed))
        self._journal.hear(heard)
        self._journal.answered(answered)
        for place, peer in answered:
            self._backoff.settle(("pair", place, peer))
        where = (parsed.sender, envelope.plan_version, envelope.stream, envelope.first_round)
        await self._send({where: answers} if answers else {})

    def _begin(self, stream: MaskedStream, period: Window) -> None:
        """Decide once what is said to the neighbours about a period; from then on it is said until they answer."""
        place = stream.place(period)
        if place in self._begun or not stream.pairs:
            return
        if not self._journal.setups(place):
            self._journal.say(place, stream.texts(period, self._streams.self_mask(stream)))
        self._begun.add(place)
        self._open[place] = (stream, period)

    @property
    def open(self) -> int:
        """Meters whose neighbours have not all answered for a period."""
        return len(self._open)
