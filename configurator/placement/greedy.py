"""Which PPNs serve which rule: the greedy of the paper's Fig. 3, mended (eqs. 3-9; docs/configurator.md, section Placement).

Every rule gets `width` different PPNs; it costs each of them its demand M_c (sums a round: the meters of its cohort); no PPN does
more than its capacity L_n. Beyond the paper: capacities differ, PPNs leave service, no operator holds `threshold` shares of a
meter over all its rules (invariant 12), and a re-plan moves as few shares as possible. The printed pseudo-code has four slips:
(a) phase 1 never ends when no PPN can take a rule; (b) an elimination copies back only the emptied PPN; (c) a failed elimination
leaves its moves in place; (d) the last line assigns x_p^c for x_p^n. Here (a) is an error, (b) and (c) cannot happen because a
tentative state is a copy that is kept or dropped whole, and (d) is `Placement.ppns_of_meter`.
"""

from __future__ import annotations

import copy
import enum
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from hushgrid.errors import ConfigurationError

PpnId = str | int
#: rule -> the PPNs that serve it.
Assignment = Mapping[str, tuple[PpnId, ...]]


@dataclass(frozen=True, slots=True)
class PpnCapacity:
    """A privacy-preserving node. capacity_sums: sums a round; operator None: nobody else's, so without that constraint."""

    id: PpnId
    capacity_sums: int
    operator: str | None = None
    in_service: bool = True


@dataclass(frozen=True, slots=True)
class Problem:
    """One placement to be found.

    demands: rule -> M_c, the sums a round it costs each of its PPNs; ppns: those there are, in order of preference; overlaps:
    sets of rules that have a meter in common (only maximal ones matter; None: some meter is in all rules); existing: the
    assignment in force, of which as little as possible should move.
    """

    demands: Mapping[str, int]
    ppns: Sequence[PpnCapacity]
    width: int
    threshold: int
    overlaps: Sequence[frozenset[str]] | None = None
    existing: Assignment | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.threshold <= self.width:
            raise ConfigurationError(f"threshold {self.threshold} is not between 1 and width {self.width}")
        if len({ppn.id for ppn in self.ppns}) != len(self.ppns):
            raise ConfigurationError("a PPN occurs twice")
        serving = self.serving()
        if self.demands and len(serving) < self.width:
            raise ConfigurationError(f"{len(serving)} PPNs are in service, width {self.width} needs as many")
        for rule, demand in self.demands.items():
            able = sum(1 for ppn in serving if ppn.capacity_sums >= demand)
            if able < self.width:
                raise ConfigurationError(
                    f"rule {rule} costs {demand} sums a round: {able} PPNs can carry that, width {self.width} are needed"
                )
        needed, there = self.width * sum(self.demands.values()), sum(ppn.capacity_sums for ppn in serving)
        if needed > there:
            raise ConfigurationError(f"the rules cost {needed} sums a round, all PPNs in service can do {there}")

    def serving(self) -> list[PpnCapacity]:
        """The PPNs in service."""
        return [ppn for ppn in self.ppns if ppn.in_service]

    def sharing(self) -> list[frozenset[str]]:
        """The maximal sets of rules with a meter in common."""
        if self.overlaps is None:
            return [frozenset(self.demands)]
        known = sorted({group & frozenset(self.demands) for group in self.overlaps}, key=len, reverse=True)
        known += [frozenset([rule]) for rule in self.demands]
        maximal: list[frozenset[str]] = []
        for group in known:
            if group and not any(group <= other for other in maximal):
                maximal.append(group)
        return maximal

    def crowded_operators(self) -> dict[str, list[PpnCapacity]]:
        """Operators with `threshold` PPNs or more in service: the only ones that could gather too many shares."""
        found: defaultdict[str, list[PpnCapacity]] = defaultdict(list)
        for ppn in self.serving():
            if ppn.operator is not None:
                found[ppn.operator].append(ppn)
        return {operator: ppns for operator, ppns in found.items() if len(ppns) >= self.threshold}

    def kept(self) -> dict[str, tuple[PpnId, ...]]:
        """What of the existing assignment could stay: rules and PPNs that are still there."""
        serving = {ppn.id for ppn in self.serving()}
        existing = self.existing or {}
        return {rule: tuple(p for p in existing.get(rule, ()) if p in serving) for rule in self.demands}


