"""Connection graphs: which meters share pairwise masks (paper 002, section VI; docs/pairwise.md).

A subset's sum is public exactly when no edge leaves it (theorem 3). So within an area the graph must be connected, it must
stay connected when any c colluding meters, who know all their masks, are taken out ((c+1)-vertex-connected), what remains
must be at least the minimum group, and no edge may cross areas (the column of an area would not cancel).

Two ways to draw: l-circulant, i ~ i +- alpha mod m with gcd(m, alphas) = 1; and random, each pair with probability p above
(1 + epsilon) ln m / m (theorem 4; its n is the number of meters). Neither is (c+1)-connected by itself: edges are added
until it is. Places on the circle and random edges come from `rng`; `random.SystemRandom()` unless a test scripts it.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hushgrid.core.schedule import Window
from hushgrid.core.sealing import fields
from hushgrid.errors import ConfigurationError, RefusedError
from hushgrid.extras import lazily

if TYPE_CHECKING:
    import networkx as nx
else:
    nx = lazily("networkx")  # it takes a quarter of a second, and most who come here draw no graph

Edge = tuple[str, str]

#: Up to here connectivity is computed (one maximum flow per meter); above, a graph has to contain a ring that proves it.
EXACT_METERS = 200
#: Random graphs that came out disconnected are drawn again this often: theorem 4 makes one failure rare.
DRAWS = 20


@dataclass(frozen=True, slots=True)
class Circulant:
    """i ~ i +- alpha for every step alpha; two steps give the paper's double-loop network of degree 4."""

    steps: tuple[int, ...]

    def check(self, size: int) -> None:
        """ConfigurationError for steps that do not fit so many meters, or gcd(m, steps) != 1."""
        if (
            not self.steps
            or len(set(self.steps)) != len(self.steps)
            or any(not 1 <= s <= size // 2 for s in self.steps)
        ):
            raise ConfigurationError(f"circulant steps must be distinct and in [1, {size // 2}] for {size} meters")
        if math.gcd(size, *self.steps) != 1:
            raise ConfigurationError(f"gcd({size}, steps) is not 1: the circulant graph would fall apart")

    def draw(self, meters: Sequence[str], rng: random.Random) -> tuple[nx.Graph, tuple[str, ...]]:
        """The graph on a random circle, and that circle. ConfigurationError as `check`."""
        self.check(len(meters))
        ring = _shuffled(meters, rng)
        graph = nx.Graph()
        graph.add_nodes_from(meters)
        graph.add_edges_from(_ring_edges(ring, self.steps))
        return graph, ring


@dataclass(frozen=True, slots=True)
class Random:
    """Every pair with the same probability; margin is theorem 4's epsilon."""

    probability: float
    margin: float = 0.1

    def check(self, size: int) -> None:
        """ConfigurationError for p at or below (1 + margin) ln m / m."""
        threshold = connectivity_threshold(size, self.margin)
        if not threshold < self.probability <= 1:
            raise ConfigurationError(
                f"p = {self.probability} must exceed (1 + {self.margin}) ln m / m = {threshold:.4f} and be at most 1"
            )

    def draw(self, meters: Sequence[str], rng: random.Random) -> tuple[nx.Graph, tuple[str, ...]]:
        """A connected graph, and a random circle for edges to be added along.

        ConfigurationError as `check`; RefusedError when no draw was connected.
        """
        self.check(len(meters))
        order = sorted(meters)
        for _ in range(DRAWS):
            drawn = nx.fast_gnp_random_graph(len(order), self.probability, seed=rng)
            if nx.is_connected(drawn):
                return nx.relabel_nodes(drawn, dict(enumerate(order))), _shuffled(meters, rng)
        raise RefusedError(f"{DRAWS} random graphs came out disconnected")


Shape = Circulant | Random


def connectivity_threshold(meters: int, margin: float) -> float:
    """(1 + margin) ln m / m: above this p a random graph is almost surely connected, and no more than that (theorem 4)."""
    return (1 + margin) * math.log(meters) / meters


def parse_shape(text: str) -> Shape:
    """`circulant:1,2` or `random:0.2`; ConfigurationError saying which two forms there are."""
    name, _, rest = text.partition(":")
    try:
        if name == "circulant":
            return Circulant(tuple(int(step) for step in rest.split(",")))
        if name == "random":
            return Random(float(rest))
    except ValueError:
        pass
    raise ConfigurationError(f"graph {text!r} is neither circulant:STEP[,STEP...] nor random:PROBABILITY")


@dataclass(frozen=True, slots=True)
class GraphFloors:
    """colluders: the stated number c of meters of one area that may pool what they know. minimum_group: honest meters."""

    colluders: int
    minimum_group: int

    def __post_init__(self) -> None:
        if self.colluders < 0 or self.minimum_group < 2:
            raise ConfigurationError("colluders must not be negative, and a group of one is no group")


@dataclass(frozen=True, slots=True)
class ConnectionGraph:
    """The pairs of all areas for one billing period. Edges ascend: (low, high).

    rings: one circle of the area's meters each, along which edges were added; only a large graph's check reads them.
    """

    areas: tuple[tuple[str, ...], ...]
    edges: frozenset[Edge]
    rings: tuple[tuple[str, ...], ...]
    period: Window

    @property
    def digest(self) -> bytes:
        """SHA-256 over period, areas and edges: what pair keys are bound to (`hushgrid.core.pairwise.Scope.graph`)."""
        where = fields(str(self.period.first).encode(), str(self.period.rounds).encode())
        areas = fields(*(fields(*(meter.encode() for meter in area)) for area in self.areas))
        edges = fields(*(fields(low.encode(), high.encode()) for low, high in sorted(self.edges)))
        return hashlib.sha256(fields(b"hushgrid/1 connection graph", where, areas, edges)).digest()

    def neighbours(self) -> dict[str, tuple[str, ...]]:
        """For each meter those it shares masks with, sorted: a meter is told its own line and no other."""
        found: dict[str, list[str]] = {meter: [] for area in self.areas for meter in area}
        for low, high in sorted(self.edges):
            found[low].append(high)
            found[high].append(low)
        return {meter: tuple(sorted(others)) for meter, others in found.items()}

    def to_networkx(self) -> nx.Graph:
        """The same graph for networkx."""
        graph = nx.Graph()
        graph.add_nodes_from(itertools.chain.from_iterable(self.areas))
        graph.add_edges_from(self.edges)
        return graph


def draw_graph(
    areas: Sequence[Sequence[str]], shape: Shape, floors: GraphFloors, period: Window, rng: random.Random | None = None
) -> ConnectionGraph:
    """A checked connection graph for one period: each area on its own, edges added for the stated colluders.

    ConfigurationError when the shape does not fit an area; RefusedError when an area is too small for the floors.
    """
    source = rng if rng is not None else random.SystemRandom()
    ordered = tuple(tuple(sorted(area)) for area in areas)
    edges, rings = set[Edge](), []
    for area in ordered:
        _check_size(area, floors)
        graph, ring = shape.draw(area, source)
        _strengthen(graph, ring, floors.colluders + 1, source)
        edges.update(_ascending(graph.edges))
        rings.append(ring)
    drawn = ConnectionGraph(ordered, frozenset(edges), tuple(rings), period)
    check_graph(drawn, floors)
    return drawn


def redraw_graph(
    before: ConnectionGraph,
    areas: Sequence[Sequence[str]],
    shape: Shape,
    floors: GraphFloors,
    period: Window,
    rng: random.Random | None = None,
) -> ConnectionGraph:
    """The graph of a later period, drawn anew because meters came or went.

    RefusedError unless the period begins where an earlier one ended: a graph that changes within a period would make row
    sums of part of it public.
    """
    if period.first <= before.period.last:
        raise RefusedError(f"the graph in force lasts through round {before.period.last}: it changes at its end only")
    return draw_graph(areas, shape, floors, period, rng)


def check_graph(graph: ConnectionGraph, floors: GraphFloors, absent: frozenset[str] = frozenset()) -> None:
    """RefusedError, naming the reason, unless every area keeps its promise.

    absent: meters left out of a round; what remains has to hold the same floors (a static graph that just meets them
    holds no loss: draw it for c + the losses to be borne).
    """
    home = {meter: number for number, area in enumerate(graph.areas) for meter in area}
    if len(home) != sum(len(area) for area in graph.areas):
        raise RefusedError("a meter is in two areas")
    for low, high in graph.edges:
        if low not in home or high not in home or not low < high:
            raise RefusedError("an edge is not an ascending pair of meters of the plan")
        if home[low] != home[high]:
            raise RefusedError("an edge crosses areas: neither area's column would cancel")
    whole = graph.to_networkx()
    for area, ring in zip(graph.areas, graph.rings, strict=True):
        remaining = [meter for meter in area if meter not in absent]
        _check_size(remaining, floors)
        if not is_connected_beyond(
            whole.subgraph(remaining), [meter for meter in ring if meter not in absent], floors.colluders
        ):
            raise RefusedError(f"an area is not {floors.colluders + 1}-vertex-connected: colluders could split it")


def is_connected_beyond(graph: nx.Graph, ring: Sequence[str], colluders: int) -> bool:
    """Whether any `colluders` meters can be taken out and the rest stays connected.

    Exact up to EXACT_METERS. Above: whether every meter is joined to the next ceil((c+1)/2) on the ring, which proves it
    (Harary 1962); a large graph that is (c+1)-connected in another way is refused, never wrongly accepted.
    """
    needed = colluders + 1
    if len(graph) <= needed or not nx.is_connected(graph) or min(degree for _, degree in graph.degree) < needed:
        return False
    if needed == 1:
        return True
    if len(graph) <= EXACT_METERS:
        return bool(nx.node_connectivity(graph) >= needed)
    proof = _ring_edges(ring, range(1, -(-needed // 2) + 1))
    return len(ring) == len(graph) and set(ring) == set(graph) and all(graph.has_edge(*edge) for edge in proof)


def _strengthen(graph: nx.Graph, ring: Sequence[str], needed: int, rng: random.Random) -> None:
    """Add edges until the graph is `needed`-vertex-connected: across minimum cuts, or along the ring of a large graph."""
    if len(graph) > EXACT_METERS:
        if needed > 1:
            graph.add_edges_from(_ring_edges(ring, range(1, -(-needed // 2) + 1)))
        return
    while True:
        lean = [meter for meter, degree in graph.degree if degree < needed]
        if lean:
            meter = rng.choice(sorted(lean))
            graph.add_edge(meter, rng.choice(sorted(set(graph) - set(graph[meter]) - {meter})))
            continue
        if len(graph) == needed + 1 or nx.node_connectivity(graph) >= needed:
            return
        rest = graph.subgraph(set(graph) - nx.minimum_node_cut(graph))
        one, other, *_ = sorted(sorted(part) for part in nx.connected_components(rest))
        graph.add_edge(rng.choice(one), rng.choice(other))


def _check_size(meters: Sequence[str], floors: GraphFloors) -> None:
    needed = max(floors.minimum_group + floors.colluders, floors.colluders + 2)
    if len(meters) < needed:
        raise RefusedError(
            f"an area of {len(meters)} meters is below the minimum group {floors.minimum_group} "
            f"beside {floors.colluders} colluders"
        )


def _shuffled(meters: Sequence[str], rng: random.Random) -> tuple[str, ...]:
    ring = sorted(meters)
    rng.shuffle(ring)
    return tuple(ring)


def _ring_edges(ring: Sequence[str], steps: Sequence[int]) -> list[Edge]:
    return [(here, ring[(at + step) % len(ring)]) for step in steps for at, here in enumerate(ring)]


def _ascending(edges: nx.classes.reportviews.EdgeView) -> set[Edge]:
    return {(min(edge), max(edge)) for edge in edges}


def areas_of(area_by_meter: Mapping[str, str]) -> tuple[tuple[str, ...], ...]:
    """The meters of each area, both sorted, from a map meter -> area."""
    found: dict[str, list[str]] = {}
    for meter, area in sorted(area_by_meter.items()):
        found.setdefault(area, []).append(meter)
    return tuple(tuple(found[area]) for area in sorted(found))
