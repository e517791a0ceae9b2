"""A grid as an operator's tables describe it: nodes, lines, transformers, connections of homes; balanced three-phase only.

Everything is checked where it is made: a value that is no finite number, or cannot be, is a `NetworkError` that names the
element. Whether the grid is one tree is asked when it becomes a `grid_operator.network.feeder.Feeder`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, fields

from grid_operator.network.errors import NetworkError


def finite(value: object, what: str, *, least: float | None = None, above: float | None = None) -> float:
    """A number of a table. NetworkError for what is none, is not finite, or lies outside its range."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise NetworkError(f"{what} is {value!r}, no number")
    if least is not None and value < least:
        raise NetworkError(f"{what} is {value:g}, less than {least:g}")
    if above is not None and value <= above:
        raise NetworkError(f"{what} is {value:g}, not more than {above:g}")
    return float(value)


def _check_numbers(element: object, name: str, *, above: Iterable[str] = (), least: Iterable[str] = ()) -> None:
    """Every float of an element is finite; those in `above` are more than 0, those in `least` at least 0."""
    for each in fields(element):  # type: ignore[arg-type]  # a dataclass, always
        if each.type == "float":
            finite(
                getattr(element, each.name), f"{name}: {each.name}",
                least=0 if each.name in least else None, above=0 if each.name in above else None,
            )  # fmt: skip


@dataclass(frozen=True, slots=True)
class GridNode:
    """A busbar or joint, with its nominal voltage between phases."""

    name: str
    nominal_kv: float
    #: Constant impedance from here to earth, by what it takes at nominal voltage; inductive is positive.
    shunt_watts: float = 0.0
    shunt_vars: float = 0.0

    def __post_init__(self) -> None:
        _check_numbers(self, f"node {self.name}", above=("nominal_kv",))


@dataclass(frozen=True, slots=True)
class GridLine:
    """A cable or overhead line as a pi: all its series impedance, half its capacitance at each end."""

    name: str
    upper: str
    lower: str
    r_ohm: float
    x_ohm: float
    capacitance_nf: float
    rated_amperes: float

    def __post_init__(self) -> None:
        name = f"line {self.name}"
        _check_numbers(self, name, above=("rated_amperes",), least=("r_ohm", "x_ohm", "capacitance_nf"))
        if self.r_ohm == self.x_ohm == 0:
            raise NetworkError(f"{name}: it has no impedance; join its nodes instead")
        if self.upper == self.lower:
            raise NetworkError(f"{name}: it begins and ends at node {self.upper}")


@dataclass(frozen=True, slots=True)
class GridTransformer:
    """A transformer as a T: half the short-circuit impedance on each side of its iron branch.

    high_kv and low_kv are those of the tap in use. Its phase shift changes no magnitude and is left out.
    """

    name: str
    high: str
    low: str
    rated_kva: float
    high_kv: float
    low_kv: float
    short_circuit_percent: float
    copper_loss_percent: float
    iron_loss_kw: float
    no_load_current_percent: float

    def __post_init__(self) -> None:
        name = f"transformer {self.name}"
        _check_numbers(
            self, name, above=("rated_kva", "high_kv", "low_kv", "short_circuit_percent"),
            least=("copper_loss_percent", "iron_loss_kw", "no_load_current_percent"),
        )  # fmt: skip
        if self.copper_loss_percent > self.short_circuit_percent:
            raise NetworkError(f"{name}: copper_loss_percent is more than short_circuit_percent")
        if self.high == self.low:
            raise NetworkError(f"{name}: it begins and ends at node {self.high}")


@dataclass(frozen=True, slots=True)
class GridLoad:
    """A home's connection, or another load: where it is, and its nominal power. meter: which meter reads it, where one does."""

    name: str
    node: str
    watts: float = 0.0
    vars: float = 0.0
    meter: str | None = None

    def __post_init__(self) -> None:
        _check_numbers(self, f"load {self.name}")


@dataclass(frozen=True, slots=True)
class Network:
    """A grid and where it is fed. joined: pairs of nodes that closed switches make one."""

    name: str
    nodes: tuple[GridNode, ...]
    lines: tuple[GridLine, ...]
    transformers: tuple[GridTransformer, ...]
    slack: str
    loads: tuple[GridLoad, ...] = ()
    slack_voltage_per_unit: float = 1.0
    base_hertz: float = 50.0
    joined: tuple[tuple[str, str], ...] = field(default=())

    def __post_init__(self) -> None:
        finite(self.slack_voltage_per_unit, "the slack's voltage", above=0)
        finite(self.base_hertz, "the frequency", above=0)
        for kind, names in (
            ("node", [node.name for node in self.nodes]),
            ("line", [line.name for line in self.lines]),
            ("transformer", [transformer.name for transformer in self.transformers]),
            ("load", [load.name for load in self.loads]),
        ):
            twice = [name for name, count in Counter(names).items() if count > 1]
            if twice:
                raise NetworkError(f"{kind} {twice[0]} is there twice")
        known = {node.name: node for node in self.nodes}
        for what, node in self._named():
            if node not in known:
                raise NetworkError(f"{what}: there is no node {node}")
        for what, one, other in (
            *((f"line {line.name}", line.upper, line.lower) for line in self.lines),
            *((f"closed switch from {one} to {other}", one, other) for one, other in self.joined),
        ):
            if known[one].nominal_kv != known[other].nominal_kv:
                raise NetworkError(
                    f"{what}: its nodes have {known[one].nominal_kv:g} and {known[other].nominal_kv:g} kV"
                )

    def _named(self) -> Iterable[tuple[str, str]]:
        """Every node that is named, and by what."""
        yield "the slack", self.slack
        for line in self.lines:
            yield from ((f"line {line.name}", node) for node in (line.upper, line.lower))
        for transformer in self.transformers:
            yield from ((f"transformer {transformer.name}", node) for node in (transformer.high, transformer.low))
        for load in self.loads:
            yield f"load {load.name}", load.node
        for pair in self.joined:
            yield from ((f"closed switch from {pair[0]} to {pair[1]}", node) for node in pair)
