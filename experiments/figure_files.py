"""What the experiments print and write: a table, the same rows as CSV, and a figure as PNG and SVG."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
from rich.console import Console

from hushgrid.errors import ConfigurationError

#: A table that is not for a terminal is not squeezed into 80 columns.
_LEAST_COLUMNS = 110


def table_console() -> Console:
    """Where tables are printed."""
    console = Console()
    if not console.is_terminal:
        console.width = max(console.width, _LEAST_COLUMNS)
    return console


def panels(count: int, width_inches: float, height_inches: float) -> tuple[Any, Any]:
    """A figure with so many axes side by side."""
    return plt.subplots(1, count, figsize=(width_inches, height_inches), layout="constrained", squeeze=False)


def figure_paths(stem: Path) -> list[Path]:
    """What a figure is written to: its rows and its two drawings."""
    return [stem.with_name(stem.name + suffix) for suffix in (".csv", ".png", ".svg")]


def write_csv(stem: Path, rows: Sequence[Mapping[str, object]]) -> Path:
    """STEM.csv with the rows' keys as its header; ConfigurationError when it cannot be written."""
    path = stem.with_name(stem.name + ".csv")
    try:
        with path.open("w", encoding="utf-8", newline="") as file:
            out = csv.DictWriter(file, list(rows[0]) if rows else [])
            out.writeheader()
            out.writerows(rows)
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror or error}") from None
    return path


def save_figure(figure: Any, stem: Path) -> list[Path]:
    """STEM.png and STEM.svg, and the figure closed; equal figures are equal files. ConfigurationError."""
    paths = [stem.with_name(stem.name + suffix) for suffix in (".png", ".svg")]
    try:
        with mpl.rc_context({"svg.hashsalt": "hushgrid"}):
            figure.savefig(paths[0], dpi=160)
            figure.savefig(paths[1], metadata={"Date": None})
    except OSError as error:
        raise ConfigurationError(f"{error.filename}: {error.strerror or error}") from None
    finally:
        plt.close(figure)
    return paths
