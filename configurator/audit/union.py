"""The union of all rules of all consumers, seen from the rules that are asked for now."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from configurator.audit.cohorts import Census, Mask, Partition
from configurator.audit.modular import rank
from configurator.audit.policy import Policy, Request


@dataclass(frozen=True, slots=True, eq=False)
class Granted:
    """The rules that stand, in the order they were granted. Trusted: what is put in here is not reviewed again."""

    census: Census
    rules: tuple[Request, ...] = ()
    _grown: dict[tuple[bytes, ...], Partition] = field(default_factory=dict, repr=False)

    def adding(self, requests: Sequence[Request]) -> Granted:
        """With more rules, unreviewed. What is known of the classes of meters is passed on."""
        return Granted(self.census, (*self.rules, *requests), dict(self._grown))

    def partition(self) -> Partition:
        """The classes under `distinct_cohorts` of the rules that are no bills, grown from the last one known."""
        cohorts = distinct_cohorts(self.rules)
        wanted = tuple(rule.cohort_digest for rule in cohorts)
        known = max((key for key in self._grown if key == wanted[: len(key)]), key=len, default=())
        found = self._grown.get(known) or Partition.whole(self.census.size)
        for rule in cohorts[len(known) :]:
            found = found.refined(rule.cohort)
        self._grown.clear()
        self._grown[wanted] = found
        return found


def distinct_cohorts(rules: Iterable[Request]) -> list[Request]:
    """One rule for every distinct cohort of the rules that are no bills, in order."""
    found: dict[bytes, Request] = {}
    for rule in rules:
        if not rule.billing:
            found.setdefault(rule.cohort_digest, rule)
    return list(found.values())


class Union:
    """Granted rules with the new ones among them, and the questions every check asks of them."""

    def __init__(self, granted: Granted, new: Sequence[Request], policy: Policy) -> None:
        self.granted = granted.adding(new)
        self.census, self.rules, self.policy = granted.census, self.granted.rules, policy
        self.new = tuple(new)
        self.hidden = policy.hidden(granted.census)
        self._old_names = {rule.name for rule in granted.rules}
        self._number = {rule.cohort_digest: at for at, rule in enumerate(distinct_cohorts(self.rules))}

    @functools.cached_property
    def partition(self) -> Partition:
        """The classes under all distinct cohorts; shape (classes, cohorts) in the order of `number`."""
        return self.granted.partition()

    def number(self, rule: Request) -> int:
        """The position of a rule's cohort among the distinct ones."""
        return self._number[rule.cohort_digest]

    def is_old(self, rule: Request) -> bool:
        """Whether a rule was granted before."""
        return rule.name in self._old_names

    def any_new(self, rules: Iterable[Request]) -> bool:
        """Whether one of the rules is asked for now."""
        return any(not self.is_old(rule) for rule in rules)

    def old_names(self, rules: Iterable[Request]) -> tuple[str, ...]:
        """The names of those that were granted before: what a refusal is because of."""
        return tuple(rule.name for rule in rules if self.is_old(rule))

    def counted(self, exempt: Iterable[Request]) -> Mask:
        """The meters whose appearance matters: not known to a consumer, and not billed by one of these."""
        counted = self.hidden.copy()
        for bill in exempt:
            counted &= ~bill.cohort
        return counted

    def signatures(self, counted: Mask) -> Mask:
        """The signatures of the classes with a counted meter."""
        held = self.partition.weights(counted) > 0
        return self.partition.signatures if held.all() else self.partition.signatures[held]


def depends(signatures: Mask, known: Sequence[int], target: int) -> bool:
    """Whether cohort `target` is a rational combination of the cohorts `known`; signatures: shape (classes, cohorts)."""
    together = rank(signatures, [*known, target])
    return together <= len(known) and together == rank(signatures, known)
