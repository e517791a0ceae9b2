"""Which points serve the rules of a running grid: `configurator.placement.greedy` over what is registered. No I/O.

What is placed stays where it is unless a PPN is gone or there is no other way.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from configurator.audit.registered import census_of, labels, standing
from configurator.placement.greedy import Placement, PpnCapacity, Problem, place_greedily
from configurator.placement.overlaps import overlaps
from configurator.sections import PlacementSection, PlanSection
from configurator.values import GrantedRule, Registered
from hushgrid.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Placed:
    """The points of every rule, by rule number, and what is known of that placement."""

    points: dict[int, tuple[int, ...]]
    placement: Placement

    def describe(self) -> str:
        """One line: PPNs, bound, moves."""
        found = self.placement
        proven = "proven fewest" if found.proven else f"at least {found.lower_bound} are needed"
        return (
            f"{len(self.points)} rules on {found.ppn_count} PPNs ({found.solver}, {proven}); "
            f"{found.moved_shares} shares of rules move ({found.moved_sums} sums a round)"
        )


def place(
    rules: Sequence[GrantedRule],
    ppns: Sequence[Registered],
    *,
    meters: Mapping[str, int],
    plan: PlanSection,
    section: PlacementSection,
    away: Collection[str] = (),
    clock: Callable[[], float],
) -> Placed:
    """Place rules without points and those whose PPNs are gone; ConfigurationError when capacities or operators forbid it.

    ppns: all that are enrolled; the order in which they happened to enrol decides nothing. away: ids that rules leave.
    clock: of the exact solver.
    """
    named = labels([granted.rule for granted in rules])
    serving = [_ppn(ppn, len(meters), section, away) for ppn in sorted(ppns, key=lambda ppn: ppn.id)]
    together = list(standing(rules, census_of(meters)).rules)
    problem = Problem(
        demands={named[granted.rule.number]: len(granted.cohort) for granted in rules},
        ppns=serving,
        width=plan.width,
        threshold=plan.threshold,
        overlaps=overlaps(together, len(meters)) if _crowded(serving, plan.threshold) else [],
        existing={named[granted.rule.number]: granted.rule.points for granted in rules if granted.rule.points},
    )
    if section.solver == "greedy":
        placement = place_greedily(problem, start_ppns=section.start_ppns)
    else:
        from configurator.placement import exact as exact_placement  # noqa: PLC0415  # the solver costs 60 MiB that a greedy grid does not need

        placement = exact_placement.place(
            problem, clock=clock, time_limit_seconds=section.time_limit_seconds, start_ppns=section.start_ppns
        )
    points = {
        granted.rule.number: tuple(sorted(int(point) for point in placement.assignment[named[granted.rule.number]]))
        for granted in rules
    }
    _check_while_moving(problem, placement)
    return Placed(points, placement)


def _ppn(ppn: Registered, meters: int, section: PlacementSection, away: Collection[str]) -> PpnCapacity:
    return PpnCapacity(
        id=ppn.number,
        capacity_sums=section.capacities.get(ppn.id, int(section.capacity_factor * meters)),
        operator=ppn.operator or ppn.id,
        in_service=ppn.id not in section.out_of_service and ppn.id not in away,
    )


def _crowded(ppns: Sequence[PpnCapacity], threshold: int) -> bool:
    operators = [ppn.operator for ppn in ppns if ppn.in_service]
    return any(operators.count(operator) >= threshold for operator in set(operators))


def _check_while_moving(problem: Problem, placement: Placement) -> None:
    """While windows of the old placement end, meters send to both: no operator may hold t shares in the meantime either."""
    serving = {ppn.id: ppn.operator for ppn in problem.serving()}
    old = problem.existing or {}
    for group in problem.sharing() if problem.crowded_operators() else ():
        both = {p for rule in group for p in (*placement.assignment[rule], *old.get(rule, ())) if p in serving}
        for operator in {serving[point] for point in both}:
            held = sum(serving[point] == operator for point in both)
            if held >= problem.threshold:
                raise ConfigurationError(
                    f"operator {operator} would hold {held} shares of a meter while rules move between its PPNs"
                )
