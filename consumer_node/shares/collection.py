"""From aggregate shares to a sum, or to the reason why there is none (docs/protocol.md, eqs. 3, 4 and 6). No I/O."""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

from hushgrid.core.decoding import Radius, WrongSharesError, decode
from hushgrid.core.encoding import lower
from hushgrid.core.minimum import WithheldReason, as_written, covers
from hushgrid.core.schedule import Window, round_start, utc_text
from hushgrid.errors import RecoveryError
from hushgrid.plan.head import Head
from hushgrid.plan.parts import Rule
from hushgrid.wire.aggregates import AggregateStatus, AggregateText


class Outcome(enum.StrEnum):
    """What became of a (rule, window)."""

    RELEASED = "released"
    UNRECOVERED = "unrecovered"
    WITHHELD = "withheld"


@dataclass(frozen=True, slots=True)
class Aggregate:
    """The result of one (rule, window). watt_hours: exact over the included pairs, None unless released.

    expected = included + gaps + lost + inconsistent, in (meter, round) pairs; meters: distinct contributors; points: of the
    aggregate shares it was recovered from, all of which lay on one polynomial; wrong_points: whose aggregate shares did not fit
    (a PPN that adds wrongly, or a meter that sent it a bad share: they look the same from here) or that counted otherwise than
    the others; misfit_points: whose aggregate shares lie on no one polynomial, more of them wrong than may be corrected; detects:
    up to how many wrong points would have been noticed; repaired: shares of included pairs that PPNs had to ask for, over `points`.
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
    points: tuple[int, ...] = ()
    wrong_points: tuple[int, ...] = ()
    misfit_points: tuple[int, ...] = ()
    detects: int = 0
    repaired: int = 0


def result_row(name: str, aggregate: Aggregate, interval_seconds: int) -> dict[str, object]:
    """One result as tables and files show it. name: of the rule; interval_seconds: of a round."""
    window = aggregate.window
    return {
        "rule": name,
        "number": aggregate.rule,
        "start_utc": utc_text(round_start(window.first, interval_seconds)),
        "end_utc": utc_text(round_start(window.last + 1, interval_seconds)),
        "first_round": window.first,
        "last_round": window.last,
        "status": aggregate.outcome.value,
        "watt_hours": aggregate.watt_hours,
        "expected": aggregate.expected,
        "included": aggregate.included,
        "gaps": aggregate.gaps,
        "lost": aggregate.lost,
        "inconsistent": aggregate.inconsistent,
        "meters": aggregate.meters,
        "points": list(aggregate.points),
        "wrong_points": list(aggregate.wrong_points),
        "detects": aggregate.detects,
        "repaired": aggregate.repaired,
        "reason": aggregate.reason,
    }


def conclude(
    head: Head,
    rule: Rule,
    window: Window,
    answers: Mapping[int, AggregateText],
    *,
    waited: bool,
    coverage_floor_fraction: float = 0.0,
) -> Aggregate | None:
    """The result, as soon as it stands: every PPN of the rule has answered, or t agree and the patience is over.

    answers: by point, of the plan in force for the window's first round. None: wait for more. What PPNs say beside their elements
    counts where t say the same. Nothing is ever recovered from shares of different contributor sets or counts, nor from fewer
    than t, nor when more of them are wrong than may be corrected (inv. 1, 2, 13). coverage_floor_fraction: this consumer's own,
    beside the policy's: below it no number is given.
    """
    everybody = all(point in answers for point in rule.points)
    usable = {point for point, text in answers.items() if text.status is AggregateStatus.RELEASED}
    largest = _agreeing({point: answers[point] for point in usable})
    withheld = _agreeing({p: text for p, text in answers.items() if text.status is AggregateStatus.WITHHELD})
    enough = max(len(largest), len(withheld)) >= head.threshold
    if not everybody and not (waited and enough):
        return None
    if len(withheld) >= head.threshold:
        text = next(iter(withheld.values()))
        return _absent(rule, window, Outcome.WITHHELD, _REASONS[text.reason], text)
    if len(largest) < head.threshold:
        reason = f"{len(largest)} of {head.threshold} usable aggregate shares"
        return _absent(rule, window, Outcome.UNRECOVERED, reason, _most_common(answers))
    text = next(iter(largest.values()))
    if not covers(text.included, text.expected, as_written(coverage_floor_fraction)):
        return _absent(rule, window, Outcome.WITHHELD, "coverage below this consumer's own floor", text)
    detects = Radius.of(len(largest), head.threshold).detects
    try:
        decoded = decode({point: text.elements for point, text in largest.items()}, head.threshold, head.field)
        value = lower(decoded.secrets[0], text.included * head.reading_bound_watt_hours, head.field)
    except RecoveryError as error:
        absent = _absent(rule, window, Outcome.UNRECOVERED, str(error), text)
        misfits = tuple(sorted(largest)) if isinstance(error, WrongSharesError) else ()
        return replace(absent, misfit_points=misfits, detects=detects)
    points = tuple(sorted(largest.keys() - set(decoded.wrong)))
    return replace(
        _absent(rule, window, Outcome.RELEASED, "", text),
        watt_hours=value,
        points=points,
        wrong_points=tuple(sorted(usable - set(points))),
        detects=detects,
        repaired=sum(largest[point].repaired for point in points),
    )


_REASONS = {
    WithheldReason.NONE: "withheld",
    WithheldReason.BELOW_MINIMUM: "fewer contributors than the minimum",
    WithheldReason.BELOW_COVERAGE: "coverage below the floor",
    WithheldReason.INCOMPLETE: "a masked reading of the component is missing: what is left is no sum",
    WithheldReason.WOULD_DISCLOSE: "would disclose too small a group together with earlier releases",
}


def _counts(text: AggregateText) -> tuple[int, ...]:
    """What follows from the decisions of the window, the same at every PPN that adds rightly."""
    return (text.expected, text.included, text.gaps, text.lost, text.inconsistent, text.meters)


def _agreeing(answers: Mapping[int, AggregateText]) -> dict[int, AggregateText]:
    """The most answers that say the same of who is in and why, whatever their elements; the lowest points' of equally many."""
    by_set: dict[tuple[object, ...], dict[int, AggregateText]] = {}
    for point, text in sorted(answers.items()):
        by_set.setdefault((text.digest, text.reason, *_counts(text)), {})[point] = text
    return max(by_set.values(), key=len, default={})


def _most_common(answers: Mapping[int, AggregateText]) -> AggregateText | None:
    """An answer whose counts most PPNs give, usable or not."""
    counts = Counter(_counts(text) for _, text in sorted(answers.items())).most_common(1)
    return next((text for text in answers.values() if counts and _counts(text) == counts[0][0]), None)


def _absent(rule: Rule, window: Window, outcome: Outcome, reason: str, text: AggregateText | None) -> Aggregate:
    expected, included, gaps, lost, inconsistent, meters = _counts(text) if text else (0,) * 6
    return Aggregate(
        rule=rule.number,
        window=window,
        outcome=outcome,
        reason=reason,
        watt_hours=None,
        expected=expected,
        included=included,
        gaps=gaps,
        lost=lost,
        inconsistent=inconsistent,
        meters=meters,
    )
