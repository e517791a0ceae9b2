"""Connection graphs: drawn as asked, strengthened where they are thin, refused where a component is too small."""

import itertools
import random

import networkx as nx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from configurator.masked import graphs
from configurator.masked.graphs import (
    Circulant,
    ConnectionGraph,
    GraphFloors,
    Random,
    areas_of,
    check_graph,
    connectivity_threshold,
    draw_graph,
    parse_shape,
    redraw_graph,
)
from hushgrid.core.schedule import Window
from hushgrid.errors import ConfigurationError, RefusedError

PERIOD = Window(0, 48)


def names(count: int, prefix: str = "m") -> list[str]:
    return [f"{prefix}{number:05}" for number in range(count)]


def test_a_double_loop_has_degree_4_and_is_connected() -> None:
    graph = draw_graph([names(40)], Circulant((1, 2)), GraphFloors(0, 5), PERIOD, random.Random(1))
    assert {len(others) for others in graph.neighbours().values()} == {4}
    assert nx.is_connected(graph.to_networkx())


def test_steps_that_share_a_factor_with_the_number_of_meters_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="gcd"):
        draw_graph([names(12)], Circulant((3, 6)), GraphFloors(0, 2), PERIOD)
    draw_graph([names(12)], Circulant((3, 4)), GraphFloors(0, 2), PERIOD)


@pytest.mark.parametrize("steps", [(), (0,), (1, 1), (7,), (-1,)])
def test_bad_steps_are_refused(steps: tuple[int, ...]) -> None:
    with pytest.raises(ConfigurationError, match="steps"):
        draw_graph([names(12)], Circulant(steps), GraphFloors(0, 2), PERIOD)


def test_a_probability_below_theorem_4s_threshold_is_refused() -> None:
    limit = connectivity_threshold(40, 0.1)
    assert limit == pytest.approx(0.1014, abs=1e-4)
    with pytest.raises(ConfigurationError, match="must exceed"):
        draw_graph([names(40)], Random(limit), GraphFloors(0, 5), PERIOD)
    draw_graph([names(40)], Random(limit + 0.05), GraphFloors(0, 5), PERIOD)


@settings(deadline=None, max_examples=25)
@given(
    st.integers(8, 24), st.integers(0, 3), st.sampled_from(["circulant:1", "circulant:1,2", "random:0.6"]), st.randoms()
)
def test_any_c_meters_can_be_taken_out_and_the_rest_stays_connected(
    size: int, colluders: int, shape: str, rng: random.Random
) -> None:
    graph = draw_graph([names(size)], parse_shape(shape), GraphFloors(colluders, 3), PERIOD, rng).to_networkx()
    for taken in itertools.islice(itertools.combinations(sorted(graph), colluders), 500):
        assert nx.is_connected(graph.subgraph(set(graph) - set(taken)))


def test_a_random_graph_above_the_threshold_can_be_too_thin_and_gets_edges() -> None:
    rng = random.Random(3)
    plain, _ = Random(0.15).draw(names(40), rng)
    assert nx.node_connectivity(plain) < 5
    graph = draw_graph([names(40)], Random(0.15), GraphFloors(4, 5), PERIOD, rng)
    assert nx.node_connectivity(graph.to_networkx()) >= 5


def test_edges_are_added_across_a_cut_that_degrees_do_not_show() -> None:
    both = nx.disjoint_union(nx.complete_graph(8), nx.complete_graph(8))
    both.add_edge(0, 8)
    graph = nx.relabel_nodes(both, dict(enumerate(names(16))))
    graphs._strengthen(graph, names(16), 4, random.Random(7))
    assert nx.node_connectivity(graph) == 4


