"""Weighted least squares by Gauss-Newton: the state that fits all measurements best, and how sure it is.

    x += (H' W H)^-1 H' W (z - h(x)),   W = diag(1 / sigma^2)

(Paper 000, eq. 8; its eq. 11 prints diag(sigma^2) for W.) The covariance of the state is (H' W H)^-1 at the solution, that of any
quantity y(x) is Y (H' W H)^-1 Y' with its slopes Y. All slots of a chunk are solved side by side.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from grid_operator.arrays import Floats
from grid_operator.estimation.curvature import Curvature
from grid_operator.estimation.equations import MeasurementModel
from grid_operator.estimation.errors import EstimationError
from grid_operator.estimation.gain import NormalEquations
from grid_operator.estimation.observability import check_observable
from grid_operator.network.feeder import BASE_VA
from grid_operator.network.power_flow import PowerFlow
from grid_operator.network.sensitivity import sensitivity

#: No state, per unit of 1 MVA, moves by more than this in the last step.
TOLERANCE = 1e-11
MOST_STEPS = 200
CHUNK_SLOTS = 128
_MOST_HALVINGS = 25
#: J that falls by less, in parts of 1 + J, has come to its end, too.
_NO_BETTER = 1e-13
#: J that rises by no more than that is no worse: flows are swept to 1e-12 only.
_NO_WORSE = 1e-11
#: A residual that no other measurement checks: what is left of its variance, as a fraction.
_UNCHECKED = 1e-9


@dataclass(frozen=True, eq=False)
class Estimate:
    """The estimated state of each slot and how sure it is. S slots, n nodes, d loads, m measurements.

    flow: the power flow of the state: every voltage, flow and loading. watts, vars: (S, d) of the loads. watts_sigma, vars_sigma (S, d),
    voltage_sigma (S, n; per unit), loading_sigma (S, n; fraction): standard deviations. squared_residuals (S,): J, the sum of squared
    residuals over their variances. surplus (S,): measurements more than states. normalised (S, m): each residual over its own
    deviation; nan where nothing was measured, or nothing else checks it. covariance: (S, 1 + 2d, 1 + 2d), per unit; None unless asked.
    """

    flow: PowerFlow
    watts: Floats
    vars: Floats
    watts_sigma: Floats
    vars_sigma: Floats
    voltage_sigma: Floats
    loading_sigma: Floats
    squared_residuals: Floats
    surplus: Floats
    normalised: Floats
    covariance: Floats | None = None


def estimate(model: MeasurementModel, *, covariance: bool = False) -> Estimate:
    """The state of every slot. EstimationError where it cannot be observed, or nothing fits, naming the slot."""
    check_observable(model)
    parts = []
    for first in range(0, model.slots, CHUNK_SLOTS):
        slots = slice(first, min(first + CHUNK_SLOTS, model.slots))
        x, flow = solve(model, slots, model.first_state(slots))
        parts.append(_with_uncertainty(model, slots, x, flow, covariance=covariance))
    return _joined(model, parts)


def estimated_flow(model: MeasurementModel) -> PowerFlow:
    """The same states by their power flow alone, in a fraction of the time: how sure they are is not worked out."""
    check_observable(model)
    chunks = (slice(first, min(first + CHUNK_SLOTS, model.slots)) for first in range(0, model.slots, CHUNK_SLOTS))
    x = np.concatenate([solve(model, slots, model.first_state(slots))[0] for slots in chunks])
    return model.solved(x, slice(0, model.slots))


def solve(
    model: MeasurementModel, slots: slice, x: Floats, reweighted: Floats | None = None, *, most_steps: int = MOST_STEPS
) -> tuple[Floats, PowerFlow]:
    """Gauss-Newton from x; reweighted: factors (slots, rows) on the weights. A step that fits worse is halved until it does not.

    A slot that has come to its end stays there. EstimationError where one comes to none; fewer `most_steps` than usual end where they end.
    """
    flow = model.solved(x, slots)
    misfit = _misfit(model, slots, x, flow, reweighted)
    curvature, ended = Curvature(), np.zeros(len(x), dtype=np.bool_)
    for _ in range(most_steps):
        step = curvature.step(NormalEquations(model, slots, x, flow, reweighted))
        step[ended] = 0.0
        for _ in range(_MOST_HALVINGS):
            there = model.solved(x + step, slots)
            after = _misfit(model, slots, x + step, there, reweighted)
            worse = (after > misfit + _NO_WORSE * (1 + misfit)) & (np.abs(step).max(axis=1) > TOLERANCE)
            if not worse.any():
                break
            step = np.where(worse[:, None], step / 2, step)
        curvature.took(step)
        better = misfit - after
        x, flow, misfit = x + step, there, after
        ended |= (better < _NO_BETTER * (1 + misfit)) | (np.abs(step).max(axis=1) < TOLERANCE)
        if ended.all():
            return x, flow
    if most_steps == MOST_STEPS:
        raise EstimationError(f"slot {slots.start + int(np.argmin(ended))}: no end after {MOST_STEPS} steps")
    return x, flow


def _misfit(model: MeasurementModel, slots: slice, x: Floats, flow: PowerFlow, reweighted: Floats | None) -> Floats:
    """J of each slot: the weighted sum of squared residuals."""
    apart = ((model.values[slots] - model.expected(x, flow)) / model.sigmas[slots]) ** 2
    return np.asarray((apart if reweighted is None else apart * reweighted).sum(axis=1))


def _with_uncertainty(
    model: MeasurementModel, slots: slice, x: Floats, flow: PowerFlow, *, covariance: bool
) -> dict[str, Floats]:
    """Everything of an `Estimate` but its power flow, of one chunk."""
    spread = NormalEquations(model, slots, x, flow).covariance()
    by = sensitivity(flow, model.order, range(len(model.feeder)))
    own = spread.of_states()
    amount = np.sqrt(np.maximum(flow.squared_current, 1e-18))
    amperes = spread.deviations(by.squared_current) / (2 * amount) * model.feeder.base_amperes
    residuals = np.where(model.present[slots], model.values[slots] - model.expected(x, flow), 0.0)
    explained = np.empty_like(residuals)
    explained[:, model.single] = own[:, model.single_columns] ** 2
    explained[:, model.dense] = spread.deviations(model.slopes(flow)) ** 2
    variances = model.sigmas[slots] ** 2
    left = np.where(model.present[slots], variances - explained, 0.0)
    checked = left > _UNCHECKED * variances
    return {
        "x": x,
        "u": flow.squared_voltage,
        "watts_sigma": own[:, 1 : 1 + model.loads] * BASE_VA,
        "vars_sigma": own[:, 1 + model.loads :] * BASE_VA,
        "voltage_sigma": spread.deviations(by.squared_voltage) / (2 * flow.voltage_per_unit),
        "loading_sigma": amperes / model.feeder.rated_amperes,
        "squared_residuals": (residuals**2 / np.where(model.present[slots], variances, 1.0)).sum(axis=1),
        "normalised": np.where(checked, residuals / np.sqrt(np.where(checked, left, 1.0)), np.nan),
    } | ({"covariance": spread.whole()} if covariance else {})


def _joined(model: MeasurementModel, parts: list[dict[str, Floats]]) -> Estimate:
    whole = {name: np.concatenate([part.pop(name) for part in parts]) for name in list(parts[0])}
    x = whole.pop("x")
    whole.pop("u")
    flow = model.solved(x, slice(0, model.slots))
    loads = x[:, 1:] * BASE_VA
    surplus = model.present.sum(axis=1) - float(model.states)
    return Estimate(flow, loads[:, : model.loads], loads[:, model.loads :], surplus=surplus, **whole)
