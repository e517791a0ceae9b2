"""How voltages, flows and currents move with the slack's voltage and with what loads take: exact derivatives of DistFlow.

Linearised at a solution, a branch passes on dP^up = a dU_up + f and dQ^up = b dU_up + h, where f and h depend on the loads below it
alone. So one pass from the leaves to the slack eliminates, and one back gives every derivative: no matrix is inverted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from grid_operator.arrays import Floats
from grid_operator.network.feeder import BASE_VA, Feeder
from grid_operator.network.power_flow import PowerFlow


@dataclass(frozen=True, eq=False)
class Sensitivity:
    """Derivatives per unit, (slots, nodes asked for, 1 + 2 loads): by U of the slack, by each load's P, by each load's Q.

    squared_voltage: of U at the node. flow_p, flow_q: of P and Q at the receiving end of the branch above it; for the slack of what it
    gives. squared_current: of the branch's ell.
    """

    squared_voltage: Floats
    flow_p: Floats
    flow_q: Floats
    squared_current: Floats


class LoadOrder:
    """The loads' nodes in an order in which those below any node are neighbours; made once for a feeder and its loads."""

    def __init__(self, feeder: Feeder, load_nodes: Sequence[int] | npt.NDArray[np.intp]) -> None:
        """load_nodes: the node of each load; loads may share one."""
        children: list[list[int]] = [[] for _ in range(len(feeder))]
        for node in range(len(feeder) - 1, 0, -1):
            children[feeder.up[node]].append(node)
        loaded, place = set(map(int, load_nodes)), dict[int, int]()
        self.spans = np.zeros((len(feeder), 2), dtype=np.intp)
        todo = [(0, False)]
        while todo:
            node, left = todo.pop()
            if left:
                self.spans[node, 1] = len(place)
                continue
            self.spans[node, 0] = len(place)
            if node in loaded:
                place[node] = len(place)
            todo.append((node, True))
            todo += [(child, False) for child in children[node]]
        self.places, self.count = place, len(place)
        at = np.array([place[int(node)] for node in load_nodes], dtype=np.intp)
        #: Where the derivative by the slack, each P and each Q stands among those by node: p, q, p, q, ..., slack.
        self.columns = np.concatenate([[2 * self.count], 2 * at, 2 * at + 1])


def sensitivity(flow: PowerFlow, order: LoadOrder, nodes: Sequence[int] | npt.NDArray[np.intp]) -> Sensitivity:
    """Derivatives at the nodes asked for, and of the branches above them, in every slot of a solution of the sound equations."""
    feeder = flow.feeder
    eliminated = _Elimination(flow, order)
    wanted = {int(node): at for at, node in enumerate(nodes)}
    needed = np.asarray(feeder.below[:, sorted(wanted)].sum(axis=1)).ravel() > 0
    slots, width = len(flow.squared_voltage), 2 * order.count + 1
    by_u, by_p, by_q, by_ell = (np.zeros((slots, len(wanted), width)) for _ in range(4))
    moved: dict[int, Floats] = {}
    for node in np.flatnonzero(needed).tolist():
        du = eliminated.du(node, moved.get(int(feeder.up[node])))
        moved[node] = du
        if node in wanted:
            at = wanted[node]
            by_u[:, at] = du
            by_p[:, at], by_q[:, at], by_ell[:, at] = eliminated.flows(node, du)
    return Sensitivity(*(each[:, :, order.columns] for each in (by_u, by_p, by_q, by_ell)))


class _Elimination:
    """The pass from the leaves to the slack, for all slots; what the pass back needs of it."""

    def __init__(self, flow: PowerFlow, order: LoadOrder) -> None:
        self.order, feeder = order, flow.feeder
        u = flow.squared_voltage
        self.alpha = 2 * flow.branch_watts / BASE_VA / u
        self.beta = 2 * flow.branch_vars / BASE_VA / u
        self.gamma = flow.squared_current / u
        slots, count = u.shape
        self.a = np.tile(feeder.g, (slots, 1))
        self.b = np.tile(-(feeder.b + feeder.charging), (slots, 1))
        self.f = [np.zeros((slots, 2 * (stop - start))) for start, stop in order.spans]
        self.h = [np.zeros_like(each) for each in self.f]
        self.k, self.w = np.zeros((slots, count)), list[Floats](self.f)
        for node, place in order.places.items():
            own = 2 * (place - order.spans[node, 0])
            self.f[node][:, own] = self.h[node][:, own + 1] = 1.0
        for node in range(count - 1, 0, -1):
            self._pass_up(feeder, node)

    def _pass_up(self, feeder: Feeder, node: int) -> None:
        r, x, up = feeder.r[node], feeder.x[node], feeder.up[node]
        squared = r * r + x * x
        alpha, beta, gamma = self.alpha[:, node], self.beta[:, node], self.gamma[:, node]
        a, b, f, h = self.a[:, node], self.b[:, node], self.f[node], self.h[node]
        by_p, by_q = 2 * r + squared * alpha, 2 * x + squared * beta
        denominator = 1 - squared * gamma + by_p * a + by_q * b
        self.k[:, node] = 1 / (feeder.turns[node] ** 2 * denominator)
        self.w[node] = w = -(by_p[:, None] * f + by_q[:, None] * h) / denominator[:, None]
        by_u = alpha * a + beta * b - gamma
        passed_a, passed_b = a + r * by_u, b + x * by_u
        self.a[:, up] += self.k[:, node] * passed_a
        self.b[:, up] += self.k[:, node] * passed_b
        start = 2 * (self.order.spans[node, 0] - self.order.spans[up, 0])
        part = slice(start, start + f.shape[1])
        lost = alpha[:, None] * f + beta[:, None] * h
        self.f[up][:, part] += passed_a[:, None] * w + f + r * lost
        self.h[up][:, part] += passed_b[:, None] * w + h + x * lost

    def du(self, node: int, above: Floats | None) -> Floats:
        """Of U at a node, from that of the node above; the slack's own is the state."""
        width = 2 * self.order.count + 1
        if above is None:
            du = np.zeros((len(self.k), width))
            du[:, -1] = 1.0
            return du
        du = self.k[:, node, None] * above
        du[:, self._part(node)] += self.w[node]
        return du

    def flows(self, node: int, du: Floats) -> tuple[Floats, Floats, Floats]:
        """Of P, Q and ell of the branch above a node."""
        dp, dq = self.a[:, node, None] * du, self.b[:, node, None] * du
        dp[:, self._part(node)] += self.f[node]
        dq[:, self._part(node)] += self.h[node]
        alpha, beta, gamma = (each[:, node, None] for each in (self.alpha, self.beta, self.gamma))
        return dp, dq, alpha * dp + beta * dq - gamma * du

    def _part(self, node: int) -> slice:
        start, stop = self.order.spans[node]
        return slice(2 * start, 2 * stop)
