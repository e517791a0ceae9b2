"""All plans of a grid, in order: which one holds for a round, and what each stands for. Memory over their store."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from configurator.registry.plans import BuiltPlanStore
from configurator.values import GrantedRule, PlannedRule, RuleWindow
from hushgrid.core.bitmap import Bitmap
from hushgrid.core.schedule import Window, window_of
from hushgrid.plan.head import Head
from hushgrid.plan.parts import BillingPart, Rule, part_from_json
from hushgrid.wire.model import Mechanism


class PlanHistory:
    """See the module. A window keeps the plan of its first round, whatever comes after."""

    def __init__(self, plans: BuiltPlanStore) -> None:
        self._plans = plans
        self.heads = plans.heads()
        self._rules: dict[int, list[PlannedRule]] = {}
        self._charges: dict[int, dict[int, Bitmap]] = {}

    @property
    def newest(self) -> Head | None:
        """The head of the newest plan."""
        return self.heads[-1] if self.heads else None

    def add(self, head: Head) -> None:
        """A new plan, stored already."""
        self.heads.append(head)

    def forget(self, version: int) -> None:
        """Let go of what plans before this one stood for."""
        for table in (self._rules, self._charges):
            for old in [each for each in table if each < version]:
                del table[old]

    def head_of(self, round_number: int) -> Head | None:
        """The plan in force for a round."""
        found = [head for head in self.heads if head.valid_from_round <= round_number]
        return found[-1] if found else None

    def planned(self, head: Head) -> list[PlannedRule]:
        """The rules of a plan, with those of plans before it whose last windows it still carries."""
        if head.version not in self._rules:
            self._rules[head.version] = self._plans.rules(head.version)
        return self._rules[head.version]

    def rules_of(self, head: Head) -> list[tuple[Rule, Bitmap]]:
        """The rules of a plan with their cohorts as bitmaps."""
        return [
            (each.granted.rule, Bitmap.of(head.meters, each.granted.cohort))
            for each in self.planned(head)
            if not each.lingers and each.granted.rule.mechanism is not Mechanism.PAIRWISE  # not decided here
        ]

    def charges_of(self, head: Head) -> dict[int, Bitmap]:
        """point -> the meters that send to it under a plan, as the PPNs' parts say."""
        if head.version not in self._charges:
            charges = {ppn.point: Bitmap(head.meters) for ppn in head.ppns}
            for each in self.planned(head):
                cohort = Bitmap.of(head.meters, each.granted.cohort)
                for point in each.granted.rule.points:
                    if point in charges:
                        charges[point] = charges[point] | cohort
            self._charges[head.version] = charges
        return self._charges[head.version]

    def billing_pages(self, version: int, consumer: str, stream: int) -> list[BillingPart]:
        """A consumer's pages of one stream of masked readings under a plan; none when it has no such stream."""
        parts = [part_from_json(each.part.json.encode()) for each in self._plans.parts(version, consumer)]
        return [part for part in parts if isinstance(part, BillingPart) and part.terms.stream == stream]

    def windows_ending(self, round_number: int) -> list[RuleWindow]:
        """The windows whose last round this is, each under the plan of its first round."""
        found = []
        for head in self.heads:
            if head.valid_from_round > round_number:
                break
            for rule, cohort in self.rules_of(head):
                window = window_of(round_number, rule.window_rounds)
                if window.last == round_number and _serves(rule, window) and self.head_of(window.first) is head:
                    found.append(RuleWindow(rule, cohort, window))
        return found

    def lingering(
        self, valid_from_round: int, rules: Sequence[GrantedRule], gone: Collection[int] = ()
    ) -> list[GrantedRule]:
        """What a plan valid from this round must carry on: rules as earlier plans placed them, with a window open by then.

        rules: of the new plan: where they have all the points there is nothing to carry on; gone: points nobody answers at.
        """
        new = {granted.rule.number: {*granted.rule.points, *gone} for granted in rules}
        found = []
        for head in self.heads:
            for each in () if head.valid_from_round >= valid_from_round else self.planned(head):
                rule = each.granted.rule
                window = window_of(valid_from_round, rule.window_rounds)
                own = self.head_of(window.first) if window.first < valid_from_round else None
                if each.lingers or own is not head or not _serves(rule, window):
                    continue
                if not new.get(rule.number, set(gone)).issuperset(rule.points):
                    found.append(each.granted)
        return found

    def longest_window(self) -> int:
        """Of all plans in hand."""
        return max((each.granted.rule.window_rounds for head in self.heads for each in self.planned(head)), default=1)


def _serves(rule: Rule, window: Window) -> bool:
    return rule.from_round <= window.first and (rule.until_round is None or window.last < rule.until_round)
