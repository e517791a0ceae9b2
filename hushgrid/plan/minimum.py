"""Invariant 5 as a plan states it for one of its rules."""

from __future__ import annotations

from hushgrid.core.minimum import WithheldReason, reason_to_withhold
from hushgrid.plan.head import Head
from hushgrid.plan.parts import Rule
from hushgrid.wire.model import Mechanism


def below_floor(head: Head, rule: Rule, *, fewest: int, included: int, expected: int) -> WithheldReason:
    """Why a window of this rule may not leave by its counts, or NONE (see `core.minimum.reason_to_withhold`)."""
    return reason_to_withhold(
        fewest=fewest,
        included=included,
        expected=expected,
        minimum=max(rule.minimum_contributors, head.minimum_contributors),
        floor=head.coverage_floor,
        whole=rule.mechanism is Mechanism.BOTH,
    )
