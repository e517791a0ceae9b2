"""The figure of `hushgrid experiment figure4`: PPNs over the loss fraction."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

from experiments.figure_files import panels, save_figure
from experiments.loss.figure4_row import Figure4Row

_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")
_MARKS = ("o", "s", "^", "v", "D")


def draw(rows: Sequence[Figure4Row], stem: Path) -> list[Path]:
    """One panel per |P|: PPNs over p_e, a line per (alpha, k), and hushgrid's with repair."""
    meters = list(dict.fromkeys(row.meters for row in rows))
    alphas = list(dict.fromkeys(row.alpha for row in rows))
    windows = list(dict.fromkeys(row.window for row in rows))
    figure, ((*axes,),) = panels(len(meters), 5.2 * len(meters), 4.8)
    top = max([row.ppns for row in rows if row.ppns is not None], default=100.0)
    for one, count in zip(axes, meters, strict=True):
        for alpha, colour in zip(alphas, itertools.cycle(_COLOURS)):
            for window, mark in zip(windows, itertools.cycle(_MARKS)):
                own = [r for r in rows if (r.meters, r.alpha, r.window) == (count, alpha, window) and r.loss > 0]
                kept = [r for r in own if r.ppns is not None]
                label = f"alpha = {alpha:g}, k = {window}"
                one.plot([r.loss for r in kept], [r.ppns for r in kept], marker=mark, color=colour, label=label)
            own = [r for r in rows if (r.meters, r.alpha, r.window) == (count, alpha, windows[0]) and r.loss > 0]
            kept = [r for r in own if r.ppns_repair is not None]
            one.plot(
                [r.loss for r in kept], [r.ppns_repair for r in kept], "--", color=colour, linewidth=2.5, alpha=0.6,
                label=f"hushgrid, repair, alpha = {alpha:g}",
            )  # fmt: skip
        one.set_xscale("log")
        one.set_yscale("log")
        one.set_ylim(3, 2 * top)
        one.set_title(f"|P| = {count:,}")
        one.set_xlabel("fraction of messages lost, $p_e$")
        one.set_ylabel("PPNs to install")
        one.grid(alpha=0.3)
        one.spines[["top", "right"]].set_visible(False)
    axes[0].legend(frameon=False, fontsize=7.5, loc="upper left")
    return save_figure(figure, stem)
