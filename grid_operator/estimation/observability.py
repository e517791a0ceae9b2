"""What measurements determine: whether the state can be estimated at all, and which nodes and loads only assumptions speak of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from grid_operator.arrays import Floats
from grid_operator.estimation.equations import MeasurementModel
from grid_operator.estimation.errors import EstimationError
from grid_operator.estimation.measurements import GridQuantity
from grid_operator.network.sensitivity import sensitivity

#: States as large as they are expected, so that ranks mean something: 1 % of a squared voltage, 1 kW, 1 kvar.
_USUAL_VOLTAGE, _USUAL_POWER = 0.01, 1e-3
#: What a direction is left with, as a fraction, and still counts as determined. Losses tie everything together by a little.
_DETERMINED = 1e-6


@dataclass(frozen=True, slots=True)
class Darkness:
    """What no measurement determines, assumptions left out: nodes by name, loads by number, for p and for q."""

    nodes: tuple[str, ...]
    loads: tuple[int, ...]
    reactive_loads: tuple[int, ...]


def check_observable(model: MeasurementModel) -> None:
    """EstimationError naming a slot, and a state that neither a measurement nor an assumption determines in it."""
    volts = np.array([row.quantity is GridQuantity.VOLTAGE_PER_UNIT for row in model.rows])
    dark = ~model.present[:, volts].any(axis=1)
    if dark.any():
        raise EstimationError(f"slot {int(np.argmax(dark))}: no voltage is measured")
    for slot in _suspects(model):
        matrix = _scaled_slopes(model, slot, model.present[slot])
        missing = _undetermined(matrix, np.eye(model.states))
        if missing.any():
            raise EstimationError(
                f"slot {slot}: {_state_name(model, int(np.argmax(missing)))} cannot be observed: no measurement and no assumption "
                f"determines it ({int(missing.sum())} such states)"
            )


def darkness(model: MeasurementModel, slot: int = 0) -> Darkness:
    """Which nodes' voltages and which loads only assumptions speak of, in one slot."""
    real = model.present[slot] & ~np.array([row.pseudo for row in model.rows])
    matrix = _scaled_slopes(model, slot, real)
    at = slice(slot, slot + 1)
    flow = model.solved(model.first_state(at), at)
    asked = sorted(set(model.feeder.at.values()))
    volts = sensitivity(flow, model.order, asked).squared_voltage[0] * _usual(model)
    loads = _undetermined(matrix, np.eye(model.states)[1:])
    hidden = {node for node, missing in zip(asked, _undetermined(matrix, volts), strict=True) if missing}
    return Darkness(
        tuple(name for name, node in model.feeder.at.items() if node in hidden),
        tuple(np.flatnonzero(loads[: model.loads]).tolist()),
        tuple(np.flatnonzero(loads[model.loads :]).tolist()),
    )


def _suspects(model: MeasurementModel) -> Sequence[int]:
    """A slot for each pattern of what is there, where not every load has a reading or an assumption of its own."""
    covered = np.zeros((model.slots, model.states), dtype=bool)
    for row, column in zip(model.single, model.single_columns, strict=True):
        covered[:, column] |= model.present[:, row]
    bare = np.flatnonzero(~covered[:, 1:].all(axis=1))
    if not len(bare):
        return []
    _, firsts = np.unique(model.present[bare], axis=0, return_index=True)
    return [int(bare[first]) for first in sorted(firsts)]


def _usual(model: MeasurementModel) -> Floats:
    return np.concatenate([[_USUAL_VOLTAGE], np.full(2 * model.loads, _USUAL_POWER)])


def _scaled_slopes(model: MeasurementModel, slot: int, rows: npt.NDArray[np.bool_]) -> Floats:
    """dh/dx of some rows in one slot, each state in units of what is usual and each row of length 1."""
    at = slice(slot, slot + 1)
    whole = np.zeros((len(model.rows), model.states))
    whole[model.single, model.single_columns] = 1.0
    whole[model.dense] = model.slopes(model.solved(model.first_state(at), at))[0]
    chosen = whole[rows] * _usual(model)
    return np.asarray(chosen / np.maximum(np.linalg.norm(chosen, axis=1, keepdims=True), 1e-300))


def _undetermined(matrix: Floats, directions: Floats) -> npt.NDArray[np.bool_]:
    """Of each direction (a row), whether the rows of the matrix leave some of it open."""
    if len(matrix) == 0:
        return np.ones(len(directions), dtype=bool)
    _, sizes, basis = np.linalg.svd(matrix, full_matrices=False)
    kept = basis[sizes > _DETERMINED * sizes[0]]
    rest = directions - (directions @ kept.T) @ kept
    return np.asarray(np.linalg.norm(rest, axis=1) > 1e-5 * np.linalg.norm(directions, axis=1))


def _state_name(model: MeasurementModel, state: int) -> str:
    if state == 0:
        return "the slack's voltage"
    load = (state - 1) % model.loads
    return f"{'watts' if state <= model.loads else 'vars'} of load {load} at node {model.feeder.names[model.load_nodes[load]]}"
