"""Whether a rule may exist in a running grid: the audit of `configurator.audit.approval` over what is registered.

Depends on rules and registration only, never on a reading.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from configurator.audit.approval import review
from configurator.audit.policy import Policy, Request, check_alone
from configurator.audit.registered import census_of, standing
from configurator.masked.rules import check_beside, check_billing, check_shared
from configurator.masked.section import PairwiseSection
from configurator.values import GrantedRule
from hushgrid.core.cohorts import resolve_cohort
from hushgrid.errors import RefusedError
from hushgrid.statements.rules import RequestRule
from hushgrid.wire.model import Mechanism


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
    census = census_of(meters)
    ids = resolve_cohort(request.cohort, sorted(meters))
    billing = request.mechanism is Mechanism.PAIRWISE
    asked = Request(
        name=f"{consumer}/{request.name}",
        consumer=consumer,
        cohort=census.mask(ids),
        window_rounds=1 if billing and request.window_rounds else request.window_rounds,  # the columns
        minimum_contributors=request.minimum_contributors or None,
        from_round=from_round,
    )
    numbers, minimum = frozenset(np.flatnonzero(asked.cohort).tolist()), policy.minimum_of(asked)
    check_beside(request.mechanism, numbers, granted)
    if billing and pairwise is not None:
        check_alone(asked, policy, census)
        bound = policy.reading_bound_watt_hours
        check_billing(request, ids, minimum=minimum, pairwise=pairwise, modulus=policy.modulus,
                      reading_bound_watt_hours=bound)  # fmt: skip
        return Approved(numbers, minimum)
    # Rules of masked readings share no meter with this one, and add nothing to what is known of its meters.
    review(asked, standing([each for each in granted if each.rule.mechanism is not Mechanism.PAIRWISE], census), policy)
    if request.mechanism is Mechanism.BOTH and pairwise is not None:
        check_shared(request, ids, sorted(meters), minimum=minimum, pairwise=pairwise)
    return Approved(numbers, minimum)
