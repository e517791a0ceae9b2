"""The figure of `hushgrid experiment minppn`: PPNs by row, times by row, and the influence of the greedy's start."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.ticker import MaxNLocator

from experiments.figure_files import panels, save_figure
from experiments.minppn.table import PlacementRow, StartPoint

_GREEDY, _EXACT, _PAPER = "#0072b2", "#d55e00", "#767676"
#: By whether every instance of a row has its proof.
_EXACT_LABELS = {True: "exact, proven", False: "best found, not proven; bar: down to the bound"}
_ORDERS = {
    "least-loaded": (_GREEDY, "-", "receivers by load (ours)"),
    "listed": ("#009e73", "--", "receivers as listed (Fig. 3 read literally)"),
}


def draw(rows: Sequence[PlacementRow], starts: Sequence[StartPoint], stem: Path) -> list[Path]:
    """Write STEM.png and STEM.svg; their paths."""
    count = 3 if starts else 2
    figure, ((*axes,),) = panels(count, 5.0 * count, 4.3)
    _draw_counts(axes[0], rows)
    _draw_times(axes[1], rows)
    if starts:
        _draw_starts(axes[2], starts)
    return save_figure(figure, stem)


def _label_rows(axes: Any, rows: Sequence[PlacementRow]) -> None:
    axes.set_xticks(range(len(rows)), [f"{row.consumers}\n{row.producers:,}" for row in rows])
    axes.set_xlabel("consumers |C|, above producers |P|")
    axes.grid(axis="y", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)


def _draw_counts(axes: Any, rows: Sequence[PlacementRow]) -> None:
    drawn = set[bool]()
    for at, row in enumerate(rows):
        paper = row.published
        if paper:
            axes.errorbar(
                at - 0.22,
                paper[0],
                [[paper[0] - paper[2]], [paper[1] - paper[0]]],
                fmt="s",
                color=_PAPER,
                capsize=3,
                markersize=5,
                label="greedy, as published" if at == 0 else None,
            )
        axes.errorbar(
            at,
            row.greedy_average,
            [[row.greedy_average - row.greedy_min], [row.greedy_max - row.greedy_average]],
            fmt="o",
            color=_GREEDY,
            capsize=3,
            markersize=6,
            label=f"greedy from {row.start_ppns} PPNs (average, min, max)" if at == 0 else None,
        )
        axes.errorbar(
            at + 0.22,
            row.exact_average,
            [[row.exact_average - row.bound_average], [0]],
            fmt="D",
            color=_EXACT,
            capsize=0 if row.proven else 3,
            markersize=6,
            label=None if row.proven in drawn else _EXACT_LABELS[row.proven],
            fillstyle="full" if row.proven else "none",
        )
        drawn.add(row.proven)
    axes.set_ylim(bottom=0, top=1.3 * max(row.greedy_max for row in rows))
    axes.set_ylabel("PPNs")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_title("Privacy-preserving nodes needed")
    axes.legend(frameon=False, fontsize=8, loc="upper left")
    _label_rows(axes, rows)


def _draw_times(axes: Any, rows: Sequence[PlacementRow]) -> None:
    at = range(len(rows))
    papers = [row.published for row in rows]
    if any(papers):
        axes.plot(
            at, [p[5] if p else None for p in papers], "v", color=_PAPER, label="ILP, as published", fillstyle="none"
        )
        axes.plot(at, [p[3] if p else None for p in papers], "s", color=_PAPER, label="greedy, as published")
    axes.plot([x + 0.15 for x in at], [row.exact_seconds for row in rows], "D", color=_EXACT, label="exact (median)")
    axes.plot([x - 0.15 for x in at], [row.greedy_seconds for row in rows], "o", color=_GREEDY, label="greedy (median)")
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    axes.set_ylim(low, high * 60)
    axes.set_ylabel("seconds per instance")
    axes.set_title("Time to plan")
    axes.legend(frameon=False, fontsize=8, loc="upper left", ncols=2)
    _label_rows(axes, rows)


def _draw_starts(axes: Any, starts: Sequence[StartPoint]) -> None:
    for receiver, (colour, style, label) in _ORDERS.items():
        points = [point for point in starts if point.receiver == receiver]
        x = [point.start_ppns for point in points]
        axes.fill_between(
            x, [p.greedy_min for p in points], [p.greedy_max for p in points], color=colour, alpha=0.15, linewidth=0
        )
        axes.plot(x, [p.greedy_average for p in points], style, color=colour, marker="o", markersize=4, label=label)
    axes.set_xlabel("PPNs the greedy starts from")
    axes.set_ylabel("PPNs it ends with")
    axes.set_title(f"Influence of the start (|C| = {starts[0].consumers}, |P| = {starts[0].producers:,})")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8, loc="upper left", title="average; band: min to max", title_fontsize=8)
    low, high = axes.get_ylim()
    axes.set_ylim(low - 0.3, high + 0.8)
