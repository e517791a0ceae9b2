"""Exchanging shares: what fits narrowly is found, what it finds keeps every capacity, and it says nothing it does not know."""

from __future__ import annotations

import random

import pytest

from configurator.placement import exact
from configurator.placement.exchange import place_on
from configurator.placement.greedy import PpnCapacity, Problem, lower_bound, place_greedily
from experiments.minppn.table import instances, most_ppns


def never() -> bool:
    return False


def kept(problem: Problem, assignment: dict[str, tuple[int, ...]]) -> bool:
    loads = {ppn.id: 0 for ppn in problem.ppns}
    for rule, demand in problem.demands.items():
        assert len(set(assignment[rule])) == len(assignment[rule]) == problem.width
        for ppn in assignment[rule]:
            loads[ppn] += demand
    return all(loads[ppn.id] <= ppn.capacity_sums for ppn in problem.ppns)


@pytest.mark.parametrize("seed", range(1, 5))
def test_ten_million_meters_and_a_hundred_consumers_fit_on_as_few_ppns_as_the_bound_says(seed):
    (problem,) = instances(100, 10_000_000, alpha=8, count=1, seed=seed, ppns=most_ppns(100, 8, 50))
    bound = lower_bound(problem)
    found = place_on(problem, bound, never)
    assert kept(problem, found)
    assert len({ppn for ppns in found.values() for ppn in ppns}) == bound == 25
    assert place_greedily(problem, start_ppns=50).ppn_count == 26


def test_the_optimum_of_the_largest_instance_is_proven():
    """Its clock stands still: how long it takes on a busy machine says nothing."""
    (problem,) = instances(100, 10_000_000, alpha=8, count=1, seed=1, ppns=most_ppns(100, 8, 50))
    found = exact.place(problem, clock=lambda: 0.0, time_limit_seconds=30, start_ppns=50)
    assert (found.ppn_count, found.lower_bound, found.proven) == (25, 25, True)


def test_unequal_capacities_are_kept_and_nobody_serves_a_rule_twice():
    rng = random.Random(5)
    found = 0
    for _ in range(60):
        demands = {f"r{n}": rng.randint(1, 50) for n in range(rng.randint(2, 12))}
        ppns = [PpnCapacity(n, rng.randint(50, 160)) for n in range(12)]
        problem = Problem(demands, ppns, 3, 3)
        for count in range(lower_bound(problem), len(ppns) + 1):
            assignment = place_on(problem, count, never)
            if assignment is not None:
                assert kept(problem, assignment)
                found += 1
                break
    assert found > 40


def test_what_cannot_be_is_not_found_and_no_time_finds_nothing():
    narrow = Problem({"a": 6, "b": 6, "c": 6}, [PpnCapacity(n, 9) for n in range(6)], 1, 1)
    assert place_on(narrow, 2, never) is None
    (problem,) = instances(100, 10_000_000, alpha=8, count=1, seed=1, ppns=most_ppns(100, 8, 50))
    assert place_on(problem, 25, lambda: True) is None


def test_it_is_not_tried_where_operators_limit_who_holds_what():
    ppns = [PpnCapacity(n, 100, operator="one") for n in range(4)]
    assert place_on(Problem({"a": 5}, ppns, 2, 2), 2, never) is None
