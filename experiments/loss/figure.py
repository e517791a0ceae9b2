"""The figure of `hushgrid experiment loss-rate`: success, coverage and cost over the loss fraction."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from matplotlib.lines import Line2D

from experiments.figure_files import panels, save_figure
from experiments.loss.row import LossRow

_COLOURS = {"none": "#767676", "agree": "#0072b2", "repair": "#d55e00"}
_NAMES = {"none": "none (the paper's model)", "agree": "agree", "repair": "repair"}
_STYLES: tuple[Literal["-", "--", ":", "-."], ...] = ("-", "--", ":", "-.")
_MARKS = {"simulated": "o", "live": "*"}


def draw(rows: Sequence[LossRow], stem: Path) -> list[Path]:
    """Write STEM.png and STEM.svg; their paths."""
    figure, ((*axes,),) = panels(3, 15, 4.6)
    groups = sorted({(row.meters, row.window) for row in rows})
    for one, name, title in (
        (axes[0], "success", "Windows recovered"),
        (axes[1], "coverage", "Readings in the recovered sums"),
        (axes[2], "messages_per_reading", "Messages per reading (receipts apart)"),
    ):
        _draw(one, rows, groups, name)
        one.set_title(title)
        one.set_xlabel("fraction of messages lost, $p_e$")
        one.grid(alpha=0.3)
        one.spines[["top", "right"]].set_visible(False)
        if any(row.loss > 0 for row in rows):
            one.set_xscale("log")
    axes[0].set_ylim(-0.03, 1.03)
    axes[2].set_ylim(bottom=0)
    axes[0].legend(handles=_legend(rows, groups), frameon=False, fontsize=8, loc="lower left")
    return save_figure(figure, stem)


def _draw(axes: Any, rows: Sequence[LossRow], groups: list[tuple[int, int]], name: str) -> None:
    for recovery, colour in _COLOURS.items():
        for at, group in enumerate(groups):
            own = [row for row in rows if row.recovery == recovery and (row.meters, row.window) == group]
            own = sorted((row for row in own if row.loss > 0), key=lambda row: row.loss)
            line = [row for row in own if row.mode == "formula"]
            axes.plot(
                [r.loss for r in line],
                [getattr(r, name) for r in line],
                _STYLES[at % len(_STYLES)],
                color=colour,
                linewidth=1.5,
            )
            for mode, mark in _MARKS.items():
                dots = [row for row in own if row.mode == mode]
                axes.plot(
                    [r.loss for r in dots], [getattr(r, name) for r in dots], mark, color=colour,
                    markersize=9 if mark == "*" else 4.5, fillstyle="none" if at % 2 else "full",
                )  # fmt: skip


def _legend(rows: Sequence[LossRow], groups: list[tuple[int, int]]) -> list[Line2D]:
    found = [
        Line2D([], [], color=colour, label=_NAMES[recovery])
        for recovery, colour in _COLOURS.items()
        if any(row.recovery == recovery for row in rows)
    ]
    for at, (meters, window) in enumerate(groups):
        found.append(
            Line2D(
                [], [], color="black", linestyle=_STYLES[at % len(_STYLES)], label=f"{meters:,} meters, k = {window}"
            )
        )
    modes = {row.mode for row in rows}
    found += [
        Line2D([], [], color="black", marker=mark, linestyle="", label=mode)
        for mode, mark in _MARKS.items()
        if mode in modes
    ]
    return found
