"""What one plan asks of one meter's masked readings, and the masking of one reading. No I/O.

The paper's step in code: w_ij = d_ij + sum_k s_ij^k mod q (002, section V), sealed to the consumer and bound to its place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from hushgrid.core.minimum import spare_rounds
from hushgrid.core.pairwise import DrawnNoise, Noise, Pair, Scope, SelfMask, mask_reading
from hushgrid.core.pairwise_published import draw_isolated as draw_published
from hushgrid.core.schedule import Window, window_of
from hushgrid.core.sealing import Agreement, Kind, SealingKey
from hushgrid.errors import ConfigurationError, MessageError, RefusedError, RejectReason
from hushgrid.plan.head import Head
from hushgrid.plan.parts import MaskingPart, MaskTerms
from hushgrid.wire.masked import (
    MaskedText,
    OpeningText,
    RoundClosing,
    masked_context,
    opening_context,
    pair_context,
)
from hushgrid.wire.model import Variant
from meter_agent.masked.disclosure import Opening, Openings
from meter_agent.masked.isolated import draw_isolated
from meter_agent.masked.setup import PairChannel, hardened_texts, held_shares, noise_of, published_texts
from meter_agent.masked.values import PairPeriod, PairTexts


@dataclass(frozen=True, slots=True, repr=False)
class MaskedStream:
    """One meter's place in one stream under one plan, with the keys it takes. pairs: by neighbour's number."""

    meter: str
    head: Head
    digest: bytes
    part: MaskingPart
    scope: Scope
    pairs: Mapping[int, Pair]
    consumer_key: SealingKey | None
    opening_key: SealingKey | None

    @classmethod
    def derive(cls, meter: str, head: Head, part: MaskingPart, own: Agreement, grid: str) -> MaskedStream:
        """Once per plan: a Diffie-Hellman exchange per neighbour and one with the consumer."""
        terms = part.terms
        scope = Scope(grid, head.epoch, terms.stream, terms.graph)
        pairs = {n.number: Pair.derive(own, n.key.agreement, scope, head.field) for n in part.neighbours}

        def to_consumer(kind: Kind) -> SealingKey | None:
            if part.consumer is None:
                return None
            peer = part.consumer.key.agreement
            return SealingKey.derive(
                own, peer, kind=kind, grid=grid, epoch=head.epoch, sender=own.public, recipient=peer
            )

        opening_key = to_consumer(Kind.OPENING) if terms.self_masks else None
        return cls(meter, head, head.digest, part, scope, pairs, to_consumer(Kind.MASKED), opening_key)

    @property
    def terms(self) -> MaskTerms:
        """What all who take part agree on."""
        return self.part.terms

    def period_of(self, round_number: int) -> Window:
        """The billing period of a round."""
        return window_of(round_number, self.terms.period_rounds)

    def covers(self, period: Window) -> bool:
        """Whether the period lies wholly inside the stream's rounds."""
        until = self.terms.until_round
        return self.terms.from_round <= period.first and (until is None or period.last < until)

    def place(self, period: Window) -> PairPeriod:
        """Where the period's set-ups are kept."""
        return PairPeriod(self.meter, self.terms.stream, self.terms.graph, period.first)

    def channel(self, peer: int, *, outward: bool) -> PairChannel:
        """The sealed way to a neighbour, or from it."""
        ends = (self.part.number, peer) if outward else (peer, self.part.number)
        return PairChannel(self.pairs[peer], *ends)

    def pair_context(self, peer: int, period: Window, *, outward: bool) -> bytes:
        """What a set-up or an answer is bound to."""
        ends = (self.part.number, peer) if outward else (peer, self.part.number)
        return pair_context(self.digest, self.terms.stream, period.first, *ends)

    def self_mask(self, secret: bytes) -> SelfMask | None:
        """The second mask, where the plan asks for one."""
        return SelfMask.derive(secret, self.scope, self.head.field) if self.terms.self_masks else None

    def opening_text(
        self, closing: RoundClosing, period: Window, texts: Mapping[int, PairTexts], openings: Mapping[int, Openings]
    ) -> tuple[OpeningText, list[tuple[int, Opening]]] | None:
        """What this meter, as a holder, discloses of a closed round, and what that answers about each neighbour.

        None while a neighbour's share of its self-mask has not come. RefusedError when the other opening was answered before.
        """
        found, answered = [], []
        for peer, pair in sorted(self.pairs.items()):
            left_out = peer in closing.absent
            opening = Opening.PAIRS if left_out else Opening.SELF
            openings[peer].ask(str(peer), closing.round, opening)
            answered.append((peer, opening))
            if left_out:
                found.append((True, pair.term(closing.round, period)))
                continue
            kept = texts.get(peer)
            if kept is None or kept.heard is None:
                return None
            found.append((False, held_shares(kept.heard, period, self.head.slots, self.head.field)[closing.round, 0]))
        return OpeningText(tuple(found)), answered

    def check_rows(self, closing: RoundClosing, period: Window, opened: Mapping[int, tuple[int, int]]) -> None:
        """RefusedError where a neighbour would be in a few rounds of its period only: less the bills of all others, the columns
        of those rounds are its own. opened: of `MaskingJournal.rows_opened`.
        """
        spare = spare_rounds(period.rounds, self.head.coverage_floor)
        for peer in self.pairs:
            included, left_out = opened.get(peer, (0, 0))
            if peer in closing.absent:
                left_out += 1
            else:
                included += 1
            if included and left_out > spare:
                raise RefusedError(f"meter {peer} would be in {included} rounds of its period and out of {left_out}")

    def seal_opening(self, text: OpeningText, round_number: int) -> bytes:
        """The sealed answer; once per (meter, round)."""
        if self.opening_key is None:
            raise MessageError(RejectReason.NOT_IN_PLAN, "a stream without openings")
        context = opening_context(self.digest, self.terms.stream, self.part.number, round_number)
        wire = text.to_bytes(self.head.field)
        return self.opening_key.seal(wire, context, stream=self.terms.stream, round_number=round_number)

    def texts(self, period: Window, self_mask: SelfMask | None) -> dict[int, bytes]:
        """What is to be said to each neighbour before a period; fresh randomness: kept by the caller."""
        if self.terms.variant is Variant.PUBLISHED:
            return published_texts(sorted(self.pairs), self.terms)
        return hardened_texts(self.pairs, period, self.terms, self_mask, self.head.slots)

    def isolated_draws(self, period: Window) -> tuple[int, ...]:
        """Fresh noise of a meter without neighbours; ConfigurationError when the plan states no sound epsilon."""
        span = self.head.reading_bound_watt_hours
        if self.terms.variant is Variant.PUBLISHED:
            return draw_published(period, self.terms.noise_span_watt_hours, unsafe=True).earlier
        if self.part.isolated_epsilon is None:
            raise ConfigurationError("a meter without neighbours and without a stated epsilon sends nothing")
        return draw_isolated(period, span, Fraction(self.part.isolated_epsilon)).earlier

    def noises(
        self, period: Window, texts: Mapping[int, PairTexts], drawn: Sequence[int] | None
    ) -> tuple[Noise, ...] | None:
        """One noise per neighbour, or the isolated meter's own; None while a neighbour's draw is missing."""
        if not self.pairs:
            return None if drawn is None else (DrawnNoise(period, tuple(drawn)),)
        found = []
        for peer, pair in sorted(self.pairs.items()):
            kept = texts.get(peer)
            said = (kept.said, kept.heard) if kept is not None else (b"", None)
            noise = noise_of(pair, self.part.number, peer, said, self.terms)
            if noise is None:
                return None
            found.append(noise)
        return tuple(found)

    def noise_terms(self, round_number: int, period: Window, noises: Sequence[Noise]) -> tuple[tuple[int, ...], ...]:
        """The noise as further terms of a reading that is shared (mechanism both): one vector of slots per neighbour."""
        slots = range(self.head.slots)
        return tuple(tuple(noise.term(round_number, period, slot) for slot in slots) for noise in noises)

    def seal(
        self,
        slots: Sequence[int] | None,
        round_number: int,
        noises: Sequence[Noise],
        self_mask: SelfMask | None,
    ) -> bytes:
        """The sealed masked reading of one round; None says "no reading" (the masks only). Once per (meter, round)."""
        if self.consumer_key is None:
            raise MessageError(RejectReason.NOT_IN_PLAN, "a stream without a consumer")
        period = self.period_of(round_number)
        values = slots if slots is not None else (0,) * self.head.slots
        elements = tuple(
            mask_reading(
                watt_hours,
                round_number,
                period,
                noises,
                bound_watt_hours=self.head.reading_bound_watt_hours,
                field=self.head.field,
                self_mask=self_mask,
                slot=slot,
            )
            for slot, watt_hours in enumerate(values)
        )
        text = MaskedText(elements, reading=slots is not None).to_bytes(self.head.field)
        context = masked_context(self.digest, self.terms.stream, self.part.number, round_number)
        return self.consumer_key.seal(text, context, stream=self.terms.stream, round_number=round_number)
