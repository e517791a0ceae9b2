"""Which plan follows the newest one, and when: from what is registered, the rules that stand, the pace. No network.

Everything is in the registry before it is said.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

from configurator.config import ConfiguratorConfig
from configurator.masked.streams import MaskedRules
from configurator.placement.live import place
from configurator.plans.building import build_plan
from configurator.registry.history import PlanHistory
from configurator.registry.registry import Registry
from configurator.values import GrantedRule, Registered
from hushgrid.core.field import choose_modulus
from hushgrid.core.schedule import window_of
from hushgrid.errors import ConfigurationError
from hushgrid.plan.head import Head
from hushgrid.shell.pacing import PaceFollower
from hushgrid.wire.model import Mechanism
from hushgrid.wire.role import Role

log = logging.getLogger("hushgrid.configurator")


class Planner:
    """See the module. away: ids of PPNs that rules leave. Times are seconds of one clock, as the caller has it."""

    def __init__(
        self,
        config: ConfiguratorConfig,
        registry: Registry,
        history: PlanHistory,
        masked: MaskedRules,
        pacing: PaceFollower,
        now_seconds: float,
    ) -> None:
        self._config = config
        self._registry = registry
        self._history = history
        self._masked = masked
        self._pacing = pacing
        self.away: frozenset[str] = frozenset()
        # What was granted and not planned yet when this was killed is planned after the next start.
        self._changed_at: float | None = now_seconds

    def note_change(self, now_seconds: float) -> None:
        """Something registered is different: a plan follows once nothing more has changed for a while."""
        self._changed_at = now_seconds

    @property
    def epoch(self) -> int:
        """The epoch of the newest plan; 0 before any."""
        newest = self._history.newest
        return newest.epoch if newest else 0

    @property
    def planned_through(self) -> int:
        """The last round of the newest plan's epoch; -1 before any plan."""
        return self._epoch_start(self.epoch + 1) - 1 if self._history.newest else -1

    @property
    def knows_the_time(self) -> bool:
        """Whether rounds to come can be told from rounds past: after a start the pace is heard first."""
        return self._history.newest is None or self._pacing.pace is not None

    def modulus(self) -> int:
        """q of this installation: the first plan's, or what the configuration makes of it."""
        plan = self._config.plan
        if self._history.heads:
            return self._history.heads[0].modulus
        if plan.modulus != "auto":
            return plan.modulus
        return choose_modulus(plan.cohort_bound, plan.window_bound, plan.reading_bound_watt_hours)

    def next_valid_round(self) -> int:
        """The first round a plan made now may hold for."""
        plan, metered, newest = self._config.plan, self._metered_through, self._history.newest
        if plan.first_round is not None and metered < plan.first_round - 1:
            return plan.first_round  # a testbed's rounds have not begun
        return max(metered + 1 + plan.lead_rounds, newest.valid_from_round if newest else 0)

    def as_planned(self, granted: GrantedRule) -> GrantedRule:
        """A rule with the end that the newest plan gives it: until a plan says so, a rule that was given up goes on."""
        newest = self._history.newest
        for each in self._history.planned(newest) if newest else ():
            if each.granted.rule.number == granted.rule.number and not each.lingers:
                until = granted.rule.until_round if each.granted.rule.until_round is not None else None
                return GrantedRule(granted.rule.model_copy(update={"until_round": until}), granted.cohort)
        return granted

    def place(self, rules: Sequence[GrantedRule], agents: Sequence[Registered]) -> list[GrantedRule]:
        """The same rules with the points that serve them now; not stored. ConfigurationError when there is no placement."""
        placed = place(
            rules,
            self._ppns(agents),
            meters=self._registry.agents.meters(),
            plan=self._config.plan,
            section=self._config.placement,
            away=self.away,
            clock=time.monotonic,
        )
        found = [
            GrantedRule(each.rule.model_copy(update={"points": placed.points[each.rule.number]}), each.cohort)
            for each in rules
        ]
        if [each.rule.points for each in found] != [each.rule.points for each in rules]:
            log.info("placement: %s", placed.describe())
        return found

    def plan_if_due(self, now_seconds: float) -> Head | None:
        """The next plan, stored, when one is due: something changed and settled, or an epoch ends. None otherwise."""
        if not self.knows_the_time:
            return None
        newest, valid = self._history.newest, self.next_valid_round()
        rotate = newest is not None and valid >= self._epoch_start(self.epoch + 1)
        if self._changed_at is None and self._is_stale():
            self.note_change(now_seconds)
        settled = self._changed_at is not None and now_seconds - self._changed_at >= self._config.plan.settle_seconds
        if not settled and not rotate:
            return None
        if not rotate and newest is not None and not self._may_follow(newest, valid):
            return None
        self._changed_at = None
        if rotate:
            epoch = self.epoch + 1
            return self._plan(epoch, max(valid, self._epoch_start(epoch)))
        return self._plan(self.epoch, valid)

    @property
    def _metered_through(self) -> int:
        return self._pacing.pace.metered_through if self._pacing.pace else -1

    def _epoch_start(self, epoch: int) -> int:
        """Epochs have equal lengths, counted from the first plan's first round."""
        return self._history.heads[0].valid_from_round + epoch * self._config.plan.epoch_rounds

    def _may_follow(self, newest: Head, valid_from_round: int) -> bool:
        """A plan replaces one that holds from the same round, or follows one in force: an agent that is slow misses none."""
        return valid_from_round == newest.valid_from_round or newest.valid_from_round <= self._metered_through + 1

    def _is_stale(self) -> bool:
        """Whether the newest plan still has meters send what no open window needs: rules that ended, places left behind."""
        newest, now = self._history.newest, self.next_valid_round()
        if newest is None:
            return False
        for each in self._history.planned(newest):
            rule, window = each.granted.rule, window_of(newest.valid_from_round, each.granted.rule.window_rounds)
            if each.lingers and window.last < now:
                return True
            if not each.lingers and rule.until_round is not None and rule.until_round <= now:
                return True
        return False

    def _ppns(self, agents: Sequence[Registered]) -> list[Registered]:
        """Those that may be in a plan."""
        gone = self._config.placement.out_of_service
        return [agent for agent in agents if agent.role is Role.PPN and agent.key is not None and agent.id not in gone]

    def _ending(self, granted: GrantedRule, valid_from_round: int) -> GrantedRule:
        """A rule that was given up, with its end no earlier than that of a window that begins before this plan holds."""
        rule, k = granted.rule, granted.rule.window_rounds
        end = -(-valid_from_round // k) * k
        if rule.until_round is None or rule.until_round >= end or self.as_planned(granted).rule.until_round is not None:
            return granted
        later = rule.model_copy(update={"until_round": end})
        self._registry.rules.change(later)
        return GrantedRule(later, granted.cohort)

    def _plan(self, epoch: int, valid_from_round: int) -> Head | None:
        gone = self._config.placement.out_of_service
        agents = [agent for agent in self._registry.agents.listed(epoch) if agent.id not in gone]
        asked = self._registry.rules.standing()
        rules = lasting([self._ending(each.granted, valid_from_round) for each in asked], valid_from_round)
        ppns = self._ppns(agents)
        newest = self._history.newest
        to_share = shared(rules)
        without_ppns = not ppns and bool(rules) and not to_share
        if (len(ppns) < self._config.plan.width and not without_ppns) or (not rules and newest is None):
            return None
        with self._registry.transaction():
            try:
                placed = self.place(to_share, agents) if to_share else []
                self._registry.rules.move(to_share, placed)
                by_number = {each.rule.number: each for each in placed}
                rules = [by_number.get(each.rule.number, each) for each in rules]
            except ConfigurationError as error:
                log.warning("the placement stays as it is: %s", error)
            away = {ppn.number for ppn in ppns if ppn.id in self.away}
            lingering = self._history.lingering(valid_from_round, rules, away)
            numbers = {each.rule.number for each in rules}
            masked = self._masked.parts(
                agents, [each for each in asked if each.granted.rule.number in numbers], valid_from_round
            )
            built = build_plan(self._template(epoch, valid_from_round), agents, rules, lingering, masked)
            if newest is not None and _says_the_same(built.head, newest):
                return None
            self._registry.plans.add(built)
        self._history.add(built.head)
        log.info(
            "plan %d: epoch %d, valid from round %d, %d rules", built.head.version, epoch, valid_from_round, len(rules)
        )
        return built.head

    def _template(self, epoch: int, valid_from_round: int) -> Head:
        plan = self._config.plan
        previous = self._history.newest
        return Head.model_construct(
            grid=self._config.agent.grid,
            version=previous.version + 1 if previous else 1,
            previous=previous.digest if previous else b"",
            epoch=epoch,
            valid_from_round=valid_from_round,
            interval_seconds=plan.interval_seconds,
            threshold=plan.threshold,
            width=plan.width,
            modulus=self.modulus(),
            slots=1,
            reading_bound_watt_hours=plan.reading_bound_watt_hours,
            recovery=plan.recovery,
            repair_attempts=plan.repair_attempts if plan.recovery.asks else 0,
            minimum_contributors=plan.minimum_contributors,
            coverage_floor_fraction=plan.coverage_floor_fraction if plan.recovery.agrees else 0.0,
            ppns=(),
            meters=0,
            parts=0,
            parts_root=b"",
        )


def _says_the_same(new: Head, old: Head) -> bool:
    """True when a plan would say what the one before says."""
    return (new.parts_root, new.ppns, new.epoch) == (old.parts_root, old.ppns, old.epoch)


def shared(rules: Sequence[GrantedRule]) -> list[GrantedRule]:
    """The rules that PPNs serve."""
    return [each for each in rules if each.rule.mechanism is not Mechanism.PAIRWISE]


def lasting(rules: Sequence[GrantedRule], from_round: int) -> list[GrantedRule]:
    """The rules that still have windows to come."""
    return [each for each in rules if each.rule.until_round is None or each.rule.until_round > from_round]
