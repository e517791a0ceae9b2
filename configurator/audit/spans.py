"""No cohort's sum becomes known over less time than was granted (docs/configurator.md, section Time).

With k the shortest window granted for a cohort, its sum is known over a shorter span exactly when it can jump at a round b that
k does not divide: some prime power p^e of k does not divide b, so the rules whose windows p^e does not divide must combine
to the cohort. That is one rank for every prime of k.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from configurator.audit.modular import best_echelon, rank
from configurator.audit.policy import Request
from configurator.audit.union import Union, depends, distinct_cohorts
from configurator.audit.windows import prime_powers, stretch, together
from hushgrid.errors import RefusedError


def is_implied(union: Union, request: Request) -> bool:
    """Whether the granted rules already determine every window of a request: it then adds nothing that could leak."""
    if request.billing:
        return False
    own = stretch(request)
    serving = [
        rule
        for rule in union.rules
        if union.is_old(rule)
        and request.window_rounds % rule.window_rounds == 0
        and stretch(rule).first <= own.first
        and stretch(rule).last >= own.last
    ]
    sums, bills = [rule for rule in serving if not rule.billing], [rule for rule in serving if rule.billing]
    return bool(serving) and _combined(union, sums, bills, request) is not None


def check_spans(union: Union) -> None:
    """RefusedError when a cohort's sum becomes known over spans shorter than its shortest window."""
    _check_bills(union)
    for met in together(union.rules, union.new, apart=[False] * len(union.rules), touching=True):
        rules = [union.rules[at] for at in met]
        sums = [rule for rule in rules if not rule.billing]
        bills = [rule for rule in rules if rule.billing]
        if _may_shorten(union, sums, bills):
            for cohort in distinct_cohorts(sums):
                _check_cohort(union, sums, bills, cohort)


def _check_bills(union: Union) -> None:
    for bill in (rule for rule in union.new if rule.billing):
        for other in (rule for rule in union.rules if rule.billing and rule is not bill):
            short, long = sorted((bill.window_rounds, other.window_rounds))
            if long % short and (bill.cohort & other.cohort).any():
                raise RefusedError(
                    f"bills of {short} and of {long} rounds would give a meter's consumption over shorter spans",
                    union.old_names([other]),
                )


def _may_shorten(union: Union, sums: Sequence[Request], bills: Sequence[Request]) -> bool:
    """False when the new cohorts are independent of all others: then no cohort's sum is known more finely than before."""
    if union.any_new(bills):
        return True
    cohorts = distinct_cohorts(sums)
    old = {rule.cohort_digest for rule in sums if union.is_old(rule)}
    if any(rule.cohort_digest in old for rule in sums if not union.is_old(rule)):
        return True
    if len(distinct_cohorts(union.new)) < len(union.new):
        return True
    signatures = union.signatures(union.counted(bills))
    return rank(signatures, [union.number(rule) for rule in cohorts]) < len(cohorts)


def _check_cohort(union: Union, sums: Sequence[Request], bills: Sequence[Request], cohort: Request) -> None:
    same = [rule for rule in sums if rule.cohort_digest == cohort.cohort_digest]
    shortest = min(rule.window_rounds for rule in same)
    unchanged = any(union.is_old(rule) for rule in same if rule.window_rounds == shortest)
    for power in prime_powers(shortest):
        able = [rule for rule in sums if rule.window_rounds % power]
        exempt = [bill for bill in bills if bill.window_rounds % power]
        if unchanged and not union.any_new([*able, *exempt]):
            continue
        found = _combined(union, able, exempt, cohort)
        if found is None:
            continue
        before = [rule for rule in able if union.is_old(rule)], [bill for bill in exempt if union.is_old(bill)]
        if unchanged and _combined(union, *before, cohort) is not None:
            continue
        acting = [rule for rule in sums if union.number(rule) in {*found, union.number(cohort)}]
        raise RefusedError(
            f"the sum of rule {same[0].name}'s cohort would be known over spans shorter than {shortest} rounds",
            union.old_names([*acting, *exempt]),
        )


def _combined(union: Union, able: Sequence[Request], exempt: Sequence[Request], cohort: Request) -> list[int] | None:
    """Which cohorts of the rules `able` combine, with the bills `exempt`, to this cohort; None when none do."""
    target = union.number(cohort)
    known = sorted({union.number(rule) for rule in able})
    if target in known:
        return [target]
    signatures = union.signatures(union.counted(exempt))
    if not signatures[:, target].any():
        return []
    if not known or not depends(signatures, known, target):
        return None
    relations = best_echelon(signatures, [*known, target]).orthogonal()
    relation = min((r for r in relations if r[-1]), key=np.count_nonzero)
    return [known[at] for at in np.flatnonzero(relation[:-1])]
