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
    figure, ((*axes,),) = panels(6, 26.0, 4.3)
    _draw_acceptance(axes[0])
    _draw_cost(axes[1])
    _draw_sensitivity(axes[2:5], sensitivity)
    _draw_distance(axes[5], rows)
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


def _draw_sensitivity(axes: Sequence[Any], rows: Sequence[PriceSensitivity]) -> None:
    """The offer's epsilon and compensation (Figs. 6.a and 6.b), and what the campaign costs. Lines stand a little beside each other."""
    titles = ("Fig. 6.a: epsilon of the offer", "Fig. 6.b: compensation", "Fig. 6: cost of the campaign")
    labels = ("epsilon", "model money for one home", "expected cost, model money")
    for panel, name, title, label in zip(axes, ("epsilon", "compensation", "cost"), titles, labels, strict=True):
        for at, (colour, beta) in enumerate(zip(_COLOURS, BETAS, strict=False)):
            own = [row for row in rows if row.risk_aversion == beta and getattr(row, name) is not None]
            places = [row.loss_aversion * 1.06 ** (at - 1.5) for row in own]
            values = [getattr(row, name) for row in own]
            panel.plot(places, values, "o-", color=colour, label=f"beta = {beta:g}", markersize=5, linewidth=1.2)
        panel.set_xscale("log")
        panel.set_xticks(LAMBDAS, [f"{each:g}" for each in LAMBDAS])
        panel.minorticks_off()
        panel.set_ylim(bottom=0)
        panel.set(title=title, xlabel="lambda (one constructed feeder)", ylabel=label)
    axes[0].legend(frameon=False)


def _draw_distance(axes: Any, rows: Sequence[Distance]) -> None:
    printed = sorted(row.printed_ratio for row in rows if row.printed_reached)
    mended = sorted(row.mended_ratio for row in rows)
    axes.plot(range(1, len(printed) + 1), printed, "o-", color=_COLOURS[1], label="greedy as printed")
    axes.plot(range(1, len(mended) + 1), mended, "s-", color=_COLOURS[0], label="mended", markersize=4)
    axes.set(title="Cost over the exact search's", xlabel="random feeders, sorted", ylabel="ratio")
    axes.legend(frameon=False)
