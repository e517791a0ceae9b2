"""`hushgrid experiment gateway-figures`: what privacy costs in accuracy, beside what the paper says."""

from __future__ import annotations

import math
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path

import click

from experiments.gateway.claims import (
    HOURS_OF_DAY,
    HOURS_OF_YEAR,
    HomesNeeded,
    NoiseSetting,
    PaperClaim,
    StreamRow,
    first_gaussian,
    homes_needed,
    paper_claims,
    stream_row,
)
from experiments.options import numbers_above_zero, whole_numbers
from experiments.results import ResultFolder, result_options
from hushgrid.cli import NumberRange, stops_with_one_line
from hushgrid.errors import ConfigurationError
from hushgrid.printing import Terminal
from hushgrid.tables import Sheet, numbers, words
from privacy_gateway.ledger.price import MICRO, FailureDelta

_SHARES_PERCENT = (1.0, 0.1)


@click.command("gateway-figures")
@click.option("--bound", default=5.0, show_default=True, type=NumberRange(0.001, 1e6),
              help="kWh: the most that one home can move an hour's total.")  # fmt: skip
@click.option(
    "--epsilon", default=1.0, show_default=True, type=NumberRange(1e-3, 100), help="Spent on all that is told."
)
@click.option("--delta", default=1e-6, show_default=True, type=NumberRange(0, 1, min_open=True, max_open=True),
              help="With this probability the Gaussian's epsilon may not hold.")  # fmt: skip
@click.option("--use", "uses", default="1.2,0.7", show_default=True, callback=numbers_above_zero, metavar="LIST",
              help="kWh that a home uses in an hour.")  # fmt: skip
@click.option("--totals", default=f"1,{HOURS_OF_DAY},{HOURS_OF_YEAR}", show_default=True, callback=whole_numbers,
              metavar="LIST", help="Hourly totals that are told.")  # fmt: skip
@result_options("gateway-figures")
@stops_with_one_line
def gateway_figures(
    bound: float, epsilon: float, delta: float, uses: tuple[float, ...], totals: tuple[int, ...], out: Path,
    report: Path | None,
) -> None:  # fmt: skip
    """The paper's figures on differential privacy, by formula: reproduced or contradicted."""
    folder, terminal = ResultFolder("gateway-figures", out, report), Terminal()
    setting = NoiseSetting(
        _whole("--bound", bound, 1000), _whole("--epsilon", epsilon, MICRO), FailureDelta.of(Fraction(str(delta)))
    )
    if max(totals) > 10**6:
        raise ConfigurationError(f"--totals {max(totals)} is more than 1,000,000")
    claims, needed = paper_claims(setting.delta), homes_needed(setting, _SHARES_PERCENT, uses)
    streams, crossing = [stream_row(setting, count) for count in totals], first_gaussian(setting)
    terminal.show(_claim_sheet(claims))
    terminal.show(_needed_sheet(needed, epsilon))
    terminal.show(_stream_sheet(streams, epsilon, delta))
    terminal.say(f"From {crossing} totals on the Gaussian's interval is the narrower one.")
    folder.json({
        "parameters": {"bound_kwh": bound, "epsilon": epsilon, "delta": delta},
        "claims": [asdict(claim) for claim in claims], "homes_needed": [asdict(row) for row in needed],
        "streams": [asdict(row) for row in streams], "gaussian_is_narrower_from_totals": crossing,
    })  # fmt: skip
    folder.csv([asdict(claim) for claim in claims])
    folder.csv([asdict(row) for row in needed], "homes")
    folder.csv([asdict(row) for row in streams], "streams")
    folder.close(terminal, "by formula, nothing drawn", figures=False)


def _whole(option: str, value: float, units: int) -> int:
    """In whole units. ConfigurationError where the value is none: it is not rounded."""
    exact = Fraction(str(value)) * units
    if exact.denominator != 1:
        raise ConfigurationError(f"{option} {value:g} has more than {round(math.log10(units))} decimal places")
    return int(exact)


def _claim_sheet(claims: list[PaperClaim]) -> Sheet:
    sheet = Sheet("What the paper says of differential privacy", words("where", "paper", "computed", "so?"))
    for claim in claims:
        sheet.add(claim.where, claim.paper, claim.computed, claim.holds)
    return sheet


def _needed_sheet(rows: list[HomesNeeded], epsilon: float) -> Sheet:
    sheet = Sheet(
        f"Homes for which 95 % of the noise on one hour's total lies within a share of it, epsilon {epsilon:g}",
        numbers("share", "kWh of a home", "noise +-kWh", "homes"),
    )
    for row in rows:
        sheet.add(f"{row.share_percent:g} %", f"{row.hourly_kwh:g}", f"{row.noise_kwh:.3f}", f"{row.homes:,}")
    return sheet


def _stream_sheet(rows: list[StreamRow], epsilon: float, delta: float) -> Sheet:
    sheet = Sheet(
        f"Noise on every hourly total in kWh, epsilon {epsilon:g} for all of them together",
        numbers("totals", "Laplace scale", "deviation", "95 % +-", "Gaussian deviation", "its 95 % +-"),
        f"Gaussian: zCDP, at delta {delta:g}",
    )
    for row in rows:
        shown = (row.laplace_scale, row.laplace_deviation, row.laplace_95, row.gaussian_deviation, row.gaussian_95)
        sheet.add(f"{row.totals:,}", *(f"{value:,.1f}" for value in shown))
    return sheet
