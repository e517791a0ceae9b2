"""Grids as CSV tables in one folder, and which meter is at which node.

    nodes.csv         node,nominal_kv,slack_voltage_per_unit[,shunt_watts,shunt_vars]      the third is empty but for one node
    lines.csv         line,from_node,to_node,r_ohm,x_ohm,capacitance_nf,rated_amperes[,phases]
    transformers.csv  transformer,high_node,low_node,rated_kva,high_kv,low_kv,short_circuit_percent,copper_loss_percent,
                      iron_loss_kw,no_load_current_percent[,phases]                        may be missing
    loads.csv         load,node[,watts,vars]                                               may be missing
    switches.csv      node,other_node                                                      closed ones; may be missing
    meters.csv        meter,node

Lines carry their whole impedance; voltages of a transformer are those of the tap in use; `phases`, where it is given, is "abc".
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from grid_operator.network.errors import NetworkError
from grid_operator.network.model import GridLine, GridLoad, GridNode, GridTransformer, Network

_Made = TypeVar("_Made")
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")

_NODES = ("node", "nominal_kv", "slack_voltage_per_unit", "shunt_watts", "shunt_vars")
_LINES = ("line", "from_node", "to_node", "r_ohm", "x_ohm", "capacitance_nf", "rated_amperes")
_TRANSFORMERS = (
    "transformer", "high_node", "low_node", "rated_kva", "high_kv", "low_kv", "short_circuit_percent",
    "copper_loss_percent", "iron_loss_kw", "no_load_current_percent",
)  # fmt: skip
_LOADS = ("load", "node", "watts", "vars")
_SWITCHES = ("node", "other_node")
_METERS = ("meter", "node")


@dataclass(frozen=True, slots=True)
class MeterMap:
    """Which meter is at which node; every meter once, in the order of the table."""

    meters: tuple[str, ...]
    nodes: tuple[str, ...]


def read_tables(folder: Path, *, base_hertz: float = 50.0) -> Network:
    """The network in a folder's tables. NetworkError naming the file, the row and what is wrong."""
    slacks: dict[str, float] = {}

    def node(row: _Row) -> GridNode:
        name = row.text("node")
        if row.said("slack_voltage_per_unit"):
            slacks[name] = row.number("slack_voltage_per_unit")
        return GridNode(name, row.number("nominal_kv"), row.number("shunt_watts", 0), row.number("shunt_vars", 0))

    nodes = _rows(folder / "nodes.csv", _NODES, 3, node)
    if len(slacks) != 1:
        found = f"several slacks: {', '.join(slacks)}" if slacks else "no node has a slack_voltage_per_unit"
        raise NetworkError(f"{folder / 'nodes.csv'}: {found}")
    ((slack, voltage),) = slacks.items()
    lines = _rows(folder / "lines.csv", _LINES, 7, _line)
    transformers = _rows(folder / "transformers.csv", _TRANSFORMERS, 10, _transformer, optional=True)
    loads = _rows(folder / "loads.csv", _LOADS, 2, _load, optional=True)
    joined = _rows(folder / "switches.csv", _SWITCHES, 2, lambda row: row.pair(*_SWITCHES), optional=True)
    try:
        return Network(folder.name, nodes, lines, transformers, slack, loads, voltage, base_hertz, joined)
    except NetworkError as error:
        raise NetworkError(f"{folder}: {error}") from None


def read_meters(path: Path, network: Network) -> MeterMap:
    """Which meter is at which node. NetworkError for a node that is not there, a meter twice, and a load's node without a meter."""
    pairs = _rows(path, _METERS, 2, lambda row: row.pair(*_METERS))
    known = {node.name for node in network.nodes}
    seen: set[str] = set()
    for meter, node in pairs:
        if node not in known:
            raise NetworkError(f"{path}: meter {meter}: there is no node {node}")
        if meter in seen:
            raise NetworkError(f"{path}: meter {meter} is there twice")
        seen.add(meter)
    metered = {node for _, node in pairs}
    for load in network.loads:
        if load.node not in metered:
            raise NetworkError(f"{path}: no meter at node {load.node}, where load {load.name} is")
    return MeterMap(tuple(meter for meter, _ in pairs), tuple(node for _, node in pairs))


def meters_of(network: Network) -> MeterMap:
    """Which meter is where, of a network whose loads name theirs. NetworkError where one names none, or two name one."""
    seen: set[str] = set()
    for load in network.loads:
        if load.meter is None:
            raise NetworkError(f"load {load.name} names no meter")
        if load.meter in seen:
            raise NetworkError(f"meter {load.meter} is there twice")
        seen.add(load.meter)
    return MeterMap(tuple(str(load.meter) for load in network.loads), tuple(load.node for load in network.loads))


