"""The plans a PPN has a place in, and the keys it shares under them."""

from __future__ import annotations

from hushgrid.core.sealing import Kind, SealingKey
from hushgrid.errors import MessageError, RejectReason
from hushgrid.plan.following import AdoptedPlan
from hushgrid.plan.parts import ConsumerEntry
from hushgrid.shell.agent import Agent
from hushgrid.shell.keyring import Way
from ppn_node.shares.assignment import Assignment


class Assignments:
    """By version, of all plans that this agent has adopted."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self._by_version: dict[int, Assignment | None] = {}

    def adopt(self, adopted: AdoptedPlan) -> Assignment | None:
        """This PPN's place in a plan; None when it has none."""
        parts = adopted.parts.get(self._agent.id, ())
        assignment = Assignment.of(adopted.head, self._agent.id, parts)
        self._by_version[adopted.head.version] = assignment
        return assignment

    def of_round(self, round_number: int) -> Assignment | None:
        """By the plan in force for a round."""
        plan = self._agent.membership.plans.in_force(round_number)
        return self._by_version.get(plan[0].version) if plan else None

    def of_version(self, version: int) -> Assignment:
        """By a plan under which shares came; MessageError(NOT_IN_PLAN) when it is not known here."""
        assignment = self._by_version.get(version)
        if assignment is None:
            raise MessageError(RejectReason.NOT_IN_PLAN, f"plan {version}")
        return assignment

    def consumers(self) -> list[ConsumerEntry]:
        """Every consumer of every plan."""
        return [entry for plan in self._by_version.values() if plan for entry in plan.consumers.values()]

    def addresses(self, consumer: str, round_number: int) -> list[str]:
        """Under which pseudonyms a consumer may listen, each once: by the newest plan, and by the one in force for a round."""
        newest, then = self._agent.membership.plans.newest, self.of_round(round_number)
        now = self._by_version.get(newest[0].version) if newest else None
        entries = [plan.consumers.get(consumer) for plan in (now, then) if plan is not None]
        return list(dict.fromkeys(entry.key.pseudonym for entry in entries if entry is not None))

    def meter_key(self, plan: Assignment, number: int) -> SealingKey:
        """Shares of this meter come in under it."""
        meter = plan.meters[number].agreement
        return self._agent.keys.with_(meter, Kind.SHARE, plan.head.epoch, Way.IN)

    def consumer_key(self, plan: Assignment, consumer: ConsumerEntry) -> SealingKey:
        """Aggregate shares go out to this consumer under it."""
        consumer.key.check(consumer.identity, self._agent.grid)
        return self._agent.keys.with_(consumer.key.agreement, Kind.AGGREGATE, plan.head.epoch, Way.OUT)

    def erase_keys(self, floor: int) -> int | None:
        """Destroy the private halves of epochs whose last round is below (forward secrecy); the last such epoch, if any."""
        keyring, plans = self._agent.keyring, self._agent.membership.plans
        last = max((head.epoch - 1 for head, _ in plans if head.valid_from_round <= floor), default=None)
        if last is None or last < min(keyring.epochs(self._agent.id), default=last + 1):
            return None
        self._agent.erase_keys_through(last)
        return last
