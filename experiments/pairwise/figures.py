"""The two figures of docs/pairwise.md."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from experiments.figure_files import save_figure
from experiments.pairwise.noise import IsolatedError, Leakage
from hushgrid.wire.model import Variant

PUBLISHED, HARDENED, TRUTH = "#c8502d", "#1f6f8b", "#333333"
_NAMES = {
    "seed-known-graph": "seeds, graph known",
    "seed-unknown-graph": "seeds, graph unknown",
    "bounded-noise": "bounded noise",
    "colluding-neighbours": "four neighbours\ncollude",
    "component-split": "late message after\na component split",
}


def save(figure: Figure, stem: Path) -> list[Path]:
    """PNG for reading on screen, SVG for print; without dates, so that equal figures are equal files."""
    return save_figure(figure, stem, dots_per_inch=150)


def attack_figure(
    rows: Sequence[dict[str, object]],
    leakage: Sequence[Leakage],
    truth: NDArray[np.int64],
    masked: NDArray[np.float64],
    recovered: NDArray[np.float64],
) -> Figure:
    """truth, masked, recovered: Wh of one meter [round]; rows: those of the command."""
    figure = Figure(figsize=(12.5, 4.3), layout="constrained")
    grid = figure.add_gridspec(2, 3, width_ratios=(1.25, 1, 1))
    sent = figure.add_subplot(grid[0, 0])
    day = figure.add_subplot(grid[1, 0], sharex=sent)
    attacks, bits = figure.add_subplot(grid[:, 1]), figure.add_subplot(grid[:, 2])
    _draw_day(sent, day, truth, masked, recovered)
    _draw_attacks(attacks, rows)
    _draw_leakage(bits, leakage)
    for axes in (sent, day, attacks, bits):
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def _draw_day(
    sent: Axes, day: Axes, truth: NDArray[np.int64], masked: NDArray[np.float64], recovered: NDArray[np.float64]
) -> None:
    rounds = np.arange(len(truth) - 1)  # the balancing round would dwarf the others
    sent.plot(rounds, masked[:-1] / 1000, color="#888888", lw=1)
    sent.set(title="One home under the published hash variant", ylabel="sent, kWh")
    sent.tick_params(labelbottom=False)
    day.plot(rounds, truth[:-1], color=TRUTH, lw=1.4, label="the reading")
    day.plot(rounds, recovered[:-1], ".", color=PUBLISHED, ms=4, label="what the attack makes of the line above")
    day.set(xlabel="round of the billing period", ylabel="Wh", ylim=(-0.03 * truth[:-1].max(), 1.35 * truth[:-1].max()))
    day.legend(frameon=False, fontsize=8, loc="upper left", ncols=2)


def _draw_attacks(axes: Axes, rows: Sequence[dict[str, object]]) -> None:
    found: dict[tuple[str, str], float] = {}
    for row in rows:
        place = (str(row["attack"]), str(row["variant"]))
        found[place] = max(found.get(place, 0.0), float(str(row["recovered_fraction"])))
    names = list(_NAMES)[::-1]
    for offset, variant, colour in ((0.2, Variant.PUBLISHED, PUBLISHED), (-0.2, Variant.HARDENED, HARDENED)):
        values = [100 * found.get((name, variant.value), 0.0) for name in names]
        places = np.arange(len(names)) + offset
        axes.barh(places, values, height=0.36, color=colour, label=variant.value)
        for place, value in zip(places, values, strict=True):
            axes.text(value + 1.5, place, f"{value:.3g} %", va="center", fontsize=8, color=colour)
    axes.set_yticks(np.arange(len(names)), [_NAMES[name] for name in names], fontsize=8)
    axes.set(title="Readings determined exactly", xlim=(0, 122), xlabel="% of the honest meters' readings")
    axes.set_xticks(range(0, 101, 25))
    axes.legend(frameon=False, fontsize=8, loc="center right")


def _draw_leakage(axes: Axes, leakage: Sequence[Leakage]) -> None:
    for variant, colour in ((Variant.PUBLISHED, PUBLISHED), (Variant.HARDENED, HARDENED)):
        own = [one for one in leakage if one.variant is variant]
        degrees = [one.degree for one in own]
        axes.plot(degrees, [one.exact_bits for one in own], color=colour, lw=1, alpha=0.6)
        axes.errorbar(
            degrees, [one.bits for one in own], [2 * one.error for one in own],
            fmt="o", color=colour, ms=5, capsize=3, label=f"{variant.value}, measured",
        )  # fmt: skip
        for one in own:
            if variant is Variant.PUBLISHED:
                axes.annotate(f"{one.bits:.2g}", (one.degree, one.bits), (6, 5), textcoords="offset points", fontsize=8)
    axes.plot([], [], color="#888888", lw=1, label="exact")
    axes.set_xscale("log", base=2)
    axes.set_xticks([1, 2, 4, 8], ["1", "2", "4", "8"])
    axes.set(title="Bits told by one masked reading", xlabel="neighbours per meter", ylabel="bit per reading")
    axes.set_ylim(-0.05, 0.85)
    axes.legend(frameon=False, fontsize=8)


def isolated_figure(errors: Sequence[IsolatedError]) -> Figure:
    """Error of a grid sum against the fraction of isolated meters; one panel per grid size."""
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    sizes = sorted({one.meters for one in errors})
    panels = np.atleast_1d(np.asarray(figure.subplots(1, len(sizes), sharey=True)))
    kinds = sorted({(one.noise, one.epsilon) for one in errors}, key=lambda kind: kind[1])
    shades = dict(
        zip([kind for kind in kinds if kind[0] == "calibrated"], ("#0b3c4c", HARDENED, "#7fb8cc"), strict=False)
    )
    for axes, size in zip(panels, sizes, strict=True):
        for kind in kinds:
            own = [
                one
                for one in errors
                if one.meters == size and (one.noise, one.epsilon) == kind and one.isolated_fraction > 0
            ]
            colour = shades.get(kind, PUBLISHED)
            what = "as published, variance D" if kind[0] == "published" else "calibrated"
            across = [100 * one.isolated_fraction for one in own]
            axes.plot(
                across,
                [100 * one.error_fraction for one in own],
                "o-",
                ms=4,
                color=colour,
                label=f"{what}: ε = {kind[1]:g}",
            )
            if kind[0] == "published" or kind[1] == 1:
                axes.plot(across, [100 * one.last_round_error_fraction for one in own], ":", color=colour, lw=1.2)
        axes.axhline(10, color="#999999", lw=0.8, ls="--")
        axes.set(title=f"{size:,} meters", xlabel="% of meters without a neighbour", yscale="log")
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", color="#eeeeee")
        axes.set_axisbelow(True)
    panels[0].set_ylabel("error of a grid sum, % of its mean (rms)")
    panels[0].set_yticks([0.1, 1, 10, 100, 1000, 10000], ["0.1", "1", "10", "100", "1,000", "10,000"])
    panels[0].text(99, 11, "10 %", fontsize=8, color="#777777", ha="right")
    panels[-1].plot([], [], ":", color="#777777", lw=1.2, label="in the balancing round (n = 48)")
    panels[-1].legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure
