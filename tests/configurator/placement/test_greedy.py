"""The greedy of Fig. 3 with its slips mended, and the constraints beyond the paper."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from configurator.placement.greedy import PpnCapacity, Problem, Receiver, lower_bound, place_greedily
from hushgrid.errors import ConfigurationError


def ppns(count, capacity=100, **more):
    return [PpnCapacity(number, capacity, **more) for number in range(count)]


def problem(demands, nodes, width=2, threshold=2, **more):
    return Problem({f"r{n}": d for n, d in enumerate(demands)}, nodes, width, threshold, **more)


def check(task, placement):
    """Every constraint, straight from its definition."""
    serving = {ppn.id: ppn for ppn in task.ppns if ppn.in_service}
    loads = dict.fromkeys(serving, 0)
    for rule, demand in task.demands.items():
        chosen = placement.assignment[rule]
        assert len(set(chosen)) == len(chosen) == task.width
        for ppn in chosen:
            loads[ppn] += demand
    assert all(loads[ppn] <= serving[ppn].capacity_sums for ppn in serving)
    assert placement.loads_sums == {ppn: load for ppn, load in loads.items() if load or ppn in placement.loads_sums}
    for group in [frozenset(task.demands)] if task.overlaps is None else task.overlaps:
        held = {ppn for rule in group if rule in task.demands for ppn in placement.assignment[rule]}
        for operator in {ppn.operator for ppn in serving.values()} - {None}:
            assert sum(1 for ppn in held if serving[ppn].operator == operator) < task.threshold
    assert placement.lower_bound <= placement.ppn_count


def test_phase_one_ends_when_no_ppn_can_take_a_rule():  # slip (a)
    with pytest.raises(ConfigurationError, match="no PPN can take rule r2"):
        place_greedily(problem([60, 60, 50], ppns(4)))


def test_receivers_of_an_elimination_keep_what_they_received():  # slip (b)
    task = problem([10, 10], ppns(6))
    placement = place_greedily(task)
    check(task, placement)
    assert placement.ppn_count == 2
    assert set(placement.loads_sums.values()) == {20}


@pytest.mark.parametrize("receiver", list(Receiver))
def test_a_failed_elimination_leaves_nothing_behind(receiver):  # slip (c)
    # Four PPNs at 80, 80, 80, 60: emptying the last moves 20 and 20 and then fails on the third 20.
    demands = [60, 20, 20, 20, 20, 20, 20, 20, 20, 20, 20, 20, 20]
    task = problem(demands, ppns(4), width=1, threshold=1)
    placement = place_greedily(task, receiver=receiver)
    check(task, placement)
    assert sum(placement.loads_sums.values()) == sum(demands)


def test_a_meter_sends_to_the_ppns_of_all_its_rules():  # slip (d)
    placement = place_greedily(problem([70, 60], ppns(4)))
    assert placement.ppns_of_meter(["r0"]) == tuple(sorted(placement.assignment["r0"]))
    assert placement.ppns_of_meter(["r0", "r1"]) == (0, 1, 2, 3)


def test_the_start_matters_for_the_listed_order_and_not_for_the_least_loaded():
    rng = np.random.default_rng(1)
    counts = {}
    for receiver, start in itertools.product(Receiver, (14, 30, 100)):
        rng = np.random.default_rng(1)
        tasks = [problem(rng.binomial(100, 0.5, 50).tolist(), ppns(start, 800), 4, 4) for _ in range(10)]
        counts[receiver, start] = np.mean([place_greedily(t, receiver=receiver).ppn_count for t in tasks])
    assert counts[Receiver.LISTED, 14] < counts[Receiver.LISTED, 30] < counts[Receiver.LISTED, 100]
    assert max(counts[Receiver.LEAST_LOADED, start] for start in (14, 30, 100)) <= 14


def test_starting_with_too_few_ppns_takes_more():
    task = problem([60, 60, 60], ppns(9))
    assert place_greedily(task, start_ppns=1).ppn_count == 6


@pytest.mark.parametrize(
    ("task", "reason"),
    [
        (lambda: problem([10], ppns(1)), "1 PPNs are in service"),
        (lambda: problem([101], ppns(3)), "r0 costs 101 sums a round: 0 PPNs can carry that"),
        (lambda: problem([90, 90], ppns(3)), "360 sums a round, all PPNs in service can do 300"),
        (lambda: problem([10], ppns(3), threshold=3), "threshold 3"),
        (lambda: problem([10], [*ppns(3), PpnCapacity(0, 1)]), "twice"),
    ],
)
def test_infeasible_problems_are_refused_with_the_numbers(task, reason):
    with pytest.raises(ConfigurationError, match=reason):
        task()


@pytest.mark.parametrize(("width", "threshold", "feasible"), [(5, 3, False), (4, 3, True)])
def test_two_operators_may_not_gather_a_threshold_of_shares(width, threshold, feasible):
    nodes = [PpnCapacity(n, 100, f"operator {n % 2}") for n in range(10)]
    task = problem([10, 10, 10], nodes, width, threshold)
    if feasible:
        check(task, place_greedily(task))
        return
    with pytest.raises(ConfigurationError):
        place_greedily(task)


def test_operators_count_over_the_union_of_a_meters_rules():
    nodes = [PpnCapacity(n, 10, "one" if n < 3 else f"own {n}") for n in range(7)]
    both = problem([10, 10], nodes, threshold=2, overlaps=[frozenset({"r0", "r1"})])
    placement = place_greedily(both)
    check(both, placement)
    assert len({0, 1, 2} & set(placement.loads_sums)) <= 1
    apart = problem([10, 10, 10], nodes, threshold=2, overlaps=[frozenset({"r0", "r1"})])
    check(apart, place_greedily(apart))


def test_ppns_out_of_service_are_not_used():
    nodes = [*ppns(3), PpnCapacity("away", 1000, in_service=False)]
    assert "away" not in place_greedily(problem([10, 20], nodes)).loads_sums


def test_a_replan_moves_only_what_it_must():
    nodes = ppns(5, 60)
    before = place_greedily(problem([20, 30, 10], nodes))
    gone = before.assignment["r1"][0]
    nodes = [PpnCapacity(ppn.id, ppn.capacity_sums, in_service=ppn.id != gone) for ppn in nodes]
    task = problem([20, 30, 10, 5], nodes, existing=before.assignment)
    after = place_greedily(task)
    check(task, after)
    lost = [rule for rule, chosen in before.assignment.items() if gone in chosen]
    assert after.moved_shares == len(lost)
    assert after.moved_sums == sum(task.demands[rule] for rule in lost)


def test_a_kept_share_moves_where_nothing_else_makes_room():
    nodes = [PpnCapacity("x", 100), PpnCapacity("y", 100)]
    existing = {"a": ("x",), "b": ("x",)}
    task = Problem({"a": 30, "b": 30, "c": 70, "d": 70}, nodes, 1, 1, existing=existing)
    placement = place_greedily(task)
    check(task, placement)
    assert (placement.moved_shares, placement.moved_sums) == (1, 30)


def test_the_smallest_rule_that_makes_room_is_the_one_released():
    nodes = [PpnCapacity("x", 100), PpnCapacity("y", 100), PpnCapacity("z", 55)]
    existing = {"a": ("x",), "b": ("y",), "small": ("z",)}
    task = Problem({"a": 50, "b": 40, "small": 5, "new": 60}, nodes, 1, 1, existing=existing)
    assert place_greedily(task).moved_shares == 0
    crowded = Problem({"a": 50, "b": 45, "small": 5, "new": 60}, nodes, 1, 1, existing=existing)
    placement = place_greedily(crowded)
    check(crowded, placement)
    assert (placement.moved_shares, placement.moved_sums) == (1, 45)


def test_shares_on_ppns_beyond_the_start_stay():
    nodes = ppns(6)
    task = problem([20, 30], nodes, existing={"r0": (4, 5)})
    placement = place_greedily(task, start_ppns=2)
    check(task, placement)
    assert (placement.assignment["r0"], placement.moved_shares) == ((4, 5), 0)


def test_nothing_to_place_needs_nothing():
    assert place_greedily(problem([], ppns(0))).ppn_count == 0


@st.composite
def problems(draw):
    width = draw(st.integers(1, 3))
    operators = st.sampled_from([None, "a", "b", "c"])
    nodes = [
        PpnCapacity(n, draw(st.integers(5, 60)), draw(operators), in_service=draw(st.integers(0, 5)) > 0)
        for n in range(draw(st.integers(width, 8)))
    ]
    demands = draw(st.lists(st.integers(1, 25), min_size=1, max_size=6))
    names = [f"r{n}" for n in range(len(demands))]
    overlaps = draw(st.none() | st.lists(st.frozensets(st.sampled_from(names), min_size=1), min_size=1, max_size=4))
    return problem(demands, nodes, width, draw(st.integers(min(2, width), width)), overlaps=overlaps)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_whatever_is_placed_keeps_every_constraint(data):
    try:
        task = data.draw(problems())
        placement = place_greedily(task, start_ppns=data.draw(st.integers(1, 8)))
    except ConfigurationError:
        return
    check(task, placement)
    assert placement.ppn_count >= lower_bound(task)


def found(task, **more):
    try:
        return place_greedily(task, **more)
    except ConfigurationError:
        return None


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_an_existing_assignment_never_prevents_a_placement(data):
    try:
        task = data.draw(problems())
    except ConfigurationError:
        return
    start = data.draw(st.none() | st.integers(1, 8))
    held = st.lists(st.sampled_from([ppn.id for ppn in task.ppns]), max_size=task.width, unique=True).map(tuple)
    existing = data.draw(st.dictionaries(st.sampled_from([*task.demands, "gone"]), held))
    replan = dataclasses.replace(task, existing=existing)
    placement = found(replan, start_ppns=start)
    assert placement is not None or found(task, start_ppns=start) is None
    if placement is not None:
        check(replan, placement)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_kept_shares_move_only_where_there_is_no_room_beside_them(data):
    try:
        task = data.draw(problems())
    except ConfigurationError:
        return
    before = found(task)
    if before is None:
        return
    new = data.draw(st.lists(st.integers(1, 25), max_size=3))
    spare = [PpnCapacity(100 + n, sum(new)) for n in range(task.width)]
    demands = {**task.demands, **{f"new{n}": demand for n, demand in enumerate(new)}}
    grown = dataclasses.replace(task, demands=demands, ppns=[*task.ppns, *spare], existing=before.assignment)
    after = place_greedily(grown, start_ppns=data.draw(st.integers(1, 8)))
    assert (after.moved_shares, after.moved_sums) == (0, 0)
    assert {rule: set(after.assignment[rule]) for rule in task.demands} == {
        r: set(p) for r, p in before.assignment.items()
    }


def test_crowded_grids_are_placed_with_an_existing_assignment_as_without():
    rng = np.random.default_rng(11)
    compared = moved = 0
    for _ in range(300):
        width, nodes = int(rng.integers(1, 3)), ppns(int(rng.integers(3, 6)))
        demands, room = [], 100 * len(nodes) // width
        while (demand := int(rng.integers(5, 71))) <= room - sum(demands):
            demands.append(demand)
        task = problem(demands, nodes, width, width, overlaps=[])
        before = found(problem(demands[: len(demands) // 2], nodes, width, width, overlaps=[]))
        if before is None or found(task) is None:
            continue
        after = place_greedily(dataclasses.replace(task, existing=before.assignment))
        check(task, after)
        compared += 1
        moved += after.moved_shares > 0
    assert compared > 100
    assert 0 < moved < compared
