"""A grid as power flow needs it: one tree of nodes, each with the branch above it, in per unit; and which grids are none.

Node 0 is the slack. Branch l is the one above node l; arrays over branches have a first entry, of the slack, that means nothing and is 0.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from grid_operator.arrays import Floats
from grid_operator.network.errors import NetworkError
from grid_operator.network.model import GridLine, GridTransformer, Network

#: Three-phase power that is 1 per unit, in VA.
BASE_VA = 1e6


@dataclass(frozen=True, eq=False)
class Feeder:
    """A radial, balanced feeder; all arrays over nodes (n,), in per unit of `BASE_VA` and the nodes' nominal voltages.

    up: the node above, itself lower in number; -1 for the slack. r, x: series impedance of the branch above, at the node's own
    voltage. turns: what the ideal transformer at that branch's upper end divides the voltage by. charging: capacitance of lines
    at the node, b of the branch above and of each branch below. g, b: everything else from the node to earth; capacitive b is
    positive. rated_amperes, base_amperes: of the branch, at the node's own voltage. at: the number of each named node.
    below: (n, n), 1 where the column's node is the row's or lies below it.
    """

    name: str
    names: tuple[str, ...]
    branches: tuple[str, ...]
    at: Mapping[str, int]
    up: npt.NDArray[np.intp]
    r: Floats
    x: Floats
    turns: Floats
    charging: Floats
    g: Floats
    b: Floats
    terminal_g: Floats
    terminal_b: Floats
    rated_amperes: Floats
    base_amperes: Floats
    slack_voltage_per_unit: float
    below: Any

    def __len__(self) -> int:
        return len(self.names)

    def node(self, name: str) -> int:
        """The number of a node. NetworkError when there is none of that name."""
        try:
            return self.at[name]
        except KeyError:
            raise NetworkError(f"there is no node {name}") from None

    def branch(self, name: str) -> int:
        """The number of a branch, named as in `branches`: "line 3". NetworkError when there is none of that name."""
        try:
            return self.branches.index(name)
        except ValueError:
            raise NetworkError(f"there is no branch {name!r}") from None

    def at_nodes(self, nodes: Sequence[int] | npt.NDArray[np.intp], values: npt.ArrayLike) -> Floats:
        """Values of loads (slots, loads), each at its node, summed by node (slots, n)."""
        given = np.atleast_2d(np.asarray(values, dtype=np.float64))
        if given.shape[1] != len(nodes):
            raise NetworkError(f"{given.shape[1]} columns of loads for {len(nodes)} loads")
        summed = np.zeros((len(given), len(self)))
        if len(set(np.asarray(nodes).tolist())) == len(nodes):
            summed[:, nodes] = given
        else:
            np.add.at(summed.T, np.asarray(nodes), given.T)
        return summed

    @cached_property
    def whole_below(self) -> Floats:
        """`below` with its zeros: for feeders so small that looking for what is not zero takes longer."""
        return np.asarray(self.below.toarray())

    @cached_property
    def squared_turns(self) -> Floats:
        """What the turns of transformers on the way make of the slack's squared voltage, (n,)."""
        return np.asarray(np.exp(-2 * (self.below.T @ np.log(self.turns))))


@dataclass(slots=True)
class _Branch:
    """One series branch while the tree is built; node names are those that are left after joining."""

    name: str
    upper: str
    lower: str
    r: float
    x: float
    turns: float
    kv: float
    rated_amperes: float
    charging: float = 0.0
    #: Admittance to earth at its lower and at its upper end, charging apart.
    shunt: complex = 0j
    upper_shunt: complex = 0j


def feeder_of(network: Network) -> Feeder:
    """The network as a tree below its slack. NetworkError where it is meshed or not connected, naming what is in the way."""
    same = _joined(network)
    kv = {node.name: node.nominal_kv for node in network.nodes}
    beside: dict[str, list[GridLine | GridTransformer]] = {}
    _check_tree(network, same)
    for element in _elements(network):
        for node in _ends(element):
            beside.setdefault(same[node], []).append(element)
    order, branches = (
        [same[network.slack]],
        [_Branch("slack", "", same[network.slack], 0, 0, 1, kv[network.slack], math.inf)],
    )
    taken: set[int] = set()
    todo = [same[network.slack]]
    while todo:
        upper = todo.pop()
        for element in beside.get(upper, []):
            if id(element) in taken:
                continue
            taken.add(id(element))
            for branch in _branches(element, upper, same, kv, network.base_hertz):
                order.append(branch.lower)
                branches.append(branch)
            todo.append(order[-1])
    return _arrays(network, same, order, branches)


def _ends(element: GridLine | GridTransformer) -> tuple[str, str]:
    return (element.upper, element.lower) if isinstance(element, GridLine) else (element.high, element.low)


def _elements(network: Network) -> list[GridLine | GridTransformer]:
    return [*network.lines, *network.transformers]


def _joined(network: Network) -> dict[str, str]:
    """The node that stands for each node, where closed switches make several one."""
    stands = {node.name: node.name for node in network.nodes}

    def first(name: str) -> str:
        while stands[name] != name:
            name = stands[name]
        return name

    for one, other in network.joined:
        stands[first(other)] = first(one)
    return {name: first(name) for name in stands}


