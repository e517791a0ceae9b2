"""`hushgrid experiment theft-ranking`: a theft that only sums show. That something is missing, and which home to look at first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import numpy as np

from experiments.options import open_fractions, whole_numbers
from experiments.results import ResultFolder, result_options
from experiments.theft.balance_trial import Trial, balance_rows
from experiments.theft.homes import SLOTS_PER_DAY, HomeHistories, constructed_homes, grouped, one_line, read_homes
from experiments.theft.ranking_rows import METHODS, Ranker, as_rows, calibration_row, ranking_rows
from grid_operator.theft.windows import History
from hushgrid.cli import NumberRange, stops_with_one_line
from hushgrid.errors import ConfigurationError
from hushgrid.printing import Terminal
from hushgrid.tables import Sheet, numbers, words

_FEWEST_WINDOWS, _LONG_WINDOWS = 100, 2000
_FEWEST_CALIBRATING = 400
_HALF_HOUR = 0.5
#: All epsilons are tried at the length that is nearest; at the others the first one only.
_MIDDLE_DAYS = 14


def _epsilons(_context: click.Context, _parameter: click.Parameter, value: str) -> tuple[float | None, ...]:
    """A list of numbers above 0, or "none" for an exact sum."""
    try:
        found = tuple(None if part == "none" else float(part) for part in value.split(","))
    except ValueError:
        found = ()
    if not found or not all(part is None or 0 < part < float("inf") for part in found):
        raise click.BadParameter(f"{value!r} is not a list of numbers above 0, or none, such as none,10,1")
    return tuple(dict.fromkeys(found))


@click.command("theft-ranking")
@click.option(
    "--days",
    default="1,7,14,28",
    show_default=True,
    callback=whole_numbers,
    metavar="LIST",
    help="After the theft began.",
)
@click.option(
    "--theft-fraction", "fractions", default="0.1,0.2,0.3", show_default=True, callback=open_fractions, metavar="LIST"
)
@click.option(
    "--groups",
    default="1,3",
    show_default=True,
    callback=whole_numbers,
    metavar="LIST",
    help="Balance meters, of whole feeders.",
)
@click.option("--epsilon", "epsilons", default="none,10,1", show_default=True, callback=_epsilons, metavar="LIST",
              help="Of each half hour of a group's sum; none: exact. All but the first: at the days nearest to 14 only.")  # fmt: skip
@click.option(
    "--bound-kw", default=5.0, show_default=True, type=NumberRange(0, min_open=True), help="A home's contract bound."
)
@click.option("--partition", metavar="TEXT", help="Feeders of each group, as 3/4+5/1+2+6, for its number of groups.")
@click.option("--minimum", default=12, show_default=True, type=click.IntRange(1), help="Contributors of a group.")
@click.option(
    "--homes", default=57, show_default=True, type=click.IntRange(2, 5000), help="Constructed, or the file's first."
)
@click.option("--history-days", default=364, show_default=True, type=click.IntRange(63, 3650))
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="Readings of real homes, as of the testbed; default: constructed ones.",
)
@click.option(
    "--grid", type=click.Path(path_type=Path), help="A feeder's JSON file: which homes of --data, on which feeders."
)
@click.option("--windows", default=200, show_default=True, type=int, help="Windows with inserted theft for a row.")
@click.option("--long", "long_form", is_flag=True, help=f"{_LONG_WINDOWS:,} windows for a row (minutes).")
@click.option("--seed", default=1, show_default=True, type=click.IntRange(0))
@result_options("theft-ranking")
@stops_with_one_line
def theft_ranking(
    days: tuple[int, ...], fractions: tuple[float, ...], groups: tuple[int, ...], epsilons: tuple[float | None, ...], bound_kw: float,
    partition: str | None, minimum: int, homes: int, history_days: int, data: Path | None, grid: Path | None, windows: int,
    long_form: bool, seed: int, out: Path, report: Path | None,
) -> None:  # fmt: skip
    """Theft that only sums show: that something is missing, and which home to look at first."""
    windows = _LONG_WINDOWS if long_form else windows
    if windows < _FEWEST_WINDOWS:
        raise ConfigurationError(f"--windows {windows} are too few to measure a hit rate: {_FEWEST_WINDOWS} at least")
    if grid is not None and data is None:
        raise ConfigurationError("--grid says which homes of a file: --data FILE is missing")
    if partition is not None and partition.count("/") + 1 not in groups:
        raise ConfigurationError(
            f"--partition {partition}: {partition.count('/') + 1} groups are no number of --groups"
        )
    folder, terminal = ResultFolder("theft-ranking", out, report), Terminal()
    village = (
        constructed_homes(homes, history_days, seed) if data is None else read_homes(data, grid, homes, history_days)
    )
    parts = {count: grouped(village, _partition(partition, count), count, minimum) for count in groups}
    with one_line():
        content = _worked_out(village, parts, days, fractions, epsilons, bound_kw, windows, seed)
    for epsilon in epsilons:
        terminal.show(_ranking_sheet(content, epsilon, village, windows))
    terminal.show(_calibration_sheet(content["calibration"]))
    terminal.show(_balance_sheet(content["balance"]))
    terminal.say("What an inspector would be given of one window:\n" + "\n".join(content["example"]) + "\n")
    folder.json(content)
    folder.csv(content["rows"])
    folder.csv(content["comparisons"], "comparisons")
    folder.csv(content["calibration"], "calibration")
    folder.csv(content["balance"], "balance")
    folder.draw(lambda stem: _draw(content, stem))
    folder.close(terminal, f"{village.label}; seed {seed}")


def _partition(text: str | None, groups: int) -> str | None:
    return text if text is not None and text.count("/") + 1 == groups else None


def _worked_out(
    village: HomeHistories, parts: Mapping[int, tuple[tuple[int, ...], ...]], days: Sequence[int], fractions: tuple[float, ...],
    epsilons: Sequence[float | None], bound_kw: float, windows: int, seed: int,
) -> dict[str, Any]:  # fmt: skip
    history = History(village.watt_hours, SLOTS_PER_DAY)
    rows, comparisons, calibration, balance, example = [], [], [], [], list[str]()
    middle = min(days, key=lambda length: abs(length - _MIDDLE_DAYS))
    for count, groups in parts.items():
        for length in dict.fromkeys(days):
            for epsilon in epsilons if length == middle else epsilons[:1]:
                noise = 0.0 if epsilon is None else 1000 * bound_kw * _HALF_HOUR / epsilon
                ranker = Ranker(history, groups, length, noise, seed)
                found, compared = ranking_rows(ranker, fractions, epsilon, windows)
                rows += found
                comparisons += compared
                if epsilon != epsilons[0]:
                    continue
                row, posterior, claims = calibration_row(ranker, fractions, max(windows, _FEWEST_CALIBRATING))
                calibration.append(row)
                example = [s.sentence for s in ranker.example(village.names, fractions[-1], windows, posterior, claims)]
        trial = Trial(village, groups, np.random.default_rng([seed, 7, count]))
        balance += [asdict(row) for row in balance_rows(trial, count, fractions, windows)]
    return {
        "parameters": {
            "homes": village.label, "seed": seed, "windows": windows, "bound_kw": bound_kw,
            "groups": {str(count): [[village.names[home] for home in group] for group in groups] for count, groups in parts.items()},
        },
        "rows": as_rows(rows), "comparisons": as_rows(comparisons), "calibration": as_rows(calibration), "balance": balance,
        "example": example,
    }  # fmt: skip


def _ranking_sheet(content: Mapping[str, Any], epsilon: float | None, village: HomeHistories, windows: int) -> Sheet:
    rows = [row for row in content["rows"] if row["epsilon"] == epsilon]
    how = "exact sums" if epsilon is None else f"epsilon {epsilon:g} in each half hour of the group's sum"
    known = {row["days"]: f"{row['days']} d: {row['sums_per_home']} sums of {row['period_days']} d" for row in rows}
    sheet = Sheet(
        f"Median rank, first, among the first three; {how}; {windows:,} windows a row, {village.label}",
        numbers("groups", "days", "theft", "naive drop", "LLR, normal", "LLR", "times (95 %)"),
        "LLR: Student's law, as fitted to honest homes. times: as often among the first three as by the naive drop. The supplier then "
        f"knows of each home: {'; '.join(known.values())}",
    )
    cells = {(row["groups"], row["days"], row["theft_fraction"], row["method"]): row for row in rows}
    times = {
        (r["groups"], r["days"], r["theft_fraction"]): r for r in content["comparisons"] if r["epsilon"] == epsilon
    }
    for key in dict.fromkeys((row["groups"], row["days"], row["theft_fraction"]) for row in rows):
        each = [cells[*key, method] for method in METHODS]
        compared = times.get(key)
        sheet.add(
            str(key[0]), str(key[1]), f"{key[2]:.0%}",
            *(f"{row['median_rank']:g} {row['top1']:.2f} {row['top3']:.2f}" for row in each),
            f"{compared['top3_ratio']:.2f} ({compared['low']:.2f}-{compared['high']:.2f})" if compared else "-",
        )  # fmt: skip
    return sheet


def _calibration_sheet(rows: Sequence[Mapping[str, Any]]) -> Sheet:
    sheet = Sheet(
        "May a probability stand beside a rank? Claims above 0.9 on windows that fitted nothing",
        [
            *numbers("groups", "days", "temperature", "softmax: claims", "right", "calibrated: claims", "right"),
            *words("shown"),
        ],
        "Shown where so many claims are right that at least 85 % are, beyond chance; else no probability is given",
    )
    for row in rows:
        sheet.add(
            str(row["groups"]), str(row["days"]), f"{row['temperature']:.2f}", f"{row['softmax_claims']} of {row['windows']}",
            str(row["softmax_right"]), str(row["claims"]), str(row["right"]), "yes" if row["shown"] else "no",
        )  # fmt: skip
    return sheet


def _balance_sheet(rows: Sequence[Mapping[str, Any]]) -> Sheet:
    sheet = Sheet(
        "CUSUM on the balance, gain tracked; constructed meter (class 0.5, drift) and losses",
        numbers(
            "groups",
            "theft",
            "missing",
            "false alarms a month",
            "gain fixed",
            "found",
            "median delay",
            "before 95 %",
            "said by true",
        ),
        f"False alarms: {rows[0]['rate']:.0%} are allowed. found: in four weeks. before 95 %: alarms no later than 95 % of simulated ones",
    )
    for row in rows:
        sheet.add(
            str(row["groups"]), f"{row['theft_fraction']:.0%}", f"{row['missing_share']:.2%}", f"{row['false_alarms']:.1%}",
            f"{row['fixed_false_alarms']:.0%}", f"{row['found']:.0%}", _shown(row["delay_days"], "{:g} d"),
            _shown(row["before_95"], "{:.0%}"), _shown(row["estimate"], "{:.2f}"),
        )  # fmt: skip
    return sheet


def _shown(value: float | None, style: str) -> str:
    return "-" if value is None else style.format(value)


def _draw(content: Mapping[str, Any], stem: Path) -> list[Path]:
    from experiments.theft.ranking_figure import draw  # noqa: PLC0415  # matplotlib is an extra

    return draw(content, stem)
