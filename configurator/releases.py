"""Which windows that end with a round are released: the live end of `configurator.withholding`. No I/O."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from configurator.cohorts import Mask, Roster
from configurator.decision import Coverage, too_few
from configurator.history import RuleWindow
from configurator.policy import Policy, Request
from configurator.union import Granted
from configurator.withholding import Release, withhold
from hushgrid.bitmap import Bitmap
from hushgrid.control import Withheld
from hushgrid.messages import WithheldReason
from hushgrid.plan import Head


def withheld_windows(
    head: Head,
    ending: Sequence[RuleWindow],
    released: Sequence[RuleWindow],
    coverage: Mapping[int, Coverage],
    policy: Policy,
    meters: int,
) -> tuple[Withheld, ...]:
    """The (rule, window)s ending now that are not released, and why (invariants 5 and 11).

    released: of earlier rounds, all that share a round with one of them; coverage: by round, of every round of these
    windows. meters: all that are enrolled, over which the policy is. Its minima hold on the actual contributors, without margin.
    """
    found = {rule.number: too_few(head, rule, cohort, window, coverage) for rule, cohort, window in ending}
    candidates = [each for each in ending if found[each[0].number] is WithheldReason.NONE]
    policy = dataclasses.replace(policy, coverage_floor_fraction=head.coverage_floor_fraction)
    held = withhold(
        [_release(each) for each in candidates],
        [_release(each) for each in released],
        {r: _mask(decided.included, meters) for r, decided in coverage.items()},
        _granted([*released, *candidates], meters),
        policy,
    )
    for rule, _, window in candidates:
        objection = held.get(Release(str(rule.number), window.first))
        if objection is not None:
            found[rule.number] = objection.reason
    return tuple(
        Withheld(rule=rule.number, first_round=window.first, reason=found[rule.number])
        for rule, _, window in ending
        if found[rule.number] is not WithheldReason.NONE
    )


def _release(window: RuleWindow) -> Release:
    return Release(str(window[0].number), window[2].first)


def _granted(windows: Sequence[RuleWindow], size: int) -> Granted:
    rules = {rule.number: (rule, cohort) for rule, cohort, _ in windows}
    requests = tuple(
        Request(
            name=str(number),
            consumer=rule.consumer,
            cohort=_mask(cohort, size),
            window_rounds=rule.window_rounds,
            minimum_contributors=rule.minimum_contributors,
        )
        for number, (rule, cohort) in rules.items()
    )
    return Granted(Roster.of(range(size)), requests)


def _mask(members: Bitmap, size: int) -> Mask:
    octets = np.frombuffer(members.resized(size).to_bytes(), dtype=np.uint8)
    return np.unpackbits(octets, bitorder="little", count=size).astype(np.bool_)