def _check_tree(network: Network, same: Mapping[str, str]) -> None:
    """NetworkError naming the branch that closes a ring, or a node that nothing feeds."""
    group = {name: {name} for name in set(same.values())}
    for element in _elements(network):
        kind = "line" if isinstance(element, GridLine) else "transformer"
        one, other = (group[same[node]] for node in _ends(element))
        if one is other:
            raise NetworkError(f"{kind} {element.name} closes a ring: only radial grids can be computed")
        small, large = sorted((one, other), key=len)
        large |= small
        for name in small:
            group[name] = large
    fed = group[same[network.slack]]
    lost = [node.name for node in network.nodes if same[node.name] not in fed]
    if lost:
        raise NetworkError(f"node {lost[0]} is not connected to the slack {network.slack} ({len(lost)} such nodes)")


def _branches(
    element: GridLine | GridTransformer, upper: str, same: Mapping[str, str], kv: Mapping[str, float], hertz: float
) -> Iterator[_Branch]:
    """What an element is made of, from the node above it downwards."""
    if isinstance(element, GridLine):
        lower = next(same[node] for node in _ends(element) if same[node] != upper)
        ohms = kv[lower] ** 2 / (BASE_VA / 1e6)
        charging = math.pi * hertz * element.capacitance_nf * 1e-9 * ohms  # half of 2 pi f C: b of each end
        yield _Branch(
            f"line {element.name}", upper, lower, element.r_ohm / ohms, element.x_ohm / ohms, 1.0, kv[lower],
            element.rated_amperes, charging,
        )  # fmt: skip
    else:
        yield from _transformer(element, upper, same, kv)


def _transformer(
    element: GridTransformer, upper: str, same: Mapping[str, str], kv: Mapping[str, float]
) -> Iterator[_Branch]:
    """The T as the pi that is equal to it, referred to the low side; its turns stand at the high end.

    Fed from its low side, turns that are not nominal are one more branch below, without impedance.
    """
    name = f"transformer {element.name}"
    high_kv, low_kv = kv[element.high], kv[element.low]
    turns = (element.high_kv / element.low_kv) / (high_kv / low_kv)
    half, iron = _tee(element, low_kv)
    series, shunt = 2 * half + half**2 * iron, iron / (2 + half * iron)
    rated = element.rated_kva / (math.sqrt(3) * element.low_kv)
    from_high = same[element.high] == upper
    ideal = turns if from_high else 1.0
    lower = same[element.low] if from_high else same[element.high]
    inner = lower if from_high or turns == 1 else f"winding of {name}"
    yield _Branch(
        name, upper, inner, series.real, series.imag, ideal, low_kv, rated, shunt=shunt, upper_shunt=shunt / ideal**2
    )
    if inner != lower:
        yield _Branch(f"{name}, turns", inner, lower, 0, 0, 1 / turns, high_kv, rated * low_kv / high_kv / turns)


def _tee(element: GridTransformer, low_kv: float) -> tuple[complex, complex]:
    """Half the series impedance, and the iron branch g + jb, per unit of the low side."""
    referred = (element.low_kv / low_kv) ** 2 / (element.rated_kva / (BASE_VA / 1e3))
    z, r = (percent / 100 * referred for percent in (element.short_circuit_percent, element.copper_loss_percent))
    apparent_kva = element.no_load_current_percent / 100 * element.rated_kva
    magnetising_kvar = math.sqrt(max(apparent_kva**2 - element.iron_loss_kw**2, 0.0))
    iron = complex(element.iron_loss_kw, -magnetising_kvar) / (BASE_VA / 1e3) * (low_kv / element.low_kv) ** 2
    return complex(r, math.sqrt(z**2 - r**2)) / 2, iron


def _arrays(network: Network, same: Mapping[str, str], order: list[str], branches: list[_Branch]) -> Feeder:
    """The tree in numbers."""
    count = len(order)
    number = {name: at for at, name in enumerate(order)}
    up = np.array([number.get(branch.upper, -1) for branch in branches], dtype=np.intp)
    charging = np.array([branch.charging for branch in branches])
    shunts = np.array([branch.shunt for branch in branches])
    for branch, above in zip(branches[1:], up[1:], strict=True):
        charging[above] += branch.charging
        shunts[above] += branch.upper_shunt
    for node in network.nodes:
        shunts[number[same[node.name]]] += complex(node.shunt_watts, -node.shunt_vars) / BASE_VA
    nominal = np.array([branch.kv for branch in branches])
    rows, columns = [], []
    for at in range(count):
        above = at
        while above >= 0:
            rows.append(above)
            columns.append(at)
            above = int(up[above])
    below = sparse.csr_array((np.ones(len(rows)), (rows, columns)), (count, count))
    return Feeder(
        name=network.name,
        names=tuple(order),
        branches=tuple(branch.name for branch in branches),
        at={name: number[stands] for name, stands in same.items()},
        up=up,
        r=np.array([float(branch.r) for branch in branches]),
        x=np.array([float(branch.x) for branch in branches]),
        turns=np.array([float(branch.turns) for branch in branches]),
        charging=charging,
        g=shunts.real.copy(),
        b=shunts.imag.copy(),
        terminal_g=np.array([branch.upper_shunt.real for branch in branches]),
        terminal_b=np.array([branch.upper_shunt.imag + branch.charging for branch in branches]),
        rated_amperes=np.array([branch.rated_amperes for branch in branches]),
        base_amperes=BASE_VA / (math.sqrt(3) * nominal * 1e3),
        slack_voltage_per_unit=network.slack_voltage_per_unit,
        below=below,
    )
