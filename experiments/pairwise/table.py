"""Tables of readings and what meters would send of them: the stage of `hushgrid experiment pairwise-attack`.

Meters are numbered 0..m-1 and rounds 0..n-1 (one billing period). Everything masked here is masked by the code that a meter
runs (`hushgrid.core.pairwise`, `hushgrid.core.pairwise_published`); readings are constructed unless a file is given.
"""

from __future__ import annotations

import itertools
import math
import random
import secrets
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hushgrid.core.field import MODULI, Field
from hushgrid.core.pairwise import Noise, Pair, Scope, SelfMask, mask_reading
from hushgrid.core.pairwise_published import UnsafeNoiseWarning, fresh_pair, hashed_pair
from hushgrid.core.schedule import Window
from hushgrid.core.sealing import Agreement
from hushgrid.errors import ConfigurationError
from hushgrid.wire.model import Variant
from meter_agent.sources.files.csv_formats import CsvFormat, open_csv

Edge = tuple[int, int]
Readings = NDArray[np.int64]  # Wh [meter, round]

FIELD = Field(MODULI[0])
#: D of the paper: the largest reading of a round, and twice the amplitude of one pair's bounded noise.
SPAN_WATT_HOURS = 5000
#: What a determined reading in [0, D] is worth.
READING_BITS = math.log2(SPAN_WATT_HOURS + 1)


@dataclass(frozen=True, slots=True)
class AttackRow:
    """One attack on one variant; wrong: readings answered and wrong (an attack that guesses would have some)."""

    attack: str
    variant: Variant
    degree: int
    readings: int
    recovered_fraction: float
    bits_leaked: float
    wrong: int = 0

    def to_json(self) -> dict[str, object]:
        """The keys of the issue."""
        return {
            "attack": self.attack,
            "variant": self.variant.value,
            "degree": self.degree,
            "readings": self.readings,
            "recovered_fraction": round(self.recovered_fraction, 6),
            "bits_leaked": round(self.bits_leaked, 6),
        }


@dataclass(frozen=True, slots=True)
class MaskedTable:
    """What the consumer receives: w_ij in Z_q [meter][round]. edges, noises: how it was made, for demonstrations."""

    elements: tuple[tuple[int, ...], ...]
    edges: tuple[Edge, ...]
    noises: tuple[tuple[Noise, ...], ...]  # [meter][its edges in their order]
    period: Window

    def centred(self) -> NDArray[np.float64]:
        """w_ij as signed numbers in (-q/2, q/2): [meter, round]; exact below 2**53."""
        half = FIELD.modulus // 2
        return np.array(
            [[e - FIELD.modulus if e > half else e for e in row] for row in self.elements], dtype=np.float64
        )


def circulant_edges(meters: int, steps: Sequence[int]) -> tuple[Edge, ...]:
    """The paper's l-circulant graph on 0..m-1, each pair once and ascending."""
    pairs = {(i, (i + step) % meters) for step in steps for i in range(meters)}
    return tuple(sorted({(min(pair), max(pair)) for pair in pairs}))


