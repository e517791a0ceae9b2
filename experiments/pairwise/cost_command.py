"""`hushgrid experiment pairwise-cost`: masked readings beside shares, in messages, bytes and CPU."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path

import click

from experiments.pairwise.cost import run_cost
from experiments.pairwise.cost_stage import PERIOD, WIDTH
from experiments.results import ResultFolder, result_options
from hushgrid.cli import stops_with_one_line
from hushgrid.printing import Terminal
from hushgrid.tables import Sheet, numbers, words

SIZES = (10, 100, 1000, 10_000)


@click.command("pairwise-cost")
@click.option(
    "--meters", "sizes", type=click.IntRange(min=8), multiple=True, default=SIZES, show_default=True, help="Sizes."
)
@result_options("pairwise-cost")
@stops_with_one_line
def pairwise_cost_command(sizes: tuple[int, ...], out: Path, report: Path | None) -> None:
    """Messages, bytes and CPU per reading and meter: masked readings beside shares."""
    folder, terminal = ResultFolder("pairwise-cost", out, report), Terminal()
    began = time.monotonic()
    rows = run_cost(sizes)
    sheet = Sheet(
        f"Per reading and meter; period of {PERIOD.rounds} rounds, w = {WIDTH}, degree 4 (6 with self-masks)",
        [*numbers("meters"), *words("mechanism"), *numbers("messages", "bytes", "meter µs", "receivers µs")],
    )
    for row in rows:
        sheet.add(
            f"{row.meters:,}", row.mechanism, f"{row.messages:.2f}", f"{row.bytes:.0f}", f"{row.meter_microseconds:.0f}",
            f"{row.receiver_microseconds:.0f}",
        )  # fmt: skip
    terminal.show(sheet)
    content = [asdict(row) for row in rows]
    folder.json({"rows": content})
    folder.csv(content)
    terminal.say(
        f"{time.monotonic() - began:.1f} s. CPU times are of this machine and this run: compare rows, not runs."
    )
    folder.close(terminal, figures=False)
