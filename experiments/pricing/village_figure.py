"""The village's figures of `hushgrid experiment pricing`: cost against error, and Fig. 7 of paper 000."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from experiments.figure_files import panels, save_figure
from experiments.pricing.village import PeakState, PricedError

_COLOURS = ("#009e73", "#56b4e9", "#d55e00", "#0072b2", "#e69f00")
_MARKS = ("o", "P", "s", "^", "D")


def draw_costs(rows: Sequence[PricedError], stem: Path) -> list[Path]:
    """STEM.png and STEM.svg: errors of voltages and of loadings over what was paid, for each load factor."""
    factors = list(dict.fromkeys(row.load_factor for row in rows))
    channels = list(dict.fromkeys(row.channel for row in rows))
    figure, ((*axes,),) = panels(2 * len(factors), 4.6 * 2 * len(factors), 4.6)
    for at, factor in enumerate(factors):
        for panel, name, title in (
            (axes[2 * at], "voltage_error_per_unit", "largest voltage error, % of nominal"),
            (axes[2 * at + 1], "loading_error_fraction", "largest loading error, % of rated"),
        ):
            nothing = next(row for row in rows if row.load_factor == factor and row.cost == 0)
            panel.axhline(100 * getattr(nothing, name), color="#767676", linewidth=0.9, label="nothing bought")
            for colour, mark, channel in zip(_COLOURS, _MARKS, channels, strict=True):
                own = [row for row in rows if (row.load_factor, row.channel) == (factor, channel) and row.cost]
                panel.plot(
                    [row.cost / 1000 for row in own], [100 * getattr(row, name) for row in own], mark + "-", color=colour,
                    label=channel, markersize=5, linewidth=1.2,
                )  # fmt: skip
                for row in own if channel == "individual" else ():
                    panel.annotate(
                        f"ε {row.epsilon:g}", (row.cost / 1000, 100 * getattr(row, name)), textcoords="offset points",
                        xytext=(3, 5), fontsize=7, color=colour,
                    )  # fmt: skip
            panel.set_xscale("log")
            panel.set_xticks([10, 30, 100, 300], ["10", "30", "100", "300"])
            panel.minorticks_off()
            panel.set_ylim(bottom=0)
            panel.set(title=f"loads x{factor:g}", xlabel="expected cost, thousands of model money", ylabel=title)
            panel.grid(alpha=0.3)
            panel.spines[["top", "right"]].set_visible(False)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(
        handles,
        labels,
        loc="outside lower center",
        ncols=len(labels),
        frameon=False,
        title="noise and acceptance are simulated",
    )
    return save_figure(figure, stem)


def draw_states(states: Sequence[PeakState], stem: Path) -> list[Path]:
    """STEM.png and STEM.svg: Fig. 7, what is and what is estimated at each node and branch, in the slot of the highest loading."""
    factors = list(dict.fromkeys(state.load_factor for state in states))
    figure, ((*axes,),) = panels(2 * len(factors), 4.8 * 2 * len(factors), 4.4)
    for at, factor in enumerate(factors):
        own = [state for state in states if state.load_factor == factor]
        for panel, actual, found, sigma, title in (
            (axes[2 * at], "voltage", "estimated_voltage", "voltage_sigma", "voltage, per unit"),
            (axes[2 * at + 1], "loading", "estimated_loading", "loading_sigma", "loading, % of rated"),
        ):
            first = 1 if actual == "loading" else 0  # the slack is no branch
            scale = 100 if actual == "loading" else 1
            order = np.argsort(-getattr(own[0], actual)[first:]) + first
            places = np.arange(len(order))
            for colour, state in zip(("#0072b2", "#d55e00"), own, strict=False):
                value, spread = scale * getattr(state, found)[order], 1.959964 * scale * getattr(state, sigma)[order]
                label = f"estimated, ε = 0.25{'' if state.noise == 'individual' else ', noise as printed (unsafe)'}"
                panel.fill_between(places, value - spread, value + spread, color=colour, alpha=0.2, linewidth=0)
                panel.plot(places, value, ".", color=colour, markersize=4, label=label)
            panel.plot(
                places, scale * getattr(own[0], actual)[order], "-", color="black", linewidth=1.4, label="actual"
            )
            panel.set(
                title=f"Fig. 7, loads x{factor:g}",
                xlabel=f"{'branches' if first else 'nodes'}, sorted by what is",
                ylabel=title,
            )
            panel.grid(alpha=0.3)
            panel.spines[["top", "right"]].set_visible(False)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside lower center", ncols=len(labels), frameon=False,
        title="the half hour of the highest loading; bands: 95 % intervals",
    )  # fmt: skip
    return save_figure(figure, stem)
