"""Whatever cannot be a balanced radial grid is refused in one line that names the thing."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from grid_operator.network.errors import NetworkError
from grid_operator.network.feeder import feeder_of
from grid_operator.network.files import read_network
from grid_operator.network.json_file import network_of
from grid_operator.network.model import GridLine, GridNode, GridTransformer, Network
from grid_operator.network.tables import meters_of, read_meters, read_tables, write_tables


def grid() -> dict:
    return {
        "name": "made up", "base_frequency_hz": 50.0, "slack_bus": 0, "slack_vm_pu": 1.0, "bus_bus_closed": [],
        "buses": [{"id": 0, "name": "a", "vn_kv": 10.0}, {"id": 1, "vn_kv": 0.4}, {"id": 2, "vn_kv": 0.4}, {"id": 3, "vn_kv": 0.4}],
        "lines": [
            {"id": 7, "from": 1, "to": 2, "r_ohm": 0.01, "x_ohm": 0.003, "c_nf": 3.0, "max_i_ka": 0.27},
            {"id": 8, "from": 2, "to": 3, "r_ohm": 0.01, "x_ohm": 0.003, "c_nf": 3.0, "max_i_ka": 0.27},
        ],
        "trafos": [{
            "hv": 0, "lv": 1, "sn_kva": 400.0, "vn_hv_kv": 10.0, "vn_lv_kv": 0.4, "vk_percent": 4.0, "vkr_percent": 1.3,
            "pfe_kw": 0.95, "i0_percent": 0.24, "tap_pos": 1.0, "tap_neutral": 0.0, "tap_step_percent": 2.5, "tap_side": "hv",
        }],
        "loads": [{"id": 0, "bus": 3, "p_nom_kw": 6.0, "q_nom_kvar": 1.0, "lcl_meter": "M1"}],
    }  # fmt: skip


def test_the_grid_that_the_faults_are_put_into_is_sound():
    network = network_of(grid())
    assert network.transformers[0].high_kv == 10.25
    assert network.loads[0].watts == 6000.0
    assert len(feeder_of(network)) == 4


def at(path: str, value: object):
    """Puts a value at a place such as lines.0.r_ohm; None takes it away."""

    def change(content: dict) -> None:
        *way, last = (int(step) if step.isdigit() else step for step in path.split("."))
        place: object = content
        for step in way:
            place = place[step]  # type: ignore[index]
        if value is None:
            del place[last]  # type: ignore[attr-defined]
        else:
            place[last] = value  # type: ignore[index]

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (at("lines.0.r_ohm", -0.1), "line 7: r_ohm is -0.1, less than 0"),
        (at("lines.1.x_ohm", float("nan")), "line 8: x_ohm is nan, no number"),
        (at("lines.1.x_ohm", "0.1"), "line 8: x_ohm is '0.1', no number"),
        (at("lines.1.x_ohm", True), "line 8: x_ohm is True, no number"),
        (at("lines.1.x_ohm", None), "line 8: `x_ohm` is missing"),
        (at("lines.1.c_nf", float("inf")), "line 8: c_nf is inf, no number"),
        (at("lines.1.max_i_ka", 0), "line 8: rated_amperes is 0, not more than 0"),
        (at("lines.1.to", 9), "line 8: there is no node 9"),
        (at("lines.1.to", 2), "line 8: it begins and ends at node 2"),
        (at("lines.1.to", 1), "line 8 closes a ring"),
        (at("lines.1.to", 0), "line 8: its nodes have 0.4 and 10 kV"),
        (at("lines.1.id", 7), "line 7 is there twice"),
        (at("lines.1", None), r"node 3 is not connected to the slack 0 \(1 such nodes\)"),
        (at("lines.1.in_service", False), "line 8: `in_service` is not known"),
        (at("lines.1.phases", "a"), "line 8: phases 'a': only balanced three-phase grids"),
        (at("loads.0.phases", "b"), "load 0: phases 'b': only balanced three-phase grids"),
        (at("lines.0", {"id": 7, "from": 1, "to": 2, "r_ohm": 0, "x_ohm": 0, "c_nf": 0, "max_i_ka": 1}), "line 7: it has no impedance"),
        (at("buses.1.id", 2), "node 2 is there twice"),
        (at("buses.1.vn_kv", 0), "node 1: nominal_kv is 0, not more than 0"),
        (at("buses.1.id", 1.5), "bus 1.5: id is 1.5, neither a whole number nor a name"),
        (at("loads.0.bus", 12), "load 0: there is no node 12"),
        (at("loads.0.p_nom_kw", float("nan")), "load 0: p_nom_kw is nan, no number"),
        (at("loads.0.lcl_meter", 5), "load 0: lcl_meter is 5, no name"),
        (at("slack_bus", [0, 1]), "several slacks: 0, 1"),
        (at("slack_bus", 44), "the slack: there is no node 44"),
        (at("slack_vm_pu", 0), "the slack's voltage is 0, not more than 0"),
        (at("trafos.0.vk_percent", 0), "transformer 0: short_circuit_percent is 0, not more than 0"),
        (at("trafos.0.vkr_percent", 5), "transformer 0: copper_loss_percent is more than short_circuit_percent"),
        (at("trafos.0.tap_side", "mv"), "trafo 0: tap_side is 'mv', neither hv nor lv"),
        (at("trafos.0.lv", 0), "transformer 0: it begins and ends at node 0"),
        (at("bus_bus_closed", [[1, 0]]), "closed switch from 1 to 0: its nodes have"),
        (at("bus_bus_closed", [[2, 3]]), "line 8 closes a ring"),
        (at("bus_bus_closed", [[2]]), r"closed switch 0 is \[2\], no pair of buses"),
        (at("loads", None), "`loads` is no list"),
        (at("switches", []), "the file: `switches` is not known"),
    ],
)  # fmt: skip
def test_one_fault_is_one_line(tmp_path: Path, change, said: str):
    content = grid()
    change(content)
    file = tmp_path / "grid.json"
    file.write_text(json.dumps(content))
    with pytest.raises(NetworkError, match=said) as error:
        feeder_of(read_network(file))
    assert "\n" not in str(error.value)


def test_a_closed_switch_makes_two_nodes_one():
    content = grid()
    content["lines"][1]["from"] = 4
    content["buses"].append({"id": 4, "vn_kv": 0.4})
    content["bus_bus_closed"] = [[4, 2]]
    feeder = feeder_of(network_of(content))
    assert feeder.node("4") == feeder.node("2")
    assert len(feeder) == 4


@pytest.mark.parametrize("text", ["", "[1, 2", "[]", '{"buses": 3}'])
def test_a_file_that_is_no_grid_is_named(tmp_path: Path, text: str):
    file = tmp_path / "grid.json"
    file.write_text(text)
    with pytest.raises(NetworkError, match=r"grid\.json: "):
        read_network(file)
    with pytest.raises(NetworkError, match=r"none\.json: No such file"):
        read_network(tmp_path / "none.json")


def tables(folder: Path) -> Network:
    network = dataclasses.replace(network_of(grid()), name=folder.name)
    write_tables(network, folder)
    return network


def test_tables_carry_a_network_to_its_last_digit(tmp_path: Path):
    network = tables(tmp_path / "grid")
    meters = meters_of(network)
    again = read_network(tmp_path / "grid")
    assert read_meters(tmp_path / "grid" / "meters.csv", again) == meters
    assert again == dataclasses.replace(network, loads=(dataclasses.replace(network.loads[0], meter=None),))


@pytest.mark.parametrize(
    ("file", "old", "new", "said"),
    [
        ("lines.csv", "0.01,0.003", "nan,0.003", r"lines\.csv, line 2: r_ohm is 'nan', no number"),
        ("lines.csv", "0.01,0.003", ",0.003", r"lines\.csv, line 2: `r_ohm` is empty"),
        ("lines.csv", "0.01,0.003", "1_0,0.003", r"lines\.csv, line 2: r_ohm is '1_0', no number"),
        ("lines.csv", "0.01,0.003", "-0.01,0.003", r"lines\.csv, line 2: line 7: r_ohm is -0.01, less than 0"),
        ("lines.csv", "0.01,0.003", "0.01,0.003,4", r"lines\.csv, line 2: 8 cells for 7 columns"),
        ("lines.csv", "r_ohm", "r_ohm_per_km", r"lines\.csv: no column `r_ohm`"),
        ("lines.csv", "rated_amperes", "rated_amperes,parallel", r"lines\.csv: column `parallel` is not known"),
        ("nodes.csv", "1,0.4,", "1,0.4,1.0", r"nodes\.csv: several slacks: 0, 1"),
        ("nodes.csv", "0,10.0,1.0", "0,10.0,", r"nodes\.csv: no node has a slack_voltage_per_unit"),
        ("nodes.csv", "1,0.4,", "0,0.4,", r"grid: node 0 is there twice"),
        ("loads.csv", "0,3", "0,12", "load 0: there is no node 12"),
        ("transformers.csv", "400.0", "0", r"transformers\.csv, line 2: transformer 0: rated_kva is 0"),
    ],
)  # fmt: skip
def test_a_fault_of_a_table_is_named_by_its_line(tmp_path: Path, file: str, old: str, new: str, said: str):
    tables(tmp_path / "grid")
    path = tmp_path / "grid" / file
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(NetworkError, match=said):
        read_tables(tmp_path / "grid")


def test_phases_of_a_table_are_all_three(tmp_path: Path):
    tables(tmp_path / "grid")
    path = tmp_path / "grid" / "lines.csv"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0] + ",phases", lines[1] + ",abc", lines[2] + ",a"]))
    with pytest.raises(NetworkError, match="line 3: phases 'a': only balanced"):
        read_tables(tmp_path / "grid")


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ("M1,9", "meter M1: there is no node 9"),
        ("M1,3\nM1,2", "meter M1 is there twice"),
        ("M1,2", "no meter at node 3, where load 0 is"),
        ("M1,", "line 2: `node` is empty"),
    ],
)
def test_a_map_of_meters_that_cannot_be_is_refused(tmp_path: Path, rows: str, said: str):
    network = tables(tmp_path / "grid")
    file = tmp_path / "meters.csv"
    file.write_text(f"meter,node\n{rows}\n")
    with pytest.raises(NetworkError, match=said):
        read_meters(file, network)


def test_a_grid_names_its_meters_or_says_that_it_does_not():
    network = network_of(grid())
    with pytest.raises(NetworkError, match="load 0 names no meter"):
        meters_of(dataclasses.replace(network, loads=(dataclasses.replace(network.loads[0], meter=None),)))
    other = dataclasses.replace(network.loads[0], name="1")
    with pytest.raises(NetworkError, match="meter M1 is there twice"):
        meters_of(dataclasses.replace(network, loads=(*network.loads, other)))


def test_parts_that_are_made_by_hand_are_checked_too():
    with pytest.raises(NetworkError, match="line x: capacitance_nf is nan"):
        GridLine("x", "a", "b", 1, 1, float("nan"), 1)
    with pytest.raises(NetworkError, match="transformer t: high_kv is -1"):
        GridTransformer("t", "a", "b", 1, -1, 1, 1, 1, 1, 1)
    feeder = feeder_of(Network("one", (GridNode("a", 0.4),), (), (), "a"))
    with pytest.raises(NetworkError, match="there is no node b"):
        feeder.node("b")
    with pytest.raises(NetworkError, match="there is no branch 'line 3'"):
        feeder.branch("line 3")
    with pytest.raises(NetworkError, match="2 columns of loads for 1 loads"):
        feeder.at_nodes([0], [[1, 2]])
