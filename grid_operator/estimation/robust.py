"""Least absolute deviations, by reweighting: a few wrong measurements pull the state away from least squares, not from this."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from grid_operator.arrays import Floats
from grid_operator.estimation.equations import MeasurementModel
from grid_operator.estimation.least_squares import CHUNK_SLOTS, solve
from grid_operator.estimation.observability import check_observable
from grid_operator.network.feeder import BASE_VA
from grid_operator.network.power_flow import PowerFlow

#: Residuals below so many sigma count as squares; made smaller step by step, so that the way there is smooth.
_WIDTHS = tuple(10.0**-power for power in range(5))
_STEPS = 8


@dataclass(frozen=True, eq=False)
class RobustState:
    """The state with the least sum of |residual| / sigma, to within 1e-4 a measurement. flow: as in `Estimate`; residuals in sigma
    (slots, measurements), nan where nothing was measured. How sure it is is not said.
    """

    flow: PowerFlow
    watts: Floats
    vars: Floats
    residuals: Floats


def estimate_robustly(model: MeasurementModel) -> RobustState:
    """The state of every slot. EstimationError as `grid_operator.estimation.least_squares.estimate`."""
    check_observable(model)
    states, residuals = [], []
    for first in range(0, model.slots, CHUNK_SLOTS):
        slots = slice(first, min(first + CHUNK_SLOTS, model.slots))
        x, flow = solve(model, slots, model.first_state(slots))
        for width in _WIDTHS:
            for _ in range(_STEPS):
                apart = _in_sigmas(model, slots, x, flow)
                x, flow = solve(model, slots, x, 1 / np.maximum(np.abs(apart), width), most_steps=1)
        states.append(x)
        residuals.append(np.where(model.present[slots], _in_sigmas(model, slots, x, flow), np.nan))
    x = np.concatenate(states)
    loads = x[:, 1:] * BASE_VA
    flow = model.solved(x, slice(0, model.slots))
    return RobustState(flow, loads[:, : model.loads], loads[:, model.loads :], np.concatenate(residuals))


def _in_sigmas(model: MeasurementModel, slots: slice, x: Floats, flow: PowerFlow) -> Floats:
    apart = (model.values[slots] - model.expected(x, flow)) / model.sigmas[slots]
    return np.asarray(np.where(model.present[slots], apart, 1.0))