@dataclass(frozen=True, slots=True)
class Placement:
    """An assignment with what it costs and what is proven about it.

    loads_sums: PPN -> sums a round, of the PPNs in use; lower_bound: no placement uses fewer PPNs (with an existing assignment:
    none that moves as little); proven: nothing is better (fewest PPNs; with an existing assignment fewest moved sums first);
    moved_shares: (rule, PPN) pairs of rules that were there before and are no more; moved_sums: how many shares of meters a
    round go elsewhere by that; moved_sums_bound: no placement moves fewer.
    """

    assignment: dict[str, tuple[PpnId, ...]]
    loads_sums: dict[PpnId, int]
    lower_bound: int
    proven: bool
    solver: str
    moved_shares: int = 0
    moved_sums: int = 0
    moved_sums_bound: int = 0

    @property
    def ppn_count(self) -> int:
        """PPNs in use."""
        return len(self.loads_sums)

    @property
    def gap_fraction(self) -> float:
        """How far above the lower bound this may be."""
        return 0.0 if self.proven or not self.lower_bound else self.ppn_count / self.lower_bound - 1

    def ppns_of_meter(self, rules: Iterable[str]) -> tuple[PpnId, ...]:
        """The PPNs a meter under these rules sends shares to (x_p^n of eqs. 5-6)."""
        return tuple(sorted({ppn for rule in rules for ppn in self.assignment[rule]}, key=str))


def lower_bound(problem: Problem) -> int:
    """No fewer PPNs can do: the largest capacities that hold w sum(M_c), and at least w (eqs. 4, 7)."""
    needed = problem.width * sum(problem.demands.values())
    count = 0
    for capacity in sorted((ppn.capacity_sums for ppn in problem.serving()), reverse=True):
        if needed <= 0:
            break
        needed, count = needed - capacity, count + 1
    return max(count, problem.width if problem.demands else 0)


@dataclass(slots=True)
class _State:
    """A (partial) assignment that keeps every constraint."""

    problem: Problem
    loads: dict[PpnId, int]
    serves: dict[PpnId, dict[str, None]]
    held: dict[tuple[int, str], dict[PpnId, int]] = field(default_factory=dict)
    groups_of: dict[str, list[int]] = field(default_factory=dict)
    operator_of: dict[PpnId, str] = field(default_factory=dict)
    capacity: dict[PpnId, int] = field(default_factory=dict)

    @classmethod
    def empty(cls, problem: Problem, ppns: Sequence[PpnCapacity]) -> _State:
        state = cls(problem, {ppn.id: 0 for ppn in ppns}, {ppn.id: {} for ppn in ppns})
        crowded = problem.crowded_operators()
        state.operator_of = {ppn.id: operator for operator, group in crowded.items() for ppn in group}
        state.capacity = {ppn.id: ppn.capacity_sums for ppn in ppns}
        state.groups_of = {rule: [] for rule in problem.demands}
        for number, group in enumerate(problem.sharing() if crowded else ()):
            for rule in group:
                state.groups_of[rule].append(number)
        return state

    def twin(self) -> _State:
        twin = copy.copy(self)
        twin.loads = dict(self.loads)
        twin.serves = {ppn: dict(rules) for ppn, rules in self.serves.items()}
        twin.held = {key: dict(counts) for key, counts in self.held.items()}
        return twin

    def accepts(self, ppn: PpnId, rule: str) -> bool:
        """Whether this PPN may take this rule as well."""
        if rule in self.serves[ppn] or self.loads[ppn] + self.problem.demands[rule] > self.capacity[ppn]:
            return False
        operator = self.operator_of.get(ppn)
        if operator is None:
            return True
        counts = (self.held.get((group, operator), {}) for group in self.groups_of[rule])
        return all(ppn in count or len(count) < self.problem.threshold - 1 for count in counts)

    def put(self, ppn: PpnId, rule: str) -> None:
        self.loads[ppn] += self.problem.demands[rule]
        self.serves[ppn][rule] = None
        operator = self.operator_of.get(ppn)
        if operator is not None:
            for group in self.groups_of[rule]:
                count = self.held.setdefault((group, operator), {})
                count[ppn] = count.get(ppn, 0) + 1

    def take(self, ppn: PpnId, rule: str) -> None:
        self.loads[ppn] -= self.problem.demands[rule]
        del self.serves[ppn][rule]
        operator = self.operator_of.get(ppn)
        if operator is not None:
            for group in self.groups_of[rule]:
                count = self.held[group, operator]
                count[ppn] -= 1
                if not count[ppn]:
                    del count[ppn]

    def chosen(self, rule: str) -> list[PpnId]:
        return [ppn for ppn, rules in self.serves.items() if rule in rules]


