"""z = h(x) + error: the state, what each measurement is of it, and how it moves with it.

The state of a slot is x = (U_0, p of every load, q of every load), per unit. Everything else follows by the power flow, so nodes
without a load take exactly nothing. (Paper 000, eqs. 7 and 9; dh/dx_i where it prints dh/x_i.)
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from grid_operator.arrays import Floats
from grid_operator.estimation.errors import EstimationError
from grid_operator.estimation.measurements import GridQuantity, Measured
from grid_operator.network.errors import NetworkError
from grid_operator.network.feeder import BASE_VA, Feeder
from grid_operator.network.power_flow import PowerFlow, power_flow
from grid_operator.network.sensitivity import LoadOrder, Sensitivity, sensitivity

_OF_LOADS = (GridQuantity.LOAD_WATTS, GridQuantity.LOAD_VARS)
#: A current's magnitude below so many of its own sigmas is taken for no measurement.
_LEAST_IN_SIGMAS = 3.0


class MeasurementModel:
    """Measurements of one feeder and its loads over the same slots, per unit.

    values, sigmas: (slots, rows). single: rows about one state, with the state's column. dense: all other rows.
    """

    def __init__(
        self, feeder: Feeder, load_nodes: Sequence[int] | npt.NDArray[np.intp], rows: Sequence[Measured]
    ) -> None:
        """load_nodes: the node of each load. EstimationError where measurements differ in slots or name what is not there."""
        if not rows:
            raise EstimationError("nothing is measured")
        lengths = {len(row.values) for row in rows}
        if len(lengths) > 1:
            raise EstimationError(f"measurements over different numbers of slots: {sorted(lengths)}")
        self.feeder, self.load_nodes, self.rows = feeder, np.asarray(load_nodes, dtype=np.intp), tuple(rows)
        self.loads, (self.slots,) = len(self.load_nodes), lengths
        self.states = 1 + 2 * self.loads
        for row in rows:
            most = self.loads if row.quantity in _OF_LOADS else len(feeder)
            if not all(0 <= at < most for at in row.where):
                raise EstimationError(
                    f"{row.name}: there is no {'load' if row.quantity in _OF_LOADS else 'node'} of that number"
                )
        units = np.array([self._unit(row) for row in rows])
        self.sigmas = np.column_stack([row.sigmas for row in rows]) / units
        self.present = np.isfinite(self.sigmas)
        self.values = np.where(self.present, np.column_stack([row.values for row in rows]) / units, 0.0)
        self._square_currents()
        alone = [at for at, row in enumerate(rows) if row.quantity in _OF_LOADS and len(row.where) == 1]
        apart = set(alone)
        self.single = np.array(alone, dtype=np.intp)
        self.single_columns = np.array([self.column(rows[at], rows[at].where[0]) for at in alone], dtype=np.intp)
        self.dense = np.array([at for at in range(len(rows)) if at not in apart], dtype=np.intp)
        self._nodes = sorted({rows[at].where[0] for at in self.dense if rows[at].quantity not in _OF_LOADS})
        self.order = LoadOrder(feeder, self.load_nodes)

    def _square_currents(self) -> None:
        """Magnitudes of currents become their squares, which have no kink at 0. One that drowns in its own noise is none."""
        for at, row in enumerate(self.rows):
            if row.quantity is GridQuantity.BRANCH_AMPERES:
                self.sigmas[self.values[:, at] < _LEAST_IN_SIGMAS * self.sigmas[:, at], at] = np.inf
                there = self.present[:, at] = np.isfinite(self.sigmas[:, at])
                value, sigma = self.values[there, at], self.sigmas[there, at]
                self.sigmas[there, at] = np.sqrt(4 * (value * sigma) ** 2 + 2 * sigma**4)
                self.values[there, at] = value**2 - sigma**2

    def column(self, row: Measured, load: int) -> int:
        """Where a load's p or q stands in the state."""
        return 1 + load + (self.loads if row.quantity is GridQuantity.LOAD_VARS else 0)

    def _unit(self, row: Measured) -> float:
        if row.quantity is GridQuantity.VOLTAGE_PER_UNIT:
            return 1.0
        return float(self.feeder.base_amperes[row.where[0]]) if row.quantity is GridQuantity.BRANCH_AMPERES else BASE_VA

    def first_state(self, slots: slice) -> Floats:
        """(slots, states) to begin with: the network's voltage; each load as the surest of its own readings says, or nothing."""
        count = len(self.values[slots])
        x, best = np.zeros((count, self.states)), np.full((count, self.states), np.inf)
        x[:, 0] = self.feeder.slack_voltage_per_unit**2
        for row, column in zip(self.single, self.single_columns, strict=True):
            surer = self.sigmas[slots, row] < best[:, column]
            x[surer, column], best[surer, column] = self.values[slots][surer, row], self.sigmas[slots][surer, row]
        return x

    def solved(self, x: Floats, slots: slice) -> PowerFlow:
        """The power flow of states. EstimationError where there is none, naming the slot."""
        watts, reactive = x[:, 1 : 1 + self.loads] * BASE_VA, x[:, 1 + self.loads :] * BASE_VA
        if not (x[:, 0] > 0).all():
            raise EstimationError(f"slot {slots.start + int(np.argmin(x[:, 0]))}: no voltage fits what was measured")
        try:
            return power_flow(
                self.feeder, self.feeder.at_nodes(self.load_nodes, watts), self.feeder.at_nodes(self.load_nodes, reactive),
                slack_voltage_per_unit=np.sqrt(x[:, 0]), first_slot=slots.start,
            )  # fmt: skip
        except NetworkError as error:
            raise EstimationError(f"no state fits what was measured: {error}") from None

    def expected(self, x: Floats, flow: PowerFlow) -> Floats:
        """h(x), (slots, rows)."""
        h = np.empty((len(x), len(self.rows)))
        h[:, self.single] = x[:, self.single_columns]
        for at in self.dense:
            row = self.rows[at]
            h[:, at] = self._sum(row, x) if row.quantity in _OF_LOADS else self._read(row, flow)
        return h

    def _sum(self, row: Measured, x: Floats) -> Floats:
        return np.asarray(x[:, [self.column(row, load) for load in row.where]].sum(axis=1))

    @staticmethod
    def _read(row: Measured, flow: PowerFlow) -> Floats:
        at = row.where[0]
        if row.quantity is GridQuantity.VOLTAGE_PER_UNIT:
            return np.asarray(flow.voltage_per_unit[:, at])
        if row.quantity is GridQuantity.BRANCH_AMPERES:
            return np.asarray(flow.squared_current[:, at])
        sent = flow.sent_watts if row.quantity is GridQuantity.BRANCH_WATTS else flow.sent_vars
        return np.asarray(sent[:, at] / BASE_VA)

    def slopes(self, flow: PowerFlow) -> Floats:
        """dh/dx of the dense rows, (slots, dense rows, states). That of a single row is 1 in its column."""
        above = [int(self.feeder.up[node]) for node in self._nodes]
        asked = sorted({*self._nodes, *(node for node in above if node >= 0)})
        by = sensitivity(flow, self.order, asked)
        place = {node: at for at, node in enumerate(asked)}
        out = np.zeros((len(flow.squared_voltage), len(self.dense), self.states))
        for at, number in enumerate(self.dense):
            row = self.rows[number]
            if row.quantity in _OF_LOADS:
                out[:, at, [self.column(row, load) for load in row.where]] = 1.0
            else:
                out[:, at] = self._slope(row, flow, by, place)
        return out

    def _slope(self, row: Measured, flow: PowerFlow, by: Sensitivity, place: dict[int, int]) -> Floats:
        node, feeder = row.where[0], self.feeder
        at = place[node]
        if row.quantity is GridQuantity.VOLTAGE_PER_UNIT:
            return np.asarray(by.squared_voltage[:, at] / (2 * flow.voltage_per_unit[:, node, None]))
        if row.quantity is GridQuantity.BRANCH_AMPERES:
            return by.squared_current[:, at]
        active = row.quantity is GridQuantity.BRANCH_WATTS
        passed = by.flow_p[:, at] if active else by.flow_q[:, at]
        if node == 0:
            return passed
        series, terminal = (feeder.r, feeder.terminal_g) if active else (feeder.x, -feeder.terminal_b)
        upper = by.squared_voltage[:, place[int(feeder.up[node])]]
        return np.asarray(passed + series[node] * by.squared_current[:, at] + terminal[node] * upper)
