"""The fewest PPNs with a proof: minPPN (eqs. 3-9) as a constraint problem, solved by CP-SAT.

Only the demands M_c enter, so one Boolean y[c, n] a rule and PPN is the whole model. For a growing number N of PPNs, from the load
bound ceil(w sum(M_c) / L) up to what the greedy found, an assignment is first looked for by exchanging shares. Where none is found
so, the solver finds one (then N is the optimum) or proves that there is none (then the bound is N + 1). PPNs alike in capacity and
operator are interchangeable; the symmetry is broken by the order in which they are used and serve the largest rule. With an
existing assignment the moved sums are minimised first, and then the PPNs.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ortools.sat.python import cp_model

from configurator.placement.exchange import place_on
from configurator.placement.greedy import (
    Placement,
    PpnCapacity,
    PpnId,
    Problem,
    by_demand,
    finished,
    lower_bound,
    place_greedily,
)
from hushgrid.errors import ConfigurationError

#: Seconds that one worker gets before the whole portfolio of the solver takes over.
_ALONE_SECONDS = 0.5
_PORTFOLIO_WORKERS = 8
#: The part of the time left in which shares are exchanged.
_EXCHANGE_FRACTION = 0.1

#: Seconds that are left to search in.
Left = Callable[[], float]


def place(
    problem: Problem, *, clock: Callable[[], float], time_limit_seconds: float = 10.0, start_ppns: int | None = 20
) -> Placement:
    """The optimum with its proof, or the best found with its bound when the time is over.

    clock: in seconds, never going back. start_ppns: for the greedy that the search starts from. ConfigurationError when there is
    no assignment, or none was found.
    """
    deadline = clock() + time_limit_seconds

    def left() -> float:
        return deadline - clock()

    try:
        start: Placement | None = place_greedily(problem, start_ppns=start_ppns)
    except ConfigurationError:
        start = None
    if not problem.demands:
        return finished(problem, {}, "exact")
    if any(problem.kept().values()):
        return _fewest_moves(problem, start, left)
    return _fewest_ppns(problem, start, left)


def _fewest_ppns(problem: Problem, start: Placement | None, left: Left) -> Placement:
    bound = lower_bound(problem)
    worst = start.ppn_count if start else len(problem.serving()) + 1
    proven = True
    for count in range(bound, worst):
        exchanged = _by_exchange(problem, count, left)
        if exchanged is not None:
            return finished(problem, exchanged, "exact", bound=bound)
        model = _Model(problem, count, start)
        status = model.solve(left)
        if status in {cp_model.OPTIMAL, cp_model.FEASIBLE}:
            return finished(problem, model.assignment(), "exact", bound=bound)
        proven = proven and status == cp_model.INFEASIBLE
        if proven:
            bound = count + 1
        if left() <= 0:
            break
    if start is None:
        raise ConfigurationError(
            "there is no placement that keeps capacities and operators"
            if proven
            else "no placement found in the time given"
        )
    return finished(problem, start.assignment, "exact", bound=bound)


def _by_exchange(problem: Problem, count: int, left: Left) -> dict[str, tuple[PpnId, ...]] | None:
    kept_for_the_solver = (1 - _EXCHANGE_FRACTION) * left()
    return place_on(problem, count, lambda: left() <= kept_for_the_solver)


def _fewest_moves(problem: Problem, start: Placement | None, left: Left) -> Placement:
    model = _Model(problem, len(problem.serving()), start)
    model.model.minimize(model.moved_sums())
    status = model.solve(left)
    if status == cp_model.INFEASIBLE:
        raise ConfigurationError("there is no placement that keeps capacities and operators")
    found = start.assignment if start else None
    moved_bound = int(model.solver.best_objective_bound + 0.5) if status != cp_model.UNKNOWN else 0
    if status in {cp_model.OPTIMAL, cp_model.FEASIBLE}:
        found = model.assignment()
    if found is None:
        raise ConfigurationError("no placement found in the time given")
    first = finished(problem, found, "exact", moved_sums_bound=moved_bound)
    model = _Model(problem, first.ppn_count, first)
    model.model.add(model.moved_sums() <= first.moved_sums)
    model.model.minimize(sum(model.used.values()))
    status = model.solve(left)
    if status not in {cp_model.OPTIMAL, cp_model.FEASIBLE}:
        return first
    bound = int(model.solver.best_objective_bound + 0.5)
    return finished(problem, model.assignment(), "exact", bound=bound, moved_sums_bound=moved_bound)


@dataclass(slots=True)
class _Model:
    """y[rule, ppn] and used[ppn] for at most `count` PPNs."""

    problem: Problem
    count: int
    hint: Placement | None
    model: Any = field(default_factory=cp_model.CpModel)
    solver: Any = field(default_factory=cp_model.CpSolver)
    y: dict[tuple[str, PpnId], Any] = field(default_factory=dict)
    used: dict[PpnId, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        symmetric = not any(self.problem.kept().values())
        alike = _alike(self.problem)
        ppns = self.problem.serving()
        all_alike = symmetric and len(alike) == 1
        if all_alike:
            ppns = ppns[: self.count]
        for ppn in ppns:
            self._add_ppn(ppn, fixed=all_alike)
        for rule in self.problem.demands:
            self.model.add(sum(self.y[rule, ppn.id] for ppn in ppns) == self.problem.width)
        if not all_alike:
            self.model.add(sum(self.used.values()) <= self.count)
        if symmetric:
            largest = by_demand(self.problem)[0]
            for group in alike:
                self._break_symmetry([ppn for ppn in group if ppn.id in self.used], largest)
        self._limit_operators()
        self._hint()

    def _add_ppn(self, ppn: PpnCapacity, *, fixed: bool) -> None:
        used = self.used[ppn.id] = self.model.new_constant(1) if fixed else self.model.new_bool_var(f"z {ppn.id}")
        for rule in self.problem.demands:
            self.y[rule, ppn.id] = self.model.new_bool_var(f"y {rule} {ppn.id}")
            if not fixed:
                self.model.add_implication(self.y[rule, ppn.id], used)
        load = sum(demand * self.y[rule, ppn.id] for rule, demand in self.problem.demands.items())
        self.model.add(load <= min(ppn.capacity_sums, sum(self.problem.demands.values())) * used)

    def _break_symmetry(self, group: Sequence[PpnCapacity], largest: str) -> None:
        for before, after in itertools.pairwise(group):
            self.model.add(self.y[largest, before.id] >= self.y[largest, after.id])
            self.model.add(self.used[before.id] >= self.used[after.id])

    def _limit_operators(self) -> None:
        """Fewer than t PPNs of one operator hold shares of any meter (invariant 12)."""
        crowded = self.problem.crowded_operators()
        for number, group in enumerate(self.problem.sharing() if crowded else ()):
            for operator, ppns in crowded.items():
                held = []
                for ppn in (ppn for ppn in ppns if ppn.id in self.used):
                    holds = self.model.new_bool_var(f"u {number} {operator} {ppn.id}")
                    for rule in group:
                        self.model.add_implication(self.y[rule, ppn.id], holds)
                    held.append(holds)
                self.model.add(sum(held) < self.problem.threshold)

    def _hint(self) -> None:
        if self.hint is not None and set(self.hint.loads_sums) <= set(self.used):
            for (rule, ppn), variable in self.y.items():
                self.model.add_hint(variable, ppn in self.hint.assignment[rule])

    def moved_sums(self) -> Any:
        """The sums of existing shares that do not stay, those of PPNs out of service included."""
        existing: Mapping[str, Sequence[PpnId]] = self.problem.existing or {}
        demands = self.problem.demands
        total = sum(demands[rule] * len(set(ppns)) for rule, ppns in existing.items() if rule in demands)
        kept = ((rule, ppn) for rule, ppns in self.problem.kept().items() for ppn in set(ppns))
        return total - sum(demands[rule] * self.y[rule, ppn] for rule, ppn in kept)

    def solve(self, left: Left) -> Any:
        """The solver's status: one worker first, the portfolio when that was not enough."""
        status = cp_model.UNKNOWN
        for workers, most in ((1, _ALONE_SECONDS), (_PORTFOLIO_WORKERS, float("inf"))):
            seconds = min(left(), most)
            if seconds <= 0:
                break
            self.solver.parameters.num_workers = workers
            self.solver.parameters.max_time_in_seconds = seconds
            found = self.solver.solve(self.model)
            if found == cp_model.MODEL_INVALID:
                raise ConfigurationError(f"the placement problem is out of the solver's range: {self.model.validate()}")
            status = found
            if status in {cp_model.OPTIMAL, cp_model.INFEASIBLE}:
                break
        return status

    def assignment(self) -> dict[str, tuple[PpnId, ...]]:
        """What was found."""
        return {
            rule: tuple(ppn for ppn in self.used if self.solver.value(self.y[rule, ppn]))
            for rule in self.problem.demands
        }


def _alike(problem: Problem) -> list[list[PpnCapacity]]:
    """PPNs that can be exchanged for one another: the same capacity, and the same operator where operators matter."""
    crowded = problem.crowded_operators()
    groups: dict[tuple[int, str | None], list[PpnCapacity]] = {}
    for ppn in problem.serving():
        groups.setdefault((ppn.capacity_sums, ppn.operator if ppn.operator in crowded else None), []).append(ppn)
    return list(groups.values())
