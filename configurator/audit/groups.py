"""No combination of rules touches too few meters (docs/configurator.md, section Audit)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from configurator.audit.cohorts import Mask
from configurator.audit.policy import Request
from configurator.audit.rowspace import Group, smallest_group
from configurator.audit.union import Union, distinct_cohorts
from configurator.audit.windows import boundary_kinds, fits, share_two_boundaries, singles_out, together
from hushgrid.errors import RefusedError

#: Meters of a leaking group that a refusal names.
_NAMED_METERS = 20


def check_groups(union: Union) -> None:
    """RefusedError when some combination touches meters that count, but fewer than the minimum of one of them."""
    # Single meters are judged by what really determines them; a new rule can complete that for rules of other rounds.
    needed = [union.policy.with_margin(level) for level in union.policy.levels()]
    new = union.rules if min(needed) <= 2 else union.new
    bills = [rule.billing for rule in union.rules]
    kinds = boundary_kinds(
        (rule.window_rounds for rule in union.rules if rule.billing), (rule.window_rounds for rule in union.rules)
    )
    meetings = {
        touching: together(union.rules, new, apart=bills, touching=touching)
        for touching in {bool(kind) for kind in kinds}
    }
    for kind in kinds:
        for met in meetings[bool(kind)]:
            rules = [union.rules[at] for at in met]
            sums = [rule for rule in rules if not rule.billing and fits(rule.window_rounds, kind)]
            exempt = [rule for rule in rules if rule.billing and fits(rule.window_rounds, kind)]
            if sums and (new is union.rules or union.any_new([*sums, *exempt])):
                _check_kind(union, sums, exempt)


def _check_kind(union: Union, sums: Sequence[Request], exempt: Sequence[Request]) -> None:
    """The check at one kind of round boundary: the cohorts that may jump there, and the bills that may end there."""
    cohorts = distinct_cohorts(sums)
    partition = union.partition.restricted([union.number(rule) for rule in cohorts])
    counted = union.counted(exempt)
    weights = partition.weights(counted)
    for level in union.policy.levels():
        critical = partition.holding(counted & union.policy.at_level(level, union.census))
        needed = union.policy.with_margin(level)
        untouched = np.zeros(partition.classes, dtype=np.bool_)
        while True:
            group = smallest_group(partition.signatures, weights, needed, critical=critical, untouched=untouched)
            if group is None:
                break
            involved = {cohorts[at].cohort_digest for at in group.rules}
            acting = [rule for rule in sums if rule.cohort_digest in involved]
            meters = np.isin(partition.class_of, group.classes) & counted
            if needed > 2 or not group.proven or _is_realised(union, [*acting, *exempt], meters):
                bills = _bills_to_blame(union, acting, exempt, level)
                _refuse(union, [*acting, *bills], group, meters, needed)
            untouched[list(group.classes)] = True


def _is_realised(union: Union, acting: Sequence[Request], meters: Mask) -> bool:
    """Whether a single meter is determined over some span, in time: exact, as far as `singles_out` can say."""
    sums = [rule for rule in union.rules if not rule.billing]
    bills = [rule for rule in union.rules if rule.billing]
    billed = ~union.counted(bills)
    # A span over which it is determined may be one of its own bills, which did not meet these rules here.
    if share_two_boundaries(acting) and not (billed & meters).any():
        return True
    # One column for each class and one for each billed meter, without those that a consumer knows.
    key = np.where(billed, union.partition.classes + np.arange(billed.size), union.partition.class_of)
    key[meters] = -1
    _, first = np.unique(key, return_index=True)
    first = first[union.hidden[first]]
    target = int(np.flatnonzero(meters[first])[0])
    single = [(bill, at) for bill in bills for at in np.flatnonzero(bill.cohort[first])]
    columns = [rule.cohort[first] for rule in sums] + [np.arange(first.size) == at for _, at in single]
    every = [*sums, *(bill for bill, _ in single)]
    return singles_out(every, columns, [rule.billing for rule in every], target)


def _bills_to_blame(
    union: Union, acting: Sequence[Request], exempt: Sequence[Request], level: int
) -> Sequence[Request]:
    """The granted bills without which these sums would touch enough meters; none where the sums alone touch too few."""
    needed = union.policy.with_margin(level)
    at_hand = exempt if needed > 2 else [rule for rule in union.rules if rule.billing]
    old = [bill for bill in at_hand if union.is_old(bill)]
    if not old:
        return ()
    counted = union.counted([bill for bill in exempt if not union.is_old(bill)])
    partition = union.partition.restricted([union.number(rule) for rule in distinct_cohorts(acting)])
    critical = partition.holding(counted & union.policy.at_level(level, union.census))
    alone = smallest_group(partition.signatures, partition.weights(counted), needed, critical=critical)
    # A single meter of these cohorts alone may be one that only a bill determines over some span.
    if alone is not None and (needed > 2 or share_two_boundaries(acting)):
        return ()
    covered = np.logical_or.reduce([rule.cohort for rule in acting]) & union.hidden
    return [bill for bill in old if (bill.cohort & covered).any()]


def _refuse(union: Union, acting: Sequence[Request], group: Group, meters: Mask, needed: int) -> None:
    because_of = union.old_names(acting)
    if not group.proven:
        raise RefusedError(
            f"not shown that every combination with the rules granted touches {needed} meters", because_of
        )
    named = union.census.named(meters)
    listed = ", ".join(str(meter) for meter in named[:_NAMED_METERS])
    more = f" and {len(named) - _NAMED_METERS} more" if len(named) > _NAMED_METERS else ""
    what = "meter" if len(named) == 1 else f"{len(named)} meters"
    raise RefusedError(
        f"together with the rules granted it singles out {what} ({listed}{more}); {needed} are needed", because_of
    )
