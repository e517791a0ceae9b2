"""Seed recovery on the hash variant: all readings from masked readings alone, because a seed has 12 bits.

Every one of the D + 1 seeds gives one noise row v_r, which anybody can compute. A masked row is the reading plus a few of
them with sign +-1, and rows of 96 numbers in +-D are almost orthogonal: the correlation <w_i, v_r> / <v_r, v_r> is near the
sign for a seed in use and near 0 otherwise. A seed in use stands in two rows, with opposite signs. So: take the (seed, two
meters) that correlates best, subtract it from both, repeat (matching pursuit). When a row's remainder lies wholly in the
range of plausible readings it *is* the readings: one wrong seed would leave 95 numbers of up to +-5,000 Wh. Rows that never
get there are not answered.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from experiments.pairwise.table import Edge
from grid_operator.arrays import Floats
from hushgrid.core.pairwise_published import public_hash

#: Joint steps per pair, then steps per row alone, after which a row goes unanswered. A wrong step is usually taken back
#: by a later one.
STEPS_PER_PAIR = 1.5
STEPS_PER_ROW = 24
#: Pairs per meter for which an attacker without the graph budgets.
GUESSED_DEGREE = 8


@dataclass(frozen=True, slots=True)
class Recovered:
    """determined: per meter, whether the attack answers. readings: Wh [meter, round], meaningful where it does."""

    determined: NDArray[np.bool_]
    readings: Floats
    steps: int


def seed_rows(rounds: int, span_watt_hours: int) -> Floats:
    """v_r of every seed r in [-D/2, D/2]: [seed, round], round n-1 holding the balance."""
    half = span_watt_hours // 2
    rows = np.empty((2 * half + 1, rounds))
    for at, seed in enumerate(range(-half, half + 1)):
        rows[at, 0] = seed
        for place in range(2, rounds):
            rows[at, place - 1] = (-1 if place % 2 == 0 else 1) * public_hash(seed, place, span_watt_hours)
    rows[:, -1] = -rows[:, :-1].sum(axis=1)
    return rows


def recover(masked: Floats, rows: Floats, span_watt_hours: int, edges: Sequence[Edge] | None = None) -> Recovered:
    """Peel seeds off the masked table, first from two rows at a time, then from what is left of single rows.

    masked: w_ij, centred [meter, round]. rows: `seed_rows`. edges: the connection graph where the attacker knows it.
    The last round is left out of the correlations (it repeats the others) and checked at the end.
    """
    pursuit = _Pursuit(masked, rows, span_watt_hours)
    pairs = len(edges) if edges is not None else masked.shape[0] * GUESSED_DEGREE // 2
    find = pursuit.best_pair if edges is None else _KnownGraph(pursuit, edges).best_pair
    for _ in range(int(STEPS_PER_PAIR * pairs)):
        if pursuit.determined.sum() >= len(masked) - 1:
            break
        low, high, seed = find()
        sign = 1.0 if pursuit.score[low, seed] > pursuit.score[high, seed] else -1.0
        pursuit.subtract(low, seed, sign)
        pursuit.subtract(high, seed, -sign)
    for meter in np.flatnonzero(~pursuit.determined):
        for _ in range(STEPS_PER_ROW):
            seed = int(np.abs(pursuit.score[meter]).argmax())
            pursuit.subtract(int(meter), seed, float(np.sign(pursuit.score[meter, seed])))
            if pursuit.determined[meter]:
                break
    return Recovered(pursuit.determined, pursuit.remainder, pursuit.steps)


class _Pursuit:
    """What is left of each row, and how each seed correlates with it: score [meter, seed]."""

    def __init__(self, masked: Floats, rows: Floats, span_watt_hours: int) -> None:
        self.rows, self.early = rows, np.ascontiguousarray(rows[:, :-1])
        self.norms = (self.early**2).sum(axis=1)
        self.span_watt_hours = span_watt_hours
        self.remainder = masked.copy()
        self.score: Floats = self.remainder[:, :-1] @ self.early.T / self.norms
        self.determined = np.array([self._plausible(meter) for meter in range(len(masked))])
        self.steps = 0

    def subtract(self, meter: int, seed: int, sign: float) -> None:
        """Take a seed's noise out of a row."""
        self.remainder[meter] -= sign * self.rows[seed]
        self.score[meter] = self.early @ self.remainder[meter, :-1] / self.norms
        self.determined[meter] = self._plausible(meter)
        self.steps += 1

    def _plausible(self, meter: int) -> bool:
        row = self.remainder[meter]
        return bool(((row >= 0) & (row <= self.span_watt_hours)).all())

    def best_pair(self) -> tuple[int, int, int]:
        """The two unfinished rows and the seed whose scores lie furthest apart."""
        waiting = np.flatnonzero(~self.determined)
        seen = self.score[waiting]
        seed = int((seen.max(axis=0) - seen.min(axis=0)).argmax())
        return int(waiting[seen[:, seed].argmax()]), int(waiting[seen[:, seed].argmin()]), seed


class _KnownGraph:
    """The same choice among the pairs of a known graph, whose best seeds are kept and refreshed where a row changed."""

    def __init__(self, pursuit: _Pursuit, edges: Sequence[Edge]) -> None:
        self.pursuit, self.edges = pursuit, edges
        self.best = [self._judge(edge) for edge in edges]
        self.stale: set[int] = set()

    def _judge(self, edge: Edge) -> tuple[float, int]:
        gap = np.abs(self.pursuit.score[edge[0]] - self.pursuit.score[edge[1]])
        seed = int(gap.argmax())
        return float(gap[seed]), seed

    def best_pair(self) -> tuple[int, int, int]:
        """The pair and the seed whose scores lie furthest apart; its two rows are about to change."""
        for place in self.stale:
            self.best[place] = self._judge(self.edges[place])
        at = max(range(len(self.edges)), key=lambda place: self.best[place][0])
        chosen, seed = self.edges[at], self.best[at][1]
        self.stale = {place for place, edge in enumerate(self.edges) if set(edge) & set(chosen)}
        return chosen[0], chosen[1], seed
