"""`hushgrid experiment theft-game`: the game between a utility and a thief of one home, and what thieves do who do not play it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from experiments.options import choices, numbers_above_zero, open_fractions, whole_numbers
from experiments.results import ResultFolder, result_options
from experiments.theft.game_rows import (
    HOMES,
    SUPPLY,
    TARIFF,
    GameRow,
    Market,
    effort_rows,
    floors,
    game_rows,
    profit_rows,
    sequential_rows,
    unequal_effort,
)
from experiments.theft.homes import SLOTS_PER_DAY, constructed_homes, one_line, read_homes
from grid_operator.theft.attacks import ATTACKS
from grid_operator.theft.densities import Density, Empirical, Gamma, Normal
from hushgrid.cli import NumberRange, stops_with_one_line
from hushgrid.errors import ConfigurationError
from hushgrid.printing import Terminal
from hushgrid.tables import Sheet, numbers, words

_DENSITIES = ("gamma", "normal", "empirical")
_ATTACKS = ("tilt", "zeroing", "subtract", "cap", "flat")
_FEWEST_WINDOWS, _LONG_WINDOWS = 100, 20_000
_HISTORY_DAYS = 28
#: Gamma(2, 0.25 kWh), and the normal law of the same mean and variance.
_GAMMA = Gamma(2, 0.25)
_NORMAL = Normal(_GAMMA.mean, _GAMMA.scale * _GAMMA.shape**0.5)


@click.command("theft-game")
@click.option(
    "--density",
    "densities",
    default=",".join(_DENSITIES),
    show_default=True,
    callback=choices(_DENSITIES),
    metavar="LIST",
)
@click.option("--attack", "attacks", default=",".join(_ATTACKS), callback=choices(tuple(ATTACKS)), metavar="LIST",
              help=f"Of {', '.join(ATTACKS)}; default: the first five.")  # fmt: skip
@click.option("--theft-fraction", "fractions", default="0.02,0.05,0.1,0.2,0.25,0.5", show_default=True, callback=open_fractions,
              metavar="LIST", help="Stolen, of what a home uses.")  # fmt: skip
@click.option(
    "--slots",
    default="96,672",
    show_default=True,
    callback=whole_numbers,
    metavar="LIST",
    help="Slots of a window, 96 a day.",
)
@click.option("--false-alarm", default=0.01, show_default=True, type=NumberRange(0, 1, min_open=True, max_open=True))
@click.option("--windows", default=2000, show_default=True, type=int, help="Played windows for a row.")
@click.option("--long", "long_form", is_flag=True, help=f"{_LONG_WINDOWS:,} windows for a row (minutes).")
@click.option(
    "--limits", default="3,4,5", show_default=True, callback=numbers_above_zero, metavar="LIST", help="Of CUSUM."
)
@click.option(
    "--thieves", default=10, show_default=True, type=click.IntRange(1, HOMES), help="|O|, who steal the same."
)
@click.option(
    "--fine", default=300.0, show_default=True, type=NumberRange(0, min_open=True), help="F, from each who is found."
)
@click.option(
    "--cost",
    default=5000.0,
    show_default=True,
    type=NumberRange(0),
    help="psi', of all false alarms together: psi(e) = psi' e.",
)
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="Whose history is the empirical density; default: a constructed home's.",
)
@click.option("--meter", default=1, show_default=True, type=click.IntRange(1), help="Which home of the file.")
@click.option("--seed", default=1, show_default=True, type=click.IntRange(0))
@result_options("theft-game")
@stops_with_one_line
def theft_game(
    densities: tuple[str, ...], attacks: tuple[str, ...], fractions: tuple[float, ...], slots: tuple[int, ...], false_alarm: float,
    windows: int, long_form: bool, limits: tuple[float, ...], thieves: int, fine: float, cost: float, data: Path | None, meter: int,
    seed: int, out: Path, report: Path | None,
) -> None:  # fmt: skip
    """Theft as a game: what the tests find of a thief, and of thieves who know them."""
    windows = _LONG_WINDOWS if long_form else windows
    if windows < _FEWEST_WINDOWS:
        raise ConfigurationError(f"--windows {windows} are too few to count alarms: {_FEWEST_WINDOWS} at least")
    if max(slots) > 10_000:
        raise ConfigurationError(f"--slots {max(slots)} is more than 10,000")
    folder, terminal, market = ResultFolder("theft-game", out, report), Terminal(), Market(thieves, fine, cost)
    with one_line():
        laws, origin = _laws(densities, data, meter, seed)
        rows = [
            row
            for name, law in laws.items()
            for count in slots
            for row in game_rows(name, law, attacks, fractions, count, false_alarm, windows, seed)
        ]
        middle = min(fractions, key=lambda fraction: abs(fraction - 0.1))
        first, law = next(iter(laws.items()))
        content: dict[str, Any] = {
            "parameters": {
                "windows": windows, "seed": seed, "thieves": thieves, "fine": fine, "cost_slope": cost, "empirical": origin,
                "tariff": TARIFF, "energy_price": SUPPLY.energy_price, "peak_price": SUPPLY.peak_price,
            },
            "rows": [asdict(row) for row in rows],
            "floors": [row for name, each in laws.items() for row in floors(name, each, false_alarm, seed)],
            "efforts": [row for name, each in laws.items() for row in effort_rows(name, each, fractions, slots[0], market, seed)],
            "corner": effort_rows(first, law, [middle], 1, market, seed),
            "unequal": unequal_effort(law, fractions, slots[0], market, seed),
            "sequential": [row for name, each in laws.items() for row in sequential_rows(name, each, middle, limits, seed)],
            "profit": profit_rows(law, middle, slots[0], market, seed),
        }  # fmt: skip
    for name in laws:
        terminal.show(_attack_sheet(name, [row for row in rows if row.density == name], attacks, origin))
    _show_the_rest(terminal, content, market, first, middle, slots[0])
    folder.json(content)
    folder.csv(content["rows"])
    folder.draw(lambda stem: _draw(content, first, slots[0], stem))
    folder.close(terminal, f"{windows:,} played windows a row, seed {seed}")


def _laws(names: tuple[str, ...], data: Path | None, meter: int, seed: int) -> tuple[dict[str, Density], str]:
    laws: dict[str, Density] = {}
    origin = "not asked for"
    for name in names:
        if name == "empirical":
            homes = (
                constructed_homes(meter, _HISTORY_DAYS, seed)
                if data is None
                else read_homes(data, None, meter, _HISTORY_DAYS)
            )
            readings = homes.watt_hours[meter - 1]
            kilowatt_hours = readings[readings == readings] / 1000  # noqa: PLR0124 - NaN is no reading
            if kilowatt_hours.size < SLOTS_PER_DAY:
                raise ConfigurationError(f"home {meter} has {kilowatt_hours.size} readings: a day at least")
            laws[name] = Empirical.of(kilowatt_hours, 0.001)
            origin = f"{_HISTORY_DAYS} days of {homes.names[meter - 1]}" + (
                ", constructed (not measured)" if data is None else f" of {data.name}"
            )
        else:
            laws[name] = _GAMMA if name == "gamma" else _NORMAL
    return laws, origin


def _attack_sheet(name: str, rows: list[GameRow], attacks: tuple[str, ...], origin: str) -> Sheet:
    law = {
        "gamma": "Gamma(2, 0.25 kWh)",
        "normal": "normal, of the same mean and variance",
        "empirical": f"empirical, {origin}",
    }[name]
    out = Sheet(
        f"{law}: windows found in %, likelihood ratio / shape, at {rows[0].false_alarm:.2%} false alarms",
        numbers("theft", "slots", "mu", "KL", *attacks),
        "KL: per slot. shape: the chi-square test, inside the home only",
    )
    cells = {(row.theft_fraction, row.slots, row.attack): row for row in rows}
    for fraction, slots in dict.fromkeys((row.theft_fraction, row.slots) for row in rows):
        row = cells[fraction, slots, attacks[0]]
        found = (cells[fraction, slots, attack] for attack in attacks)
        both = (f"{100 * cell.detection:.3g}/{100 * cell.shape_detection:.3g}" for cell in found)
        out.add(f"{fraction:.0%}", str(slots), f"{row.mu:.4g}", f"{row.kl_per_slot:.4f}", *both)
    return out


def _show_the_rest(
    terminal: Terminal, content: dict[str, Any], market: Market, first: str, middle: float, slots: int
) -> None:
    sheet = Sheet("A thief who reports flat is never caught below", [*words("density"), *numbers("days", "theft")])
    for row in content["floors"]:
        sheet.add(row["density"], str(row["days"]), f"{row['never_caught_below']:.1%}")
    terminal.show(sheet)
    sheet = Sheet(
        f"The best effort: {market.thieves} thieves, F = {market.fine:g}, psi = {market.cost_slope:g} e",
        [*words("density"), *numbers("theft", "slots", "slope at e = 0", "tau", "e", "found", "utility")],
        "Where the slope at 0 is below psi' / (|O| F), it is best not to look at all",
    )
    for row in [*content["efforts"], *content["corner"]]:
        sheet.add(
            row["density"], f"{row['theft_fraction']:.0%}", str(row["slots"]), _slope(row["slope_at_zero"]), f"{row['tau']:.6f}",
            f"{row['false_alarm']:.6f}", f"{row['detection']:.6f}", f"{row['utility']:,.2f}",
        )  # fmt: skip
    terminal.show(sheet)
    for row in content["unequal"]:
        terminal.say(
            f"One thief of each fraction ({first}, {slots} slots), psi = {row['cost']}: e = {row['false_alarm']:.6f}, "
            f"utility {row['utility']:,.2f}"
        )
    terminal.say("")
    sheet = Sheet(
        f"CUSUM at {middle:.0%} theft, in slots, by its Markov chain",
        [
            *words("density"),
            *numbers("limit", "mean delay", "played", "95 % of delays", "limit / KL", "false alarm every"),
        ],
    )
    for row in content["sequential"]:
        sheet.add(
            row["density"], f"{row['limit']:g}", f"{row['delay_mean_slots']:,.1f}",
            "-" if row["delay_played_slots"] is None else f"{row['delay_played_slots']:,.1f}",
            f"{row['delay_95_slots']:,}",
            f"{row['limit_by_kl_slots']:,.1f}", f"{row['false_alarm_mean_slots']:,.0f}",
        )  # fmt: skip
    terminal.show(sheet)
    sheet = Sheet(
        f"Profit of a window of {slots} slots ({first}): {HOMES} homes, {market.thieves} of them steal {middle:.0%}",
        [*words("case"), *numbers("tariffs", "fines", "supply", "effort", "profit")],
    )
    for row in content["profit"]:
        sheet.add(row["case"], *(f"{row[part]:,.2f}" for part in ("tariffs", "fines", "supply", "effort", "profit")))
    terminal.show(sheet)


def _slope(steepest: float | None) -> str:
    return "unbounded" if steepest is None else f"{steepest:.6g}"


def _draw(content: dict[str, Any], density: str, slots: int, stem: Path) -> list[Path]:
    from experiments.theft.game_figure import draw  # noqa: PLC0415  # matplotlib is an extra

    return draw(content, density, slots, stem)
