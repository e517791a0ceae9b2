"""A placement on just so many PPNs by exchanging shares: it finds what fits narrowly, and proves nothing.

Where capacities are used up to a few sums, the question is one of numbers that must add up, and a constraint solver is lost in it.
Here the rules are spread evenly over the largest PPNs, whatever that costs one of them; then the fullest PPN gives a share to
another, or exchanges one, as evens out the two best, until nobody does more than it can.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable
from fractions import Fraction

from configurator.placement.greedy import PpnId, Problem, by_demand

#: An exchange that is tried: (by how much it evens out two PPNs, the other one, the share given, the share taken or "").
_Exchange = tuple[Fraction, int, str, str]


def place_on(problem: Problem, count: int, out_of_time: Callable[[], bool]) -> dict[str, tuple[PpnId, ...]] | None:
    """An assignment to `count` PPNs that keeps every capacity; None where none was found, which proves nothing.

    Not tried where operators limit who may hold what: exchanging would have to heed all rules of a meter.
    """
    if problem.crowded_operators() or count < problem.width:
        return None
    chosen = sorted(problem.serving(), key=lambda ppn: -ppn.capacity_sums)[:count]
    state = _Spread.of(problem, [ppn.capacity_sums for ppn in chosen])
    while not state.fits():
        if out_of_time() or not state.even_out():
            return None
    return {
        rule: tuple(p.id for p, rules in zip(chosen, state.serves, strict=True) if rule in rules)
        for rule in problem.demands
    }


class _Spread:
    """Who serves what, by number of PPN; `aims` are the loads of everybody at the same part of its capacity."""

    def __init__(self, demands: dict[str, int], capacities: list[int], aims: list[Fraction]) -> None:
        self.demands, self.capacities, self.aims = demands, capacities, aims
        self.loads = [0] * len(capacities)
        self.serves: list[set[str]] = [set() for _ in capacities]

    @classmethod
    def of(cls, problem: Problem, capacities: list[int]) -> _Spread:
        """Largest rule first, each to those that lack most."""
        demands = dict(problem.demands)
        part = Fraction(problem.width * sum(demands.values()), max(1, sum(capacities)))
        found = cls(demands, capacities, [part * capacity for capacity in capacities])
        for rule in by_demand(problem):
            for ppn in sorted(range(len(capacities)), key=found.above)[: problem.width]:
                found.serves[ppn].add(rule)
                found.loads[ppn] += demands[rule]
        return found

    def above(self, ppn: int) -> Fraction:
        """Sums a round above what it aims at."""
        return self.loads[ppn] - self.aims[ppn]

    def fits(self) -> bool:
        return all(load <= capacity for load, capacity in zip(self.loads, self.capacities, strict=True))

    def even_out(self) -> bool:
        """The best exchange of the PPN that is furthest over its capacity; False where none evens anything out."""
        full = max(range(len(self.loads)), key=lambda ppn: self.loads[ppn] - self.capacities[ppn])
        best = max((found for other in range(len(self.loads)) if (found := self._with(full, other))), default=None)
        if best is None:
            return False
        _, other, given, taken = best
        for giver, receiver, rule in ((full, other, given), (other, full, taken)):
            if rule:
                self.serves[giver].remove(rule)
                self.serves[receiver].add(rule)
                self.loads[giver] -= self.demands[rule]
                self.loads[receiver] += self.demands[rule]
        return True

    def _with(self, full: int, other: int) -> _Exchange | None:
        """What evens out these two best: the nearest to half of what they differ by."""
        differ = self.above(full) - self.above(other)
        if differ <= 0:
            return None
        back = sorted((self.demands[rule], rule) for rule in self.serves[other] - self.serves[full])
        back.insert(0, (0, ""))
        best: _Exchange | None = None
        for given in self.serves[full] - self.serves[other]:
            at = bisect.bisect_left(back, (self.demands[given] - differ / 2, ""))
            for demand, taken in back[max(0, at - 1) : at + 1]:
                moved = self.demands[given] - demand
                gain = moved * (differ - moved)
                if gain > 0 and (best is None or (gain, other, given, taken) > best):
                    best = (gain, other, given, taken)
        return best
