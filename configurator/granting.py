"""Whether a rule may exist in a running grid: the audit of `configurator.approval` over what is registered.

Depends on rules and registration only, never on a reading.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from configurator.approval import review
from configurator.cohorts import Mask, Roster
from configurator.config import Cohort, PairwiseSection, PlanSection, PolicySection
from configurator.masked_rules import check_beside, check_billing, check_shared
from configurator.planning import GrantedRule
from configurator.policy import Policy, Request, Right, check_alone
from configurator.union import Granted
from hushgrid.control import RequestRule
from hushgrid.errors import RefusedError
from hushgrid.plan import Mechanism, Rule
from hushgrid.rules import RANGE, resolve_cohort


@dataclass(frozen=True, slots=True)
class Approved:
    """A request that may be granted: its cohort by meter numbers, and the minimum it is held to."""

    cohort: frozenset[int]
    minimum_contributors: int


def approve(
    request: RequestRule,
    consumer: str,
    *,
    meters: Mapping[str, int],
    granted: Sequence[GrantedRule],
    policy: Policy,
    from_round: int,
    pairwise: PairwiseSection | None = None,
) -> Approved:
    """What may be granted from a round on; RefusedError with the reason and the rules it is because of.

    meters: number by id of all enrolled; granted: all rules that stand, and those that ended while windows beside them are open.
    """
    if request.mechanism is not Mechanism.SHARES and pairwise is None:
        raise RefusedError(f"mechanism {request.mechanism.value} is not served here")
    if request.weights != (1,):
        raise RefusedError("weights other than 1 are not served yet")
    roster = roster_of(meters)
    ids = resolve_cohort(request.cohort, sorted(meters))
    billing = request.mechanism is Mechanism.PAIRWISE
    asked = Request(
        name=f"{consumer}/{request.name}",
        consumer=consumer,
        cohort=roster.mask(ids),
        window_rounds=1 if billing and request.window_rounds else request.window_rounds,  # the columns
        minimum_contributors=request.minimum_contributors or None,
        from_round=from_round,
    )
    numbers, minimum = frozenset(np.flatnonzero(asked.cohort).tolist()), policy.minimum_of(asked)
    check_beside(request.mechanism, numbers, granted)
    if billing and pairwise is not None:
        check_alone(asked, policy, roster)
        bound = policy.reading_bound_watt_hours
        check_billing(request, ids, minimum=minimum, pairwise=pairwise, modulus=policy.modulus,
                      reading_bound_watt_hours=bound)  # fmt: skip
        return Approved(numbers, minimum)
    # Rules of masked readings share no meter with this one, and add nothing to what is known of its meters.
    review(asked, standing([each for each in granted if each.rule.mechanism is not Mechanism.PAIRWISE], roster), policy)
    if request.mechanism is Mechanism.BOTH and pairwise is not None:
        check_shared(request, ids, sorted(meters), minimum=minimum, pairwise=pairwise)
    return Approved(numbers, minimum)


def labels(rules: Sequence[Rule]) -> dict[int, str]:
    """What a refusal calls each rule, by number: consumer/name, with the number too once the rule has an end."""
    return {
        rule.number: f"{rule.consumer}/{rule.name}"
        + ("" if rule.until_round is None else f" (number {rule.number}, until round {rule.until_round})")
        for rule in rules
    }


def roster_of(meters: Mapping[str, int]) -> Roster:
    """All enrolled meters in the order of their numbers, so that a mask's position is a meter's number."""
    return Roster.of(meter for _, meter in sorted((number, meter) for meter, number in meters.items()))


def standing(granted: Sequence[GrantedRule], roster: Roster) -> Granted:
    """The rules of the registry as the audit knows rules."""
    named = labels([each.rule for each in granted])
    return Granted(roster, tuple(_request(each, named[each.rule.number], roster) for each in granted))


def _request(granted: GrantedRule, name: str, roster: Roster) -> Request:
    cohort = roster.nobody()
    cohort[list(granted.cohort)] = True
    rule = granted.rule
    return Request(
        name=name,
        consumer=rule.consumer,
        cohort=cohort,
        window_rounds=rule.window_rounds,
        minimum_contributors=rule.minimum_contributors,
        from_round=rule.from_round,
        until_round=rule.until_round,
    )


def policy_of(plan: PlanSection, section: PolicySection, meters: Mapping[str, int], modulus: int) -> Policy:
    """The configured policy over the meters that are enrolled now. RefusedError never: unknown ids are not there yet."""
    roster, ordered = roster_of(meters), sorted(meters)

    def mask(cohort: Cohort) -> Mask:
        return roster.mask(_enrolled(cohort, ordered))

    minima = np.full(roster.size, plan.minimum_contributors, dtype=np.int64)
    for each in section.classes:
        covered = mask(each.cohort)
        minima[covered] = np.maximum(minima[covered], each.minimum_contributors)
    rights = None
    if section.rights is not None:
        rights = {
            consumer: Right(mask(right.cohort), right.shortest_window_rounds)
            for consumer, right in section.rights.items()
        }
    return Policy(
        minimum_contributors=plan.minimum_contributors,
        minimum_by_meter=minima if section.classes else None,
        coverage_floor_fraction=plan.coverage_floor_fraction,
        reading_bound_watt_hours=plan.reading_bound_watt_hours,
        modulus=modulus,
        owned={consumer: mask(cohort) for consumer, cohort in section.owned.items()},
        rights=rights,
    )


def _enrolled(cohort: Cohort, meters: Sequence[str]) -> list[str]:
    """The meters of a configured cohort that are enrolled: a configuration may speak of meters still to come."""
    if cohort == "all":
        return list(meters)
    ranges = [(first, last or first) for first, _, last in (item.partition(RANGE) for item in cohort)]
    return [meter for meter in meters if any(first <= meter <= last for first, last in ranges)]
