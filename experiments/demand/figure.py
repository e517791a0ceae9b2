"""The paper's Figs. 1 to 3 in one, and the feeder's."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np

from experiments.demand.feeder_rows import Beside, NoisyRow, ProxyRow
from experiments.demand.paper import BAND, DemandRow, Nominal, Question
from experiments.figure_files import panels, save_figure
from grid_operator.demand.closed import half_width
from grid_operator.demand.filtering import Sampling
from grid_operator.demand.model import SigmaReading

_COLOURS = {SigmaReading.VARIANCE.value: "#0072b2", SigmaReading.DEVIATION.value: "#d55e00"}
_GREY, _BLACK = "#767676", "#333333"
_BUDGETS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#8c564b", "#56b4e9")


def draw_paper(rows: Sequence[DemandRow], shown: Nominal, reading: str, question: Question, stem: Path) -> list[Path]:
    """Write STEM.png and STEM.svg: demand and its band, the probability to be inside, the band of 99 %."""
    figure, ((one, two, three),) = panels(3, 15.0, 4.3)
    _draw_demand(one, shown, reading, question)
    for sigma in dict.fromkeys(row.sigma for row in rows):
        for sampling in Sampling:
            found = [row for row in rows if row.sigma == sigma and row.sampling == sampling]
            _draw_intervals(two, three, found, sampling)
    two.plot([], [], "x", color=_BLACK, label="simulated, 3 standard errors")
    two.set(
        title="Fig. 2: Pr[total within the band]",
        xlabel="sampling interval N (dotted: never seen)",
        ylabel="probability",
    )
    three.set(
        title="Fig. 3: the band kept with 99 %", xlabel="sampling interval N (dotted: never seen)", ylabel="Y* +-"
    )
    low, _ = two.get_ylim()
    two.set_ylim(min(low, 0.6), 1.02)
    three.set_ylim(bottom=0)
    two.legend(frameon=False, fontsize=8, loc="center right")
    _tidy(one, two, three)
    return save_figure(figure, stem)


def _draw_intervals(inside: Any, widths: Any, rows: Sequence[DemandRow], sampling: Sampling) -> None:
    """One reading of Sigma, points or sums, over N; points with what was simulated."""
    colour, pointed = _COLOURS[rows[0].sigma], sampling is Sampling.POINT
    seen = [row for row in rows if row.interval is not None]
    label = f"{sampling.value}s, Sigma as {rows[0].sigma}s"
    chosen: dict[str, Any] = {
        "ls": "-" if pointed else "--",
        "marker": "o" if pointed else None,
        "color": colour,
        "label": label,
    }
    inside.plot([row.probability for row in seen], markersize=4, fillstyle="none", **chosen)
    widths.plot([row.half_width for row in seen], markersize=4, fillstyle="none", **chosen)
    for axes in (inside, widths):
        axes.set_xticks(range(len(seen)), [str(row.interval) for row in seen])
    for at, row in enumerate(seen):
        if row.simulated_probability is not None and row.simulated_error is not None:
            inside.errorbar(
                at, row.simulated_probability, 3 * row.simulated_error, fmt="x", color=_BLACK, capsize=2, lw=0.8
            )
            widths.plot(at, row.simulated_half_width, "x", color=_BLACK)
    for row in rows:
        if row.interval is None and pointed:
            inside.axhline(row.probability, color=colour, lw=0.8, ls=":")
            widths.axhline(row.half_width, color=colour, lw=0.8, ls=":")


def _draw_demand(axes: Any, shown: Nominal, reading: str, question: Question) -> None:
    rounds = np.arange(1, len(shown.uncontrolled) + 1)
    spread = half_width(1.0, BAND) * shown.spread
    axes.fill_between(rounds, shown.expected - spread, shown.expected + spread, color=_GREY, alpha=0.2, lw=0)
    axes.plot(rounds, shown.expected, color=_GREY, lw=1, label="nominal (constructed habit), 99 %")
    axes.plot(rounds, shown.uncontrolled, color=_GREY, lw=0.8, ls="--", label="one run without control")
    axes.plot(rounds, shown.controlled, color=_COLOURS[reading], lw=1.2, label="the same with control, N = 1")
    for side in (-1, 1):
        axes.axhline(question.target + side * question.bound, color=_BLACK, lw=1)
    axes.set(title="Fig. 1: total demand and its bounds", xlabel="round", ylabel="power (the paper gives no unit)")
    low, high = axes.get_ylim()
    axes.set_ylim(low, high + 0.28 * (high - low))
    axes.legend(frameon=False, fontsize=8, loc="upper left")


def draw_feeder(
    noisy: Sequence[NoisyRow], others: Sequence[Beside], proxy: Sequence[ProxyRow], label: str, stem: Path
) -> list[Path]:
    """Write STEM.png and STEM.svg: what noise leaves of control, and what an attacker makes of releases."""
    figure, ((one, two),) = panels(2, 11.5, 4.5)
    budgets = dict.fromkeys((row.budget, _epsilon(row)) for row in noisy)
    intervals = list(dict.fromkeys(row.row.interval for row in noisy))
    at = range(len(intervals))
    for (budget, epsilon), colour in zip(budgets, cycle(_BUDGETS), strict=False):
        found = [row.row.rms_above_cap for row in noisy if (row.budget, _epsilon(row)) == (budget, epsilon)]
        style = "-" if budget == "day" else ":"
        one.plot(
            at, found, style, color=colour, marker="o", markersize=4, label=f"sums, epsilon {epsilon:.3g} a {budget}"
        )
    for what, style in (("exact points", "--"), ("exact sums", "-.")):
        found = [row.rms_above_cap for row in others if row.what == what]
        one.plot(at, found, style, color=_BLACK, lw=1, label=what)
    none = next(row for row in others if row.what == "no control")
    device = next(row for row in others if row.what.startswith("feeder device"))
    one.axhline(none.rms_above_cap, color=_GREY, lw=0.8, label="no control")
    one.axhline(device.rms_above_cap, color="#e69f00", lw=1.5, label="one device at the feeder")
    one.set(title=f"Above the cap, homes {label}", ylabel="kW (rms), noise simulated", ylim=(0, None))
    two.plot(
        at, [row.own_auc for row in proxy], color=_BUDGETS[1], marker="o", markersize=4, label="the home's own windows"
    )
    two.plot(
        at, [row.feeder_auc for row in proxy], color=_BUDGETS[0], marker="o", markersize=4, label="all homes' windows"
    )
    two.plot(
        at,
        [row.noisy_auc for row in proxy],
        ":",
        color=_BUDGETS[0],
        marker="o",
        markersize=4,
        label="the same with noise",
    )
    two.axhline(0.5, color=_GREY, lw=0.8, label="a coin")
    two.set(title="An attacker's proxy: above its own median?", ylabel="AUC, mean over homes", ylim=(0.45, 1.02))
    for axes in (one, two):
        axes.set_xlabel("N, rounds a window")
        axes.set_xticks(at, [str(interval) for interval in intervals])
    _, high = one.get_ylim()
    one.set_ylim(0, high * 1.4)
    one.legend(frameon=False, fontsize=8, loc="upper left", ncols=2)
    two.legend(frameon=False, fontsize=8)
    _tidy(one, two)
    return save_figure(figure, stem)


def _epsilon(row: NoisyRow) -> float:
    return round(row.epsilon_per_window if row.budget == "window" else row.row.epsilon_per_day or 0.0, 9)


def _tidy(*every: Any) -> None:
    for axes in every:
        axes.grid(axis="y", alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
