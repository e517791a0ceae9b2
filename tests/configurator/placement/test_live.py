"""Placement in a running grid: what stands stays, what is gone is placed anew, no operator gathers t shares (P20)."""

from __future__ import annotations

import time

import pytest
from pydantic import ValidationError

from configurator.placement.live import place
from configurator.sections import PlacementSection, PlanSection
from configurator.values import GrantedRule, Registered
from hushgrid.errors import ConfigurationError
from hushgrid.plan.parts import Rule
from hushgrid.wire.role import Role

METERS = {f"m{number:03}": number for number in range(100)}


def ppns(count=6, operators=None):
    return [
        Registered(f"ppn-{n}", Role.PPN, n, b"", operators[n - 1] if operators else None, None, None)
        for n in range(count, 0, -1)
    ]


def rule(number, points=(), meters=range(100)):
    content = Rule(
        number=number,
        name=f"r{number}",
        consumer="c",
        window_rounds=1,
        minimum_contributors=15,
        points=points,
        from_round=0,
    )
    return GrantedRule(content, frozenset(meters))


def put(rules, serving=None, away=(), plan=None, **section):
    plan = plan or PlanSection()
    return place(
        rules,
        serving or ppns(),
        meters=METERS,
        plan=plan,
        section=PlacementSection(**section),
        away=away,
        clock=time.monotonic,
    )


@pytest.mark.parametrize("solver", ["greedy", "exact"])
def test_the_fewest_ppns_serve_and_what_stands_stays(solver):
    first = put([rule(1)], solver=solver)
    assert first.points == {1: (1, 2, 3, 4)}
    both = put([rule(1, (2, 3, 4, 5)), rule(2, meters=range(50))], solver=solver)
    assert both.points == {1: (2, 3, 4, 5), 2: (2, 3, 4, 5)}
    assert both.placement.moved_shares == 0
    assert "0 shares of rules move" in both.describe()


@pytest.mark.parametrize("solver", ["greedy", "exact"])
def test_a_ppn_that_is_away_or_out_of_service_is_replaced_and_nothing_else_moves(solver):
    standing = [rule(1, (1, 2, 3, 4)), rule(2, (1, 2, 3, 5))]
    moved = put(standing, away={"ppn-4"}, solver=solver)
    assert set(moved.points[1]) > {1, 2, 3}
    assert 4 not in moved.points[1]
    assert moved.points[2] == (1, 2, 3, 5)
    assert (moved.placement.moved_shares, moved.placement.moved_sums) == (1, 100)
    assert "1 shares of rules move (100 sums a round)" in moved.describe()
    assert put(standing, out_of_service=("ppn-4",), solver=solver).points == moved.points


@pytest.mark.parametrize("solver", ["greedy", "exact"])
def test_capacities_are_kept_or_the_reason_is_given(solver):
    full = [rule(1, (1, 2, 3, 4))]
    with pytest.raises(ConfigurationError, match="sums a round"):
        put([*full, rule(2)], ppns(4), capacity_factor=1.0, solver=solver)
    spread = put([*full, rule(2)], ppns(8), capacity_factor=1.0, solver=solver)
    assert spread.points[2] == (5, 6, 7, 8)
    assert put([rule(1)], ppns(5), capacities={"ppn-1": 99}, solver=solver).points[1] == (2, 3, 4, 5)


@pytest.mark.parametrize("solver", ["greedy", "exact"])
def test_two_operators_can_serve_four_points_with_t_of_three_and_not_five(solver):
    two = ["north", "south"] * 3
    found = put([rule(1)], ppns(6, two), solver=solver).points[1]
    assert sorted(two[point - 1] for point in found) == ["north", "north", "south", "south"]
    with pytest.raises(ConfigurationError):
        put([rule(1)], ppns(6, two), plan=PlanSection(width=5, threshold=3), solver=solver)


def test_operators_are_kept_apart_over_all_rules_of_a_meter():
    operators = ["north"] * 4 + ["south"] * 4
    standing = rule(1, (1, 2, 5, 6))
    assert put([standing, rule(2)], ppns(8, operators)).points[2] == (1, 2, 5, 6)
    apart = put([rule(1, (1, 2, 5, 6), range(50)), rule(2, meters=range(50, 100))], ppns(8, operators))
    assert {operators[point - 1] for point in apart.points[2]} == {"north", "south"}
    with pytest.raises(ConfigurationError):
        put([rule(1), rule(2)], ppns(8, operators), capacity_factor=1.0)


def test_a_move_that_would_gather_t_shares_under_one_operator_in_the_meantime_is_refused():
    operators = ["north", "north", "north", "south", "south", "south", "east"]
    capacities = {"ppn-1": 100, "ppn-2": 0, "ppn-3": 100}
    with pytest.raises(ConfigurationError, match="while rules move"):
        # Rule 1 must leave point 2: nothing of the new place breaks the rule of operators, both places together would.
        put([rule(1, (1, 2, 4, 5))], ppns(7, operators), capacities=capacities)


@pytest.mark.parametrize(
    "section",
    [
        {"capacity_factor": float("inf")},
        {"capacity_factor": float("nan")},
        {"time_limit_seconds": float("inf")},
        {"capacities": {"ppn-1": 2**63}},
    ],
)
def test_a_section_without_finite_bounds_is_refused(section):
    with pytest.raises(ValidationError, match=next(iter(section))):
        PlacementSection(**section)
