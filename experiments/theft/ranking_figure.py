"""The figure of `hushgrid experiment theft-ranking`: hit rates over time, and what privacy takes of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.lines import Line2D
from matplotlib.ticker import PercentFormatter

from experiments.figure_files import panels, save_figure

_COLOURS = {"naive": "#d55e00", "llr-normal": "#767676", "llr": "#0072b2"}
_NAMES = {"naive": "naive drop", "llr-normal": "likelihood ratio, normal", "llr": "likelihood ratio, Student"}
_LINES: tuple[Any, ...] = ("-", "--", ":", "-.")


def draw(content: Mapping[str, Any], stem: Path) -> list[Path]:
    """Write STEM.png and STEM.svg; their paths."""
    figure, ((time, theft, privacy),) = panels(3, 10.8, 3.9)
    rows = content["rows"]
    fractions, lengths = _each(rows, "theft_fraction"), _each(rows, "days")
    fraction = min(fractions, key=lambda each: abs(each - 0.2))
    length = min(lengths, key=lambda each: abs(each - 14))
    first = rows[0]["epsilon"]
    _curves(time, [r for r in rows if r["theft_fraction"] == fraction and r["epsilon"] == first], "days")
    time.set_title(f"{fraction:.0%} stolen, over time", fontsize=10)
    time.set_xlabel("days since the theft began")
    time.set_xticks(lengths)
    _curves(theft, [r for r in rows if r["days"] == length and r["epsilon"] == first], "theft_fraction")
    theft.set_title(f"After {length} days, by theft", fontsize=10)
    theft.set_xlabel("stolen, of what the home uses")
    theft.set_xticks(fractions)
    theft.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    _privacy(
        privacy, [r for r in rows if r["days"] == length and r["theft_fraction"] == fraction and r["method"] == "llr"]
    )
    privacy.set_title(f"Likelihood ratio, {fraction:.0%} stolen, {length} days", fontsize=10)
    for axes in (time, theft, privacy):
        axes.set_ylim(0, 1.05)
        axes.set_ylabel("thief among the first three")
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    for axes in (theft, privacy):
        axes.set_ylabel("")
    methods = [Line2D([], [], color=colour, marker="o", markersize=4) for colour in _COLOURS.values()]
    time.legend(methods, list(_NAMES.values()), frameon=False, fontsize=8, loc="upper left")
    counts = _each(rows, "groups")
    meters = [Line2D([], [], color="black", linestyle=line) for line, _ in zip(_LINES, counts, strict=False)]
    names = [f"{count} balance meter{'s' if count > 1 else ''}" for count in counts]
    theft.legend(meters, names, frameon=False, fontsize=8, loc="upper left", handlelength=3)
    return save_figure(figure, stem)


def _each(rows: list[Mapping[str, Any]], key: str) -> list[Any]:
    return list(dict.fromkeys(row[key] for row in rows))


def _curves(axes: Any, rows: list[Mapping[str, Any]], key: str) -> None:
    for line, groups in zip(_LINES, _each(rows, "groups"), strict=False):
        for method, colour in _COLOURS.items():
            points = sorted(
                (row[key], row["top3"]) for row in rows if row["groups"] == groups and row["method"] == method
            )
            axes.plot(*zip(*points, strict=True), "o", linestyle=line, color=colour, markersize=4)


def _privacy(axes: Any, rows: list[Mapping[str, Any]]) -> None:
    epsilons = _each(rows, "epsilon")
    for line, groups in zip(_LINES, _each(rows, "groups"), strict=False):
        found = {row["epsilon"]: row["top3"] for row in rows if row["groups"] == groups}
        values = [found[each] for each in epsilons]
        axes.plot(range(len(epsilons)), values, "o", linestyle=line, color=_COLOURS["llr"], markersize=4)
    axes.set_xticks(range(len(epsilons)), ["exact" if each is None else f"{each:g}" for each in epsilons])
    axes.set_xlabel("epsilon of each half hour of a sum")
