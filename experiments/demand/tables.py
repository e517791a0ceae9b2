"""The tables of `hushgrid experiment demand-response`."""

from __future__ import annotations

from collections.abc import Sequence

from experiments.demand.feeder_rows import Beside, Coverage, NoisyRow, ProxyRow
from experiments.demand.paper import DemandRow, Drift, HeldBack
from grid_operator.demand.filtering import Sampling
from hushgrid.tables import Heading, Sheet, numbers, words


def paper_sheet(rows: Sequence[DemandRow], sigma: str, runs: int) -> Sheet:
    """Points beside simulation, and sums, of one reading of Sigma."""
    out = Sheet(
        f"The paper's two loads, Sigma read as {sigma}s: N rounds after they were seen",
        numbers("N", "V", "Pr", "Pr, simulated", "+-99 %", "simulated", "V of sums", "+-99 % of sums"),
        f"V: of the total around its target; Pr: that it is within Y* +- Y_b; simulated: {runs:,} runs; sums: one number per window, "
        "of all loads and its N rounds",
    )
    sums = {row.interval: row for row in rows if row.sampling == Sampling.SUM}
    for row in rows:
        if row.sampling == Sampling.POINT:
            later = sums[row.interval]
            out.add(
                interval_text(row.interval), f"{row.variance:.3f}", f"{row.probability:.6f}", _or_none(row.simulated_probability, ".6f"),
                f"{row.half_width:.3f}", _or_none(row.simulated_half_width, ".3f"), f"{later.variance:.3f}", f"{later.half_width:.3f}",
            )  # fmt: skip
    return out


def slow_sheet(rows: Sequence[DemandRow], alpha: float) -> Sheet:
    """Where the interval counts."""
    out = Sheet(f"One slow load, alpha = {alpha:g}: V_N / sigma^2", numbers("N", "points", "sums"))
    points = [row for row in rows if row.sampling == Sampling.POINT]
    sums = [row for row in rows if row.sampling == Sampling.SUM]
    for point, summed in zip(points, sums, strict=True):
        out.add(interval_text(point.interval), f"{point.variance:.3f}", f"{summed.variance:.3f}")
    return out


def drift_sheet(rows: Sequence[Drift], runs: int) -> Sheet:
    """The printed share rule beside shares from baselines."""
    out = Sheet(
        f"Whose share of the target is whose (N = 1, {runs:,} simulated runs)",
        [*words("Sigma", "shares"), *numbers("negative values", "largest |y|")],
        "printed: y_i / Y of eq. 36, from round to round; baselines: from habits, as hushgrid does",
    )
    for row in rows:
        out.add(row.sigma, row.shares, f"{row.negative_fraction:.2%}", f"{row.largest:,.1f}")
    return out


def held_back_sheet(rows: Sequence[HeldBack], runs: int) -> Sheet:
    """ControlLimits on control of the paper's loads."""
    out = Sheet(
        f"What holds control back (N = 1, {runs:,} simulated runs)",
        [*words("Sigma", "control"), *numbers("Pr", "+-99 %", "orders that are 0")],
    )
    for row in rows:
        idle = f"{row.idle_fraction:.1%}"
        out.add(row.sigma, row.what, f"{row.probability:.6f}", f"{row.half_width:.2f}", idle)
    return out


def noisy_sheet(rows: Sequence[NoisyRow], cap_kw: float, runs: int) -> Sheet:
    """Rms above the cap under each budget."""
    budgets = list(dict.fromkeys((row.budget, _budget_epsilon(row)) for row in rows))
    out = Sheet(
        f"Window sums with simulated noise: kW (rms) above the cap of {cap_kw:.1f} kW",
        [
            Heading("N", right=True),
            *(Heading(f"eps {epsilon:.3g} a {budget}", right=True) for budget, epsilon in budgets),
        ],
        f"{runs} runs each; noise scale in brackets, kW on a window's sum of half-hourly kW",
    )
    cells = {(row.row.interval, row.budget, _budget_epsilon(row)): row for row in rows}
    for interval in dict.fromkeys(row.row.interval for row in rows):
        found = [cells[interval, budget, epsilon] for budget, epsilon in budgets]
        out.add(interval_text(interval), *(f"{row.row.rms_above_cap:.2f} ({row.noise_scale_kw:,.0f})" for row in found))
    return out


def _budget_epsilon(row: NoisyRow) -> float:
    return round(row.epsilon_per_window if row.budget == "window" else row.row.epsilon_per_day or 0.0, 9)


def beside_sheet(rows: Sequence[Beside]) -> Sheet:
    """What stands beside."""
    out = Sheet(
        "The same feeder without noise, without control, and with what holds control back",
        [*words("what"), *numbers("N", "peak kW", "rms above", "moved kWh", "in 99 % band")],
        "N: windows of so many rounds; flexible loads are constructed (eq. 30, beta = 1)",
    )
    for row in rows:
        inside = _or_none(row.inside_fraction, ".1%")
        interval = "" if row.interval is None else str(row.interval)
        out.add(row.what, interval, f"{row.peak_kw:.1f}", f"{row.rms_above_cap:.2f}", f"{row.moved_kwh:,.0f}", inside)
    return out


def coverage_sheet(rows: Sequence[Coverage]) -> Sheet:
    """The band over many stretches of days."""
    out = Sheet(
        "How often the 99 % band held, each stretch with a baseline and an alpha from before it",
        numbers("N", "stretches", "rounds", "inside", "worst stretch", "alpha"),
    )
    for row in rows:
        inside, lowest = f"{row.inside_fraction:.1%}", f"{row.lowest_fraction:.1%}"
        out.add(str(row.interval), str(row.stretches), f"{row.rounds:,}", inside, lowest, f"{row.alpha:.2f}")
    return out


def proxy_sheet(rows: Sequence[ProxyRow], scale_kw: float) -> Sheet:
    """The attacker's proxy score."""
    out = Sheet(
        "An attacker's proxy score: AUC for 'above its own median this round'",
        numbers("N", "home's own windows", "all homes' windows", "the same with noise"),
        f"0.5 is a coin; noise: simulated, scale {scale_kw:.0f} kW. A proxy: nothing here says who was at home",
    )
    for row in rows:
        out.add(str(row.interval), f"{row.own_auc:.3f}", f"{row.feeder_auc:.3f}", f"{row.noisy_auc:.3f}")
    return out


def interval_text(interval: int | None) -> str:
    """N, or never."""
    return "never" if interval is None else str(interval)


def _or_none(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)
