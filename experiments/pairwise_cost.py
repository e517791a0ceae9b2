"""`hushgrid experiment pairwise-cost`: what one reading of one meter costs under each mechanism, all in one run.

Everything is made and taken in by the code that agents run: seals, frames, receipts, sums. Each meter has a connection of its
own (a concentrator would put many into one frame). Costs of a period (agreeing with neighbours, keys) are spread over its
rounds; what PPNs and the configurator say to each other per round, whatever the number of meters, is not counted.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from configurator.one_line import stops_with_one_line
from consumer_node.ledger import Frame, Ledger
from experiments.options import check_outputs
from experiments.pairwise_table import circulant_edges
from hushgrid.bitmap import Bitmap
from hushgrid.encoding import lower
from hushgrid.field import Field, choose_modulus
from hushgrid.masked_messages import (
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
from hushgrid.messages import Envelope, Receipt, ShareText, share_context
from hushgrid.plan import (
    ConsumerEntry,
    EpochKey,
    Head,
    MaskingPart,
    MaskTerms,
    Mechanism,
    Neighbour,
    PpnEntry,
    Recovery,
    Variant,
)
from hushgrid.schedule import Window
from hushgrid.sealing import Agreement, Identity, Kind, SealingKey
from hushgrid.shamir import recombine
from meter_agent.disclosure import Openings
from meter_agent.masking import MaskedStream
from meter_agent.masking_journal import PairTexts
from meter_agent.sharing import derive_keys, seal_statement

GRID, PERIOD, BOUND = "cost", Window(48_000, 48), 100_000
THRESHOLD, WIDTH, COLLUDERS = 3, 4, 3
SIZES = (10, 100, 1000, 10_000)
#: Rounds of the period that are played: one as most of them are, and the last, which takes back all the others.
PLAYED = (PERIOD.first, PERIOD.last)


@dataclass(slots=True)
class Tally:
    """What was spent on one kind of meter. messages and wire_bytes: both directions, receipts included."""

    messages: float = 0.0
    wire_bytes: float = 0.0
    meter_seconds: float = 0.0
    receiver_seconds: float = 0.0

    def sent(self, *frames: bytes, times: float = 1.0) -> None:
        """Count frames on the wire."""
        self.messages += times * len(frames)
        self.wire_bytes += times * sum(map(len, frames))


@dataclass(frozen=True, slots=True)
class CostRow:
    """Per reading and meter. meter_, receiver_microseconds: CPU at the meter, and at the PPNs or the consumer together."""

    mechanism: str
    meters: int
    messages: float
    bytes: float
    meter_microseconds: float
    receiver_microseconds: float


@dataclass(slots=True)
class Stage:
    """The cast of one size: keys of meters, PPNs and a consumer, and a head that all of them know."""

    meters: int
    head: Head
    ppn_keys: list[Agreement]
    consumer: Agreement
    identities: list[Identity]
    own: list[Agreement] = field(default_factory=list)
    readings: list[int] = field(default_factory=list)


def stage(meters: int) -> Stage:
    """A grid of so many meters; degree 4, w = 4, t = 3."""
    identities = [Identity.generate() for _ in range(WIDTH + 1)]
    ppn_keys = [Agreement.generate() for _ in range(WIDTH)]
    entries = tuple(
        PpnEntry(
            id=f"ppn-{n}",
            point=n,
            operator=f"o{n}",
            identity=identity.public,
            key=EpochKey.sign(identity, GRID, 0, key.public),
        )
        for n, (identity, key) in enumerate(zip(identities, ppn_keys, strict=False), start=1)
    )
    head = Head(
        grid=GRID, version=1, previous=b"", epoch=0, valid_from_round=PERIOD.first, interval_seconds=1800,
        threshold=THRESHOLD, width=WIDTH, modulus=choose_modulus(meters, PERIOD.rounds, BOUND), slots=1,
        reading_bound_watt_hours=BOUND, recovery=Recovery.AGREE, minimum_contributors=3, coverage_floor_fraction=0.8,
        ppns=entries, meters=meters, parts=1, parts_root=bytes(32),
    )  # fmt: skip
    own = [Agreement.generate() for _ in range(meters)]
    readings = [secrets.randbelow(5001) for _ in range(meters)]
    return Stage(meters, head, ppn_keys, Agreement.generate(), identities, own, readings)


class _Clock:
    """CPU seconds of this process, added to one field of a tally."""

    def __init__(self, add: Callable[[float], None]) -> None:
        self._add = add

    def __enter__(self) -> None:
        self._began = time.process_time()

    def __exit__(self, *_: object) -> None:
        self._add(time.process_time() - self._began)


def _meter(tally: Tally, share: float = 1.0) -> _Clock:
    def add(seconds: float) -> None:
        tally.meter_seconds += share * seconds

    return _Clock(add)


def _receiver(tally: Tally, share: float = 1.0) -> _Clock:
    def add(seconds: float) -> None:
        tally.receiver_seconds += share * seconds

    return _Clock(add)


def weight(round_number: int) -> float:
    """How many rounds of the period a played one stands for."""
    return 1.0 if round_number == PERIOD.last else PERIOD.rounds - 1.0


def shares_cost(cast: Stage, *, masked: bool) -> Tally:
    """Mechanism shares; masked: mechanism both, where the reading is masked before it is shared."""
    tally, head, q_field = Tally(), cast.head, cast.head.field
    points = tuple(range(1, WIDTH + 1))
    with _meter(tally):
        keys = [derive_keys(own, head, points, GRID) for own in cast.own]
    streams: list[MaskedStream] | None = None
    if masked:
        with _meter(tally):
            streams = streams_of(cast, (1, 2), self_masks=False)
        _agree(streams, tally)
    with _receiver(tally):
        peer_keys = [_ppn_keys(cast, point) for point in points]
    digest = head.digest
    for round_number in PLAYED:
        times = weight(round_number)
        held: dict[int, list[int]] = {point: [] for point in points}
        for number, reading in enumerate(cast.readings):
            with _meter(tally, times):
                terms: tuple[tuple[int, ...], ...] = ()
                if streams is not None:
                    noises = streams[number].noises(PERIOD, {}, None) or ()
                    terms = streams[number].noise_terms(round_number, PERIOD, noises)
                sealed = seal_statement(
                    (reading,), number=number, round_number=round_number, head=head, plan_digest=digest,
                    keys=keys[number], terms=terms,
                )  # fmt: skip
                frames = [
                    Envelope(1, round_number, point, 0, 1, 0, {0: (number, share)}).to_bytes()
                    for point, share in sealed.items()
                ]
            tally.sent(*frames, times=times)
            for point, frame in zip(points, frames, strict=True):
                with _receiver(tally, times):
                    envelope = Envelope.from_bytes(frame)
                    context = share_context(digest, number, point, round_number)
                    plain = peer_keys[point - 1][number].unseal(
                        envelope.shares[0][1], context, stream=0, round_number=round_number
                    )
                    text = ShareText.from_bytes(plain, 1, q_field)
                    held[point].append(text.elements[0] if text.elements else 0)
                    receipt = Receipt(round_number, point, 0, Bitmap.full(1), Bitmap(1))
                    answer = receipt.to_bytes(cast.identities[point - 1], "meter")
                with _meter(tally, times):
                    Receipt.from_bytes(answer, cast.identities[point - 1].public, "meter")
                tally.sent(answer, times=times)
        with _receiver(tally, times):
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
    with _meter(tally):
        streams = streams_of(cast, (1, 2, 3) if self_masks else (1, 2), self_masks=self_masks)
    texts = _agree(streams, tally)
    with _receiver(tally):
        keys = _consumer_keys(cast, Kind.MASKED)
        opening_keys = _consumer_keys(cast, Kind.OPENING) if self_masks else []
    ledger = Ledger(_frame(cast, streams))
    digest, signer = head.digest, cast.identities[-1]
    for round_number in PLAYED:
        times = weight(round_number)
        for number, (stream, reading) in enumerate(zip(streams, cast.readings, strict=True)):
            with _meter(tally, times):
                noises = stream.noises(PERIOD, texts[number], None) or ()
                mask = stream.self_mask(bytes([1]) * 32)
                sealed = stream.seal((reading,), round_number, noises, mask)
                frame = MaskedEnvelope(1, 1, round_number, {number: sealed}).to_bytes()
            with _receiver(tally, times):
                envelope = MaskedEnvelope.from_bytes(frame)
                context = masked_context(digest, 1, number, round_number)
                plain = keys[number].unseal(envelope.sealed[number], context, stream=1, round_number=round_number)
                element = MaskedText.from_bytes(plain, 1, q_field).elements[0]
                ledger.record(stream.meter, round_number, element)
                answer = MaskedReceipt(1, round_number, frozenset({number})).to_bytes(signer, "meter")
            with _meter(tally, times):
                MaskedReceipt.from_bytes(answer, signer.public, "meter")
            tally.sent(frame, answer, times=times)
        if self_masks:
            _open(cast, streams, texts, ledger, opening_keys, round_number, tally, times)
        with _receiver(tally, times):
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
        with _meter(tally):
            said.append(stream.texts(PERIOD, stream.self_mask(bytes([1]) * 32)))
    found: list[dict[int, PairTexts]] = [{} for _ in streams]
    for stream, texts in zip(streams, said, strict=True):
        number = stream.part.number
        for peer, text in texts.items():
            with _meter(tally):
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
        with _meter(tally, times):
            OpenRequest.from_bytes(request).closing.check(cast.identities[0].public, GRID)
            openings = {peer: Openings() for peer in stream.pairs}
            text = stream.opening_text(closing, PERIOD, texts[number], openings)
            if text is None:
                raise click.ClickException("a share of a self-mask is missing")
            sealed = stream.seal_opening(text[0], round_number)
            frame = OpeningEnvelope(1, 1, round_number, {number: sealed}).to_bytes()
        with _receiver(tally, times):
            opened = OpeningEnvelope.from_bytes(frame).sealed[number]
            context = opening_context(cast.head.digest, 1, number, round_number)
            plain = keys[number].unseal(opened, context, stream=1, round_number=round_number)
            found = OpeningText.from_bytes(plain, len(stream.pairs), cast.head.field)
            for peer, (_, element) in zip(sorted(stream.pairs), found.openings, strict=True):
                point = 1 + sorted(streams[peer].pairs).index(number)
                shares[peer][point] = element
        tally.sent(request, frame, times=times)
    with _receiver(tally, times):
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


@click.command("pairwise-cost")
@click.option(
    "--meters", "sizes", type=click.IntRange(min=8), multiple=True, default=SIZES, show_default=True, help="Sizes."
)
@click.option("--json", "report", type=click.Path(path_type=Path, dir_okay=False), metavar="OUT.json")
@stops_with_one_line
def pairwise_cost_command(sizes: tuple[int, ...], report: Path | None) -> None:
    """Messages, bytes and CPU per reading and meter: masked readings beside shares."""
    check_outputs(report)
    began = time.monotonic()
    rows = run_cost(sizes)
    console = Console()
    table = Table(
        title=f"Per reading and meter; period of {PERIOD.rounds} rounds, w = {WIDTH}, degree 4 (6 with self-masks)"
    )
    for name in ("meters", "mechanism"):
        table.add_column(name)
    for name in ("messages", "bytes", "meter µs", "receivers µs"):
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(
            f"{row.meters:,}", row.mechanism, f"{row.messages:.2f}", f"{row.bytes:.0f}", f"{row.meter_microseconds:.0f}",
            f"{row.receiver_microseconds:.0f}",
        )  # fmt: skip
    console.print(table)
    console.print(
        f"{time.monotonic() - began:.1f} s. CPU times are of this machine and this run: compare rows, not runs."
    )
    if report is not None:
        report.write_text(json.dumps({"rows": [asdict(row) for row in rows]}, indent=1) + "\n", encoding="utf-8")