class Receiver(enum.StrEnum):
    """In which order phase 2 offers a share to other PPNs. Fig. 3 says "for all j in N" and leaves the order of N open."""

    LISTED = "listed"
    LEAST_LOADED = "least-loaded"


def place_greedily(
    problem: Problem, *, start_ppns: int | None = None, receiver: Receiver = Receiver.LEAST_LOADED
) -> Placement:
    """Fig. 3: spread the rules, largest first, over the least loaded PPNs; then empty PPNs one by one.

    start_ppns: how many PPNs phase 1 spreads over (the first of those in service; default all; the paper does not say, and it
    matters with `Receiver.LISTED`); more are taken when these are not enough. With an existing assignment, shares that can
    stay do; where that leaves no room, rules are released to be spread again, one by one, then 2, 4, ... of the smallest, then
    all. ConfigurationError when no assignment is found.
    """
    serving = problem.serving()
    kept = problem.kept()
    first = len(serving) if start_ppns is None else max(problem.width, min(start_ppns, len(serving)))
    counts = range(first, len(serving) + 1)
    stuck: ConfigurationError | None = None
    for attempt in _attempts(problem, kept, counts):
        try:
            state = _spread(problem, kept, attempt)
        except ConfigurationError as error:
            stuck = error
            continue
        _eliminate(state, {(ppn, rule) for rule, ppns in kept.items() for ppn in ppns}, receiver)
        return finished(problem, {rule: tuple(state.chosen(rule)) for rule in problem.demands}, "greedy")
    raise stuck or ConfigurationError("there are no PPNs in service")


@dataclass(frozen=True, slots=True)
class _Attempt:
    """One way to spread: over the first `count` PPNs and those that serve already; `released` rules may move.

    last: released rules are spread after all others, not where their demand puts them. afresh: nothing is kept.
    """

    count: int
    released: frozenset[str] = frozenset()
    last: bool = False
    afresh: bool = False


def _attempts(problem: Problem, kept: Assignment, counts: Sequence[int]) -> Iterator[_Attempt]:
    """First everything stays, then as little as possible is released, at last everything."""
    standing = [rule for rule in reversed(by_demand(problem)) if kept[rule]]
    if standing:
        yield from (_Attempt(count) for count in counts)
    releases = [frozenset([rule]) for rule in standing]
    most = 2
    while most < 2 * len(standing):
        releases.append(frozenset(standing[:most]))
        most *= 2
    for released in releases:
        for last in (False, True):
            yield _Attempt(len(problem.serving()), released, last)
    yield from (_Attempt(count, afresh=True) for count in counts)


def by_demand(problem: Problem) -> list[str]:
    """Rules, largest demand first, ties in the order given."""
    return sorted(problem.demands, key=lambda rule: -problem.demands[rule])


