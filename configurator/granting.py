"""Whether a rule may exist, and on which PPNs it runs. Depends on rules and registration only, never on a reading."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from configurator.config import PlanSection
from configurator.planning import GrantedRule, spread
from hushgrid.control import RequestRule
from hushgrid.errors import ConfigurationError, RefusedError
from hushgrid.field import check_modulus
from hushgrid.plan import Mechanism
from hushgrid.rules import resolve_cohort


@dataclass(frozen=True, slots=True)
class Approved:
    """A request that may be granted: its cohort by meter numbers, its minimum, and the PPNs that will serve it."""

    cohort: frozenset[int]
    minimum_contributors: int
    points: tuple[int, ...]


def approve(
    request: RequestRule,
    *,
    meters: Mapping[str, int],
    granted: Sequence[GrantedRule],
    points: Sequence[int],
    policy: PlanSection,
    modulus: int,
) -> Approved:
    """RefusedError with the reason, or what may be granted.

    meters: number by id of all enrolled; granted: all rules that stand; points: of the PPNs in service.
    """
    if request.mechanism is not Mechanism.SHARES:
        raise RefusedError(f"mechanism {request.mechanism.value} is not served here")
    if request.window_rounds < 1:
        raise RefusedError("a window has at least one round")
    if request.weights != (1,):
        raise RefusedError("weights other than 1 are not served yet")
    minimum = max(policy.minimum_contributors, request.minimum_contributors or 0)
    cohort = frozenset(meters[m] for m in resolve_cohort(request.cohort, sorted(meters)))
    if len(cohort) < minimum:
        raise RefusedError(f"the cohort has {len(cohort)} meters, the minimum is {minimum}")
    try:
        check_modulus(modulus, len(cohort), request.window_rounds, policy.reading_bound_watt_hours)
    except ConfigurationError as error:
        raise RefusedError(str(error)) from None
    if len(points) < policy.width:
        raise RefusedError(f"{len(points)} PPNs are in service, {policy.width} are needed")
    return Approved(cohort, minimum, spread(cohort, granted, points, policy.width))
