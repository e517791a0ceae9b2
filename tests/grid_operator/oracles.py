"""What pandapower and power-grid-model say of the same grids. Run by the Python that has them (`make oracles`), not by the tests' own.

python tests/grid_operator/oracles.py flows VILLAGE.json FOLDER      FOLDER/NAME: the tables of each net; printed: its power flow
python tests/grid_operator/oracles.py estimate VILLAGE.json ASKED.json
python tests/grid_operator/oracles.py time VILLAGE.json RUNS         seconds that one power flow takes
"""

from __future__ import annotations

import contextlib
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandapower as pp
import pandapower.estimation as state_estimation
import pandapower.networks as shipped
import power_grid_model as pgm
import simbench

from grid_operator.network.errors import NetworkError
from grid_operator.network.files import read_network
from grid_operator.network.model import Network
from grid_operator.network.pandapower_nets import network_of_pandapower
from grid_operator.network.tables import write_tables


def village_net(path: Path) -> Any:
    """pandapower's net, made of the JSON by pandapower's own functions."""
    grid = json.loads(path.read_text())
    net = pp.create_empty_network(f_hz=grid["base_frequency_hz"])
    for bus in grid["buses"]:
        pp.create_bus(net, bus["vn_kv"], index=bus["id"])
    pp.create_ext_grid(net, grid["slack_bus"], vm_pu=grid["slack_vm_pu"])
    for line in grid["lines"]:
        km = line["length_km"]
        pp.create_line_from_parameters(
            net, line["from"], line["to"], km, line["r_ohm"] / km, line["x_ohm"] / km, line["c_nf"] / km, line["max_i_ka"],
            index=line["id"],
        )  # fmt: skip
    for trafo in grid["trafos"]:
        pp.create_transformer_from_parameters(
            net, trafo["hv"], trafo["lv"], trafo["sn_kva"] / 1e3, trafo["vn_hv_kv"], trafo["vn_lv_kv"], trafo["vkr_percent"],
            trafo["vk_percent"], trafo["pfe_kw"], trafo["i0_percent"], shift_degree=trafo["shift_deg"],
        )  # fmt: skip
    for load in grid["loads"]:
        pp.create_load(net, load["bus"], load["p_nom_kw"] / 1e3, load["q_nom_kvar"] / 1e3, index=load["id"])
    return net


def nets(village: Path) -> dict[str, Any]:
    """Every net that is compared."""
    return {
        "village": village_net(village),
        "cigre-lv": shipped.create_cigre_network_lv(),
        "kerber-landnetz": shipped.create_kerber_landnetz_freileitung_1(),
        "kerber-vorstadtnetz": shipped.create_kerber_vorstadtnetz_kabel_1(),
        "simbench-rural": simbench.get_simbench_net("1-LV-rural1--0-sw"),
        "simbench-semiurban": simbench.get_simbench_net("1-LV-semiurb4--0-sw"),
    }


def flows(village: Path, folder: Path) -> dict[str, object]:
    """Voltages of every bus, what the slack gives in MW and Mvar, losses of every line in MW; and the tables of each net."""
    found: dict[str, object] = {}
    for name, net in nets(village).items():
        write_tables(network_of_pandapower(net, name), folder / name)
        pp.runpp(net, tolerance_mva=1e-12, calculate_voltage_angles=False, max_iteration=50)
        found[name] = {
            "volts": {str(bus): value for bus, value in net.res_bus.vm_pu.items() if np.isfinite(value)},
            "slack": [float(net.res_ext_grid.p_mw.sum()), float(net.res_ext_grid.q_mvar.sum())],
            "lost": {f"line {line}": float(value) for line, value in net.res_line.pl_mw.items()},
        }
    found["power-grid-model"] = by_power_grid_model(read_network(village))
    return found


