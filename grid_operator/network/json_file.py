"""Grids as solver-neutral JSON: buses, lines with their whole impedance, transformers, loads. Every key is known, or refused.

Units: `vn_kv` kV; `r_ohm`, `x_ohm`, `c_nf` of the whole line; `max_i_ka` kA; `sn_kva` kVA; `vk_percent` short-circuit voltage,
`vkr_percent` its resistive part. Names are the ids as text. `phases`, where it is given, is "abc": the model is balanced.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from grid_operator.network.errors import NetworkError
from grid_operator.network.model import GridLine, GridLoad, GridNode, GridTransformer, Network, finite

_SAID = {"name", "source", "licence", "units", "radial"}
_TOP = {
    "base_frequency_hz", "slack_bus", "slack_vm_pu", "buses", "bus_bus_closed", "lines", "trafos", "loads",
}  # fmt: skip
_BUS = {"id", "name", "vn_kv"}
_LINE = {"id", "from", "to", "length_km", "r_ohm", "x_ohm", "c_nf", "max_i_ka", "phases"}
_TRAFO = {
    "id", "hv", "lv", "sn_kva", "vn_hv_kv", "vn_lv_kv", "vk_percent", "vkr_percent", "pfe_kw", "i0_percent", "shift_deg",
    "tap_pos", "tap_neutral", "tap_step_percent", "tap_side", "phases",
}  # fmt: skip
_LOAD = {"id", "bus", "name", "kind", "p_nom_kw", "q_nom_kvar", "profile", "lcl_meter", "phases"}


def network_of(content: object) -> Network:
    """The network that parsed JSON describes. NetworkError."""
    top = _object(content, "the file", _TOP | _SAID)
    nodes = _listed(top, "buses", _BUS, lambda row, what: GridNode(_id(row, "id", what), _number(row, "vn_kv", what)))
    slack = top.get("slack_bus")
    if isinstance(slack, list):
        raise NetworkError(f"several slacks: {', '.join(map(str, slack))}")
    return Network(
        name=str(top.get("name", "grid")),
        nodes=nodes,
        lines=_listed(top, "lines", _LINE, _line),
        transformers=_listed(top, "trafos", _TRAFO, _transformer),
        slack=_id(top, "slack_bus", "the file"),
        loads=_listed(top, "loads", _LOAD, _load),
        slack_voltage_per_unit=_number(top, "slack_vm_pu", "the file"),
        base_hertz=_number(top, "base_frequency_hz", "the file"),
        joined=_listed(top, "bus_bus_closed", None, _pair),
    )


def _line(row: Mapping[str, Any], what: str) -> GridLine:
    return GridLine(
        name=_id(row, "id", what),
        upper=_id(row, "from", what),
        lower=_id(row, "to", what),
        r_ohm=_number(row, "r_ohm", what),
        x_ohm=_number(row, "x_ohm", what),
        capacitance_nf=_number(row, "c_nf", what),
        rated_amperes=1e3 * _number(row, "max_i_ka", what),
    )


def _transformer(row: Mapping[str, Any], what: str) -> GridTransformer:
    volts = {"hv": _number(row, "vn_hv_kv", what), "lv": _number(row, "vn_lv_kv", what)}
    steps = _number(row, "tap_pos", what) - _number(row, "tap_neutral", what)
    if steps:
        if row.get("tap_side") not in volts:
            raise NetworkError(f"{what}: tap_side is {row.get('tap_side')!r}, neither hv nor lv")
        volts[row["tap_side"]] *= 1 + steps * _number(row, "tap_step_percent", what) / 100
    return GridTransformer(
        name=_id(row, "id", what) if "id" in row else what.rsplit(maxsplit=1)[-1],
        high=_id(row, "hv", what),
        low=_id(row, "lv", what),
        rated_kva=_number(row, "sn_kva", what),
        high_kv=volts["hv"],
        low_kv=volts["lv"],
        short_circuit_percent=_number(row, "vk_percent", what),
        copper_loss_percent=_number(row, "vkr_percent", what),
        iron_loss_kw=_number(row, "pfe_kw", what),
        no_load_current_percent=_number(row, "i0_percent", what),
    )


def _load(row: Mapping[str, Any], what: str) -> GridLoad:
    meter = row.get("lcl_meter")
    if meter is not None and not (isinstance(meter, str) and meter):
        raise NetworkError(f"{what}: lcl_meter is {meter!r}, no name")
    return GridLoad(
        _id(row, "id", what),
        _id(row, "bus", what),
        1e3 * _number(row, "p_nom_kw", what),
        1e3 * _number(row, "q_nom_kvar", what),
        meter,
    )


def _pair(row: Any, what: str) -> tuple[str, str]:
    if not isinstance(row, list) or len(row) != 2:
        raise NetworkError(f"{what} is {row!r}, no pair of buses")
    return (_name(row[0], what), _name(row[1], what))


def _listed(
    top: Mapping[str, Any], key: str, known: Iterable[str] | None, made: Callable[[Any, str], Any]
) -> tuple[Any, ...]:
    """Every entry of a list, made into an element; `known` None: the entries are no objects."""
    rows = top.get(key)
    if not isinstance(rows, list):
        raise NetworkError(f"`{key}` is no list")
    kind = {"buses": "bus", "bus_bus_closed": "closed switch"}.get(key, key.rstrip("s"))
    return tuple(
        made(row if known is None else _object(row, _called(row, kind, at), set(known)), _called(row, kind, at))
        for at, row in enumerate(rows)
    )


def _called(row: Any, kind: str, at: int) -> str:
    return f"{kind} {row['id']}" if isinstance(row, dict) and "id" in row else f"{kind} {at}"


def _object(value: Any, what: str, known: set[str]) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise NetworkError(f"{what} is no object")
    unknown = [key for key in value if key not in known]
    if unknown:
        raise NetworkError(f"{what}: `{unknown[0]}` is not known")
    if value.get("phases", "abc") != "abc":
        raise NetworkError(f"{what}: phases {value['phases']!r}: only balanced three-phase grids can be computed")
    return value


def _number(row: Mapping[str, Any], key: str, what: str) -> float:
    if key not in row:
        raise NetworkError(f"{what}: `{key}` is missing")
    return finite(row[key], f"{what}: {key}")


def _id(row: Mapping[str, Any], key: str, what: str) -> str:
    if key not in row:
        raise NetworkError(f"{what}: `{key}` is missing")
    return _name(row[key], f"{what}: {key}")


def _name(value: Any, what: str) -> str:
    if isinstance(value, bool) or not isinstance(value, int | str) or value == "":
        raise NetworkError(f"{what} is {value!r}, neither a whole number nor a name")
    return str(value)
