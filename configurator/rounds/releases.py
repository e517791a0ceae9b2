"""Which windows that end with a round are released: the live end of `configurator.audit.withholding`. No I/O."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from configurator.audit.cohorts import Census, Mask
from configurator.audit.policy import Policy, Request
from configurator.audit.union import Granted
from configurator.audit.withholding import Release, withhold
from configurator.rounds.contributors import too_few
from configurator.values import RuleWindow
from hushgrid.core.bitmap import Bitmap
from hushgrid.core.minimum import WithheldReason
from hushgrid.plan.head import Head
from hushgrid.statements.rounds import Contributors, Withheld


def withheld_windows(
    head: Head,
    ending: Sequence[RuleWindow],
    released: Sequence[RuleWindow],
    coverage: Mapping[int, Contributors],
    policy: Policy,
    meters: int,
) -> tuple[Withheld, ...]:
    """The windows ending now that are not released, and why (invariants 5 and 11).

    released: of earlier rounds, all that share a round with one of them; coverage: by round, of every round of these
    windows. meters: all that are enrolled, over which the policy is. Its minima hold on the actual contributors, without margin.
    """
    found = {each.rule.number: too_few(head, each.rule, each.cohort, each.window, coverage) for each in ending}
    candidates = [each for each in ending if found[each.rule.number] is WithheldReason.NONE]
    policy = dataclasses.replace(policy, coverage_floor_fraction=head.coverage_floor_fraction)
    held = withhold(
        [_release(each) for each in candidates],
        [_release(each) for each in released],
        {r: _mask(decided.included, meters) for r, decided in coverage.items()},
        _granted([*released, *candidates], meters),
        policy,
    )
    for each in candidates:
        objection = held.get(_release(each))
        if objection is not None:
            found[each.rule.number] = objection.reason
    return tuple(
        Withheld(rule=each.rule.number, first_round=each.window.first, reason=found[each.rule.number])
        for each in ending
        if found[each.rule.number] is not WithheldReason.NONE
    )


def _release(each: RuleWindow) -> Release:
    return Release(str(each.rule.number), each.window.first)


def _granted(windows: Sequence[RuleWindow], size: int) -> Granted:
    rules = {each.rule.number: each for each in windows}
    requests = tuple(
        Request(
            name=str(number),
            consumer=each.rule.consumer,
            cohort=_mask(each.cohort, size),
            window_rounds=each.rule.window_rounds,
            minimum_contributors=each.rule.minimum_contributors,
        )
        for number, each in rules.items()
    )
    return Granted(Census.of(range(size)), requests)


def _mask(members: Bitmap, size: int) -> Mask:
    octets = np.frombuffer(members.resized(size).to_bytes(), dtype=np.uint8)
    return np.unpackbits(octets, bitorder="little", count=size).astype(np.bool_)
