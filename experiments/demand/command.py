"""`hushgrid experiment demand-response`: how seldom may loads be seen, and what does noise leave of control?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import click

from experiments.demand.feeder_rows import (
    FeederStage,
    NoiseTerms,
    beside,
    cap_of,
    coverage,
    noisy_rows,
    proxy_rows,
)
from experiments.demand.homes import Homes, read_homes
from experiments.demand.paper import (
    ALPHA,
    BETA,
    BOUND,
    SIGMA,
    SLOW_ALPHA,
    TARGET,
    Nominal,
    Question,
    drift,
    held_back,
    longest,
    nominal,
    paper_rows,
    slow_rows,
)
from experiments.demand.tables import (
    beside_sheet,
    coverage_sheet,
    drift_sheet,
    held_back_sheet,
    noisy_sheet,
    paper_sheet,
    proxy_sheet,
    slow_sheet,
)
from experiments.options import decimals, whole_numbers
from experiments.results import ResultFolder, result_options
from grid_operator import noise
from grid_operator.demand.baselines import Habit
from grid_operator.demand.feeder import Act, Released
from grid_operator.demand.model import SigmaReading
from hushgrid.cli import NumberRange, stops_with_one_line
from hushgrid.errors import ConfigurationError
from hushgrid.printing import Terminal

_Command = TypeVar("_Command", bound=Callable[..., Any])

#: The intervals for which the 99 % band is counted.
_COVERED = (1, 4, 8)
_LONGER = 10
#: Runs of the two loads for each run of a feeder.
_MODEL_RUNS = 100


def home_options(command: _Command) -> _Command:
    """Whose flows are controlled, and on which days."""
    file = click.Path(dir_okay=False, path_type=Path)
    for option in (
        click.option("--seed", default=1, show_default=True, type=click.IntRange(0)),
        click.option(
            "--cap", "cap_kw", type=NumberRange(), help="kW; three quarters of the highest flow if not given."
        ),
        click.option("--meters", default=57, show_default=True, type=click.IntRange(2), help="Homes, without --grid."),
        click.option("--grid", type=file, help="A grid's JSON: the homes at its loads, by their lcl_meter."),
        click.option("--data", type=file, help="Readings of homes; constructed ones if not given."),
    ):
        command = option(command)
    return command


@click.command("demand-response")
@click.option("--alpha", default=ALPHA, show_default=True, callback=decimals, help="A's diagonal, a list.")
@click.option("--beta", default=BETA, show_default=True, callback=decimals, help="B's diagonal, a list.")
@click.option("--sigma", default=SIGMA, show_default=True, callback=decimals, help="Sigma's diagonal, a list.")
@click.option(
    "--sigma-is",
    default="both",
    show_default=True,
    type=click.Choice([*(reading.value for reading in SigmaReading), "both"]),
)
@click.option("--target", default=TARGET, show_default=True, type=NumberRange(0, min_open=True), help="Y*.")
@click.option("--bound", default=BOUND, show_default=True, type=NumberRange(0, min_open=True), help="Y_b.")
@click.option("--intervals", default="1,2,4,8,16,48", show_default=True, callback=whole_numbers, help="N, a list.")
@click.option(
    "--miss", default="1e-4,5e-5", show_default=True, callback=decimals, help="Probabilities to miss the band."
)
@click.option("--runs", default=100, show_default=True, type=click.IntRange(2, 10_000), help="Simulated runs.")
@click.option(
    "--habit", default=Habit.PROFILE.value, show_default=True, type=click.Choice([habit.value for habit in Habit])
)
@click.option("--act", default=Act.HOLD.value, show_default=True, type=click.Choice([act.value for act in Act]))
@click.option("--first-day", default=35, show_default=True, type=click.IntRange(7))
@click.option("--days", default=7, show_default=True, type=click.IntRange(1))
@click.option("--flexible-fraction", default=1.0, show_default=True, type=NumberRange(0, 1), help="Of the habit.")
@click.option("--price", default=2.0, show_default=True, type=NumberRange(0), help="Of a kW of control, in kW^2.")
@click.option("--sensitivity-kw", default=13.8, show_default=True, type=NumberRange(0, min_open=True),
              help="Of one home in one round, by contract: 6,900 Wh in half an hour.")  # fmt: skip
@click.option("--epsilon-per-day", default="33.12,10,1", show_default=True, callback=decimals,
              help="Budgets, a list; 33.12 is noise of scale 20 kW at 13.8 kW.")  # fmt: skip
@click.option("--nodes", callback=lambda c, p, v: whole_numbers(c, p, v) if v else (), metavar="COUNTED,FEWEST,T",
              help="Noise drawn by nodes; one curator's if not given.")  # fmt: skip
@click.option("--stretches", default=40, show_default=True, type=click.IntRange(1), help="Of days, for the 99 % band.")
@click.option("--long", is_flag=True, help="Ten times as many runs.")
@home_options
@result_options("demand-response")
@stops_with_one_line
def demand_response(out: Path, report: Path | None, **chosen: Any) -> None:
    """How seldom loads may be seen to stay below a cap (the paper's Figs. 1 to 3), and what noise leaves of it."""
    folder, terminal = ResultFolder("demand-response", out, report), Terminal()
    try:
        _play(folder, terminal, chosen)
    except ValueError as error:
        raise ConfigurationError(str(error)) from None


def _play(folder: ResultFolder, terminal: Terminal, chosen: dict[str, Any]) -> None:
    once = {
        "intervals": sorted(set(chosen["intervals"])),
        "epsilon_per_day": list(dict.fromkeys(chosen["epsilon_per_day"])),
    }
    chosen = chosen | once
    runs, seed, intervals = chosen["runs"] * (_LONGER if chosen["long"] else 1), chosen["seed"], chosen["intervals"]
    model_runs = _MODEL_RUNS * runs
    question = Question(chosen["alpha"], chosen["beta"], chosen["sigma"], chosen["target"], chosen["bound"])
    readings = list(SigmaReading) if chosen["sigma_is"] == "both" else [SigmaReading(chosen["sigma_is"])]
    for reading in readings:
        question.loads(reading)
    homes = read_homes(chosen["data"], chosen["grid"], chosen["meters"], seed)
    for interval in intervals:
        Released(interval=interval).check(homes.rounds_per_day)
    stage, terms = _stage(homes, question, chosen, runs)
    every = (*intervals, None)
    rows = [row for reading in readings for row in paper_rows(question, reading, every, model_runs, seed)]
    slow = slow_rows(every)
    drifts = [row for reading in readings for row in drift(question, reading, model_runs, seed)]
    limited = [row for reading in readings for row in held_back(question, reading, model_runs, seed)]
    answers = [answer for reading in readings for answer in longest(question, reading, chosen["miss"])]
    for reading in readings:
        terminal.show(paper_sheet([row for row in rows if row.sigma == reading], reading.value, model_runs))
    for answer in answers:
        terminal.say(f"Sigma as {answer.sigma}s, Pr >= 1 - {answer.miss:g}: {answer.words}")
    terminal.say("")
    terminal.show(slow_sheet(slow, SLOW_ALPHA))
    terminal.show(drift_sheet(drifts, model_runs))
    terminal.show(held_back_sheet(limited, model_runs))
    found = _feeder(terminal, homes, stage, terms, chosen)
    noisy, proxy = found["noisy"], found["proxy"]
    folder.json(
        {
            "parameters": {name: _plain(value) for name, value in chosen.items()} | {"homes": homes.label, "estimated": homes.estimated,
            "cap_kw": stage.cap.kilowatts, "alpha_fitted": stage.feeder.alpha, "variance_fitted": stage.feeder.variance},
            "rows": [asdict(row) for row in rows] + [_flat(row) for row in noisy],
            "slow": [asdict(row) for row in slow],
            "drift": [asdict(row) for row in drifts],
            "held_back": [asdict(row) for row in limited],
            "longest": [asdict(row) for row in answers],
        }
        | {name: [asdict(row) for row in found[name]] for name in ("beside", "coverage", "proxy")}
    )  # fmt: skip
    folder.csv([asdict(row) for row in [*rows, *slow]])
    folder.csv([_flat(row) for row in noisy], "feeder")
    folder.csv([asdict(row) for row in found["beside"]], "beside")
    folder.csv([asdict(row) for row in proxy], "proxy")
    shown = nominal(question, readings[0], seed)
    folder.draw(lambda stem: _draw(rows, shown, readings[0], question, found, homes, stem))
    folder.close(terminal, f"seed {seed}")


def _stage(homes: Homes, question: Question, chosen: dict[str, Any], runs: int) -> tuple[FeederStage, NoiseTerms]:
    if chosen["nodes"] and len(chosen["nodes"]) != 3:
        raise ConfigurationError("--nodes takes three whole numbers: contributions counted, n_min and t")
    feeder = homes.feeder(Habit(chosen["habit"]), chosen["first_day"], chosen["days"])
    cap = cap_of(feeder, chosen["cap_kw"], chosen["flexible_fraction"], Act(chosen["act"]))
    factor = noise.nodes_factor(*chosen["nodes"]) if chosen["nodes"] else 1.0
    margin = cap.kilowatts * question.bound / question.target
    terms = NoiseTerms(chosen["sensitivity_kw"], factor, margin)
    for epsilon in chosen["epsilon_per_day"]:
        noise.scale_per_day(terms.sensitivity_kw, 1, homes.rounds_per_day, epsilon)
    return FeederStage(feeder, cap, homes.rounds_per_day, runs, chosen["seed"]), terms


def _feeder(
    terminal: Terminal, homes: Homes, stage: FeederStage, terms: NoiseTerms, chosen: dict[str, Any]
) -> dict[str, list[Any]]:
    """All rows about the feeder, shown."""
    intervals, budgets, seed = chosen["intervals"], chosen["epsilon_per_day"], chosen["seed"]
    terminal.say(
        f"{homes.power_kw.shape[1]} homes {homes.label}; {homes.estimated:,} readings are missing and are those of the nearest day; days "
        f"{chosen['first_day']} to {chosen['first_day'] + chosen['days'] - 1}; alpha {stage.feeder.alpha:.2f} fitted"
    )
    noisy = noisy_rows(stage, terms, intervals, budgets, "day")
    noisy += noisy_rows(stage, terms, intervals, [budgets[0] / homes.rounds_per_day], "window")
    others = beside(stage, intervals, chosen["price"])
    covered = coverage(
        homes, stage.cap, [n for n in _COVERED if homes.rounds_per_day % n == 0], chosen["stretches"], seed
    )
    days = slice(chosen["first_day"], chosen["first_day"] + chosen["days"])
    scale = noisy[0].noise_scale_kw
    proxy = proxy_rows(homes, days, intervals, scale, seed)
    for sheet in (noisy_sheet(noisy, stage.cap.kilowatts, stage.runs), beside_sheet(others), coverage_sheet(covered)):
        terminal.show(sheet)
    terminal.show(proxy_sheet(proxy, scale))
    return {"noisy": noisy, "beside": others, "coverage": covered, "proxy": proxy}


def _flat(row: Any) -> dict[str, object]:
    found: dict[str, object] = asdict(row)
    return {**asdict(row.row), **{name: value for name, value in found.items() if name != "row"}}


def _plain(value: object) -> object:
    return str(value) if isinstance(value, Path) else list(value) if isinstance(value, tuple) else value


def _draw(
    rows: Any, shown: Nominal, reading: SigmaReading, question: Question, found: dict[str, list[Any]], homes: Homes, stem: Path
) -> list[Path]:  # fmt: skip
    from experiments.demand.figure import draw_feeder, draw_paper  # noqa: PLC0415  # matplotlib is an extra

    beyond = stem.with_name(f"{stem.name}-feeder")
    return [
        *draw_paper(rows, shown, reading.value, question, stem),
        *draw_feeder(found["noisy"], found["beside"], found["proxy"], homes.label, beyond),
    ]
