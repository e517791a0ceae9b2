"""`hushgrid experiment state-estimation`: how well an operator knows its grid, by what homes give it and with how much noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import click

from experiments.grid.homes import POWER_FACTOR, lived_in, printed_errors
from experiments.grid.minutes import Averaging, averaging, read_minutes
from experiments.grid.offers import MINIMUM_GROUP, MODES, ErrorRow, measure
from experiments.options import choices
from experiments.results import ResultFolder, result_options
from grid_operator.estimation.errors import EstimationError
from hushgrid.cli import stops_with_one_line
from hushgrid.errors import ConfigurationError
from hushgrid.printing import Terminal
from hushgrid.tables import Sheet, numbers

_LOUD = "the noise as the paper prints it is scaled by the data's own range and divided by the number of homes"


def _above_zero(_context: click.Context, _parameter: click.Parameter, value: str) -> tuple[float, ...]:
    """A list of numbers above 0."""
    try:
        found = tuple(float(part) for part in value.split(","))
    except ValueError:
        found = ()
    if not found or not all(0 < number < 1e9 for number in found):
        raise click.BadParameter(f"{value!r} is not a list of numbers above 0 such as 1,10")
    return found


def _counts(_context: click.Context, _parameter: click.Parameter, value: str) -> tuple[int, ...]:
    """A list of whole numbers, 0 among them."""
    if not all(part.isdecimal() and len(part) < 7 for part in value.split(",")):
        raise click.BadParameter(f"{value!r} is not a list of whole numbers such as 0,6")
    return tuple(int(part) for part in value.split(","))


@click.command("state-estimation")
@click.option(
    "--grid", required=True, type=click.Path(path_type=Path),
    help="JSON, a folder of CSV tables, or a net that pandapower saved.",
)  # fmt: skip
@click.option(
    "--meters", type=click.Path(path_type=Path), help="Which meter is at which node, as CSV; else the grid says it."
)
@click.option(
    "--homes", required=True, type=click.Path(path_type=Path),
    help="Wh per half hour: meter_id, start_utc, wh.",
)  # fmt: skip
@click.option(
    "--modes", default="none,individual,group,exact", show_default=True, callback=choices(MODES), metavar="LIST"
)
@click.option(
    "--epsilon", default="1,10", show_default=True, callback=_above_zero, metavar="LIST", help="Per home and slot."
)
@click.option(
    "--devices", default="0,6", show_default=True, callback=_counts, metavar="LIST", help="Beside the head's meter."
)
@click.option(
    "--load-factor", default="1,4", show_default=True, callback=_above_zero, metavar="LIST", help="Times real loads."
)
@click.option(
    "--first-day", default=35, show_default=True, type=click.IntRange(28), help="Of the file; 28 lie before it."
)
@click.option(
    "--days", default=3, show_default=True, type=click.IntRange(1, 366), help="How many; 330 are the rest of a year."
)
@click.option(
    "--minimum-group", default=MINIMUM_GROUP, show_default=True, type=click.IntRange(1), help="Homes of a sum at least."
)
@click.option(
    "--minutes", type=click.Path(path_type=Path),
    help="One home by the minute (CSV: t_local, p_w, q_var): what a half hour's mean hides.",
)  # fmt: skip
@click.option("--unsafe-published", is_flag=True, help="Allow the mode `paper`: its homes are hardly protected.")
@click.option("--seed", default=1, show_default=True, type=click.IntRange(0))
@result_options("state-estimation")
@stops_with_one_line
def state_estimation(
    grid: Path,
    meters: Path | None,
    homes: Path,
    modes: tuple[str, ...],
    epsilon: tuple[float, ...],
    devices: tuple[int, ...],
    load_factor: tuple[float, ...],
    first_day: int,
    days: int,
    minimum_group: int,
    minutes: Path | None,
    unsafe_published: bool,
    seed: int,
    out: Path,
    report: Path | None,
) -> None:
    """The error of a feeder's state, by what homes give: nothing, noisy readings, noisy sums of groups, or everything."""
    if "paper" in modes and not unsafe_published:
        raise ConfigurationError(f"mode paper needs --unsafe-published: {_LOUD}")
    folder, terminal = ResultFolder("state-estimation", out, report), Terminal()
    rows, printed, hidden = [], [], []
    by_minute = None if minutes is None else read_minutes(minutes)
    for factor in load_factor:
        lived = lived_in(grid, meters, homes, first_day=first_day, days=days, factor=factor)
        printed += [{"load_factor": factor} | each for each in printed_errors(lived)]
        if by_minute is not None:
            hidden.append(averaging(lived, factor, *by_minute))
        for count in devices:
            for mode in modes:
                try:
                    rows += [
                        measure(lived, mode, each, count, factor, seed, minimum_group)
                        for each in _epsilons(mode, epsilon)
                    ]
                except EstimationError as error:
                    raise ConfigurationError(f"mode {mode}, {count} devices, loads x{factor:g}: {error}") from None
    terminal.show(_sheet(rows, days))
    for each in printed:
        terminal.say(
            f"loads x{each['load_factor']:g}: {each['equation']} as printed errs by up to {each['voltage_error_per_unit']:.3g} per unit"
        )
    for one in hidden:
        terminal.say(_averaging_line(one))
    if "paper" in modes:
        terminal.say(f"mode paper: {_LOUD}; what a home really has is the column guarantee")
    folder.json({
        "parameters": {
            "grid": grid.name, "homes": homes.name, "first_day": first_day, "days": days, "seed": seed,
            "minimum_group": minimum_group,
            "noise": "simulated, seeded", "reactive_power": f"constructed at power factor {POWER_FACTOR}",
            "load_factor": "real loads times it: constructed where it is not 1",
        },
        "rows": [asdict(row) for row in rows],
        "printed_equations": printed,
        "averaging": [asdict(one) for one in hidden],
    })  # fmt: skip
    folder.csv([asdict(row) for row in rows])
    folder.draw(lambda stem: _draw(rows, stem))
    folder.close(terminal, f"seed {seed}")


