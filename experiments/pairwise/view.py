"""Everything that follows from a view: exact linear algebra over what an attacker holds.

With masks uniform in Z_q the view tells exactly the linear combinations of readings in which no unknown mask remains, and
nothing else. So "what can be determined" is a question about a row space, and has an answer, not an estimate:

    one equation per masked reading seen:  w_ij = d_ij + sum_k +-p_(ik)j (+ b_ij),  p_(ik)n = -sum of the earlier ones
    one per mask that was opened, or that a colluding meter knows.

Columns are ordered masks first, readings last. After elimination the rows without masks span all that is known of readings.
Arithmetic is modulo a 31-bit prime: coefficients are 0, 1 and -1, so ranks agree with those over the rationals.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from experiments.pairwise.table import Edge

Ints = NDArray[np.int64]
Place = tuple[int, int]  # (meter, round)

PRIME = 2**31 - 1


@dataclass(frozen=True, slots=True)
class View:
    """What an attacker holds of a table of m meters and n rounds masked along `edges`.

    unseen: masked readings that never arrived. opened_self: self-masks. opened_pairs: (edge, round) whose masks are known.
    colluders: meters that tell all they know (their readings, their pair masks, their self-masks).
    """

    meters: int
    rounds: int
    edges: tuple[Edge, ...]
    self_masks: bool = False
    unseen: frozenset[Place] = frozenset()
    opened_self: frozenset[Place] = frozenset()
    opened_pairs: frozenset[tuple[Edge, int]] = frozenset()
    colluders: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True, repr=False)
class Known:
    """The span of what a view tells of readings.

    functionals: reduced rows [row, meter * rounds + round], residues. recipes: for each the combination of the view's
    equations that gives it [row, equation]. equations: what each equation is of.
    """

    view: View
    functionals: Ints
    recipes: Ints
    equations: tuple[tuple[object, ...], ...] = field(default=())

    @property
    def rank(self) -> int:
        """Independent facts about readings."""
        return len(self.functionals)

    def determined(self) -> dict[Place, int]:
        """{(meter, round): row} of the readings that are told by themselves, colluders' own left out."""
        found = {}
        for at, row in enumerate(self.functionals):
            (support,) = np.nonzero(row)
            if len(support) == 1:
                meter, round_number = divmod(int(support[0]), self.view.rounds)
                if meter not in self.view.colluders:
                    found[meter, round_number] = at
        return found

    def within(self, meters: Collection[int]) -> int:
        """Independent facts that touch no honest meter but these (and possibly colluders)."""
        inside = set(meters) | self.view.colluders
        outside = [
            m * self.view.rounds + j
            for m in range(self.view.meters)
            if m not in inside
            for j in range(self.view.rounds)
        ]
        own = len(self.view.colluders) * self.view.rounds
        return self.rank - rank(self.functionals[:, outside]) - own

    def evaluate(self, row: int, values: Mapping[tuple[object, ...], int], modulus: int) -> int:
        """The value of one functional from the values of the view's equations, mod q, centred."""
        total = 0
        for weight, name in zip(self.recipes[row].tolist(), self.equations, strict=True):
            if weight:
                total += (weight if weight <= PRIME // 2 else weight - PRIME) * values[name]
        total %= modulus
        return total - modulus if total > modulus // 2 else total


class _Equations:
    """The view's equations over [pair masks | self-masks | readings], one row each, with the name of what was seen."""

    def __init__(self, view: View) -> None:
        self.view = view
        free = view.rounds - 1  # the last mask of a pair follows from the others
        self.pair_first = {edge: at * free for at, edge in enumerate(view.edges)}
        self.self_first = len(view.edges) * free
        self.reading_first = self.self_first + (view.meters * view.rounds if view.self_masks else 0)
        self.width = self.reading_first + view.meters * view.rounds
        self.rows: list[Ints] = []
        self.names: list[tuple[object, ...]] = []

    def tell(self, name: tuple[object, ...]) -> Ints:
        """A new equation, empty yet."""
        self.names.append(name)
        self.rows.append(np.zeros(self.width, dtype=np.int64))
        return self.rows[-1]

    def add_pair(self, row: Ints, edge: Edge, j: int, sign: int) -> None:
        first, last = self.pair_first[edge], self.view.rounds - 1
        if j < last:
            row[first + j] += sign
        else:
            row[first : first + last] -= sign

    def tell_meter(self, i: int, j: int, own: list[tuple[Edge, int]]) -> None:
        """What is seen of one (meter, round); own: the meter's edges with its signs."""
        view, at = self.view, i * self.view.rounds + j
        if (i, j) not in view.unseen:
            row = self.tell(("masked", i, j))
            row[self.reading_first + at] = 1
            for edge, sign in own:
                self.add_pair(row, edge, j, sign)
            if view.self_masks:
                row[self.self_first + at] = 1
        if i in view.colluders:
            self.tell(("reading", i, j))[self.reading_first + at] = 1
        if view.self_masks and ((i, j) in view.opened_self or i in view.colluders):
            self.tell(("self", i, j))[self.self_first + at] = 1


def knowledge(view: View) -> Known:
    """Eliminate every unknown mask from the view's equations."""
    said = _Equations(view)
    for i in range(view.meters):
        own = [(edge, 1 if edge[0] == i else -1) for edge in view.edges if i in edge]
        for j in range(view.rounds):
            said.tell_meter(i, j, own)
    for edge, j in itertools.product(view.edges, range(view.rounds)):
        if (edge, j) in view.opened_pairs or set(edge) & view.colluders:
            said.add_pair(said.tell(("pair", edge, j)), edge, j, 1)
    count = len(said.rows)
    system = np.concatenate([np.array(said.rows) % PRIME, np.eye(count, dtype=np.int64)], axis=1)
    pivots = _reduce(system, said.width)
    clean = [at for at, column in enumerate(pivots) if column >= said.reading_first]
    return Known(view, system[clean, said.reading_first : said.width], system[clean, said.width :], tuple(said.names))


def rank(matrix: Ints) -> int:
    """The rank mod PRIME."""
    return len(_reduce(matrix.copy(), matrix.shape[1]))


def _reduce(system: Ints, columns: int) -> list[int]:
    """Reduced row echelon form over the first `columns`, in place; the pivot columns, one per leading row."""
    pivots: list[int] = []
    for column in range(columns):
        top = len(pivots)
        if top == len(system):
            break
        (candidates,) = np.nonzero(system[top:, column])
        if not len(candidates):
            continue
        chosen = top + int(candidates[0])
        if chosen != top:
            system[[top, chosen]] = system[[chosen, top]]
        lead = int(system[top, column])
        if lead != 1:
            system[top] = system[top] * pow(lead, -1, PRIME) % PRIME
        (others,) = np.nonzero(system[:, column])
        others = others[others != top]
        (used,) = np.nonzero(system[top])
        block = np.ix_(others, used)
        system[block] = (system[block] - system[others, column][:, None] * system[top, used]) % PRIME
        pivots.append(column)
    return pivots


def components(meters: Sequence[int], edges: Sequence[Edge]) -> list[set[int]]:
    """Connected components of the graph that the edges span on these meters."""
    groups = {meter: {meter} for meter in meters}
    for one, other in edges:
        if one in groups and other in groups and groups[one] is not groups[other]:
            merged = groups[one] | groups[other]
            for meter in merged:
                groups[meter] = merged
    return list({id(group): group for group in groups.values()}.values())
