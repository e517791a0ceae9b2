"""The figure of `hushgrid experiment theft-game`: what is found by theft, and how long a running test takes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.ticker import PercentFormatter

from experiments.figure_files import panels, save_figure

_COLOURS = {
    "tilt": "#0072b2", "zeroing": "#d55e00", "subtract": "#009e73", "cap": "#cc79a7", "flat": "#000000", "scale": "#767676",
    "night-zero": "#e69f00",
}  # fmt: skip
_DENSITY_COLOURS = {"gamma": "#0072b2", "normal": "#d55e00", "empirical": "#009e73"}


def draw(content: Mapping[str, Any], density: str, slots: int, stem: Path) -> list[Path]:
    """Write STEM.png and STEM.svg; their paths."""
    figure, ((ratio, shape, delay),) = panels(3, 14.5, 4.4)
    rows = [row for row in content["rows"] if row["density"] == density and row["slots"] == slots]
    for axes, key, title in (
        (ratio, "detection", "by the sum: likelihood ratio"),
        (shape, "shape_detection", "by the shape: inside the home only"),
    ):
        for attack in dict.fromkeys(row["attack"] for row in rows):
            points = sorted((row["theft_fraction"], row[key]) for row in rows if row["attack"] == attack)
            axes.plot(*zip(*points, strict=True), "o-", color=_COLOURS[attack], markersize=4, label=attack)
        axes.axhline(rows[0]["false_alarm"], color="#767676", linestyle=":", label="false alarms")
        axes.set_xlabel("stolen, of what the home uses")
        axes.set_ylabel("windows found")
        axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.set_ylim(-0.03, 1.03)
        axes.set_title(f"Found {title} ({density}, {slots} slots)", fontsize=10)
        axes.legend(frameon=False, fontsize=8, loc="upper left" if key == "detection" else (0.36, 0.45))
    _delays(delay, content["sequential"])
    for axes in (ratio, shape, delay):
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    return save_figure(figure, stem)


def _delays(axes: Any, rows: list[Mapping[str, Any]]) -> None:
    for density in dict.fromkeys(row["density"] for row in rows):
        mine = [row for row in rows if row["density"] == density]
        limits, colour = [row["limit"] for row in mine], _DENSITY_COLOURS[density]
        axes.plot(
            limits,
            [row["delay_mean_slots"] for row in mine],
            "o-",
            color=colour,
            markersize=4,
            label=f"{density}: mean",
        )
        axes.plot(
            limits, [row["delay_95_slots"] for row in mine], "^:", color=colour, markersize=4, label="95 % quantile"
        )
        axes.plot(limits, [row["limit_by_kl_slots"] for row in mine], "--", color=colour, alpha=0.6, label="limit / KL")
    axes.set_xticks(sorted({row["limit"] for row in rows}))
    axes.set_xlabel("limit of CUSUM")
    axes.set_ylabel("slots until the alarm")
    axes.set_ylim(bottom=0)
    axes.set_title(f"Delay of the running test at {rows[0]['theft_fraction']:.0%} theft", fontsize=10)
    axes.legend(frameon=False, fontsize=7, ncols=len({row["density"] for row in rows}), loc="upper left")
    axes.set_ylim(top=axes.get_ylim()[1] * 1.25)
