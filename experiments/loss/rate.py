"""`hushgrid experiment loss-rate`: what lost messages do to sums, by the paper's formula, simulated and over real processes."""

from __future__ import annotations

import itertools
import math
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from experiments.loss.formula import Point
from experiments.loss.live import play_point
from experiments.loss.row import LossRow, formula_row
from experiments.loss.simulated import simulate
from experiments.options import choices, fractions, whole_numbers
from experiments.results import ResultFolder, result_options
from hushgrid.cli import stops_with_one_line
from hushgrid.core.recovery import Recovery
from hushgrid.errors import ConfigurationError
from hushgrid.printing import Terminal
from hushgrid.tables import Sheet, Style, numbers, words
from hushgrid.wire.model import MAX_REPAIR_ATTEMPTS

_MODES = ("formula", "simulated", "live")


@click.command("loss-rate")
@click.option(
    "--meters", default="100,1000", show_default=True, callback=whole_numbers, help="M_c of the rule, a list."
)
@click.option("--loss", default="1e-5..1e-1", show_default=True, callback=fractions, help="p_e, a list or decades.")
@click.option("--width", default=4, show_default=True, type=click.IntRange(1), help="Shares of a reading (w).")
@click.option("--threshold", default=4, show_default=True, type=click.IntRange(1), help="Shares needed (t).")
@click.option("--window", "windows", default="1", show_default=True, callback=whole_numbers, help="k, a list.")
@click.option(
    "--recovery", "recoveries", default="none,agree,repair", show_default=True,
    callback=choices(tuple(r.value for r in Recovery)), help="What becomes of a lost share, a list.",
)  # fmt: skip
@click.option(
    "--mode", "modes", default="formula,simulated", show_default=True, callback=choices(_MODES),
    help="Equations 13 and 14, the pure modules over arrays, or real processes over a broker; a list.",
)  # fmt: skip
@click.option("--rounds", default=1000, show_default=True, type=click.IntRange(1), help="Rounds a point is played.")
@click.option(
    "--repair-attempts", default=5, show_default=True, type=click.IntRange(1, MAX_REPAIR_ATTEMPTS),
    help="How often a missing share is asked for.",
)  # fmt: skip
@click.option("--minimum-contributors", default=15, show_default=True, type=click.IntRange(1))
@click.option(
    "--seed",
    default=1,
    show_default=True,
    type=click.IntRange(0),
    help="Of all losses and readings; of live points, the first's.",
)
@click.option("--broker", default="auto", show_default=True, metavar="auto|embedded|mosquitto|URL", help="For live.")
@result_options("loss-rate")
@stops_with_one_line
def loss_rate(
    meters: tuple[int, ...],
    loss: tuple[float, ...],
    width: int,
    threshold: int,
    windows: tuple[int, ...],
    recoveries: tuple[str, ...],
    modes: tuple[str, ...],
    rounds: int,
    repair_attempts: int,
    minimum_contributors: int,
    seed: int,
    broker: str,
    out: Path,
    report: Path | None,
) -> None:
    """Success, coverage and cost under loss: recovery switched off as in the paper, and on."""
    points = list(_points(meters, loss, width, threshold, windows, recoveries, minimum_contributors, repair_attempts))
    _check(points, rounds)
    folder, progress, rows = ResultFolder("loss-rate", out, report), Terminal(errors=True), []
    for mode, (at, point) in itertools.product(modes, enumerate(points)):
        if mode == "formula":
            rows.append(formula_row(point))
            continue
        progress.say(f"{mode}: {point.recovery.value}, {point.meters} meters, loss {point.loss:g}", Style.FAINT)
        if mode == "simulated":
            rows.append(simulate(point, rounds, seed))
        else:
            # Seeds of their own: with one seed, what is lost at one fraction is lost at every larger one.
            rows.append(play_point(point, rounds, seed + at, broker, lambda _text: None))
    terminal = Terminal()
    terminal.show(sheet(rows))
    content = [row.to_json() for row in rows]
    folder.json({"rows": content})
    folder.csv(content)
    folder.draw(lambda stem: _draw(rows, stem))
    folder.close(terminal, f"seed {seed}")
    if any(row.wrong or row.as_predicted is False for row in rows):
        click.echo("hushgrid: a sum is wrong, or a live run differs from its prediction", err=True)
        sys.exit(1)


def _points(
    meters: tuple[int, ...],
    loss: tuple[float, ...],
    width: int,
    threshold: int,
    windows: tuple[int, ...],
    recoveries: tuple[str, ...],
    minimum: int,
    repairs: int,
) -> Iterator[Point]:
    for recovery, count, window, fraction in itertools.product(map(Recovery, recoveries), meters, windows, loss):
        yield Point(recovery, count, fraction, width, threshold, window, minimum, repairs=repairs)


def _check(points: list[Point], rounds: int) -> None:
    """ConfigurationError for what cannot be played, before anything takes time."""
    for point in points:
        if point.threshold > point.width:
            raise ConfigurationError(f"--threshold {point.threshold} exceeds --width {point.width}")
        if point.recovery is not Recovery.NONE and 2 * point.threshold <= point.width:
            raise ConfigurationError(
                f"--threshold {point.threshold} is not above half of --width {point.width}: allowed with --recovery none only"
            )
        if point.window > rounds:
            raise ConfigurationError(f"--window {point.window} is longer than --rounds {rounds}")
        if point.meters < point.minimum:
            raise ConfigurationError(
                f"{point.meters} meters are fewer than the minimum of {point.minimum} contributors: no sum could be released"
            )


def sheet(rows: list[LossRow]) -> Sheet:
    """One line a row."""
    first = rows[0]
    live = any(row.mode == "live" for row in rows)
    titles = ("meters", "k", "p_e", "recovered", "success", "eq. 13", "off by", "coverage", "msgs", "wrong")
    out = Sheet(
        f"Windows recovered under loss (w = {first.width}, t = {first.threshold})",
        [*words("mode", "recovery"), *numbers(*titles), *(words("predicted") if live else ())],
        "off by: standard errors from eq. 13; msgs: sends and repair requests per reading, receipts apart",
    )
    for row in rows:
        off = row.deviations
        cells = [
            row.mode,
            row.recovery,
            f"{row.meters:,}",
            str(row.window),
            f"{row.loss:g}",
            f"{row.recovered}/{row.windows}" if row.windows else "",
            f"{row.success:.3g}",
            f"{row.success_formula:.3g}",
            "" if off is None else f"{off:+.1f} se",
            "" if math.isnan(row.coverage) else f"{row.coverage:.5f}",
            f"{row.messages_per_reading:.3f}",
            str(row.wrong),
        ]
        if live:
            cells.append("" if row.as_predicted is None else "exactly" if row.as_predicted else "NOT SO")
        out.add(*cells)
    return out


def _draw(rows: list[LossRow], stem: Path) -> list[Path]:
    from experiments.loss.figure import draw  # noqa: PLC0415  # matplotlib is an extra

    return draw(rows, stem)