def _averaging_line(one: Averaging) -> str:
    return (
        f"loads x{one.load_factor:g}: over {one.half_hours} half hours of one home by the minute, at node {one.node}, a minute is off its "
        f"half hour's mean by {one.voltage_mean:.3%} of voltage (root mean square; 99 %: {one.voltage_quantile_99:.3%}; largest: "
        f"{one.voltage_largest:.3%}), and by {one.loading_mean:.2%} of its line's loading ({one.loading_quantile_99:.2%}; "
        f"{one.loading_largest:.2%})"
    )


def _epsilons(mode: str, listed: Sequence[float]) -> Sequence[float | None]:
    """What a mode is measured at; a group's sum without noise, too."""
    return {"none": (None,), "exact": (None,), "group": (*listed, None)}.get(mode, tuple(listed))


def _sheet(rows: Sequence[ErrorRow], days: int) -> Sheet:
    out = Sheet(
        f"Error of the estimated state over {days * 48} half hours (simulated noise)",
        numbers("mode", "epsilon", "devices", "loads", "voltage error", "loading error", "coverage", "guarantee"),
        "errors: means over slots of the largest of any node or branch; epsilon per home, slot and quantity, - without noise; "
        "coverage: of voltages by their 95 % intervals; guarantee: the epsilon that a home really has",
    )
    for row in rows:
        out.add(
            row.mode, "-" if row.epsilon is None else f"{row.epsilon:g}", str(row.devices), f"x{row.load_factor:g}",
            f"{row.voltage_error_per_unit:.3%}", f"{row.loading_error_fraction:.2%}", f"{row.coverage_95:.3f}",
            "-" if row.guaranteed_epsilon is None else f"{row.guaranteed_epsilon:g}",
        )  # fmt: skip
    return out


def _draw(rows: list[ErrorRow], stem: Path) -> list[Path]:
    from experiments.grid.figure import draw  # noqa: PLC0415  # matplotlib is an extra

    return draw(rows, stem)
