"""DistFlow: voltages, flows, losses and loading of a radial feeder, for many slots at once.

Per unit, node l below branch l; P, Q at the receiving end of the series branch, U = u^2:

    P_l    = sum p + sum P_m^up + U_l sum g
    Q_l    = sum q + sum Q_m^up - U_l sum b
    ell_l  = (P_l^2 + Q_l^2) / U_l                     the series current, squared
    P_l^up = P_l + r_l ell_l ;  Q_l^up = Q_l + x_l ell_l
    U_l    = U_up - 2 (r_l P_l + x_l Q_l) - (r_l^2 + x_l^2) ell_l

Swept backward and forward until no U moves by more than 1e-12. Balanced networks only. A reading of a half hour is a mean power: what
comes out is the state of a mean load, not the mean of states.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from grid_operator.arrays import Floats
from grid_operator.network.errors import NetworkError
from grid_operator.network.feeder import BASE_VA, Feeder

#: Sweeps end when no squared voltage (per unit) moves by more than this.
TOLERANCE = 1e-12
#: Far more than a feeder with a solution needs; close below its collapse a few dozen.
MOST_SWEEPS = 500
#: Slots that are swept together: their arrays stay in the processor's cache.
CHUNK_SLOTS = 512
#: Fewer than these are summed over the tree by a matrix.
_FEW_SLOTS = 48
#: With that many nodes the matrix holds its zeros, too.
_FEW_NODES = 64


class Equations(enum.Enum):
    """Which equations: the sound ones, or the paper's as printed, for reproduction only."""

    SOUND = "sound"
    #: Eq. 2 adds (r^2 + x^2) ell, with the downstream P and Q.
    PRINTED_VOLTAGE = "printed-2"
    #: Eq. 1.b takes the lines' charging twice.
    PRINTED_CHARGING = "printed-1b"


@dataclass(frozen=True, eq=False)
class PowerFlow:
    """The state of a feeder in each slot. Arrays (slots, n) over the feeder's nodes and the branches above them.

    squared_voltage: U, per unit. branch_watts, branch_vars: at the receiving end of the series branch, downwards positive.
    slack_watts, slack_vars (slots,): what the feeder takes. sweeps: how many the slowest slot needed.
    """

    feeder: Feeder
    squared_voltage: Floats
    branch_watts: Floats
    branch_vars: Floats
    slack_watts: Floats
    slack_vars: Floats
    sweeps: int

    @cached_property
    def voltage_per_unit(self) -> Floats:
        """Magnitudes u."""
        return np.asarray(np.sqrt(self.squared_voltage))

    @cached_property
    def squared_current(self) -> Floats:
        """Of the series branch, per unit."""
        return np.asarray((self.branch_watts**2 + self.branch_vars**2) / BASE_VA**2 / self.squared_voltage)

    @property
    def amperes(self) -> Floats:
        """The series current of each branch."""
        return np.asarray(np.sqrt(self.squared_current) * self.feeder.base_amperes)

    @property
    def loading_fraction(self) -> Floats:
        """The series current over the rated one; 0 for the slack."""
        return np.asarray(self.amperes / self.feeder.rated_amperes)

    @property
    def loss_watts(self) -> Floats:
        """Of the series branches; iron losses are part of what nodes take."""
        return np.asarray(self.feeder.r * self.squared_current * BASE_VA)

    @property
    def sent_watts(self) -> Floats:
        """What a device at the upper end of each branch reads, its own charging and iron included; for the slack what it gives."""
        read = self.branch_watts + self.loss_watts + self.feeder.terminal_g * self._squared_above * BASE_VA
        read[:, 0] = self.slack_watts
        return np.asarray(read)

    @property
    def sent_vars(self) -> Floats:
        """The same of reactive power."""
        series = self.branch_vars + self.feeder.x * self.squared_current * BASE_VA
        read = series - self.feeder.terminal_b * self._squared_above * BASE_VA
        read[:, 0] = self.slack_vars
        return np.asarray(read)

    @property
    def _squared_above(self) -> Floats:
        """U of the node above each branch; the slack's own for the slack."""
        return np.asarray(self.squared_voltage[:, np.maximum(self.feeder.up, 0)])


