"""`hushgrid experiment pairwise-attack`: what masked readings give away, published beside hardened.

Five attacks, each on what a consumer receives (and, where it says so, on what colluding meters tell it). An attack answers
for the readings that it has determined and abstains otherwise.

recovered_fraction: readings answered and right, of those that the attackers do not own. bits_leaked: for `bounded-noise`
the mutual information of a reading with its masked value, estimated; otherwise the determined fraction times log2(D + 1),
what a reading in [0, D] is worth.
"""

from __future__ import annotations

import itertools
import random
import time
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray

from experiments.pairwise.linear import COLLUDERS, MINIMUM_GROUP, VIEW_ROUNDS, attack_colluding, attack_split
from experiments.pairwise.noise import IsolatedError, Leakage, isolated_errors, measure_leakage
from experiments.pairwise.seeds import recover, seed_rows
from experiments.pairwise.table import (
    READING_BITS,
    SPAN_WATT_HOURS,
    AttackRow,
    MaskedTable,
    Readings,
    constructed_readings,
    edges_of_degree,
    hardened,
    masked_table,
    published_hashed,
    wide_csv_readings,
)
from experiments.results import ResultFolder, result_options
from hushgrid.cli import stops_with_one_line
from hushgrid.errors import ConfigurationError, RefusedError
from hushgrid.printing import Terminal
from hushgrid.tables import Sheet, numbers, words
from hushgrid.wire.model import Variant

METERS, ROUNDS, DEGREE = 40, 96, 4
#: Fewer have no graph that withstands the colluders.
LEAST_METERS = COLLUDERS + MINIMUM_GROUP
#: (meters, rounds, degree) of the sweep over seed recovery.
SWEEP = (*itertools.product((40,), (24, 36, 48, 96), (2, 4, 6, 8)), (200, 96, 4), (500, 96, 4))


@dataclass(frozen=True, slots=True)
class Swept:
    """One place of the sweep over seed recovery on `published`, graph unknown."""

    meters: int
    rounds: int
    degree: int
    recovered_fraction: float
    seconds: float


def attack_seeds(
    variant: Variant, readings: Readings, degree: int, rng: random.Random, *, graph_known: bool
) -> tuple[AttackRow, MaskedTable, NDArray[np.float64]]:
    """Seed recovery; the row, the masked table and the readings that the attack gives [meter, round]."""
    meters, rounds = readings.shape
    edges = edges_of_degree(meters, degree)
    table = masked_table(readings, edges, published_hashed(rng) if variant is Variant.PUBLISHED else hardened(meters))
    rows = seed_rows(rounds, SPAN_WATT_HOURS)
    found = recover(table.centred(), rows, SPAN_WATT_HOURS, edges if graph_known else None)
    right = (found.readings == readings) & found.determined[:, None]
    wrong = int(found.determined.sum()) * rounds - int(right.sum())
    name = "seed-known-graph" if graph_known else "seed-unknown-graph"
    fraction = float(right.mean())
    row = AttackRow(name, variant, degree, readings.size, fraction, fraction * READING_BITS, wrong)
    return row, table, found.readings


def leakage_rows(leakage: list[Leakage]) -> list[AttackRow]:
    """The `bounded-noise` rows."""
    return [
        AttackRow("bounded-noise", one.variant, one.degree, one.readings, one.determined_fraction, one.bits)
        for one in leakage
    ]


@dataclass(frozen=True, slots=True)
class AttackOutcome:
    """All that one run of the command found."""

    rows: list[AttackRow]
    leakage: list[Leakage]
    isolated: list[IsolatedError]
    sweep: list[Swept]
    shown: tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]  # one meter: truth, masked, recovered
    seconds: float

    def to_json(self) -> dict[str, object]:
        """`rows` as the issue names them, and what the figures are drawn from."""
        return {
            "rows": [row.to_json() for row in self.rows],
            "leakage": [asdict(one) for one in self.leakage],
            "isolated": [asdict(one) for one in self.isolated],
            "sweep": [asdict(one) for one in self.sweep],
            "seconds": round(self.seconds, 1),
        }


def run_attacks(*, full: bool, seed: int, readings_file: Path | None = None) -> AttackOutcome:
    """All attacks on both variants. full: longer tables for the estimates, and the sweep over seed recovery."""
    started = time.monotonic()
    rng = random.Random(seed)
    readings = _readings(readings_file, rng)
    rows, shown = [], None
    for graph_known, variant in itertools.product((True, False), Variant):
        row, table, answer = attack_seeds(variant, readings, DEGREE, rng, graph_known=graph_known)
        rows.append(row)
        if variant is Variant.PUBLISHED:
            lively = int(readings.std(axis=1).argmax())
            shown = (readings[lively], table.centred()[lively], answer[lively])
    leakage = [
        measure_leakage(variant, degree, METERS, rounds * (4 if full else 1), rng)
        for variant, rounds in ((Variant.PUBLISHED, 4000), (Variant.HARDENED, 1500))
        for degree in (1, 2, 4, 8)
    ]
    rows += leakage_rows(leakage)
    short = readings[:, :VIEW_ROUNDS]
    rows += [attack_colluding(variant, short, rng) for variant in Variant]
    rows += [attack_split(variant, short, rng) for variant in Variant]
    fractions = (0.0, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0)
    spatial = [
        one
        for size in ((40, 1000) if full else (40, 400))
        for one in isolated_errors(size, fractions, (Fraction(1, 2), Fraction(1), Fraction(2)), rng)
    ]
    sweep = [_sweep(*place, rng) for place in SWEEP] if full else []
    if shown is None:
        raise RefusedError("no published table was attacked")
    return AttackOutcome(rows, leakage, spatial, sweep, shown, time.monotonic() - started)


