"""`hushgrid experiment theft-and-demand`: what theft does to demand response, with and without detection."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from experiments.demand.command import home_options
from experiments.demand.detection import FeederWatch
from experiments.demand.feeder_rows import FeederStage, cap_of, proxy_rows
from experiments.demand.homes import read_homes
from experiments.demand.theft import Money, PeakRow, ProfitRow, peak_rows, profit_rows
from experiments.demand.theft_tables import peak_sheet, profit_sheet, sentences
from experiments.options import fractions, whole_numbers
from experiments.results import ResultFolder, result_options
from grid_operator.demand.baselines import Habit
from grid_operator.demand.feeder import Act, Released
from hushgrid.cli import NumberRange, stops_with_one_line
from hushgrid.errors import ConfigurationError
from hushgrid.printing import Terminal

_LONGER = 10


@click.command("theft-and-demand")
@click.option(
    "--stolen", default="0,0.01,0.05,0.1,0.2", show_default=True, callback=fractions, help="Fractions, a list."
)
@click.option("--intervals", default="1,4,16,48", show_default=True, callback=whole_numbers, help="N, a list.")
@click.option(
    "--runs", default=100, show_default=True, type=click.IntRange(2, 10_000), help="Simulated balance meters."
)
@click.option("--false-alarm", default=0.01, show_default=True, type=NumberRange(0, 1, min_open=True, max_open=True),
              help="e: of honest stretches, those with an alarm.")  # fmt: skip
@click.option(
    "--habit", default=Habit.WEEK.value, show_default=True, type=click.Choice([habit.value for habit in Habit])
)
@click.option("--act", default=Act.SHED.value, show_default=True, type=click.Choice([act.value for act in Act]))
@click.option("--first-day", default=28, show_default=True, type=click.IntRange(7))
@click.option("--days", default=42, show_default=True, type=click.IntRange(1))
@click.option("--theft-day", type=click.IntRange(0), help="On which it begins; the first day if not given.")
@click.option("--flexible-fraction", default=1.0, show_default=True, type=NumberRange(0, 1), help="Of the habit.")
@click.option("--tariff", default=0.25, show_default=True, type=NumberRange(0), help="Of a kWh billed.")
@click.option("--rate", default=0.10, show_default=True, type=NumberRange(0), help="r, of a kWh supplied.")
@click.option("--peak-rate", default=20.0, show_default=True, type=NumberRange(0), help="p, of a kW of the peak.")
@click.option(
    "--fine-factor", default=2.0, show_default=True, type=NumberRange(0), help="F, in tariffs of what was stolen."
)
@click.option(
    "--effort", default=5000.0, show_default=True, type=NumberRange(0), help="psi at a false alarm for certain."
)
@click.option("--long", is_flag=True, help="Ten times as many runs.")
@home_options
@result_options("theft-and-demand")
@stops_with_one_line
def theft_and_demand(out: Path, report: Path | None, **chosen: Any) -> None:
    """What theft does to demand response, with and without detection, and the paper's unified profit."""
    folder, terminal = ResultFolder("theft-and-demand", out, report), Terminal()
    try:
        _play(folder, terminal, chosen)
    except ValueError as error:
        raise ConfigurationError(str(error)) from None


def _play(folder: ResultFolder, terminal: Terminal, chosen: dict[str, Any]) -> None:
    if max(chosen["stolen"]) >= 1:
        raise ConfigurationError("--stolen 1: with nothing reported there is nothing to control")
    seed, intervals, stolen = chosen["seed"], sorted(set(chosen["intervals"])), sorted(set(chosen["stolen"]))
    money = Money(chosen["tariff"], chosen["rate"], chosen["peak_rate"], chosen["fine_factor"], chosen["effort"])
    homes = read_homes(chosen["data"], chosen["grid"], chosen["meters"], seed)
    for interval in intervals:
        Released(interval=interval).check(homes.rounds_per_day)
    first, days = chosen["first_day"], chosen["days"]
    feeder = homes.feeder(Habit(chosen["habit"]), first, days, slice(first, homes.days))
    cap = cap_of(feeder, chosen["cap_kw"], chosen["flexible_fraction"], Act(chosen["act"]))
    runs = chosen["runs"] * (_LONGER if chosen["long"] else 1)
    stage = FeederStage(feeder, cap, homes.rounds_per_day, runs, seed)
    scores = proxy_rows(homes, slice(first, first + days), intervals, 0.0, seed)
    begun = _begun(chosen, homes.rounds_per_day)
    balances = {
        interval: FeederWatch(feeder.demand_kw, interval, homes.rounds_per_day, chosen["false_alarm"], seed)
        for interval in dict.fromkeys([1, *intervals])
    }
    peaks = peak_rows(stage, stolen, begun, balances[1])
    asked = {interval: balances[interval] for interval in intervals}
    own_and_all = [(row.own_auc, row.feeder_auc) for row in scores]
    profits = profit_rows(stage, stolen, begun, asked, money, chosen["false_alarm"], own_and_all)
    terminal.say(
        f"{homes.power_kw.shape[1]} homes {homes.label}; {homes.estimated:,} readings are missing and are those of the nearest day; days "
        f"{first} to {first + days - 1}; alpha {feeder.alpha:.2f} fitted on the days from {first} on; "
        f"theft from day {first + begun // homes.rounds_per_day} on"
    )
    terminal.show(peak_sheet(peaks, cap.kilowatts, runs))
    terminal.show(profit_sheet(profits, days))
    for line in sentences(peaks, profits):
        terminal.say(line)
    parameters = {name: str(value) if isinstance(value, Path) else value for name, value in chosen.items()}
    folder.json(
        {
            "parameters": parameters | {"homes": homes.label, "cap_kw": cap.kilowatts, "alpha_fitted": feeder.alpha},
            "peaks": [asdict(row) for row in peaks],
            "profits": [asdict(row) for row in profits],
        }
    )
    folder.csv([asdict(row) for row in peaks])
    folder.csv([asdict(row) for row in profits], "profit")
    folder.draw(lambda stem: _draw(peaks, profits, cap.kilowatts, homes.label, stem))
    folder.close(terminal, f"seed {seed}")


def _begun(chosen: dict[str, Any], rounds_per_day: int) -> int:
    """The round, of those played, in which theft begins."""
    first, day = chosen["first_day"], chosen["theft_day"]
    late = 0 if day is None else day - first
    if not 0 <= late < chosen["days"]:
        raise ConfigurationError(f"--theft-day {day}: the days are {first} to {first + chosen['days'] - 1}")
    return int(late * rounds_per_day)


def _draw(peaks: list[PeakRow], profits: list[ProfitRow], cap_kw: float, label: str, stem: Path) -> list[Path]:
    from experiments.demand.theft_figure import draw  # noqa: PLC0415  # matplotlib is an extra

    return draw(peaks, profits, cap_kw, label, stem)