def test_a_large_area_is_laid_along_a_ring_that_proves_its_connectivity() -> None:
    graph = draw_graph([names(5000)], Random(0.003), GraphFloors(4, 5), PERIOD, random.Random(4))
    assert min(len(others) for others in graph.neighbours().values()) >= 6
    ring_edge = tuple(sorted(graph.rings[0][:2]))
    broken = ConnectionGraph(graph.areas, graph.edges - {(ring_edge[0], ring_edge[1])}, graph.rings, PERIOD)
    with pytest.raises(RefusedError, match="vertex-connected"):
        check_graph(broken, GraphFloors(4, 5))


def test_the_rings_proof_is_true_where_it_can_be_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graphs, "EXACT_METERS", 10)
    for colluders in range(6):
        graph = draw_graph([names(30)], Circulant((1,)), GraphFloors(colluders, 3), PERIOD, random.Random(colluders))
        assert nx.node_connectivity(graph.to_networkx()) >= colluders + 1


def test_no_edge_crosses_areas_and_one_that_does_is_refused() -> None:
    areas = areas_of({**dict.fromkeys(names(12, "a"), "north"), **dict.fromkeys(names(15, "b"), "south")})
    graph = draw_graph(areas, Circulant((1, 2)), GraphFloors(2, 4), PERIOD)
    assert all(low[0] == high[0] for low, high in graph.edges)
    crossed = ConnectionGraph(graph.areas, graph.edges | {("a00000", "b00000")}, graph.rings, PERIOD)
    with pytest.raises(RefusedError, match="crosses areas"):
        check_graph(crossed, GraphFloors(2, 4))


def test_a_component_below_the_minimum_group_is_refused() -> None:
    with pytest.raises(RefusedError, match="minimum group"):
        draw_graph([names(12), names(6, "s")], Circulant((1, 2)), GraphFloors(2, 5), PERIOD)


def test_a_round_whose_losses_thin_the_graph_is_found() -> None:
    graph = draw_graph([names(20)], Circulant((1, 2)), GraphFloors(2, 4), PERIOD, random.Random(5))
    check_graph(graph, GraphFloors(2, 4))
    victim = names(20)[0]
    absent = frozenset(graph.neighbours()[victim][:2])
    with pytest.raises(RefusedError, match="vertex-connected"):
        check_graph(graph, GraphFloors(2, 4), absent)
    check_graph(draw_graph([names(20)], Circulant((1, 2)), GraphFloors(4, 4), PERIOD), GraphFloors(2, 4), absent)


def test_the_graph_is_drawn_anew_when_meters_come_and_go_but_only_at_the_end_of_a_period() -> None:
    floors, shape = GraphFloors(2, 4), Circulant((1, 2))
    before = draw_graph([names(20)], shape, floors, PERIOD)
    now = [*names(20)[3:], "new01"]
    with pytest.raises(RefusedError, match="changes at its end only"):
        redraw_graph(before, [now], shape, floors, PERIOD)
    after = redraw_graph(before, [now], shape, floors, Window(48, 48))
    assert set(after.neighbours()) == set(now)
    assert after.digest != before.digest


def test_the_digest_names_period_areas_and_edges() -> None:
    graph = draw_graph([names(8)], Circulant((1, 2)), GraphFloors(0, 2), PERIOD, random.Random(6))
    same = ConnectionGraph(graph.areas, frozenset(sorted(graph.edges)), (), PERIOD)
    later = ConnectionGraph(graph.areas, graph.edges, graph.rings, Window(48, 48))
    fewer = ConnectionGraph(graph.areas, graph.edges - {min(graph.edges)}, graph.rings, PERIOD)
    assert graph.digest == same.digest
    assert len({graph.digest, later.digest, fewer.digest}) == 3


@pytest.mark.parametrize("text", ["", "ring", "circulant:", "circulant:1;2", "random:", "random:much"])
def test_a_shape_that_is_neither_form_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="neither"):
        parse_shape(text)


def test_both_forms_of_a_shape_are_read() -> None:
    assert parse_shape("circulant:1,2") == Circulant((1, 2))
    assert parse_shape("random:0.2") == Random(0.2)
