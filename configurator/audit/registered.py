"""What is registered, as the audit knows it: all enrolled meters, the rules that stand, the configured policy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from configurator.audit.cohorts import Census, Mask
from configurator.audit.policy import Policy, Request, Right
from configurator.audit.union import Granted
from configurator.sections import Cohort, PlanSection, PolicySection
from configurator.values import GrantedRule
from hushgrid.core.cohorts import Selector, Unknown
from hushgrid.plan.parts import Rule


def labels(rules: Sequence[Rule]) -> dict[int, str]:
    """What a refusal calls each rule, by number: consumer/name, with the number too once the rule has an end."""
    return {
        rule.number: f"{rule.consumer}/{rule.name}"
        + ("" if rule.until_round is None else f" (number {rule.number}, until round {rule.until_round})")
        for rule in rules
    }


def census_of(meters: Mapping[str, int]) -> Census:
    """All enrolled meters in the order of their numbers, so that a mask's position is a meter's number."""
    return Census.of(meter for _, meter in sorted((number, meter) for meter, number in meters.items()))


def standing(granted: Sequence[GrantedRule], census: Census) -> Granted:
    """The rules of the registry as the audit knows rules."""
    named = labels([each.rule for each in granted])
    return Granted(census, tuple(_request(each, named[each.rule.number], census) for each in granted))


def _request(granted: GrantedRule, name: str, census: Census) -> Request:
    cohort = census.nobody()
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
    census, ordered = census_of(meters), sorted(meters)

    def mask(cohort: Cohort) -> Mask:
        return census.mask(Selector.parse(cohort).among(ordered, unknown=Unknown.SKIP))

    minima = np.full(census.size, plan.minimum_contributors, dtype=np.int64)
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
