"""The exact solver against enumeration, and the paper's Table I."""

from __future__ import annotations

import functools
import itertools
import time

import numpy as np
import pytest

from configurator.placement import exact
from configurator.placement.greedy import PpnCapacity, Problem, lower_bound, place_greedily
from hushgrid.errors import ConfigurationError

place = functools.partial(exact.place, clock=time.monotonic)


def allowed(task, assignment):
    nodes = {ppn.id: ppn for ppn in task.serving()}
    loads = dict.fromkeys(nodes, 0)
    for rule, chosen in assignment.items():
        for ppn in chosen:
            loads[ppn] += task.demands[rule]
    if any(loads[ppn] > nodes[ppn].capacity_sums for ppn in nodes):
        return False
    for group in task.sharing():
        held = {ppn for rule in group for ppn in assignment[rule]}
        for operator in {ppn.operator for ppn in nodes.values()} - {None}:
            if sum(1 for ppn in held if nodes[ppn].operator == operator) >= task.threshold:
                return False
    return True


def enumerated(task):
    """(fewest PPNs, (fewest moved sums, fewest PPNs then)) over all assignments; None when there is none."""
    choices = list(itertools.combinations([ppn.id for ppn in task.serving()], task.width))
    costs = []
    for picks in itertools.product(choices, repeat=len(task.demands)):
        assignment = dict(zip(task.demands, picks, strict=True))
        if allowed(task, assignment):
            used = len({ppn for chosen in picks for ppn in chosen})
            moved = sum(
                task.demands[rule] * len(set(old) - set(assignment[rule]))
                for rule, old in (task.existing or {}).items()
                if rule in task.demands
            )
            costs.append((moved, used))
    return (min(used for _, used in costs), min(costs)) if costs else None


def random_task(rng, *, operators, existing):
    width = int(rng.integers(1, 3))
    nodes = [
        PpnCapacity(
            n,
            int(rng.integers(8, 30)),
            f"o{rng.integers(3)}" if operators else None,
            in_service=bool(rng.random() < 0.9),
        )
        for n in range(int(rng.integers(3, 6)))
    ]
    demands = {f"r{n}": int(rng.integers(1, 12)) for n in range(int(rng.integers(1, 5)))}
    before = None
    if existing:
        before = {
            rule: tuple(int(p) for p in rng.choice(len(nodes), width, replace=False)) for rule in [*demands, "gone"][1:]
        }
    overlaps = None if rng.random() < 0.5 else [frozenset(list(demands)[:2])]
    return Problem(demands, nodes, width, int(rng.integers(min(width, 2), width + 1)), overlaps, before)


@pytest.mark.parametrize("operators", [False, True])
@pytest.mark.parametrize("existing", [False, True])
def test_the_optimum_is_that_of_enumeration(operators, existing):
    rng = np.random.default_rng(3)
    found = 0
    for _ in range(40):
        try:
            task = random_task(rng, operators=operators, existing=existing)
        except ConfigurationError:
            continue
        best = enumerated(task)
        if best is None:
            with pytest.raises(ConfigurationError, match="no placement"):
                place(task)
            continue
        placement = place(task)
        assert placement.proven
        assert allowed(task, placement.assignment)
        if existing:
            assert (placement.moved_sums, placement.ppn_count) == best[1]
        else:
            assert placement.ppn_count == placement.lower_bound == best[0]
        found += 1
    assert found > 10


def paper_task(rng, producers):
    demands = {f"c{n}": int(m) for n, m in enumerate(rng.binomial(producers, 0.5, 50))}
    return Problem(demands, [PpnCapacity(n, 8 * producers) for n in range(20)], 4, 4)


@pytest.mark.parametrize("producers", [100, 1000, 10_000])
def test_table_one_is_optimal_at_thirteen(producers):
    task = paper_task(np.random.default_rng(producers), producers)
    placement = place(task)
    assert placement.proven
    assert placement.ppn_count == 13 <= place_greedily(task).ppn_count


def test_when_time_is_over_the_gap_is_told():
    task = paper_task(np.random.default_rng(4), 1000)
    placement = place(task, time_limit_seconds=0.0, start_ppns=None)
    assert not placement.proven
    assert placement.lower_bound == 13
    assert placement.gap_fraction == pytest.approx(placement.ppn_count / 13 - 1)


def test_five_shares_from_two_operators_at_threshold_three_are_proven_infeasible():
    nodes = [PpnCapacity(n, 100, f"operator {n % 2}") for n in range(8)]
    with pytest.raises(ConfigurationError, match="there is no placement"):
        place(Problem({"a": 10, "b": 10}, nodes, 5, 3))
    assert place(Problem({"a": 10, "b": 10}, nodes, 4, 3)).ppn_count == 4


def test_capacities_beyond_64_bits_are_no_obstacle():
    nodes = [PpnCapacity(n, 10**30) for n in range(3)]
    placement = place(Problem({"a": 60, "b": 50}, nodes, 2, 2, existing={"a": (1, 2)}))
    assert (placement.ppn_count, placement.moved_shares, placement.proven) == (2, 0, True)


def test_a_new_rule_moves_nothing_when_there_is_room():
    nodes = [PpnCapacity(n, 100) for n in range(6)]
    before = place(Problem({"a": 60, "b": 50}, nodes, 2, 2))
    after = place(Problem({"a": 60, "b": 50, "c": 30}, nodes, 2, 2, existing=before.assignment))
    assert after.proven
    assert after.moved_shares == after.moved_sums == 0
    assert {rule: after.assignment[rule] for rule in "ab"} == before.assignment


@pytest.mark.system
@pytest.mark.timeout(900)
def test_fifty_families_of_unequal_rules_ppns_and_operators_are_placed_and_most_are_proven_least():
    rng = np.random.default_rng(7)
    proven = 0
    for _ in range(50):
        producers, width = int(rng.integers(50, 3000)), int(rng.integers(2, 6))
        sizes = np.clip((producers * rng.beta(1, 2, int(rng.integers(5, 60)))).astype(int), 1, None)
        operators = int(rng.integers(width + 1, 10))
        nodes = [
            PpnCapacity(
                n,
                int(producers * rng.choice([4, 8, 12])),
                f"o{rng.integers(operators)}" if rng.random() < 0.7 else None,
            )
            for n in range(int(rng.integers(15, 40)))
        ]
        names = [f"c{n}" for n in range(len(sizes))]
        overlaps = [frozenset(rng.choice(names, min(len(names), 5), replace=False).tolist()) for _ in range(20)]
        task = Problem(dict(zip(names, sizes.tolist(), strict=True)), nodes, width, width // 2 + 1, overlaps)
        placement = place(task, time_limit_seconds=60)  # ten are enough on a machine that does nothing else
        assert all(len(set(ppns)) == len(ppns) == width for ppns in placement.assignment.values())
        assert placement.assignment.keys() == task.demands.keys()
        assert allowed(task, placement.assignment)
        assert placement.ppn_count == len({ppn for ppns in placement.assignment.values() for ppn in ppns})
        assert placement.ppn_count >= placement.lower_bound >= lower_bound(task)
        assert placement.proven == (placement.ppn_count == placement.lower_bound)
        proven += placement.proven
    assert proven >= 44
