"""What a run with injected loss must come to, computed from the loss function alone, without running it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from configurator.registry.registry import Registry
from hushgrid.conducted.loss import REPAIR, SHARE, Lossy
from hushgrid.core.schedule import Window, windows_within


@dataclass(frozen=True, slots=True)
class PredictedRule:
    """A rule as the prediction needs it. ppns: the ids of those that serve it."""

    name: str
    cohort: frozenset[str]
    window_rounds: int
    ppns: tuple[str, ...]


def predicted_rules(configurator: Path) -> list[PredictedRule]:
    """The rules as they were granted, with ids instead of numbers and points. configurator: its state directory."""
    registry = Registry.read_only(configurator / "registry.sqlite")
    ids = {number: meter for meter, number in registry.agents.meters().items()}
    ppns = {ppn.point: ppn.id for ppn in registry.plans.heads()[0].ppns}
    rules = [each.granted for each in registry.rules.standing()]
    registry.close()
    return [
        PredictedRule(
            granted.rule.name,
            frozenset(ids[number] for number in granted.cohort),
            granted.rule.window_rounds,
            tuple(ppns[point] for point in granted.rule.points),
        )
        for granted in rules
    ]


def arrives(model: Lossy, meter: str, ppn: str, round_number: int) -> bool:
    """Whether the link lets the one attempt of a share through."""
    return not model.drops(SHARE, meter, ppn, round_number, 0)


def unrecovered(
    model: Lossy, rules: Sequence[PredictedRule], threshold: int, first_round: int, last_round: int
) -> set[tuple[str, int]]:
    """Recovery `none`: the (rule name, first round)s for which fewer than t PPNs hold every share (eq. 13's event)."""
    failed = set()
    for rule in rules:
        for window in windows_within(first_round, last_round, rule.window_rounds):
            usable = sum(_complete(model, rule, ppn, window) for ppn in rule.ppns)
            if usable < threshold:
                failed.add((rule.name, window.first))
    return failed


def _complete(model: Lossy, rule: PredictedRule, ppn: str, window: Window) -> bool:
    return all(arrives(model, meter, ppn, r) for r in window for meter in rule.cohort)


def included(model: Lossy, rules: Sequence[PredictedRule], round_number: int, *, repair_attempts: int = 0) -> set[str]:
    """The meters whose share arrives at every PPN that serves any of their rules. repair_attempts: 0 is recovery `agree`."""
    ppns: dict[str, set[str]] = {}
    for rule in rules:
        for meter in rule.cohort:
            ppns.setdefault(meter, set()).update(rule.ppns)
    return {
        meter
        for meter, own in ppns.items()
        if all(is_repaired(model, meter, ppn, round_number, repair_attempts) for ppn in own)
    }


def is_repaired(model: Lossy, meter: str, ppn: str, round_number: int, repair_attempts: int) -> bool:
    """Whether a share arrives at once, or on a request of which the link lost neither the asking nor the answer."""
    return arrives(model, meter, ppn, round_number) or any(
        not model.drops(REPAIR, ppn, meter, round_number, attempt)
        and not model.drops(SHARE, meter, ppn, round_number, attempt)
        for attempt in range(1, repair_attempts + 1)
    )


def shares_lost(model: Lossy, sent_to: Mapping[str, Sequence[str]], rounds: Sequence[int]) -> int:
    """How many shares the link loses. sent_to: PPN ids by meter."""
    return sum(not arrives(model, meter, ppn, r) for r in rounds for meter, ppns in sent_to.items() for ppn in ppns)
