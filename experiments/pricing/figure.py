"""The figures of `hushgrid experiment pricing`: Figs. 3, 5 and 6 of paper 000, and how far its greedy is from the cheapest campaign."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from experiments.figure_files import panels, save_figure
from experiments.pricing.feeders import Distance
from experiments.pricing.tables import BETAS, LAMBDAS, PAPER, PriceSensitivity

_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")


def draw(rows: Sequence[Distance], sensitivity: Sequence[PriceSensitivity], stem: Path) -> list[Path]:
    """Write STEM.png and STEM.svg; their paths."""
    figure, ((*axes,),) = panels(4, 19.0, 4.3)
    _draw_acceptance(axes[0])
    _draw_cost(axes[1])
    _draw_sensitivity(axes[2], sensitivity)
    _draw_distance(axes[3], rows)
    for each in axes:
        each.grid(alpha=0.3)
        each.spines[["top", "right"]].set_visible(False)
    return save_figure(figure, stem)


def _draw_acceptance(axes: Any) -> None:
    gain = np.linspace(-60, 80, 281)
    for colour, c1 in zip(_COLOURS, (0.05, 0.1, 0.2), strict=False):
        home = replace(PAPER, steepness=c1)
        axes.plot(gain, [home.acceptance(0.0, each) for each in gain], color=colour, label=f"c1 = {c1:g}")
    axes.axvline(0, color="#767676", linewidth=0.8)
    axes.set(
        title="Fig. 3: who accepts (c2 = 10)", xlabel="net payoff x, model money", ylabel="probability of acceptance"
    )
    axes.legend(frameon=False)


def _draw_cost(axes: Any) -> None:
    epsilon = np.linspace(0, 1, 201)
    for colour, beta in zip(_COLOURS, BETAS, strict=False):
        home = replace(PAPER, risk_aversion=beta)
        axes.plot(epsilon, [home.privacy_cost(each) for each in epsilon], color=colour, label=f"beta = {beta:g}")
    axes.set(title="Fig. 5: what privacy costs (lambda = 500)", xlabel="epsilon", ylabel="privacy cost, model money")
    axes.legend(frameon=False)


def _draw_sensitivity(axes: Any, rows: Sequence[PriceSensitivity]) -> None:
    for colour, beta in zip(_COLOURS, BETAS, strict=False):
        own = [row for row in rows if row.risk_aversion == beta]
        axes.plot([row.loss_aversion for row in own], [row.cost for row in own], color=colour, label=f"beta = {beta:g}")
        for row in own:
            axes.plot(row.loss_aversion, row.cost, "o" if row.epsilon else "x", color=colour)
            if row.epsilon is not None:
                where = (row.loss_aversion, row.cost)
                axes.annotate(f"eps {row.epsilon:g}", where, textcoords="offset points", xytext=(6, -4), fontsize=7)
    axes.set_xscale("log")
    axes.set_xticks(LAMBDAS, [f"{each:g}" for each in LAMBDAS])
    axes.minorticks_off()
    axes.set(
        title="Fig. 6: the cheapest campaign, one constructed feeder",
        xlabel="lambda (x: no offer, devices only)",
        ylabel="expected cost, model money",
    )
    axes.legend(frameon=False)


def _draw_distance(axes: Any, rows: Sequence[Distance]) -> None:
    printed = sorted(row.printed_ratio for row in rows if row.printed_reached)
    mended = sorted(row.mended_ratio for row in rows)
    axes.plot(range(1, len(printed) + 1), printed, "o-", color=_COLOURS[1], label="greedy as printed")
    axes.plot(range(1, len(mended) + 1), mended, "s-", color=_COLOURS[0], label="mended", markersize=4)
    axes.set(title="Cost over the exact search's", xlabel="random feeders, sorted", ylabel="ratio")
    axes.legend(frameon=False)
