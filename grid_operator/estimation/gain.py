"""The normal equations of many slots at once, solved where they are small.

Most rows are readings or assumptions about a single state: they make the gain a diagonal D. The few others, A with variances R, are
eliminated into a system no larger than they are, together with the states u that no single row speaks of:

    [ R + A_c D^-1 A_c'   A_u ] [ lambda ]   [ r - A_c D^-1 g ]
    [ A_u'                 0  ] [  dx_u  ] = [       0        ],        dx_c = D^-1 (g + A_c' lambda)

The covariance of the state is diag(D^-1, 0) - B K^-1 B' with K the matrix above and B = diag(D^-1 A_c', 1).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from grid_operator.arrays import Floats
from grid_operator.estimation.equations import MeasurementModel
from grid_operator.estimation.errors import EstimationError
from grid_operator.network.power_flow import PowerFlow


@dataclass(frozen=True, eq=False)
class Covariance:
    """Of the state, in each slot: diag(own) - low @ core @ low'. own: (slots, states); low: (slots, states, k)."""

    own: Floats
    low: Floats
    core: Floats

    def deviations(self, slopes: Floats) -> Floats:
        """The standard deviation of quantities with these slopes: (slots, quantities, states) to (slots, quantities)."""
        tied = slopes @ self.low
        squared = np.einsum("sij,sj->si", slopes**2, self.own) - np.einsum("sij,sij->si", tied @ self.core, tied)
        return np.asarray(np.sqrt(np.maximum(squared, 0.0)))

    def of_states(self) -> Floats:
        """The standard deviation of each state."""
        squared = self.own - np.einsum("sij,sij->si", self.low @ self.core, self.low)
        return np.asarray(np.sqrt(np.maximum(squared, 0.0)))

    def whole(self) -> Floats:
        """(slots, states, states)."""
        out = -self.low @ self.core @ self.low.transpose(0, 2, 1)
        np.einsum("sii->si", out)[...] += self.own
        return np.asarray(out)


class NormalEquations:
    """H' W H dx = H' W (z - h(x)) at states x of some slots. EstimationError where the measurements leave a state open."""

    def __init__(
        self, model: MeasurementModel, slots: slice, x: Floats, flow: PowerFlow, reweighted: Floats | None = None
    ) -> None:
        present = model.present[slots]
        weights = np.where(present, model.sigmas[slots] ** -2.0, 0.0)
        if reweighted is not None:
            weights = weights * reweighted
        apart = np.where(present, model.values[slots] - model.expected(x, flow), 0.0)
        own, gradient = np.zeros_like(x), np.zeros_like(x)
        for row, column in zip(model.single, model.single_columns, strict=True):
            own[:, column] += weights[:, row]
            gradient[:, column] += weights[:, row] * apart[:, row]
        self._covered = np.asarray((own > 0).all(axis=0))
        own[:, ~self._covered] = gradient[:, ~self._covered] = 0.0
        left = ~self._covered[model.single_columns]
        rows = np.concatenate([model.dense, model.single[left]])
        slopes = _with_unit_rows(model.slopes(flow), model.single_columns[left])
        there = weights[:, rows] > 0
        self._slopes = slopes * there[:, :, None]
        self._variances = np.where(there, 1 / np.where(there, weights[:, rows], 1.0), 1.0)
        self._apart = apart[:, rows] * there
        self._inverse = np.where(self._covered, 1 / np.where(self._covered, own, 1.0), 0.0)
        self._gradient, self._first = gradient, slots.start

    @cached_property
    def _core(self) -> tuple[Floats, Floats]:
        """K^-1, and D^-1 A_c' (slots, states, rows)."""
        passed = self._inverse[:, :, None] * self._slopes.transpose(0, 2, 1)
        count, bare = self._slopes.shape[1], int((~self._covered).sum())
        k = np.zeros((len(passed), count + bare, count + bare))
        k[:, :count, :count] = self._slopes @ passed
        np.einsum("sii->si", k)[:, :count] += self._variances
        open_ = self._slopes[:, :, ~self._covered]
        k[:, :count, count:], k[:, count:, :count] = open_, open_.transpose(0, 2, 1)
        scale = np.ones(k.shape[:2])
        scale[:, :count] = 1 / np.sqrt(np.einsum("sii->si", k)[:, :count])
        lengths = np.linalg.norm(open_ * scale[:, :count, None], axis=1)
        if not (lengths > 0).all():
            raise EstimationError(
                f"slot {self._first + int(np.argwhere(~(lengths > 0))[0, 0])}: a state is in no measurement"
            )
        scale[:, count:] = 1 / lengths
        both = scale[:, :, None] * scale[:, None, :]
        try:
            return np.linalg.inv(k * both) * both, passed
        except np.linalg.LinAlgError:
            raise EstimationError(f"slots from {self._first}: the measurements do not determine the state") from None

    def pull(self) -> Floats:
        """H' W (z - h(x)), (slots, states): half of how fast J falls with each state."""
        return np.asarray(self._gradient + ((self._apart / self._variances)[:, None, :] @ self._slopes)[:, 0])

    def step(self) -> Floats:
        """dx, (slots, states)."""
        return self._solved(self._gradient, self._apart, np.zeros(int((~self._covered).sum())))

    def step_of(self, pull: Floats) -> Floats:
        """The same for another right side, (slots, states)."""
        return self._solved(pull, np.zeros_like(self._apart), -pull[:, ~self._covered])

    def _solved(self, single: Floats, apart: Floats, bare: Floats) -> Floats:
        """dx where single rows pull by g = `single`, the others are `apart`, and `bare` stands below on the right."""
        core, passed = self._core
        rows, alone = apart.shape[1], self._inverse * single
        right = np.empty(core.shape[:2])
        right[:, :rows] = apart - np.einsum("sij,sj->si", self._slopes, alone)
        right[:, rows:] = bare
        solved = np.einsum("sij,sj->si", core, right)
        step = alone + np.einsum("sij,sj->si", passed, solved[:, :rows])
        step[:, ~self._covered] = solved[:, rows:]
        return np.asarray(step)

    def covariance(self) -> Covariance:
        """Of the state, where these equations are those of the solution."""
        core, passed = self._core
        unit = np.eye(self._inverse.shape[1])[:, ~self._covered]
        low = np.concatenate([passed, np.broadcast_to(unit, (len(core), *unit.shape))], axis=2)
        return Covariance(self._inverse, low, core)


def _with_unit_rows(slopes: Floats, columns: npt.NDArray[np.intp]) -> Floats:
    """More rows, each 1 in its column."""
    if not len(columns):
        return slopes
    rows = np.eye(slopes.shape[2])[columns]
    return np.concatenate([slopes, np.broadcast_to(rows, (len(slopes), *rows.shape))], axis=1)
