"""The figure of `hushgrid experiment theft-and-demand`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from experiments.demand.theft import PeakRow, ProfitRow
from experiments.figure_files import panels, save_figure

_BLUE, _RED, _GREY, _ORANGE = "#0072b2", "#d55e00", "#767676", "#e69f00"


def draw(peaks: Sequence[PeakRow], profits: Sequence[ProfitRow], cap_kw: float, label: str, stem: Path) -> list[Path]:
    """Write STEM.png and STEM.svg: peak against the stolen share, profit and the attacker's score against N."""
    figure, ((one, two, three),) = panels(3, 15.0, 4.4)
    shares = [100 * row.stolen_fraction for row in peaks]
    one.plot(
        shares,
        [row.undetected_kw for row in peaks],
        color=_RED,
        marker="o",
        markersize=4,
        label="control, nothing detected",
    )
    one.plot(
        shares,
        [row.detected_kw for row in peaks],
        color=_BLUE,
        marker="o",
        markersize=4,
        label="control and detection (simulated)",
    )
    one.plot(shares, [row.device_kw for row in peaks], color=_ORANGE, lw=1, label="one device at the feeder")
    one.axhline(peaks[0].uncontrolled_kw, color=_GREY, lw=1, label="no control")
    one.axhline(cap_kw, color=_GREY, lw=1, ls=":", label="cap")
    low, high = min(cap_kw, *(row.device_kw for row in peaks)), peaks[0].uncontrolled_kw
    one.set_ylim(low - 0.08 * (high - low), high + 0.55 * (high - low))
    one.set(title=f"Peak, homes {label}", xlabel="% of the feeder's energy that is not reported", ylabel="kW")
    one.legend(frameon=False, fontsize=8, loc="upper left")
    intervals = list(dict.fromkeys(row.interval for row in profits))
    for share, shade in zip(shares, _shades(len(shares)), strict=True):
        found = [row.profit_detected for row in profits if 100 * row.stolen_fraction == share]
        two.plot(found, color=shade, marker="o", markersize=4, label=f"{share:g} % stolen")
    two.set(title="Profit with control and detection", ylabel="model money")
    two.set_ylim(top=two.get_ylim()[1] + 0.45 * (two.get_ylim()[1] - two.get_ylim()[0]))
    two.legend(frameon=False, fontsize=8, loc="upper right", ncols=2)
    for name, colour, said in (("own_auc", _RED, "a home's own windows"), ("feeder_auc", _BLUE, "all homes' windows")):
        found = [next(getattr(row, name) for row in profits if row.interval == interval) for interval in intervals]
        three.plot(found, color=colour, marker="o", markersize=4, label=said)
    three.axhline(0.5, color=_GREY, lw=1, label="a coin")
    three.set(title="An attacker's proxy: above its own median?", ylabel="AUC, mean over homes", ylim=(0.45, 1.02))
    three.legend(frameon=False, fontsize=8)
    for axes in (two, three):
        axes.set_xticks(range(len(intervals)), [str(interval) for interval in intervals])
        axes.set_xlabel("N, rounds a window")
    for axes in (one, two, three):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", alpha=0.3)
    return save_figure(figure, stem)


def _shades(count: int) -> list[tuple[float, float, float]]:
    """From light to dark: of one colour, more where more is stolen."""
    return [
        (0.75 - 0.7 * part, 0.85 - 0.55 * part, 0.95 - 0.35 * part)
        for part in (at / max(count - 1, 1) for at in range(count))
    ]
