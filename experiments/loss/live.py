"""`live`: the testbed's processes over the broker, compared window by window with what the loss function alone predicts."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from experiments.loss.formula import Point
from experiments.loss.row import LossRow, row
from hushgrid.conducted.loss import LossModel
from hushgrid.core.recovery import Recovery
from hushgrid.errors import ConfigurationError
from testbed.choices.groups import GridChoice, LinkChoice, MachineChoice, PlayChoice
from testbed.choices.parameters import Parameters
from testbed.deployment import CONFIGURATOR
from testbed.households import Truth, constructed_truth
from testbed.run.play import Run, play
from testbed.verdict.prediction import PredictedRule, included, predicted_rules, unrecovered


@dataclass(frozen=True, slots=True)
class Prediction:
    """What must come: (first round of a window) -> included pairs, None when the window is not recovered."""

    windows: dict[int, int | None]

    @property
    def recovered(self) -> int:
        """How many windows are predicted to be recovered."""
        return sum(count is not None for count in self.windows.values())


def play_point(point: Point, rounds: int, seed: int, broker: str, tell: Callable[[str], None]) -> LossRow:
    """Run a testbed with one consumer; ConfigurationError when it cannot be started or gets stuck."""
    began = time.perf_counter()
    grid = GridChoice(
        meters=point.meters,
        ppns=point.width,
        consumers=1,
        threshold=point.threshold,
        width=point.width,
        windows=(point.window,),
        minimum_contributors=point.minimum,
        recovery=point.recovery,
        repair_attempts=point.repairs,
    )
    parameters = Parameters(
        grid, PlayChoice(rounds=rounds, seed=seed), MachineChoice(broker=broker), LinkChoice(loss=point.loss)
    )
    parameters.check()
    truth = constructed_truth(grid.meters, rounds, seed=seed)
    wishes = parameters.wishes(truth.meters)
    directory = Path(tempfile.mkdtemp(prefix="hushgrid-"))
    try:
        run = asyncio.run(play(parameters, truth, wishes, directory, tell))
        if run.outcome.stalled:
            raise ConfigurationError(f"the live run over {point.meters} meters got stuck: {run.outcome.stalled}")
        rules = predicted_rules(directory / CONFIGURATOR)
        return _row(point, run, predict(point, rules, LossModel(seed, point.loss), truth), time.perf_counter() - began)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def predict(point: Point, rules: list[PredictedRule], model: LossModel, truth: Truth) -> Prediction:
    """From the link's pure function alone: which windows are recovered, over how many pairs."""
    (rule,) = rules
    firsts = range(-(-truth.first_round // point.window) * point.window, truth.last_round + 1, point.window)
    windows = [range(first, first + point.window) for first in firsts if first + point.window - 1 <= truth.last_round]
    if point.recovery is Recovery.NONE:
        failed = {first for _, first in unrecovered(model, rules, point.threshold, truth.first_round, truth.last_round)}
        pairs = len(rule.cohort) * point.window
        return Prediction({w.start: None if w.start in failed else pairs for w in windows})
    attempts = point.repairs if point.recovery is Recovery.REPAIR else 0
    found: dict[int, int | None] = {}
    for window in windows:
        counts = [len(included(model, rules, r, repair_attempts=attempts)) for r in window]
        sound = min(counts) >= point.minimum and sum(counts) >= point.coverage_floor * len(rule.cohort) * point.window
        found[window.start] = sum(counts) if sound else None
    return Prediction(found)


def _row(point: Point, run: Run, prediction: Prediction, seconds: float) -> LossRow:
    rows = run.verdict.rows
    released = [r for r in rows if r.status == "released"]
    found = {r.first_round: r.included if r.status == "released" else None for r in rows}
    included_, expected = sum(r.included for r in released), sum(r.expected for r in released)
    return row(
        point,
        "live",
        len(rows) * point.window,
        len(released),
        len(released) / len(rows) if rows else 0.0,
        included_ / expected if expected else float("nan"),
        point.width * run.outcome.messages_per_share,
        run.verdict.counts["wrong"],
        seconds=seconds,
        predicted=prediction.recovered,
        as_predicted=found == prediction.windows,
        seed=run.parameters.play.seed,
    )