def power_flow(
    feeder: Feeder,
    watts: npt.ArrayLike,
    reactive: npt.ArrayLike | None = None,
    *,
    slack_voltage_per_unit: npt.ArrayLike | None = None,
    equations: Equations = Equations.SOUND,
    first_slot: int = 0,
) -> PowerFlow:
    """The state of every slot from what nodes take.

    watts, reactive: (slots, n) of the feeder's nodes (`Feeder.at_nodes`), consumption positive, feed-in negative; reactive None: none.
    slack_voltage_per_unit: one, or (slots,); None: the network's. NetworkError for what is no number, and where a slot has no
    solution, naming the slot by its row, counted from first_slot.
    """
    p = _taken(feeder, watts, "watts", first_slot)
    q = np.zeros_like(p) if reactive is None else _taken(feeder, reactive, "vars", first_slot)
    if q.shape != p.shape:
        raise NetworkError(f"{len(q)} slots of vars for {len(p)} slots of watts")
    slack = feeder.slack_voltage_per_unit if slack_voltage_per_unit is None else slack_voltage_per_unit
    root = np.broadcast_to(np.asarray(slack, dtype=np.float64), (len(p),)) ** 2
    if not (np.isfinite(root).all() and (root > 0).all()):
        raise NetworkError("a slack voltage is no number above 0")
    u, flow_p, flow_q = (np.empty_like(p) for _ in range(3))
    most = 0
    for first in range(0, len(p), CHUNK_SLOTS):
        part = slice(first, first + CHUNK_SLOTS)
        found = _sweep(feeder, p[part].T / BASE_VA, q[part].T / BASE_VA, root[part], equations, first_slot + first)
        u[part], flow_p[part], flow_q[part] = (each.T for each in found[:3])
        most = max(most, found[3])
    taken = (flow_p[:, 0] * BASE_VA, flow_q[:, 0] * BASE_VA)
    flow_p[:, 0] = flow_q[:, 0] = 0.0
    return PowerFlow(feeder, u, flow_p * BASE_VA, flow_q * BASE_VA, *taken, most)


def _taken(feeder: Feeder, values: npt.ArrayLike, what: str, first_slot: int) -> Floats:
    """(slots, n), every one a number."""
    given = np.atleast_2d(np.asarray(values, dtype=np.float64))
    if given.ndim != 2 or given.shape[1] != len(feeder):
        raise NetworkError(f"{what} of shape {given.shape} for {len(feeder)} nodes")
    if not np.isfinite(given).all():
        slot, node = np.argwhere(~np.isfinite(given))[0]
        raise NetworkError(
            f"slot {first_slot + slot}, node {feeder.names[node]}: {what} is {given[slot, node]}, no number"
        )
    return given


def _sweep(
    feeder: Feeder, p: Floats, q: Floats, root: Floats, equations: Equations, first_slot: int
) -> tuple[Floats, Floats, Floats, int]:
    """U, P, Q (n, slots) per unit, and the sweeps it took; in row 0 of P and Q what the slack gives."""
    below, above = _sums(feeder, p.shape[1])
    r, x, charging = (each[:, None] for each in (feeder.r, feeder.x, feeder.charging))
    squared = r**2 + x**2
    if equations is Equations.PRINTED_VOLTAGE:
        squared = -squared
    g, b = feeder.g[:, None], feeder.b[:, None] + charging * (2 if equations is Equations.PRINTED_CHARGING else 1)
    scale = feeder.squared_turns[:, None]
    loads_p, loads_q = below(p.copy()), below(q.copy())
    u = scale * root * np.ones_like(p)
    ell = np.zeros_like(u)
    for sweep in range(1, MOST_SWEEPS + 1):
        lost_p, lost_q = r * ell, x * ell
        flow_p = loads_p + below(g * u + lost_p) - lost_p
        flow_q = loads_q + below(lost_q - b * u) - lost_q
        ell = (flow_p**2 + flow_q**2) / u
        new = scale * (root - above((2 * (r * flow_p + x * flow_q) + squared * ell) / scale))
        if not (new > 0).all():
            _refuse_collapse(feeder, ~(new > 0), first_slot)
        moved = np.abs(new - u).max()
        u = new
        if moved < TOLERANCE:
            return u, flow_p, flow_q, sweep
    moving = np.abs(scale * (root - above((2 * (r * flow_p + x * flow_q) + squared * ell) / scale)) - u)
    _refuse_collapse(feeder, moving >= TOLERANCE, first_slot)
    raise AssertionError("unreachable")  # pragma: no cover


def _sums(feeder: Feeder, slots: int) -> tuple[Callable[[Floats], Floats], Callable[[Floats], Floats]]:
    """What sums (n, slots) over each node and all below it, and over each node and all above it, in place where that is faster."""
    if slots < _FEW_SLOTS:
        below = feeder.whole_below if len(feeder) <= _FEW_NODES else feeder.below
        return (lambda values: np.asarray(below @ values), lambda values: np.asarray(below.T @ values))
    up = feeder.up.tolist()

    def from_below(values: Floats) -> Floats:
        rows = list(values)
        for node in range(len(rows) - 1, 0, -1):
            rows[up[node]] += rows[node]
        return values

    def from_above(values: Floats) -> Floats:
        rows = list(values)
        for node in range(1, len(rows)):
            rows[node] += rows[up[node]]
        return values

    return from_below, from_above


def _refuse_collapse(feeder: Feeder, bad: npt.NDArray[np.bool_], first_slot: int) -> None:
    """NetworkError for the first slot that has no solution."""
    slot = int(np.flatnonzero(bad.any(axis=0))[0]) if bad.any() else 0
    node = int(np.flatnonzero(bad[:, slot])[0]) if bad.any() else 0
    raise NetworkError(
        f"slot {first_slot + slot}: the voltage collapses at node {feeder.names[node]}: more is asked than the feeder can carry"
    )
