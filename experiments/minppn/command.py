"""`hushgrid experiment minppn`: how many PPNs are needed, by the paper's greedy and by the exact solver (Table I)."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from experiments.minppn.table import (
    WIDTH,
    PlacementRow,
    StartPoint,
    influence_of_start,
    measure,
    report_of,
    sheet,
    unproven,
)
from experiments.options import whole_numbers
from experiments.results import ResultFolder, result_options
from hushgrid.cli import NumberRange, stops_with_one_line
from hushgrid.errors import ConfigurationError
from hushgrid.printing import Terminal

#: Starts from which the greedy is compared.
_STARTS = (14, 16, 18, 20, 25, 30, 40, 50, 60, 70, 80, 90, 100)

_MOST_PRODUCERS = 10**12
_MOST_CONSUMERS = 10_000


@click.command()
@click.option("--producers", default="100,1000,10000", show_default=True, callback=whole_numbers, help="|P|, a list.")
@click.option("--consumers", default="10,50", show_default=True, callback=whole_numbers, help="|C|, a list.")
@click.option(
    "--alpha",
    default=8.0,
    show_default=True,
    type=NumberRange(0.1, 1_000_000),
    help="Capacity of a PPN in units of |P| sums (L = alpha |P|).",
)
@click.option("--instances", default=10, show_default=True, type=click.IntRange(1), help="Random instances a row.")
@click.option(
    "--start-ppns", default=20, show_default=True, type=click.IntRange(1, 100_000), help="PPNs the greedy starts from."
)
@click.option("--seed", default=1, show_default=True, type=click.IntRange(0))
@click.option(
    "--time-limit",
    default=30.0,
    show_default=True,
    type=NumberRange(0),
    help="Seconds the exact solver may take an instance.",
)
@click.option("--starts/--no-starts", default=True, show_default=True, help="Compare starts from 14 to 100 PPNs too.")
@result_options("minppn")
@stops_with_one_line
def minppn(
    producers: tuple[int, ...],
    consumers: tuple[int, ...],
    alpha: float,
    instances: int,
    start_ppns: int,
    seed: int,
    time_limit: float,
    starts: bool,
    out: Path,
    report: Path | None,
) -> None:
    """Fewest PPNs (Table I): the paper's greedy and an exact solver with its proof."""
    for option, sizes, most in (
        ("--producers", producers, _MOST_PRODUCERS),
        ("--consumers", consumers, _MOST_CONSUMERS),
    ):
        if max(sizes) > most:
            raise ConfigurationError(f"{option} {max(sizes)} is more than {most}")
    folder, terminal = ResultFolder("minppn", out, report), Terminal()
    rows = []
    for c in consumers:
        for p in producers:
            rows.append(  # noqa: PERF401 - rows take time: one at a time is easier to interrupt
                measure(
                    c, p, alpha=alpha, count=instances, seed=seed, start_ppns=start_ppns, time_limit_seconds=time_limit
                )
            )
    terminal.show(sheet(rows))
    for line in unproven(rows):
        terminal.say(line)
    points: list[StartPoint] = []
    if starts:
        points = influence_of_start(
            max(consumers), max(producers), alpha=alpha, count=instances, seed=seed, starts=_STARTS
        )
    parameters = {"alpha": alpha, "width": WIDTH, "instances": instances, "seed": seed, "start_ppns": start_ppns}
    content = report_of(rows, points, parameters)
    folder.json(content)
    folder.csv([asdict(row) | {"proven": row.proven} for row in rows])
    if points:
        folder.csv([asdict(point) for point in points], "starts")
    folder.draw(lambda stem: _draw(rows, points, stem))
    folder.close(terminal, f"seed {seed}")


def _draw(rows: list[PlacementRow], points: list[StartPoint], stem: Path) -> list[Path]:
    from experiments.minppn.figure import draw  # noqa: PLC0415  # matplotlib is an extra

    return draw(rows, points, stem)
