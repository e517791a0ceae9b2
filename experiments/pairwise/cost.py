"""What one reading of one meter costs under each mechanism, all in one run.

Everything is made and taken in by the code that agents run: seals, frames, receipts, sums. Each meter has a connection of its
own (a concentrator would put many into one frame). Costs of a period (agreeing with neighbours, keys) are spread over its
rounds; what PPNs and the configurator say to each other per round, whatever the number of meters, is not counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import click

from consumer_node.masked.ledger import Frame, Ledger
from experiments.pairwise.cost_stage import (
    BOUND,
    COLLUDERS,
    GRID,
    PERIOD,
    PLAYED,
    THRESHOLD,
    WIDTH,
    Stage,
    Tally,
    at_the_meter,
    at_the_receiver,
    stage,
    weight,
)
from experiments.pairwise.table import circulant_edges
from hushgrid.core.bitmap import Bitmap
from hushgrid.core.encoding import lower
from hushgrid.core.field import Field
from hushgrid.core.sealing import Kind, SealingKey
from hushgrid.core.shamir import recombine
from hushgrid.plan.head import EpochKey
from hushgrid.plan.parts import ConsumerEntry, MaskingPart, MaskTerms, Neighbour
from hushgrid.wire.masked import (
    MaskedEnvelope,
    MaskedReceipt,
    MaskedText,
    OpeningEnvelope,
    OpeningText,
    OpenRequest,
    PairEntry,
    PairEnvelope,
    RoundClosing,
    masked_context,
    opening_context,
)
from hushgrid.wire.model import Mechanism, Variant
from hushgrid.wire.shares import Envelope, Receipt, ShareText, share_context
from meter_agent.cover import Bare, Cover, Masked
from meter_agent.masked.disclosure import Openings
from meter_agent.masked.stream import MaskedStream
from meter_agent.masked.values import PairTexts
from meter_agent.shares.sharing import derive_keys, seal_statement


@dataclass(frozen=True, slots=True)
class CostRow:
    """Per reading and meter. meter_, receiver_microseconds: CPU at the meter, and at the PPNs or the consumer together."""

    mechanism: str
    meters: int
    messages: float
    bytes: float
    meter_microseconds: float
    receiver_microseconds: float


def shares_cost(cast: Stage, *, masked: bool) -> Tally:
    """Mechanism shares; masked: mechanism both, where the reading is masked before it is shared."""
    tally, head, q_field = Tally(), cast.head, cast.head.field
    points = tuple(range(1, WIDTH + 1))
    with at_the_meter(tally):
        keys = [derive_keys(own, head, points, GRID) for own in cast.own]
    streams: list[MaskedStream] | None = None
    if masked:
        with at_the_meter(tally):
            streams = streams_of(cast, (1, 2), self_masks=False)
        _agree(streams, tally)
    with at_the_receiver(tally):
        peer_keys = [_ppn_keys(cast, point) for point in points]
    digest = head.digest
    for round_number in PLAYED:
        times = weight(round_number)
        held: dict[int, list[int]] = {point: [] for point in points}
        for number, reading in enumerate(cast.readings):
            with at_the_meter(tally, times):
                cover: Cover = Bare()
                if streams is not None:
                    noises = streams[number].noises(PERIOD, {}, None) or ()
                    cover = Masked(streams[number].noise_terms(round_number, PERIOD, noises))
                sealed = seal_statement(
                    (reading,), number=number, round_number=round_number, head=head, plan_digest=digest,
                    keys=keys[number], cover=cover,
                )  # fmt: skip
                frames = [
                    Envelope(1, round_number, point, 0, 1, 0, {0: (number, share)}).to_bytes()
                    for point, share in sealed.items()
                ]
            tally.sent(*frames, times=times)
            for point, frame in zip(points, frames, strict=True):
                with at_the_receiver(tally, times):
                    envelope = Envelope.from_bytes(frame)
                    context = share_context(digest, number, point, round_number)
                    plain = peer_keys[point - 1][number].unseal(
                        envelope.shares[0][1], context, stream=0, round_number=round_number
                    )
                    text = ShareText.from_bytes(plain, 1, q_field)
                    held[point].append(text.elements[0] if text.elements else 0)
                    receipt = Receipt(round_number, point, 0, Bitmap.full(1), Bitmap(1))
                    answer = receipt.to_bytes(cast.identities[point - 1], "meter")
                with at_the_meter(tally, times):
                    Receipt.from_bytes(answer, cast.identities[point - 1].public, "meter")
                tally.sent(answer, times=times)
        with at_the_receiver(tally, times):
            total = recombine({p: sum(held[p]) % q_field.modulus for p in points}, THRESHOLD, q_field)
            _check(lower(total, cast.meters * BOUND, q_field), cast)
    return tally


def _ppn_keys(cast: Stage, point: int) -> list[SealingKey]:
    own = cast.ppn_keys[point - 1]
    return [
        SealingKey.derive(
            own, meter.public, kind=Kind.SHARE, grid=GRID, epoch=0, sender=meter.public, recipient=own.public
        )
        for meter in cast.own
    ]


def _check(watt_hours: int, cast: Stage) -> None:
    if watt_hours != sum(cast.readings):
        raise click.ClickException("a sum came out wrong")


def streams_of(cast: Stage, steps: Sequence[int], *, self_masks: bool) -> list[MaskedStream]:
    """Every meter's place in a circulant graph; identities are not made: they sign nothing here."""
    edges = circulant_edges(cast.meters, steps)
    around: list[list[int]] = [[] for _ in range(cast.meters)]
    for low, high in edges:
        around[low].append(high)
        around[high].append(low)
    terms = MaskTerms(
        stream=1, mechanism=Mechanism.PAIRWISE, variant=Variant.HARDENED, period_rounds=PERIOD.rounds,
        from_round=PERIOD.first, graph=bytes(32), self_masks=self_masks, colluders=COLLUDERS,
    )  # fmt: skip
    signer = cast.identities[-1]
    announced = [EpochKey(epoch=0, agreement=own.public, pseudonym="meter", signature=bytes(64)) for own in cast.own]
    consumer = ConsumerEntry(
        id="consumer", identity=signer.public, key=EpochKey.sign(signer, GRID, 0, cast.consumer.public)
    )
    found = []
    for number, own in enumerate(cast.own):
        part = MaskingPart(
            number=number,
            terms=terms,
            consumer=consumer,
            neighbours=tuple(
                Neighbour(number=peer, identity=signer.public, key=announced[peer], sender="meter")
                for peer in sorted(around[number])
            ),
        )
        found.append(MaskedStream.derive(f"m{number}", cast.head, part, own, GRID))
    return found