def _readings(readings_file: Path | None, rng: random.Random) -> Readings:
    if readings_file is None:
        return constructed_readings(METERS, ROUNDS, rng)
    found = wide_csv_readings(readings_file, ROUNDS)[0][:METERS]
    for name, count, least in zip(("meters", "rounds"), found.shape, (LEAST_METERS, VIEW_ROUNDS), strict=True):
        if count < least:
            raise ConfigurationError(f"{readings_file}: {count} {name}; the attacks need at least {least}")
    if found.min() < 0 or found.max() > SPAN_WATT_HOURS:
        raise ConfigurationError(f"{readings_file}: a reading is outside 0 to {SPAN_WATT_HOURS} Wh")
    return found


def _sweep(meters: int, rounds: int, degree: int, rng: random.Random) -> Swept:
    started = time.monotonic()
    readings = constructed_readings(meters, rounds, rng)
    row, _, _ = attack_seeds(Variant.PUBLISHED, readings, degree, rng, graph_known=False)
    return Swept(meters, rounds, degree, row.recovered_fraction, round(time.monotonic() - started, 2))


def _print(outcome: AttackOutcome, terminal: Terminal) -> None:
    table = Sheet(
        "Pairwise noise",
        [*words("attack", "variant"), *numbers("degree", "readings", "recovered", "wrong", "bits leaked")],
    )
    for row in outcome.rows:
        table.add(
            row.attack,
            row.variant.value,
            str(row.degree),
            f"{row.readings:,}",
            f"{100 * row.recovered_fraction:.3g} %",
            str(row.wrong),
            f"{row.bits_leaked:.4f}",
        )
    terminal.show(table)
    bits = Sheet(
        "Bounded noise: bits per reading",
        [*words("variant"), *numbers("degree", "bits", "± (1 s.e.)", "exact", "bounded below")],
    )
    for one in outcome.leakage:
        bits.add(
            one.variant.value,
            str(one.degree),
            f"{one.bits:.4f}",
            f"{one.error:.4f}",
            f"{one.exact_bits:.4f}",
            f"{100 * one.bounded_fraction:.1f} %",
        )
    terminal.show(bits)
    errors = Sheet(
        "Grid sums with isolated meters",
        [*words("noise"), *numbers("epsilon", "meters", "isolated", "error", "last round")],
    )
    for found in outcome.isolated:
        if found.isolated_fraction in (0.025, 0.1, 1.0):
            errors.add(
                found.noise,
                f"{found.epsilon:g}",
                str(found.meters),
                f"{100 * found.isolated_fraction:g} %",
                f"{100 * found.error_fraction:.2f} %",
                f"{100 * found.last_round_error_fraction:.2f} %",
            )
    terminal.show(errors)
    if outcome.sweep:
        swept = Sheet(
            "Seed recovery, graph unknown, published", numbers("meters", "rounds", "degree", "recovered", "seconds")
        )
        for place in outcome.sweep:
            recovered = f"{100 * place.recovered_fraction:.3g} %"
            swept.add(str(place.meters), str(place.rounds), str(place.degree), recovered, f"{place.seconds:.1f}")
        terminal.show(swept)


@click.command("pairwise-attack")
@click.option("--full", is_flag=True, help="Longer tables and the sweep over seed recovery (minutes, not seconds).")
@click.option(
    "--readings",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Wide CSV of readings instead of constructed ones.",
)
@click.option(
    "--seed",
    default=2020,
    show_default=True,
    help="Of readings, published noise and losses. Hardened keys are not seeded.",
)
@result_options("pairwise-attack")
@stops_with_one_line
def pairwise_attack(full: bool, readings: Path | None, seed: int, out: Path, report: Path | None) -> None:
    """Attack pairwise noise from masked readings alone: as the paper publishes it, and hardened."""
    folder, terminal = ResultFolder("pairwise-attack", out, report), Terminal()
    outcome = run_attacks(full=full, seed=seed, readings_file=readings)
    _print(outcome, terminal)
    content = outcome.to_json()
    folder.json(content)
    folder.csv([row.to_json() for row in outcome.rows])
    for part, rows in (("leakage", outcome.leakage), ("isolated", outcome.isolated), ("sweep", outcome.sweep)):
        if rows:
            folder.csv([asdict(row) for row in rows], part)
    folder.draw(lambda stem: _draw(outcome, stem))
    folder.close(terminal, f"{outcome.seconds:.1f} s; seed {seed}")


def _draw(outcome: AttackOutcome, stem: Path) -> list[Path]:
    from experiments.pairwise import figures  # noqa: PLC0415  # matplotlib is an extra

    rows = [row.to_json() for row in outcome.rows]
    drawn = figures.attack_figure(rows, outcome.leakage, *outcome.shown)
    isolated = figures.isolated_figure(outcome.isolated)
    return [*figures.save(drawn, stem), *figures.save(isolated, stem.with_name("pairwise-isolated"))]