def by_power_grid_model(network: Network) -> dict[str, float]:
    """Voltages of the lines of a network, fed where its transformer ends, every load at its nominal power."""
    numbers = {node.name: at for at, node in enumerate(network.nodes)}
    feed = network.transformers[0].low
    fed = [node for node in network.nodes if node.name != network.slack]
    node = pgm.initialize_array("input", "node", len(fed))
    node["id"], node["u_rated"] = [numbers[each.name] for each in fed], [each.nominal_kv * 1e3 for each in fed]
    line = pgm.initialize_array("input", "line", len(network.lines))
    line["id"] = 1_000 + np.arange(len(line))
    line["from_node"], line["to_node"] = (
        [numbers[getattr(e, end)] for e in network.lines] for end in ("upper", "lower")
    )
    line["from_status"] = line["to_status"] = 1
    line["r1"], line["x1"] = ([getattr(e, part) for e in network.lines] for part in ("r_ohm", "x_ohm"))
    line["c1"], line["tan1"] = [e.capacitance_nf * 1e-9 for e in network.lines], 0.0
    load = pgm.initialize_array("input", "sym_load", len(network.loads))
    load["id"], load["node"] = 2_000 + np.arange(len(load)), [numbers[each.node] for each in network.loads]
    load["status"], load["type"] = 1, pgm.LoadGenType.const_power
    load["p_specified"], load["q_specified"] = (
        [each.watts for each in network.loads],
        [each.vars for each in network.loads],
    )
    source = pgm.initialize_array("input", "source", 1)
    source["id"], source["node"], source["status"], source["u_ref"], source["sk"] = 3_000, numbers[feed], 1, 1.0, 1e20
    model = pgm.PowerGridModel({"node": node, "line": line, "sym_load": load, "source": source}, network.base_hertz)
    said = model.calculate_power_flow(error_tolerance=1e-12, max_iterations=100)["node"]
    names = {number: name for name, number in numbers.items()}
    return {names[int(number)]: float(u) for number, u in zip(said["id"], said["u_pu"], strict=True)}


def estimated(village: Path, asked: Path) -> dict[str, object]:
    """pandapower's weighted least squares of the asked measurements; voltages as magnitudes, nodes without load exact."""
    net = village_net(village)
    content = json.loads(asked.read_text())
    for kind, table, element, value, sigma, side in content["measurements"]:
        pp.create_measurement(net, kind, table, value, sigma, element, side=side)
    done = state_estimation.estimate(
        net, algorithm="wls_with_zero_constraint", init="flat", tolerance=1e-9, maximum_iterations=50,
        zero_injection=content["empty"], calculate_voltage_angles=False,
    )  # fmt: skip
    if isinstance(done, dict):
        done = done.get("success")
    return {"success": bool(done), "volts": {str(bus): value for bus, value in net.res_bus_est.vm_pu.items()}}


def refused(village: Path) -> list[str]:
    """What is said of a net with each of some elements."""
    changes = (
        lambda net: pp.create_gen(net, 3, 0.01, vm_pu=1.0),
        lambda net: pp.create_asymmetric_load(net, 3, p_a_mw=0.01),
        lambda net: pp.create_ext_grid(net, 5),
        lambda net: net.ext_grid.drop(0, inplace=True),
        lambda net: net.load.__setitem__("const_z_p_percent", 20.0),
        lambda net: net.line.__setitem__("g_us_per_km", 1.0),
        lambda net: pp.create_switch(net, 2, 3, et="b", z_ohm=0.1),
    )
    said = []
    for change in changes:
        net = village_net(village)
        change(net)
        try:
            said.append(str(network_of_pandapower(net)))
        except NetworkError as error:
            said.append(f"refused: {error}")
    return said


def timed(village: Path, runs: int) -> dict[str, float]:
    """Seconds of one power flow, from the solution of the last: the least of a few repetitions."""
    net = village_net(village)
    pp.runpp(net, calculate_voltage_angles=False)
    best = np.inf
    for _ in range(3):
        began = time.perf_counter()
        for _ in range(runs):
            pp.runpp(net, init="results", calculate_voltage_angles=False)
        best = min(best, (time.perf_counter() - began) / runs)
    return {"seconds": float(best)}


if __name__ == "__main__":
    what, file, other = sys.argv[1:]
    with contextlib.redirect_stdout(sys.stderr):
        if what == "flows":
            answer: object = flows(Path(file), Path(other))
        elif what == "refused":
            answer = refused(Path(file))
        elif what == "estimate":
            answer = estimated(Path(file), Path(other))
        else:
            answer = timed(Path(file), int(other))
    sys.stdout.write(json.dumps(answer))
