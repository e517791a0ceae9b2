"""Networks of pandapower nets: balanced, radial, constant power. Whatever could not be honoured is refused by its name.

A net is read by its tables (`net.bus`, `net.line`, ...); pandapower itself is not imported.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from grid_operator.network.errors import NetworkError
from grid_operator.network.model import GridLine, GridLoad, GridNode, GridTransformer, Network

#: Tables whose elements in service would be left out, and what they are.
_NOT_HONOURED = {
    "asymmetric_load": "unbalanced load", "asymmetric_sgen": "unbalanced generator", "gen": "generator that holds a voltage",
    "trafo3w": "transformer with three windings", "impedance": "impedance", "ward": "ward", "xward": "extended ward",
    "dcline": "direct current line", "motor": "motor", "svc": "static var compensator", "tcsc": "series capacitor",
    "ssc": "synchronous compensator", "vsc": "converter", "line_dc": "direct current line", "bus_dc": "direct current bus",
}  # fmt: skip
_NO_EFFECT = {"Ideal"}
#: What loads draw by voltage, in the columns of pandapower 2 and 3.
_BY_VOLTAGE = tuple(f"const_{law}{part}_percent" for law in "zi" for part in ("", "_p", "_q"))


def network_of_pandapower(net: Any, name: str | None = None) -> Network:
    """The network of a pandapower net. NetworkError naming the element that has no place in a balanced radial network."""
    for table, kind in _NOT_HONOURED.items():
        for index, _ in _in_service(net, table):
            raise NetworkError(f"{table} {index}: {kind}: only balanced grids of constant power can be computed")
    buses = dict(_in_service(net, "bus"))
    fed = [row for _, row in _in_service(net, "ext_grid") if row["bus"] in buses]
    if len(fed) != 1:
        raise NetworkError(f"several slacks: {len(fed)} external grids" if fed else "no external grid feeds the net")
    shunts = _shunts(net, buses)
    open_lines, open_transformers, joined = _switches(net, buses)
    lines, ends = [], []
    for index, row in _in_service(net, "line"):
        made = _line(index, row, open_lines, buses)
        if made is not None:
            lines.append(made[0])
            ends += made[1]
    transformers = tuple(
        _transformer(index, row)
        for index, row in _in_service(net, "trafo")
        if index not in open_transformers and {row["hv_bus"], row["lv_bus"]} <= buses.keys()
    )
    nodes = [GridNode(str(bus), float(row["vn_kv"]), *shunts.get(bus, (0.0, 0.0))) for bus, row in buses.items()]
    return Network(
        name=name or str(net.get("name") or "pandapower net"),
        nodes=(*nodes, *ends),
        lines=tuple(lines),
        transformers=transformers,
        slack=str(fed[0]["bus"]),
        loads=tuple(_loads(net, buses)),
        slack_voltage_per_unit=float(fed[0]["vm_pu"]),
        base_hertz=float(net.f_hz),
        joined=tuple(joined),
    )


def _in_service(net: Any, table: str) -> Iterator[tuple[Any, Mapping[str, Any]]]:
    """The rows of a table that are in service, beside their index."""
    if table not in net:
        return
    for index, row in net[table].to_dict("index").items():
        if row.get("in_service", True):
            yield index, row


def _stated(row: Mapping[str, Any], column: str, otherwise: float = 0.0) -> float:
    """A number of a row; `otherwise` where the table has none there."""
    value = row.get(column)
    if value is None or value != value:  # noqa: PLR0124  # NaN
        return otherwise
    return float(value)


def _switches(net: Any, buses: Mapping[Any, object]) -> tuple[set[tuple[Any, Any]], set[Any], list[tuple[str, str]]]:
    """(line, bus) of open ends, transformers that are off, and buses that closed switches join."""
    lines, transformers, joined = set[tuple[Any, Any]](), set[Any](), list[tuple[str, str]]()
    for index, row in _in_service(net, "switch"):
        kind, closed = row["et"], bool(row["closed"])
        if kind == "b" and closed and {row["bus"], row["element"]} <= buses.keys():
            if _stated(row, "z_ohm"):
                raise NetworkError(f"switch {index}: a switch with an impedance cannot be computed")
            joined.append((str(row["bus"]), str(row["element"])))
        elif kind == "l" and not closed:
            lines.add((row["element"], row["bus"]))
        elif kind == "t" and not closed:
            transformers.add(row["element"])
    return lines, transformers, joined


def _line(
    index: Any, row: Mapping[str, Any], opened: set[tuple[Any, Any]], buses: Mapping[Any, Mapping[str, Any]]
) -> tuple[GridLine, list[GridNode]] | None:
    """A line, and a node for an end that a switch opens; None for one that is off."""
    ends, made = [], []
    for bus in (row["from_bus"], row["to_bus"]):
        if bus not in buses:
            return None
        if (index, bus) in opened:
            made.append(GridNode(f"open end of line {index} at bus {bus}", float(buses[bus]["vn_kv"])))
            ends.append(made[-1].name)
        else:
            ends.append(str(bus))
    if len(made) == 2:
        return None
    if _stated(row, "g_us_per_km"):
        raise NetworkError(f"line {index}: a line with g_us_per_km cannot be computed")
    length, parallel = float(row["length_km"]), _stated(row, "parallel", 1)
    line = GridLine(
        name=str(index),
        upper=ends[0],
        lower=ends[1],
        r_ohm=float(row["r_ohm_per_km"]) * length / parallel,
        x_ohm=float(row["x_ohm_per_km"]) * length / parallel,
        capacitance_nf=_stated(row, "c_nf_per_km") * length * parallel,
        rated_amperes=1e3 * float(row["max_i_ka"]) * _stated(row, "df", 1) * parallel,
    )
    return line, made


def _transformer(index: Any, row: Mapping[str, Any]) -> GridTransformer:
    name = f"trafo {index}"
    for column in ("tap_dependency_table", "tap_dependent_impedance"):
        if row.get(column) is True:
            raise NetworkError(f"{name}: {column} cannot be honoured")
    if _stated(row, "tap2_pos") != _stated(row, "tap2_neutral"):
        raise NetworkError(f"{name}: a second tap changer cannot be honoured")
    for column in ("leakage_resistance_ratio_hv", "leakage_reactance_ratio_hv"):
        if _stated(row, column, 0.5) != 0.5:
            raise NetworkError(f"{name}: {column} cannot be honoured")
    volts = {"hv": float(row["vn_hv_kv"]), "lv": float(row["vn_lv_kv"])}
    steps = _stated(row, "tap_pos") - _stated(row, "tap_neutral")
    if steps and row.get("tap_changer_type") in {"Ratio", "Symmetrical"}:
        change = steps * _stated(row, "tap_step_percent") / 100
        angle = math.radians(_stated(row, "tap_step_degree"))
        volts[row["tap_side"]] *= math.hypot(1 + change * math.cos(angle), change * math.sin(angle))
    elif steps and row.get("tap_changer_type") not in _NO_EFFECT:
        raise NetworkError(f"{name}: its tap position is not neutral, but tap_changer_type is none that is known")
    parallel = _stated(row, "parallel", 1)
    return GridTransformer(
        name=str(index),
        high=str(row["hv_bus"]),
        low=str(row["lv_bus"]),
        rated_kva=1e3 * float(row["sn_mva"]) * parallel,
        high_kv=volts["hv"],
        low_kv=volts["lv"],
        short_circuit_percent=float(row["vk_percent"]),
        copper_loss_percent=float(row["vkr_percent"]),
        iron_loss_kw=float(row["pfe_kw"]) * parallel,
        no_load_current_percent=float(row["i0_percent"]),
    )


def _shunts(net: Any, buses: Mapping[Any, Mapping[str, Any]]) -> dict[Any, tuple[float, float]]:
    """Watts and vars that each bus's shunts take at the bus's nominal voltage."""
    found: dict[Any, tuple[float, float]] = {}
    for _, row in _in_service(net, "shunt"):
        bus = row["bus"]
        if bus in buses:
            each = 1e6 * _stated(row, "step", 1) * (float(buses[bus]["vn_kv"]) / float(row["vn_kv"])) ** 2
            watts, reactive = found.get(bus, (0.0, 0.0))
            found[bus] = (watts + each * float(row["p_mw"]), reactive + each * float(row["q_mvar"]))
    return found


def _loads(net: Any, buses: Mapping[Any, object]) -> Iterator[GridLoad]:
    """Loads and storage, and generators of constant power as negative loads."""
    for table, sign in (("load", 1), ("sgen", -1), ("storage", 1)):
        for index, row in _in_service(net, table):
            if row["bus"] not in buses:
                continue
            for column in _BY_VOLTAGE:
                if _stated(row, column):
                    raise NetworkError(f"{table} {index}: {column}: only loads of constant power can be computed")
            each = sign * 1e6 * _stated(row, "scaling", 1)
            watts, reactive = each * float(row["p_mw"]), each * _stated(row, "q_mvar")
            yield GridLoad(f"{table} {index}", str(row["bus"]), watts, reactive)
