"""How figures are drawn and saved: as PNG and SVG. Imported only where matplotlib is there (`experiments.results`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt

from hushgrid.errors import ConfigurationError


def panels(count: int, width_inches: float, height_inches: float) -> tuple[Any, Any]:
    """A figure with so many axes side by side."""
    return plt.subplots(1, count, figsize=(width_inches, height_inches), layout="constrained", squeeze=False)


def save_figure(figure: Any, stem: Path, dots_per_inch: int = 160) -> list[Path]:
    """STEM.png and STEM.svg, and the figure closed; equal figures are equal files. ConfigurationError."""
    paths = [stem.with_name(stem.name + suffix) for suffix in (".png", ".svg")]
    try:
        with mpl.rc_context({"svg.hashsalt": "hushgrid"}):
            figure.savefig(paths[0], dpi=dots_per_inch)
            figure.savefig(paths[1], metadata={"Date": None})
    except OSError as error:
        raise ConfigurationError(f"{error.filename}: {error.strerror or error}") from None
    finally:
        plt.close(figure)
    return paths