def write_tables(network: Network, folder: Path) -> None:
    """The tables of a network in a new folder, numbers to their last digit. Meters' table only where every load names its meter."""
    folder.mkdir(parents=True)
    slack, volts = network.slack, network.slack_voltage_per_unit
    _write(
        folder / "nodes.csv", _NODES,
        [(n.name, n.nominal_kv, volts if n.name == slack else "", n.shunt_watts, n.shunt_vars) for n in network.nodes],
    )  # fmt: skip
    _write(
        folder / "lines.csv", _LINES,
        [(e.name, e.upper, e.lower, e.r_ohm, e.x_ohm, e.capacitance_nf, e.rated_amperes) for e in network.lines],
    )  # fmt: skip
    _write(
        folder / "transformers.csv", _TRANSFORMERS,
        [
            (e.name, e.high, e.low, e.rated_kva, e.high_kv, e.low_kv, e.short_circuit_percent, e.copper_loss_percent,
             e.iron_loss_kw, e.no_load_current_percent)
            for e in network.transformers
        ],
    )  # fmt: skip
    _write(folder / "loads.csv", _LOADS, [(load.name, load.node, load.watts, load.vars) for load in network.loads])
    _write(folder / "switches.csv", _SWITCHES, network.joined)
    if network.loads and all(load.meter for load in network.loads):
        _write(folder / "meters.csv", _METERS, [(load.meter, load.node) for load in network.loads])


def _line(row: _Row) -> GridLine:
    name, upper, lower = (row.text(column) for column in _LINES[:3])
    return GridLine(name, upper, lower, *(row.number(column) for column in _LINES[3:]))


def _transformer(row: _Row) -> GridTransformer:
    name, high, low = (row.text(column) for column in _TRANSFORMERS[:3])
    return GridTransformer(name, high, low, *(row.number(column) for column in _TRANSFORMERS[3:]))


def _load(row: _Row) -> GridLoad:
    return GridLoad(row.text("load"), row.text("node"), row.number("watts", 0), row.number("vars", 0))


class _Row:
    """One row of a table, and where it stands."""

    def __init__(self, path: Path, line: int, cells: Mapping[str, str]) -> None:
        self.where, self._cells = f"{path}, line {line}", cells

    def said(self, column: str) -> bool:
        return bool(self._cells.get(column))

    def text(self, column: str) -> str:
        if not self.said(column):
            raise NetworkError(f"`{column}` is empty")
        return self._cells[column]

    def pair(self, one: str, other: str) -> tuple[str, str]:
        return (self.text(one), self.text(other))

    def number(self, column: str, otherwise: float | None = None) -> float:
        if not self.said(column) and otherwise is not None:
            return otherwise
        text = self.text(column)
        if _NUMBER.fullmatch(text) is None:
            raise NetworkError(f"{column} is {text!r}, no number")
        return float(text)


def _rows(
    path: Path, columns: Sequence[str], needed: int, made: Callable[[_Row], _Made], *, optional: bool = False
) -> tuple[_Made, ...]:
    """Every row made into an element; the first `needed` columns must be there, no column may be unknown."""
    if optional and not path.exists():
        return ()
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise NetworkError(f"{path}: {getattr(error, 'strerror', None) or error}") from None
    reader = csv.reader(lines, strict=True)
    found = []
    try:
        header = [cell.strip() for cell in next(reader, [])]
        _check_header(path, header, columns, needed)
        for cells in reader:
            if not cells:
                continue
            row = _Row(path, reader.line_num, dict(zip(header, (cell.strip() for cell in cells), strict=False)))
            if len(cells) != len(header):
                raise NetworkError(f"{row.where}: {len(cells)} cells for {len(header)} columns")
            try:
                if row.said("phases") and row.text("phases") != "abc":
                    raise NetworkError(
                        f"phases {row.text('phases')!r}: only balanced three-phase grids can be computed"
                    )
                found.append(made(row))
            except NetworkError as error:
                raise NetworkError(f"{row.where}: {error}") from None
    except csv.Error as error:
        raise NetworkError(f"{path}, line {reader.line_num}: {error}") from None
    return tuple(found)


def _check_header(path: Path, header: Sequence[str], columns: Sequence[str], needed: int) -> None:
    for column in columns[:needed]:
        if column not in header:
            raise NetworkError(f"{path}: no column `{column}`")
    for column in header:
        if column not in (*columns, "phases") or header.count(column) > 1:
            raise NetworkError(f"{path}: column `{column}` is {'there twice' if column in columns else 'not known'}")


def _write(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    with path.open("x", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([repr(cell) if isinstance(cell, float) else cell for cell in row] for row in rows)