def pairwise_cost(cast: Stage, *, self_masks: bool) -> Tally:
    """Mechanism pairwise, hardened; self_masks: degree 6 (two silent meters borne), set-up shares, openings every round."""
    tally, head, q_field = Tally(), cast.head, cast.head.field
    with at_the_meter(tally):
        streams = streams_of(cast, (1, 2, 3) if self_masks else (1, 2), self_masks=self_masks)
    texts = _agree(streams, tally)
    with at_the_receiver(tally):
        keys = _consumer_keys(cast, Kind.MASKED)
        opening_keys = _consumer_keys(cast, Kind.OPENING) if self_masks else []
    ledger = Ledger(_frame(cast, streams))
    digest, signer = head.digest, cast.identities[-1]
    for round_number in PLAYED:
        times = weight(round_number)
        for number, (stream, reading) in enumerate(zip(streams, cast.readings, strict=True)):
            with at_the_meter(tally, times):
                noises = stream.noises(PERIOD, texts[number], None) or ()
                mask = stream.self_mask(bytes([1]) * 32)
                sealed = stream.seal((reading,), round_number, noises, mask)
                frame = MaskedEnvelope(1, 1, round_number, {number: sealed}).to_bytes()
            with at_the_receiver(tally, times):
                envelope = MaskedEnvelope.from_bytes(frame)
                context = masked_context(digest, 1, number, round_number)
                plain = keys[number].unseal(envelope.sealed[number], context, stream=1, round_number=round_number)
                element = MaskedText.from_bytes(plain, 1, q_field).elements[0]
                ledger.record(stream.meter, round_number, element)
                answer = MaskedReceipt(1, round_number, frozenset({number})).to_bytes(signer, "meter")
            with at_the_meter(tally, times):
                MaskedReceipt.from_bytes(answer, signer.public, "meter")
            tally.sent(frame, answer, times=times)
        if self_masks:
            _open(cast, streams, texts, ledger, opening_keys, round_number, tally, times)
        with at_the_receiver(tally, times):
            column = ledger.column(ledger.frame.groups[0], round_number)
        _check(column.watt_hours, cast)
    return tally


def _consumer_keys(cast: Stage, kind: Kind) -> list[SealingKey]:
    own = cast.consumer
    return [
        SealingKey.derive(own, meter.public, kind=kind, grid=GRID, epoch=0, sender=meter.public, recipient=own.public)
        for meter in cast.own
    ]


def _frame(cast: Stage, streams: Sequence[MaskedStream]) -> Frame:
    edges = {(min(s.meter, f"m{peer}"), max(s.meter, f"m{peer}")) for s in streams for peer in s.pairs}
    return Frame(
        tuple(sorted(s.meter for s in streams)), frozenset(edges), PERIOD, cast.head.field, BOUND, 3,
        self_masks=streams[0].terms.self_masks,
    )  # fmt: skip


