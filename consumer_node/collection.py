"""From aggregate shares to a sum, or to the reason why there is none (docs/protocol.md, eqs. 3 and 4). No I/O."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass

from hushgrid.encoding import lower
from hushgrid.errors import RecoveryError
from hushgrid.messages import AggregateStatus, AggregateText, WithheldReason
from hushgrid.plan import Head, Rule
from hushgrid.schedule import Window
from hushgrid.shamir import recombine


class Outcome(enum.StrEnum):
    """What became of a (rule, window)."""

    RELEASED = "released"
    UNRECOVERED = "unrecovered"
    WITHHELD = "withheld"


@dataclass(frozen=True, slots=True)
class Aggregate:
    """The result of one (rule, window). watt_hours: exact over the included pairs, None unless released.

    expected = included + gaps + lost + inconsistent, in (meter, round) pairs; meters: distinct contributors; points: of the
    aggregate shares it was recovered from, all of which lay on one polynomial.
    """

    rule: int
    window: Window
    outcome: Outcome
    reason: str
    watt_hours: int | None
    expected: int
    included: int
    gaps: int
    lost: int
    inconsistent: int
    meters: int
    points: tuple[int, ...]


def conclude(
    head: Head, rule: Rule, window: Window, answers: Mapping[int, AggregateText], *, waited: bool
) -> Aggregate | None:
    """The result, as soon as it stands: every PPN of the rule has answered, or t agree and the patience is over.

    answers: by point, of the plan in force for the window's first round. None: wait for more. Nothing is ever recovered from
    shares of different contributor sets, nor from fewer than t, nor when one of them does not fit the others (inv. 1, 2).
    """
    everybody = all(point in answers for point in rule.points)
    by_set: dict[tuple[bytes, int, int], dict[int, AggregateText]] = {}
    for point, text in answers.items():
        if text.status is AggregateStatus.RELEASED:
            by_set.setdefault((text.digest, text.included, text.expected), {})[point] = text
    largest = max(by_set.values(), key=len, default={})
    withheld = {p: text for p, text in answers.items() if text.status is AggregateStatus.WITHHELD}
    enough = max(len(largest), len(withheld)) >= head.threshold
    if not everybody and not (waited and enough):
        return None
    if len(withheld) >= head.threshold:
        text = next(iter(withheld.values()))
        return _absent(rule, window, Outcome.WITHHELD, _REASONS[text.reason], text)
    if len(largest) < head.threshold:
        reason = f"{len(largest)} of {head.threshold} usable aggregate shares"
        return _absent(rule, window, Outcome.UNRECOVERED, reason, _any(answers))
    text = next(iter(largest.values()))
    try:
        value = _recover(head, largest)
    except RecoveryError as error:
        return _absent(rule, window, Outcome.UNRECOVERED, str(error), text)
    return _result(rule, window, Outcome.RELEASED, "", text, value, tuple(sorted(largest)))


_REASONS = {
    WithheldReason.NONE: "withheld",
    WithheldReason.BELOW_MINIMUM: "fewer contributors than the minimum",
    WithheldReason.BELOW_COVERAGE: "coverage below the floor",
    WithheldReason.WOULD_DISCLOSE: "would disclose too small a group together with earlier releases",
}


def _recover(head: Head, texts: Mapping[int, AggregateText]) -> int:
    """The sum of the first slot, signed; RecoveryError when the shares are not on one polynomial or the value cannot be."""
    included = next(iter(texts.values())).included
    shares = {point: text.elements[0] for point, text in texts.items()}
    element = recombine(shares, head.threshold, head.field)
    return lower(element, included * head.reading_bound_watt_hours, head.field)


def _any(answers: Mapping[int, AggregateText]) -> AggregateText | None:
    return next(iter(answers.values()), None)


def _absent(rule: Rule, window: Window, outcome: Outcome, reason: str, text: AggregateText | None) -> Aggregate:
    return _result(rule, window, outcome, reason, text, None, ())


def _result(
    rule: Rule,
    window: Window,
    outcome: Outcome,
    reason: str,
    text: AggregateText | None,
    value: int | None,
    points: tuple[int, ...],
) -> Aggregate:
    counts = (0, 0, 0, 0, 0, 0)
    if text is not None:
        counts = (text.expected, text.included, text.gaps, text.lost, text.inconsistent, text.meters)
    expected, included, gaps, lost, inconsistent, meters = counts
    return Aggregate(
        rule=rule.number,
        window=window,
        outcome=outcome,
        reason=reason,
        watt_hours=value,
        expected=expected,
        included=included,
        gaps=gaps,
        lost=lost,
        inconsistent=inconsistent,
        meters=meters,
        points=points,
    )
