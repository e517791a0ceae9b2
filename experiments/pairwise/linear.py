"""The two attacks by linear algebra: colluding neighbours, and differencing when a component splits.

Both work on any pairwise noise, whatever its size: they use the sums that the connection graph leaves open.
"""

from __future__ import annotations

import itertools
import random

from configurator.masked.graphs import Circulant, GraphFloors, draw_graph
from experiments.pairwise.table import (
    FIELD,
    READING_BITS,
    AttackRow,
    Edge,
    MaskedTable,
    Readings,
    edges_of_degree,
    hardened,
    masked_table,
    pair_term,
    published_fresh,
    self_masks_of,
)
from experiments.pairwise.view import View, components, knowledge
from hushgrid.core.pairwise import SelfMask
from hushgrid.core.schedule import Window
from hushgrid.wire.model import Variant

#: The paper's double loop; the stated number of colluders; the smallest group of honest meters.
DEGREE, COLLUDERS, MINIMUM_GROUP = 4, 4, 5
#: Rounds of a table here: the answer does not depend on them.
VIEW_ROUNDS = 12
LATE_FRACTION = 0.05


def graph_for(variant: Variant, meters: int) -> tuple[Edge, ...]:
    """`published`: the paper's double loop of degree 4. `hardened`: drawn by the configurator for COLLUDERS colluders."""
    if variant is Variant.PUBLISHED:
        return edges_of_degree(meters, DEGREE)
    names = [f"m{number:06}" for number in range(meters)]
    floors = GraphFloors(COLLUDERS, MINIMUM_GROUP)
    graph = draw_graph([names], Circulant((1, 2)), floors, Window(0, VIEW_ROUNDS))
    return tuple(sorted((int(low[1:]), int(high[1:])) for low, high in graph.edges))


def attack_colluding(variant: Variant, readings: Readings, rng: random.Random) -> AttackRow:
    """The best place for COLLUDERS meters: around one victim, tried for every victim and every choice of its neighbours."""
    meters, rounds = readings.shape
    edges = graph_for(variant, meters)
    placements = {
        frozenset(chosen)
        for victim in range(meters)
        for chosen in itertools.combinations(_neighbours(victim, edges), COLLUDERS)
    }

    def smallest_honest_component(chosen: frozenset[int]) -> tuple[int, list[int]]:
        rest = [meter for meter in range(meters) if meter not in chosen]
        return min(len(part) for part in components(rest, edges)), sorted(chosen)

    best = min(placements, key=smallest_honest_component)
    table = _masked(variant, readings, edges, rng, None)
    return _solve("colluding-neighbours", variant, View(meters, rounds, edges, colluders=best), readings, table, None)


def attack_split(variant: Variant, readings: Readings, rng: random.Random) -> AttackRow:
    """Messages are late, columns are released without them, then they arrive: the component falls into two.

    published: the neighbours of a late meter open their masks with it so that the column of the others can be summed.
    hardened: the same under self-masks, where the minimum group allows it; what is late stays under its self-mask.
    """
    meters, rounds = readings.shape
    edges = graph_for(variant, meters)
    guarded = variant is Variant.HARDENED
    opened_pairs, opened_self = set[tuple[Edge, int]](), set[tuple[int, int]]()
    for j in range(rounds):
        late = {i for i in range(meters) if rng.random() < LATE_FRACTION}
        punctual = [i for i in range(meters) if i not in late]
        if guarded and min(len(part) for part in components(punctual, edges)) < MINIMUM_GROUP:
            continue
        touched = [edge for edge in edges if set(edge) & late]
        opened_pairs.update((edge, j) for edge in touched if guarded or not set(edge) <= late)
        opened_self.update((i, j) for i in punctual if guarded)
    masks = self_masks_of(meters) if guarded else None
    view = View(
        meters,
        rounds,
        edges,
        self_masks=guarded,
        opened_pairs=frozenset(opened_pairs),
        opened_self=frozenset(opened_self),
    )
    return _solve("component-split", variant, view, readings, _masked(variant, readings, edges, rng, masks), masks)


def _neighbours(meter: int, edges: tuple[Edge, ...]) -> list[int]:
    return sorted({one for edge in edges if meter in edge for one in edge} - {meter})


def _masked(
    variant: Variant,
    readings: Readings,
    edges: tuple[Edge, ...],
    rng: random.Random,
    self_masks: tuple[SelfMask, ...] | None,
) -> MaskedTable:
    meters, rounds = readings.shape
    make = published_fresh(Window(0, rounds), rng) if variant is Variant.PUBLISHED else hardened(meters)
    return masked_table(readings, edges, make, self_masks)


def _solve(
    attack: str,
    variant: Variant,
    view: View,
    readings: Readings,
    table: MaskedTable,
    self_masks: tuple[SelfMask, ...] | None,
) -> AttackRow:
    """Determine what the view determines, work it out from the values that the attacker holds, compare with the truth."""
    known = knowledge(view)

    def value(name: tuple[object, ...]) -> int:
        match name:
            case ("masked", int(i), int(j)):
                return table.elements[i][j]
            case ("reading", int(i), int(j)):
                return int(readings[i, j])
            case ("pair", (int(low), int(high)), int(j)):
                return pair_term(table, (low, high), j)
            case ("self", int(i), int(j)) if self_masks is not None:
                return self_masks[i].value(j)
        raise KeyError(name)

    values = {name: value(name) for name in known.equations}
    determined = known.determined()
    right = sum(readings[at] == known.evaluate(row, values, FIELD.modulus) for at, row in determined.items())
    total = (view.meters - len(view.colluders)) * view.rounds
    degree = round(2 * len(view.edges) / view.meters)
    return AttackRow(
        attack, variant, degree, total, right / total, right / total * READING_BITS, len(determined) - int(right)
    )
