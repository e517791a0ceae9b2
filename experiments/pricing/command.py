"""`hushgrid experiment pricing`: what private data costs, who accepts, and how dear the paper's greedy is (paper 000)."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from experiments.grid.homes import lived_in
from experiments.pricing.feeders import Distance, measure
from experiments.pricing.tables import (
    PriceSensitivity,
    claim_sheet,
    claims,
    distance_line,
    distance_sheet,
    sensitivities,
)
from experiments.pricing.village import MINIMUM, PeakState, PricedError, Village
from experiments.pricing.village_tables import peak_line, placed_sheet, priced_sheet, told_sheet
from experiments.results import ResultFolder, result_options
from grid_operator.market.state_error import BoughtMode
from hushgrid.cli import stops_with_one_line
from hushgrid.errors import ConfigurationError
from hushgrid.printing import Terminal

LOAD_FACTORS = (1.0, 4.0)
TARGETS = (0.02, 0.05)
#: With so many branches that may have a device the exact placement is found, too.
EXACT_BELOW = 12


@click.command()
@click.option("--feeders", default=20, show_default=True, type=click.IntRange(1, 10_000), help="Random feeders.")
@click.option(
    "--mode", default=BoughtMode.INDIVIDUAL.value, show_default=True, type=click.Choice([each.value for each in BoughtMode]),
    help="What an accepted offer gives the operator; paper: its noise as printed, unsafe.",
)  # fmt: skip
@click.option("--draws", default=8, show_default=True, type=click.IntRange(1, 10_000), help="Of acceptance and noise.")
@click.option(
    "--grid", type=click.Path(path_type=Path), help="A village, as `state-estimation` takes it; with --homes."
)
@click.option("--homes", type=click.Path(path_type=Path), help="Wh per half hour: meter_id, start_utc, wh.")
@click.option(
    "--first-day", default=40, show_default=True, type=click.IntRange(28), help="Of the file, for the village."
)
@click.option("--days", default=1, show_default=True, type=click.IntRange(1, 366), help="Of the village.")
@click.option("--unsafe-published", is_flag=True, help="Allow the mode `paper`, and draw Fig. 7 with its noise, too.")
@click.option("--seed", default=1, show_default=True, type=click.IntRange(0))
@result_options("pricing")
@stops_with_one_line
def pricing(
    feeders: int,
    mode: str,
    draws: int,
    grid: Path | None,
    homes: Path | None,
    first_day: int,
    days: int,
    unsafe_published: bool,
    seed: int,
    out: Path,
    report: Path | None,
) -> None:
    """Pricing private data: acceptance, the printed greedy beside a mended and an exact one, and what a village costs to see."""
    if mode == BoughtMode.PAPER and not unsafe_published:
        raise ConfigurationError(
            "mode paper needs --unsafe-published: as it is printed the noise hardly protects anybody"
        )
    if (grid is None) != (homes is None):
        raise ConfigurationError("a village needs both --grid and --homes")
    folder, terminal = ResultFolder("pricing", out, report), Terminal()
    villages = []
    if grid is not None and homes is not None:
        for factor in LOAD_FACTORS:
            lived = lived_in(grid, None, homes, first_day=first_day, days=days, factor=factor)
            villages.append(Village(lived, factor, seed))
    rows = [measure(at, mode=BoughtMode(mode), seed=seed, draws=draws) for at in range(feeders)]
    terminal.show(distance_sheet(rows))
    terminal.say(distance_line(rows))
    sensitivity = sensitivities(seed=seed, draws=draws)
    own = claims()
    terminal.show(claim_sheet(own))
    content = [asdict(row) | {"printed_ratio": row.printed_ratio, "mended_ratio": row.mended_ratio} for row in rows]
    found = {
        "parameters": {"feeders": feeders, "mode": mode, "draws": draws, "seed": seed, "constructed": True},
        "rows": content,
        "sensitivity": [asdict(each) for each in sensitivity],
        "paper": [asdict(each) | {"consistent": each.consistent} for each in own],
    }
    folder.csv(content)
    folder.csv([asdict(each) for each in sensitivity], "sensitivity")
    folder.draw(lambda stem: _draw(rows, sensitivity, stem))
    if villages:
        found["village"] = _village(folder, terminal, villages, unsafe_published=unsafe_published)
    else:
        terminal.say("no village: --grid and --homes give Fig. 7, cost against error, and placement")
    folder.json(found)
    said = "; of the village acceptance, noise, reactive power and loads x4" if villages else ""
    folder.close(terminal, f"seed {seed}; feeders, loads, homes and noise are simulated{said}")


def _village(
    folder: ResultFolder, terminal: Terminal, villages: list[Village], *, unsafe_published: bool
) -> dict[str, object]:
    """Everything about the village, shown and written; what of it goes into the JSON."""
    modes = ("individual", "paper") if unsafe_published else ("individual",)
    priced = [row for village in villages for row in village.priced()]
    placed = [row for village in villages for row in village.placed(TARGETS, (1, MINIMUM), EXACT_BELOW)]
    told = [row for village in villages for row in village.told()]
    states = [village.at_peak(mode) for village in villages for mode in modes]
    for sheet in (priced_sheet(priced, len(villages[0].lived.watts)), placed_sheet(placed), told_sheet(told)):
        terminal.show(sheet)
    for state in states:
        terminal.say(peak_line(state))
    tables = {
        "priced": [asdict(row) for row in priced],
        "placed": [asdict(row) | {"devices": " ".join(row.devices)} for row in placed],
        "told": [asdict(row) for row in told],
        "state": [row for state in states for row in state.rows()],
    }
    for name, table in tables.items():
        folder.csv(table, name)
    folder.draw(lambda stem: _draw_village(priced, states, stem))
    return {**tables, "peaks": [state.summary() for state in states]}


def _draw(rows: list[Distance], sensitivity: list[PriceSensitivity], stem: Path) -> list[Path]:
    from experiments.pricing.figure import draw  # noqa: PLC0415  # matplotlib is an extra

    return draw(rows, sensitivity, stem)


def _draw_village(priced: list[PricedError], states: list[PeakState], stem: Path) -> list[Path]:
    from experiments.pricing.village_figure import draw_costs, draw_states  # noqa: PLC0415  # matplotlib is an extra

    return [
        *draw_costs(priced, stem.with_name(f"{stem.name}-village")),
        *draw_states(states, stem.with_name(f"{stem.name}-state")),
    ]