def steps_of_degree(degree: int) -> tuple[int, ...]:
    """Steps 1..degree/2; degree 1 is a perfect matching and has no steps."""
    return tuple(range(1, degree // 2 + 1))


def edges_of_degree(meters: int, degree: int) -> tuple[Edge, ...]:
    """A regular graph: a matching of neighbours for degree 1, else circulant with steps 1..degree/2."""
    if degree == 1:
        return tuple((i, i + 1) for i in range(0, meters - 1, 2))
    return circulant_edges(meters, steps_of_degree(degree))


def constructed_readings(meters: int, rounds: int, rng: random.Random) -> Readings:
    """Household-like Wh: a base load, a daily wave and rare large appliances, in [0, SPAN_WATT_HOURS]. Constructed."""
    source = np.random.default_rng(rng.getrandbits(64))
    base = source.gamma(4.0, 20.0, size=(meters, 1))
    hours = np.arange(rounds) % 48
    wave = 1 + 0.8 * np.exp(-(((hours - 37) / 5.0) ** 2)) + 0.4 * np.exp(-(((hours - 15) / 4.0) ** 2))
    appliances = source.random((meters, rounds)) < 0.06 * wave
    load = base * wave * source.lognormal(0.0, 0.35, (meters, rounds)) + appliances * source.gamma(
        2.0, 500.0, (meters, rounds)
    )
    return np.clip(np.rint(load), 0, SPAN_WATT_HOURS).astype(np.int64)


def uniform_readings(meters: int, rounds: int, rng: random.Random) -> Readings:
    """Every reading uniform over 0..SPAN_WATT_HOURS: the prior under which leakage is stated. Constructed."""
    source = np.random.default_rng(rng.getrandbits(64))
    return source.integers(0, SPAN_WATT_HOURS, size=(meters, rounds), endpoint=True)


def wide_csv_readings(path: Path, rounds: int | None = None) -> tuple[Readings, tuple[tuple[int, int], ...]]:
    """A wide CSV (start_utc, one column per meter, integer Wh, empty = missing; .gz or plain): [meter, round] and the gaps.

    Gaps hold 0 and are listed as (meter, round): the caller decides what a meter without a reading does. ConfigurationError
    with file, line and column for what is not of this form.
    """
    file = open_csv(path)
    if file.format is not CsvFormat.WIDE:
        raise ConfigurationError(f"{path}: its header is not start_utc,<meter>,<meter>,...")
    meters = len(file.header) - 1
    cells = [entry.watt_hours for entry in itertools.islice(file.entries(), rounds and rounds * meters)]
    gaps = tuple((at % meters, at // meters) for at, watt_hours in enumerate(cells) if watt_hours is None)
    return np.array([watt_hours or 0 for watt_hours in cells], dtype=np.int64).reshape(-1, meters).T, gaps


def pair_term(table: MaskedTable, edge: Edge, round_number: int) -> int:
    """What the lower meter of a pair added in a round (demonstrations only: who colludes or discloses knows it)."""
    own = [pair for pair in table.edges if edge[0] in pair]
    return table.noises[edge[0]][own.index(edge)].term(round_number, table.period)


PairMaker = Callable[[Edge], tuple[Noise, Noise]]


def published_hashed(rng: random.Random) -> PairMaker:
    """Pairs of the paper's hash variant."""
    return lambda _edge: hashed_pair(SPAN_WATT_HOURS, unsafe=True, randbelow=rng.randrange)


def published_fresh(period: Window, rng: random.Random) -> PairMaker:
    """Pairs of the paper's bounded noise, drawn anew in every round."""
    return lambda _edge: fresh_pair(period, SPAN_WATT_HOURS, unsafe=True, randbelow=rng.randrange)


def hardened(meters: int, stream: int = 1) -> PairMaker:
    """Pairs by X25519 and masks in Z_q, with keys from the operating system's randomness."""
    keys = [Agreement.generate() for _ in range(meters)]
    scope = Scope("experiment", 0, stream, b"graph of the experiment")

    def make(edge: Edge) -> tuple[Noise, Noise]:
        one, other = keys[edge[0]], keys[edge[1]]
        return Pair.derive(one, other.public, scope, FIELD), Pair.derive(other, one.public, scope, FIELD)

    return make


def self_masks_of(meters: int) -> tuple[SelfMask, ...]:
    """One self-mask per meter, from the operating system's randomness."""
    scope = Scope("experiment", 0, 1, b"graph of the experiment")
    return tuple(SelfMask.derive(secrets.token_bytes(32), scope, FIELD) for _ in range(meters))


def masked_table(
    readings: Readings, edges: Sequence[Edge], make: PairMaker, self_masks: Sequence[SelfMask] | None = None
) -> MaskedTable:
    """Every meter's masked readings of one period, by the meter's own code."""
    meters, rounds = readings.shape
    period = Window(0, rounds)
    noises: list[list[Noise]] = [[] for _ in range(meters)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnsafeNoiseWarning)
        for edge in edges:
            for meter, noise in zip(edge, make(edge), strict=True):
                noises[meter].append(noise)
    elements = tuple(
        tuple(
            mask_reading(
                int(readings[i, j]),
                j,
                period,
                noises[i],
                bound_watt_hours=SPAN_WATT_HOURS,
                field=FIELD,
                self_mask=self_masks[i] if self_masks is not None else None,
            )
            for j in range(rounds)
        )
        for i in range(meters)
    )
    return MaskedTable(elements, tuple(edges), tuple(tuple(own) for own in noises), period)
