"""The tables of `hushgrid experiment theft-and-demand`, and its sentences."""

from __future__ import annotations

from collections.abc import Sequence

from experiments.demand.theft import PeakRow, ProfitRow
from hushgrid.tables import Sheet, numbers


def peak_sheet(rows: Sequence[PeakRow], cap_kw: float, runs: int) -> Sheet:
    """The peak against the stolen share."""
    out = Sheet(
        f"Peak in kW with a cap of {cap_kw:.1f} kW and points of every round (N = 1)",
        numbers("stolen", "no control", "control", "with detection", "feeder device", "alarms", "after rounds"),
        f"detection: a CUSUM on a simulated balance meter of class 0.5, {runs} runs; stolen: not reported, from "
        "theft's first day on; after rounds: from then",
    )
    for row in rows:
        out.add(
            f"{row.stolen_fraction:.0%}", f"{row.uncontrolled_kw:.1f}", f"{row.undetected_kw:.1f}", f"{row.detected_kw:.1f}",
            f"{row.device_kw:.1f}", f"{row.alarm_fraction:.0%}", "" if row.delay_rounds is None else f"{row.delay_rounds:,.1f}",
        )  # fmt: skip
    return out


def profit_sheet(rows: Sequence[ProfitRow], days: int) -> Sheet:
    """Theft, demand response and N in one table."""
    out = Sheet(
        f"Profit of {days} days in model money (eqs. 1, 2, 28)",
        numbers(
            "N", "stolen", "alarms", "peak kW", "supply", "alone", "control", "and detection", "AUC own", "AUC all"
        ),
        "supply: r sum Y + p max Y with control and detection; alone: without either; AUC: an attacker's proxy score, from a home's own "
        "windows and from all homes'; an alarm is taken to find its thief, as in eq. 1",
    )
    for row in rows:
        out.add(
            str(row.interval), f"{row.stolen_fraction:.0%}", f"{row.alarm_fraction:.0%}", f"{row.peak_kw:.1f}",
            f"{row.cost_of_supply:,.0f}", f"{row.profit_alone:,.0f}", f"{row.profit_controlled:,.0f}", f"{row.profit_detected:,.0f}",
            f"{row.own_auc:.3f}", f"{row.feeder_auc:.3f}",
        )  # fmt: skip
    return out


def sentences(peaks: Sequence[PeakRow], profits: Sequence[ProfitRow]) -> list[str]:
    """What the tables say, each with a number of theirs."""
    first, last = peaks[0], peaks[-1]
    most = [row for row in profits if row.stolen_fraction == last.stolen_fraction]
    short, long = most[0], most[-1]
    controlled = (
        f"With {first.stolen_fraction:.0%} stolen control brings the peak from {first.uncontrolled_kw:.1f} to "
        f"{first.undetected_kw:.1f} kW, with {last.stolen_fraction:.0%} stolen only to {last.undetected_kw:.1f} kW: what is not reported "
        "is not controlled."
    )
    detected = (
        f"With detection the peak at {last.stolen_fraction:.0%} stolen is {last.detected_kw:.1f} kW, and one device at the feeder "
        f"reaches {last.device_kw:.1f} kW without any meter."
    )
    seldom = (
        f"From N = {short.interval} to N = {long.interval} the attacker's score on a home's own windows goes from {short.own_auc:.3f} to "
        f"{long.own_auc:.3f}, and the profit at {last.stolen_fraction:.0%} stolen from {short.profit_detected:,.0f} to "
        f"{long.profit_detected:,.0f}."
    )
    return [*([controlled] if last is not first else []), detected, *([seldom] if long is not short else [])]
