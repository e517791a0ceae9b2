"""`hushgrid experiment scaling`: what a million meters cost, from unit costs measured in the same run."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from pathlib import Path

import click

from experiments.results import ResultFolder, result_options
from experiments.scaling.projection import FLEETS, between_marks, limits, load, page, rounded, sheets
from experiments.scaling.units import PACKED
from hushgrid.cli import stops_with_one_line
from hushgrid.errors import ConfigurationError
from hushgrid.outputs import check_outputs
from hushgrid.printing import Terminal


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise ConfigurationError(f"{path}: cannot be read as text") from None


@click.command("scaling")
@click.option("--meters", default=4000, show_default=True, help="Meters that the unit costs are measured with.")
@click.option("--messages", default=20_000, show_default=True, help="Messages through each broker.")
@click.option(
    "--write",
    "target",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Put the tables into a page.",
)
@result_options("scaling")
@stops_with_one_line
def scaling(meters: int, messages: int, target: Path | None, out: Path, report: Path | None) -> None:
    """Measure unit costs, and say what 1, 10 and 100 million meters cost and what saturates first."""
    from experiments.scaling.costs import measure  # noqa: PLC0415  # it needs a PPN's and a configurator's packages

    if meters < PACKED:
        raise click.UsageError(f"--meters must be at least {PACKED}")
    if messages < 1:
        raise click.UsageError("--messages must be at least 1")
    before, after = "", ""
    if target is not None:
        check_outputs(target)
        before, _, after = between_marks(_text(target))
    folder, terminal = ResultFolder("scaling", out, report), Terminal()
    units = rounded(asyncio.run(measure(meters, messages)))
    for sheet in sheets(units):
        terminal.show(sheet)
    carried = [{"one_of_these": name, "meters": meters} for name, meters in limits(units)]
    folder.json(
        {"units": asdict(units), "loads": {str(fleet): load(units, fleet) for fleet in FLEETS}, "carried": carried}
    )
    folder.csv([{"unit": name, "value": value} for name, value in asdict(units).items()])
    folder.csv(carried, "carried")
    folder.text(page(units) + "\n", "md")
    if target is not None:
        target.write_text(before + page(units) + after, encoding="utf-8")
    folder.close(terminal, figures=False)
