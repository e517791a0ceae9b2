"""DistFlow: against a feeder solved by hand, against Kirchhoff's laws on random trees, and its printed variants on the village."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from grid_operator.network.errors import NetworkError
from grid_operator.network.feeder import BASE_VA, feeder_of
from grid_operator.network.model import GridLine, GridLoad, GridNode, GridTransformer, Network
from grid_operator.network.power_flow import Equations, power_flow


def two_nodes(capacitance_nf: float = 0.0) -> Network:
    """A line of 0.1 + 0.05j ohm at 0.4 kV; 1 MVA is the base, so an ohm is 6.25 per unit."""
    nodes = (GridNode("a", 0.4), GridNode("b", 0.4))
    return Network(
        "two", nodes, (GridLine("1", "a", "b", 0.1, 0.05, capacitance_nf, 100.0),), (), "a", (GridLoad("h", "b"),)
    )


@pytest.mark.parametrize(
    ("watts", "reactive"), [(30_000.0, 10_000.0), (-30_000.0, 5_000.0), (0.0, 0.0), (1.0, -40_000.0)]
)
def test_two_nodes_are_what_the_quadratic_says(watts: float, reactive: float):
    found = power_flow(feeder_of(two_nodes()), [[0, watts]], [[0, reactive]])
    r, x, p, q = 0.1 * 6.25, 0.05 * 6.25, watts / 1e6, reactive / 1e6
    half = (1 - 2 * (r * p + x * q)) / 2
    u = half + np.sqrt(half**2 - (r * r + x * x) * (p * p + q * q))
    assert found.squared_voltage[0, 1] == pytest.approx(u, abs=1e-14)
    amperes = np.hypot(watts, reactive) / (np.sqrt(3) * 400 * np.sqrt(u))
    assert found.amperes[0, 1] == pytest.approx(amperes)
    assert found.loading_fraction[0].tolist() == [0, pytest.approx(amperes / 100)]
    assert found.loss_watts[0, 1] == pytest.approx(3 * 0.1 * amperes**2)
    assert found.slack_watts[0] == pytest.approx(watts + 3 * 0.1 * amperes**2)
    assert found.slack_vars[0] == pytest.approx(reactive + 3 * 0.05 * amperes**2)


def test_a_cable_that_feeds_nothing_lifts_the_voltage_at_its_end():
    found = power_flow(feeder_of(two_nodes(capacitance_nf=5_000.0)), [[0, 0]])
    b = np.pi * 50 * 5_000e-9 * 0.16  # half the charging, per unit
    z = complex(0.1, 0.05) * 6.25
    assert found.voltage_per_unit[0, 1] == pytest.approx(abs(1 / (1 + z * 1j * b)), abs=1e-13)
    assert found.voltage_per_unit[0, 1] > 1


def phasors(feeder, found, slot: int) -> np.ndarray:
    """Voltages with their angles: what magnitudes and flows leave open, put together from the slack downwards."""
    v = np.zeros(len(feeder), dtype=complex)
    v[0] = found.voltage_per_unit[slot, 0]
    for at in range(1, len(feeder)):
        own = complex(feeder.terminal_g[at], -feeder.terminal_b[at]) * found.squared_voltage[slot, feeder.up[at]]
        s = complex(found.sent_watts[slot, at], found.sent_vars[slot, at]) / BASE_VA - own
        upper = v[feeder.up[at]] / feeder.turns[at]
        v[at] = upper - complex(feeder.r[at], feeder.x[at]) * (s / upper).conjugate()
    return v


def injections(feeder, v: np.ndarray) -> np.ndarray:
    """Power into the feeder at each node, by the matrix of admittances."""
    y = np.diag(feeder.g + 1j * (feeder.b + feeder.charging)).astype(complex)
    for at in range(1, len(feeder)):
        one, above, t = 1 / complex(feeder.r[at], feeder.x[at]), feeder.up[at], feeder.turns[at]
        y[above, above] += one / t**2
        y[at, at] += one
        y[above, at] -= one / t
        y[at, above] -= one / t
    return v * (y @ v).conjugate()


@given(seed=st.integers(0, 10_000), load=st.floats(-4_000, 6_000), turns=st.sampled_from([1.0, 0.975, 1.05]))
def test_kirchhoffs_laws_hold_at_every_node_of_a_random_tree(random_feeder, seed: int, load: float, turns: float):
    _, feeder = random_feeder(seed, turns=turns)
    rng = np.random.default_rng(seed)
    p, q = load * rng.uniform(0, 2, (3, len(feeder))), load * rng.uniform(-0.5, 0.5, (3, len(feeder)))
    found = power_flow(feeder, p, q, slack_voltage_per_unit=[1.0, 1.03, 0.97])
    for slot in range(3):
        v = phasors(feeder, found, slot)
        assert np.abs(np.abs(v) - found.voltage_per_unit[slot]).max() < 1e-11
        s = injections(feeder, v)
        s[0] -= complex(found.slack_watts[slot], found.slack_vars[slot]) / BASE_VA
        assert np.abs(s + (p[slot] + 1j * q[slot]) / BASE_VA).max() < 1e-10


def test_what_the_slack_gives_is_what_is_taken_and_lost(random_feeder):
    _, feeder = random_feeder(3)
    found = power_flow(feeder, np.full((2, len(feeder)), 2_000.0))
    iron = feeder.g @ found.squared_voltage.T * BASE_VA
    assert found.slack_watts == pytest.approx(2_000.0 * len(feeder) + found.loss_watts.sum(axis=1) + iron)
    assert (iron > 800).all()


def test_a_transformer_fed_from_its_low_side_is_the_same_transformer():
    nodes = (GridNode("high", 10.0), GridNode("low", 0.4))
    transformer = GridTransformer("t", "high", "low", 400.0, 10.25, 0.4, 4.0, 1.3, 0.9, 0.6)
    down = feeder_of(Network("down", nodes, (), (transformer,), "high"))
    up = feeder_of(Network("up", nodes, (), (transformer,), "low"))
    taken = down.at_nodes([down.node("low")], [[80_000.0]])
    first = power_flow(down, taken, 0.3 * taken, slack_voltage_per_unit=1.02)
    low = first.voltage_per_unit[0, down.node("low")]
    given_back = up.at_nodes([up.node("high")], [-first.slack_watts])
    vars_back = up.at_nodes([up.node("high")], [-first.slack_vars])
    second = power_flow(up, given_back, vars_back, slack_voltage_per_unit=low)
    assert second.voltage_per_unit[0, up.node("high")] == pytest.approx(1.02, abs=1e-11)
    assert -second.slack_watts[0] == pytest.approx(80_000.0, abs=1e-5)


def test_slots_are_computed_as_if_alone(random_feeder):
    _, feeder = random_feeder(5)
    p = np.random.default_rng(5).uniform(-3_000, 5_000, (1_100, len(feeder)))
    whole = power_flow(feeder, p)
    for slot in (0, 511, 512, 1_099):
        alone = power_flow(feeder, p[slot])
        assert np.abs(alone.voltage_per_unit - whole.voltage_per_unit[slot]).max() < 1e-12


def test_a_collapse_names_the_slot(random_feeder):
    _, feeder = random_feeder(1)
    p = np.zeros((1_000, len(feeder)))
    p[777] = 5e6
    with pytest.raises(NetworkError, match=r"^slot 777: the voltage collapses at node n\d+"):
        power_flow(feeder, p)


def test_just_before_the_collapse_there_is_a_solution_and_behind_it_there_is_none():
    feeder = feeder_of(two_nodes())
    r, x = 0.625, 0.3125
    limit = 1e6 / (2 * (np.hypot(r, x) + r))  # where the quadratic's root becomes complex
    assert power_flow(feeder, [[0, 0.999 * limit]]).squared_voltage[0, 1] == pytest.approx(0.2636, abs=0.02)
    with pytest.raises(NetworkError, match="slot 0: the voltage collapses at node b"):
        power_flow(feeder, [[0, 1.001 * limit]])


@pytest.mark.parametrize(
    ("p", "q", "slack", "said"),
    [
        ([[0, np.nan]], None, None, "slot 0, node b: watts is nan"),
        ([[0, 1], [0, np.inf]], None, None, "slot 1, node b: watts is inf"),
        ([[0, 1]], [[np.nan, 1]], None, "slot 0, node a: vars is nan"),
        ([[0, 1, 2]], None, None, "for 2 nodes"),
        ([[0, 1]], [[0, 1], [0, 1]], None, "2 slots of vars for 1 slots of watts"),
        ([[0, 1]], None, 0.0, "a slack voltage is no number above 0"),
        ([[0, 1]], None, np.nan, "a slack voltage is no number above 0"),
    ],
)
def test_what_is_no_number_is_refused(p, q, slack, said: str):
    with pytest.raises(NetworkError, match=said):
        power_flow(feeder_of(two_nodes()), p, q, slack_voltage_per_unit=slack)


def largest_error(feeder, p, equations: Equations) -> tuple[float, int]:
    apart = np.abs(power_flow(feeder, p, equations=equations).voltage_per_unit - power_flow(feeder, p).voltage_per_unit)
    return float(apart.max()), int(np.unravel_index(apart.argmax(), apart.shape)[0])


def test_the_printed_equations_err_by_what_two_other_codes_found(village, year):
    feeder = feeder_of(village)
    nodes = [feeder.node(load.node) for load in village.loads]
    error, slot = largest_error(feeder, feeder.at_nodes(nodes, 2.0 * year), Equations.PRINTED_VOLTAGE)
    assert (error, slot) == (pytest.approx(4.51e-5, rel=0.01), 1957)
    for watts, expected in ((3_000.0, 3.32e-4), (6_000.0, 1.394e-3)):
        even = feeder.at_nodes(nodes, np.full((1, len(nodes)), watts))
        assert largest_error(feeder, even, Equations.PRINTED_VOLTAGE)[0] == pytest.approx(expected, rel=0.01)
        assert largest_error(feeder, even, Equations.PRINTED_CHARGING)[0] == pytest.approx(1.44e-5, rel=0.01)


def test_a_year_of_the_village_is_not_stressed(village, year):
    feeder = feeder_of(village)
    nodes = [feeder.node(load.node) for load in village.loads]
    p = feeder.at_nodes(nodes, 2.0 * year)
    found = power_flow(feeder, p, np.tan(np.arccos(0.95)) * p)
    assert found.voltage_per_unit.min() == pytest.approx(0.989, abs=5e-4)
    assert found.loading_fraction.max() == pytest.approx(0.17, abs=5e-3)