def _spread(problem: Problem, kept: Assignment, attempt: _Attempt) -> _State:
    """Phase 1. A rule no PPN can take is an error (slip a), not an endless loop."""
    holders = set() if attempt.afresh else {ppn for ppns in kept.values() for ppn in ppns}
    ppns = [ppn for at, ppn in enumerate(problem.serving()) if at < attempt.count or ppn.id in holders]
    state = _State.empty(problem, ppns)
    order = by_demand(problem)
    for rule in order:
        if not attempt.afresh and rule not in attempt.released:
            _keep(state, rule, kept[rule])
    if attempt.last:
        order.sort(key=attempt.released.__contains__)
    for rule in order:
        if rule in attempt.released:
            _keep(state, rule, kept[rule])
        for _ in range(problem.width - len(state.chosen(rule))):
            able = [ppn for ppn in state.loads if state.accepts(ppn, rule)]
            if not able:
                raise ConfigurationError(
                    f"no placement found: no PPN can take rule {rule} ({problem.demands[rule]} sums a round) as well"
                )
            state.put(min(able, key=lambda ppn: state.loads[ppn]), rule)
    return state


def _keep(state: _State, rule: str, ppns: Sequence[PpnId]) -> None:
    """Leave a rule where it is, as far as that is possible."""
    for ppn in ppns[: state.problem.width]:
        if state.accepts(ppn, rule):
            state.put(ppn, rule)


def _eliminate(state: _State, fixed: set[tuple[PpnId, str]], order: Receiver) -> None:
    """Phase 2, in place: empty the least loaded PPN as long as that succeeds; shares in `fixed` do not move."""
    for ppn in [ppn for ppn, rules in state.serves.items() if not rules]:
        del state.loads[ppn], state.serves[ppn]
    while state.loads:
        movable = [p for p, rules in state.serves.items() if not any((p, rule) in fixed for rule in rules)]
        if not movable:
            return
        victim = min(movable, key=lambda ppn: state.loads[ppn])
        trial = state.twin()
        for rule in by_demand(state.problem):
            if rule in trial.serves[victim]:
                trial.take(victim, rule)
                able = [ppn for ppn in trial.loads if ppn != victim and trial.accepts(ppn, rule)]
                if not able:
                    return  # slip c: nothing of the trial remains
                trial.put(able[0] if order is Receiver.LISTED else min(able, key=trial.loads.__getitem__), rule)
        del trial.loads[victim], trial.serves[victim]
        state.loads, state.serves, state.held = trial.loads, trial.serves, trial.held  # slip b: all of it


def finished(
    problem: Problem,
    assignment: dict[str, tuple[PpnId, ...]],
    solver: str,
    *,
    bound: int = 0,
    moved_sums_bound: int = 0,
) -> Placement:
    """A placement with its loads, its moves and what is proven: `bound` PPNs and `moved_sums_bound` cannot be beaten."""
    loads: dict[PpnId, int] = {ppn.id: 0 for ppn in problem.serving()}
    for rule, ppns in assignment.items():
        for ppn in ppns:
            loads[ppn] += problem.demands[rule]
    used = {ppn for ppns in assignment.values() for ppn in ppns}
    existing = {rule: set(ppns) for rule, ppns in (problem.existing or {}).items() if rule in assignment}
    moved = {rule: len(ppns - set(assignment[rule])) for rule, ppns in existing.items()}
    moved_sums = sum(count * problem.demands[rule] for rule, count in moved.items())
    kept = problem.kept()
    lost = (max(len(p) - len(kept[r]), len(p) - problem.width) * problem.demands[r] for r, p in existing.items())
    moved_sums_bound = max(moved_sums_bound, sum(lost))
    proven_bound = max(lower_bound(problem), bound)
    return Placement(
        assignment=assignment,
        loads_sums={ppn: load for ppn, load in loads.items() if ppn in used},
        lower_bound=proven_bound,
        proven=len(used) <= proven_bound and moved_sums <= moved_sums_bound,
        solver=solver,
        moved_shares=sum(moved.values()),
        moved_sums=moved_sums,
        moved_sums_bound=moved_sums_bound,
    )
