"""The audit of what was really included, before a round's decision releases anything (docs/configurator.md, section Losses).

Included is a (meter, round) or it is not, the same for all rules. A combination of releases that is not zero in some round is, in
that round, a combination of the cohorts of the releases that cover it, cut down to the meters included in it. So it is
enough, and for windows of one round it is necessary, that in every round no combination of the releases so far and the candidates
touches included meters, but fewer than the minimum. With bills released, combinations that touch billed meters only are judged by
where they jump inside a billing window, on the meters included on both sides.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from configurator.audit.cohorts import Mask, Partition
from configurator.audit.policy import Policy, Request
from configurator.audit.rowspace import Group, smallest_group
from configurator.audit.union import Granted, distinct_cohorts
from hushgrid.core.minimum import WithheldReason, reason_to_withhold


@dataclass(frozen=True, slots=True)
class Release:
    """The sum of one rule over its window that begins at `first_round`."""

    rule: str
    first_round: int


@dataclass(frozen=True, slots=True)
class Objection:
    """Why a release is held back."""

    reason: WithheldReason
    text: str


def withhold(
    candidates: Sequence[Release],
    released: Sequence[Release],
    included: Mapping[int, Mask],
    granted: Granted,
    policy: Policy,
    *,
    settled: Collection[Release] = (),
) -> dict[Release, Objection]:
    """Which candidates must not be released, and why; in the order they were found.

    released: everything released before that shares a round with a candidate; included: by round, the mask (shape (meters,)) of
    the meters whose readings are in the sums, for every round of every candidate, and better for the rounds beside them too;
    KeyError when one is missing. settled: bills that are complete although rounds are missing, because the meter carried what
    it owed into the window (`carried`). A candidate is held back for its own numbers first (minimum, coverage floor,
    completeness of a bill); while the rest leaks, the latest candidate of the leaking combination is.
    """
    rules = {rule.name: rule for rule in granted.rules}
    held = {
        candidate: reason
        for candidate in candidates
        if (reason := _own_reason(rules[candidate.rule], candidate, included, policy, settled)) is not None
    }
    question = _Rounds(granted, included, policy)
    at_stake = _rounds_at_stake(rules, candidates, included)
    while True:
        open_ = [candidate for candidate in candidates if candidate not in held]
        found = next(filter(None, (_offender(question, at, open_, released) for at in at_stake)), None)
        if found is None:
            return held
        held[found[0]] = found[1]


def _offender(
    question: _Rounds, round_: int, open_: Sequence[Release], released: Sequence[Release]
) -> tuple[Release, Objection] | None:
    """The latest candidate of a combination that leaks in a round, and why it is held back.

    A bill that is held back no longer exempts its meters in other rounds: all rounds are then asked again.
    """
    at_hand = [*released, *open_]
    now = [release for release in at_hand if round_ in _rounds(question.rules[release.rule], release)]
    before = [release for release in at_hand if round_ - 1 in _rounds(question.rules[release.rule], release)]
    guilty = question.leak(round_, now, before)
    if guilty is None:
        return None
    candidates = [candidate for candidate in open_ if candidate in now or candidate in before]
    acting = [candidate for candidate in candidates if candidate.rule in guilty]
    if not candidates:
        return None  # what is out already leaks by itself, and nothing more touches this round
    latest = (acting or candidates)[-1]
    others = ", ".join(sorted(guilty - {latest.rule}))
    text = f"together with {others or 'earlier releases'} it would single out too few meters"
    return latest, Objection(WithheldReason.WOULD_DISCLOSE, text)


def _rounds(rule: Request, release: Release) -> range:
    return range(release.first_round, release.first_round + rule.window_rounds)


def _rounds_at_stake(
    rules: Mapping[str, Request], candidates: Sequence[Release], included: Mapping[int, Mask]
) -> list[int]:
    """All rounds of the candidates, and those that begin where one ends, if they are decided."""
    covered = {at for candidate in candidates for at in _rounds(rules[candidate.rule], candidate)}
    ends = {_rounds(rules[candidate.rule], candidate).stop for candidate in candidates}
    return sorted(covered | (ends & included.keys()))


def _own_reason(
    rule: Request, release: Release, included: Mapping[int, Mask], policy: Policy, settled: Collection[Release]
) -> Objection | None:
    """Why a release is held back whatever else is released."""
    rounds = _rounds(rule, release)
    if rule.billing:
        complete = release in settled or all(included[at][rule.cohort].all() for at in rounds)
        return None if complete else Objection(WithheldReason.BELOW_COVERAGE, "a bill is released only complete")
    minimum, counted = policy.minimum_of(rule), policy.counted(rule)
    fewest = min(int((included[at] & counted).sum()) for at in rounds)
    pairs = sum(int((included[at] & rule.cohort).sum()) for at in rounds)
    expected = rule.window_rounds * int(rule.cohort.sum())
    reason = reason_to_withhold(fewest=fewest, included=pairs, expected=expected, minimum=minimum, floor=policy.floor)
    texts = {
        WithheldReason.BELOW_MINIMUM: f"fewer than {minimum} meters that count are included in some round",
        WithheldReason.BELOW_COVERAGE: f"the coverage is below {float(policy.floor):g}",
    }
    return None if reason is WithheldReason.NONE else Objection(reason, texts[reason])


class _Rounds:
    """The check of single rounds; equal questions are answered once."""

    def __init__(self, granted: Granted, included: Mapping[int, Mask], policy: Policy) -> None:
        self.granted, self.included, self.policy = granted, included, policy
        self.rules = {rule.name: rule for rule in granted.rules}
        self.hidden = policy.hidden(granted.census)
        self._partitions: dict[tuple[bytes, ...], Partition] = {}
        self._answers: dict[tuple[tuple[bytes, ...], bytes], Group | None] = {}

    def leak(self, round_: int, now: Sequence[Release], before: Sequence[Release]) -> set[str] | None:
        """The rules whose releases combine to too few meters in this round; None when no combination does."""
        sums = [self.rules[release.rule] for release in now if not self.rules[release.rule].billing]
        bills = [self.rules[release.rule] for release in now if self.rules[release.rule].billing]
        counted = self.included[round_] & self.hidden
        for bill in bills:
            counted = counted & ~bill.cohort
        guilty = self._smallest(sums, counted)
        if guilty is not None:
            return guilty | {bill.name for bill in bills}
        inside = [bill for bill in bills if round_ % bill.window_rounds]
        if not inside or round_ - 1 not in self.included:
            return None
        both = self.included[round_] & self.included[round_ - 1] & self.hidden
        earlier = [self.rules[release.rule] for release in before if not self.rules[release.rule].billing]
        jumping = [rule for rule in {r.name: r for r in [*sums, *earlier]}.values() if round_ % rule.window_rounds == 0]
        for bill in bills:
            if not round_ % bill.window_rounds:
                both = both & ~bill.cohort
        guilty = self._smallest(jumping, both)
        return None if guilty is None else guilty | {bill.name for bill in inside}

    def _smallest(self, sums: Sequence[Request], counted: Mask) -> set[str] | None:
        cohorts = distinct_cohorts(sums)
        key = tuple(rule.cohort_digest for rule in cohorts)
        if key not in self._partitions:
            partition = Partition.whole(self.granted.census.size)
            for rule in cohorts:
                partition = partition.refined(rule.cohort)
            self._partitions[key] = partition
        partition = self._partitions[key]
        weights = partition.weights(counted)
        for level in self.policy.levels():
            critical = partition.holding(counted & self.policy.at_level(level, self.granted.census))
            asked = (key, weights.tobytes() + critical.tobytes() + level.to_bytes(8, "big"))
            if asked not in self._answers:
                self._answers[asked] = smallest_group(partition.signatures, weights, level, critical=critical)
            group = self._answers[asked]
            if group is not None:
                digests = {cohorts[at].cohort_digest for at in group.rules}
                return {rule.name for rule in sums if rule.cohort_digest in digests}
        return None
