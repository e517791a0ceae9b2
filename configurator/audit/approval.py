"""Which rules may exist together (invariants 5, 10, 11; docs/configurator.md, section Audit).

A request is granted when the union of all rules, of all consumers, lets nobody combine sums into something finer than was
granted: no combination touches fewer meters than the minimum, and none gives a cohort's sum over a span shorter than the
shortest window granted for that cohort. Bills are exempt for themselves and count for everything else. A request that the
granted rules already determine is granted: it adds nothing. Decisions depend on rules and censuses only, never on a reading.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from configurator.audit.cohorts import Census
from configurator.audit.groups import check_groups
from configurator.audit.policy import Policy, Request, check_alone
from configurator.audit.spans import check_spans, is_implied
from configurator.audit.union import Granted, Union
from configurator.audit.windows import stretch
from hushgrid.errors import RefusedError


@dataclass(frozen=True, slots=True)
class RefusedRequest:
    """A request that was refused, why, and the granted rules that lead to it."""

    rule: str
    reason: str
    because_of: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Audit:
    """What becomes of a list of requests, in order."""

    granted: tuple[str, ...]
    refused: tuple[RefusedRequest, ...]


def review(request: Request, granted: Granted, policy: Policy) -> Granted:
    """With this rule as well; RefusedError(reason, because_of) when it may not be granted."""
    return review_together((request,), granted, policy)


def review_together(requests: Sequence[Request], granted: Granted, policy: Policy) -> Granted:
    """With all of these rules or none.

    Needed where every single step would leak and the whole does not: the bills of all meters of a cohort.
    """
    taken = {rule.name for rule in granted.rules}
    for request in requests:
        if request.name in taken:
            raise RefusedError(f"the name {request.name} is taken")
        taken.add(request.name)
        check_alone(request, policy, granted.census)
    union = Union(granted, requests, policy)
    if not all(is_implied(union, request) for request in requests):
        check_groups(union)
        check_spans(union)
    return union.granted


def withdraw(granted: Granted, name: str, at_round: int) -> Granted:
    """Without the windows of a rule that end after `at_round`. KeyError when no rule has that name.

    The windows before remain: what was released stays known.
    """
    if name not in {rule.name for rule in granted.rules}:
        raise KeyError(name)
    changed = (_ended(rule, at_round) if rule.name == name else rule for rule in granted.rules)
    return Granted(granted.census, tuple(rule for rule in changed if stretch(rule).last > stretch(rule).first))


def audit(requests: Iterable[Request], census: Census, policy: Policy) -> Audit:
    """Review requests in order, each against those granted before it."""
    granted = Granted(census)
    refused = []
    for request in requests:
        try:
            granted = review(request, granted, policy)
        except RefusedError as refusal:
            refused.append(RefusedRequest(request.name, str(refusal), refusal.because_of))
    return Audit(tuple(rule.name for rule in granted.rules), tuple(refused))


def _ended(rule: Request, at_round: int) -> Request:
    until = at_round if rule.until_round is None else min(rule.until_round, at_round)
    return dataclasses.replace(rule, until_round=until)
