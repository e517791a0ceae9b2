"""What a run with injected loss must come to, computed from the loss function alone, without running it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hushgrid.link import LossModel
from hushgrid.schedule import Window, windows_within


@dataclass(frozen=True, slots=True)
class PredictedRule:
    """A rule as the prediction needs it. ppns: the ids of those that serve it."""

    name: str
    cohort: frozenset[str]
    window_rounds: int
    ppns: tuple[str, ...]


def arrives(model: LossModel, meter: str, ppn: str, round_number: int) -> bool:
    """Whether the link lets the one attempt of a share through."""
    return not model.drops("share", meter, ppn, round_number, 0)


def unrecovered(
    model: LossModel, rules: Sequence[PredictedRule], threshold: int, first_round: int, last_round: int
) -> set[tuple[str, int]]:
    """Recovery `none`: the (rule name, first round)s for which fewer than t PPNs hold every share (eq. 13's event)."""
    failed = set()
    for rule in rules:
        for window in windows_within(first_round, last_round, rule.window_rounds):
            usable = sum(_complete(model, rule, ppn, window) for ppn in rule.ppns)
            if usable < threshold:
                failed.add((rule.name, window.first))
    return failed


def _complete(model: LossModel, rule: PredictedRule, ppn: str, window: Window) -> bool:
    return all(arrives(model, meter, ppn, r) for r in window for meter in rule.cohort)


def included(model: LossModel, rules: Sequence[PredictedRule], round_number: int) -> set[str]:
    """Recovery `agree`: the meters whose share arrives at every PPN that serves any of their rules."""
    ppns: dict[str, set[str]] = {}
    for rule in rules:
        for meter in rule.cohort:
            ppns.setdefault(meter, set()).update(rule.ppns)
    return {meter for meter, own in ppns.items() if all(arrives(model, meter, ppn, round_number) for ppn in own)}


def shares_lost(model: LossModel, sent_to: Mapping[str, Sequence[str]], rounds: Sequence[int]) -> int:
    """How many shares the link loses. sent_to: PPN ids by meter."""
    return sum(not arrives(model, meter, ppn, r) for r in rounds for meter, ppns in sent_to.items() for ppn in ppns)
