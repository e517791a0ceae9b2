"""The figure of `hushgrid experiment state-estimation`: errors of voltages and loadings, by mode and epsilon, for each load factor."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from experiments.figure_files import panels, save_figure
from experiments.grid.offers import ErrorRow

_COLOURS = {"none": "#767676", "individual": "#d55e00", "group": "#0072b2", "exact": "#009e73", "paper": "#cc79a7"}
_MARKS = ("o", "s", "^", "D", "v")


def draw(rows: Sequence[ErrorRow], stem: Path) -> list[Path]:
    """Write STEM.png and STEM.svg; their paths."""
    factors = list(dict.fromkeys(row.load_factor for row in rows))
    counts = list(dict.fromkeys(row.devices for row in rows))
    offers = list(dict.fromkeys((row.mode, row.epsilon) for row in rows))
    figure, (axes,) = panels(2 * len(factors), 3.6 * 2 * len(factors), 4.4)
    for at, factor in enumerate(factors):
        for panel, field, title in (
            (axes[2 * at], "voltage_error_per_unit", "largest voltage error, % of nominal"),
            (axes[2 * at + 1], "loading_error_fraction", "largest loading error, % of rated"),
        ):
            for number, count in enumerate(counts):
                for row in rows:
                    if (row.load_factor, row.devices) == (factor, count):
                        place = offers.index((row.mode, row.epsilon)) + 0.24 * (number - (len(counts) - 1) / 2)
                        panel.plot(
                            100 * getattr(row, field), place, _MARKS[number % len(_MARKS)], color=_COLOURS[row.mode],
                            fillstyle="none" if number == 0 else "full", markersize=7,
                        )  # fmt: skip
            panel.set_yticks(
                range(len(offers)), [_named(*offer) for offer in offers] if panel is axes[0] else [""] * len(offers)
            )
            panel.invert_yaxis()
            panel.set_xlim(left=0)
            panel.set_xlabel(title)
            panel.set_title(f"loads x{factor:g}")
            panel.grid(axis="x", alpha=0.3)
            panel.spines[["top", "right"]].set_visible(False)
    handles = [
        axes[-1].plot([], [], _MARKS[number % len(_MARKS)], color="black", fillstyle="none" if number == 0 else "full")[
            0
        ]
        for number in range(len(counts))
    ]
    labels = [f"{count} devices beside the head's meter" for count in counts]
    figure.legend(
        handles, labels, loc="outside lower center", ncols=len(counts), frameon=False, title="noise is simulated"
    )
    return save_figure(figure, stem)


def _named(mode: str, epsilon: float | None) -> str:
    if epsilon is not None:
        return f"{mode}, ε = {epsilon:g}"
    return {"none": "assumptions only", "exact": "every reading, exact", "group": "group sums, exact"}.get(mode, mode)
