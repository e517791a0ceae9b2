"""`hushgrid experiment pricing`: what private data costs, who accepts, and how dear the paper's greedy is (paper 000)."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from experiments.pricing.feeders import Distance, measure
from experiments.pricing.tables import (
    PriceSensitivity,
    claim_sheet,
    claims,
    distance_line,
    distance_sheet,
    sensitivities,
)
from experiments.results import ResultFolder, result_options
from grid_operator.market.state_error import BoughtMode
from hushgrid.cli import stops_with_one_line
from hushgrid.printing import Terminal


@click.command()
@click.option("--feeders", default=20, show_default=True, type=click.IntRange(1, 10_000), help="Random feeders.")
@click.option(
    "--mode", default=BoughtMode.INDIVIDUAL.value, show_default=True, type=click.Choice([each.value for each in BoughtMode]),
    help="What an accepted offer gives the operator; paper: its noise as printed, unsafe.",
)  # fmt: skip
@click.option("--draws", default=8, show_default=True, type=click.IntRange(1, 10_000), help="Of acceptance and noise.")
@click.option("--seed", default=1, show_default=True, type=click.IntRange(0))
@result_options("pricing")
@stops_with_one_line
def pricing(feeders: int, mode: str, draws: int, seed: int, out: Path, report: Path | None) -> None:
    """Pricing private data: acceptance, and the printed greedy beside a mended and an exact one."""
    folder, terminal = ResultFolder("pricing", out, report), Terminal()
    rows = [measure(at, mode=BoughtMode(mode), seed=seed, draws=draws) for at in range(feeders)]
    terminal.show(distance_sheet(rows))
    terminal.say(distance_line(rows))
    sensitivity = sensitivities(seed=seed, draws=draws)
    own = claims()
    terminal.show(claim_sheet(own))
    parameters = {"feeders": feeders, "mode": mode, "draws": draws, "seed": seed, "constructed": True}
    content = [asdict(row) | {"printed_ratio": row.printed_ratio, "mended_ratio": row.mended_ratio} for row in rows]
    folder.json(
        {
            "parameters": parameters,
            "rows": content,
            "sensitivity": [asdict(each) for each in sensitivity],
            "paper": [asdict(each) | {"consistent": each.consistent} for each in own],
        }
    )
    folder.csv(content)
    folder.csv([asdict(each) for each in sensitivity], "sensitivity")
    folder.draw(lambda stem: _draw(rows, sensitivity, stem))
    folder.close(terminal, f"seed {seed}; feeders, loads, homes and noise are simulated")


def _draw(rows: list[Distance], sensitivity: list[PriceSensitivity], stem: Path) -> list[Path]:
    from experiments.pricing.figure import draw  # noqa: PLC0415  # matplotlib is an extra

    return draw(rows, sensitivity, stem)