def _agree(streams: Sequence[MaskedStream], tally: Tally) -> list[dict[int, PairTexts]]:
    """The set-up of one period between all pairs, over the wire; what each meter then holds."""
    said: list[dict[int, bytes]] = []
    for stream in streams:
        with at_the_meter(tally):
            said.append(stream.texts(PERIOD, stream.self_mask(bytes([1]) * 32)))
    found: list[dict[int, PairTexts]] = [{} for _ in streams]
    for stream, texts in zip(streams, said, strict=True):
        number = stream.part.number
        for peer, text in texts.items():
            with at_the_meter(tally):
                context = stream.pair_context(peer, PERIOD, outward=True)
                sealed = stream.channel(peer, outward=True).seal(text, context, PERIOD.first)
                frame = PairEnvelope(1, 1, PERIOD.first, (PairEntry(number, peer, False, sealed),)).to_bytes()
                other = streams[peer]
                context = other.pair_context(number, PERIOD, outward=False)
                entry = PairEnvelope.from_bytes(frame).entries[0]
                heard = other.channel(number, outward=False).unseal(entry.sealed, context, PERIOD.first)
                back = other.pair_context(number, PERIOD, outward=True)
                answer = other.channel(number, outward=True).answer(back, PERIOD.first)
                reply = PairEnvelope(1, 1, PERIOD.first, (PairEntry(peer, number, True, answer),)).to_bytes()
                stream.channel(peer, outward=False).check_answer(
                    answer, stream.pair_context(peer, PERIOD, outward=False), PERIOD.first
                )
            tally.sent(frame, reply)
            found[peer][number] = PairTexts(said[peer][number], heard, True)
    return found


def _open(
    cast: Stage,
    streams: Sequence[MaskedStream],
    texts: Sequence[dict[int, PairTexts]],
    ledger: Ledger,
    keys: Sequence[SealingKey],
    round_number: int,
    tally: Tally,
    times: float,
) -> None:
    """A round is closed without anybody missing: every holder answers, the consumer opens every self-mask."""
    closing = RoundClosing(1, round_number, bytes(32), frozenset()).signed(cast.identities[0], GRID)
    ledger.close_without(round_number, frozenset())
    shares: list[dict[int, int]] = [{} for _ in streams]
    for number, stream in enumerate(streams):
        request = OpenRequest(1, closing, frozenset({number})).to_bytes()
        with at_the_meter(tally, times):
            OpenRequest.from_bytes(request).closing.check(cast.identities[0].public, GRID)
            openings = {peer: Openings() for peer in stream.pairs}
            text = stream.opening_text(closing, PERIOD, texts[number], openings)
            if text is None:
                raise click.ClickException("a share of a self-mask is missing")
            sealed = stream.seal_opening(text[0], round_number)
            frame = OpeningEnvelope(1, 1, round_number, {number: sealed}).to_bytes()
        with at_the_receiver(tally, times):
            opened = OpeningEnvelope.from_bytes(frame).sealed[number]
            context = opening_context(cast.head.digest, 1, number, round_number)
            plain = keys[number].unseal(opened, context, stream=1, round_number=round_number)
            found = OpeningText.from_bytes(plain, len(stream.pairs), cast.head.field)
            for peer, (_, element) in zip(sorted(stream.pairs), found.openings, strict=True):
                point = 1 + sorted(streams[peer].pairs).index(number)
                shares[peer][point] = element
        tally.sent(request, frame, times=times)
    with at_the_receiver(tally, times):
        for stream, own in zip(streams, shares, strict=True):
            threshold = stream.terms.holders_threshold
            chosen = dict(sorted(own.items())[:threshold])
            ledger.open_self(stream.meter, round_number, recombine(chosen, threshold, Field(cast.head.modulus)))


def run_cost(sizes: Sequence[int]) -> list[CostRow]:
    """All mechanisms at all sizes, one after the other in one process."""
    rows = []
    for meters in sizes:
        cast = stage(meters)
        for name, tally in (
            ("shares", shares_cost(cast, masked=False)),
            ("pairwise", pairwise_cost(cast, self_masks=False)),
            ("pairwise, self-masks", pairwise_cost(cast, self_masks=True)),
            ("both", shares_cost(cast, masked=True)),
        ):
            share = 1 / (meters * PERIOD.rounds)
            rows.append(
                CostRow(
                    name,
                    meters,
                    round(tally.messages * share, 3),
                    round(tally.wire_bytes * share, 1),
                    round(1e6 * tally.meter_seconds * share, 1),
                    round(1e6 * tally.receiver_seconds * share, 1),
                )
            )
    return rows
