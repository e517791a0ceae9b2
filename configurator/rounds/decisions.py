"""The contributor decisions of a grid: rosters in, one decision a round, countersignatures in, one certificate. No network.

Everything is in the registry before it is said; what a method returns is to be sent, and comes out the same when asked again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from configurator.audit.registered import policy_of
from configurator.config import ConfiguratorConfig
from configurator.registry.history import PlanHistory
from configurator.registry.registry import Registry
from configurator.rounds.blame import Faults
from configurator.rounds.contributors import Roster, contributors, decision_core
from configurator.rounds.releases import withheld_windows
from configurator.values import RuleWindow
from hushgrid.core.schedule import Window
from hushgrid.core.sealing import Identity, verify
from hushgrid.errors import MessageError, RejectReason
from hushgrid.plan.head import Head, PpnEntry
from hushgrid.statements.rounds import (
    Contributors,
    Countersignature,
    DecisionMessage,
    Observation,
    ReleaseCertificate,
    RosterPage,
    check_certificate,
    countersignature_payload,
)
from hushgrid.statements.statement import Body

log = logging.getLogger("hushgrid.configurator")

#: Rounds that are let go of at a time.
_PRUNED_TOGETHER = 16


@dataclass(frozen=True, slots=True)
class Told:
    """A statement for one PPN, under the keys of the plan in force for the round it speaks of."""

    ppn: PpnEntry
    body: Body


class Decisions:
    """See the module.

    modulus: q of the installation, once it is fixed. away: the PPNs that nobody needs to wait for, by id. Times are seconds of
    one clock, as the caller has it.
    """

    def __init__(
        self,
        config: ConfiguratorConfig,
        registry: Registry,
        history: PlanHistory,
        identity: Identity,
        *,
        modulus: Callable[[], int],
    ) -> None:
        self._config = config
        self._registry = registry
        self._history = history
        self._identity = identity
        self._modulus = modulus
        self._coverage: dict[int, Contributors] = {}
        self._released: dict[int, list[RuleWindow]] = {}
        self._waiting_since: dict[int, float] = {}
        self.faults = Faults()

    def hear_roster(self, sender: str, body: RosterPage, now_seconds: float) -> list[Told]:
        """Take in a page of a roster; the decision when it is made already. MessageError when it does not fit the plan."""
        head = self._history.head_of(body.round)
        if head is None or head.version != body.version:
            raise MessageError(RejectReason.WRONG_PLAN, f"roster of round {body.round}")
        if head.ppn(body.point).id != sender:
            raise MessageError(RejectReason.WRONG_SENDER, f"roster of point {body.point}")
        body.held()
        if self._registry.decisions.find(body.round) is not None:
            return self._told(body.round, [body.point])
        self._registry.decisions.add_roster(body)
        self._waiting_since.setdefault(body.round, now_seconds)
        return []

    def due(self, now_seconds: float, away: AbstractSet[str]) -> list[Told]:
        """Decide, in order, every round whose rosters are there or have been waited for long enough."""
        replies: list[Told] = []
        while self._history.heads:
            decided = self._registry.decisions.decided_through()
            sharing = next((head for head in self._history.heads if head.ppns), None)
            if sharing is None:
                break
            round_number = sharing.valid_from_round if decided is None else decided + 1
            head = self._history.head_of(round_number)
            if head is None or not self._ripe(round_number, head, now_seconds, away):
                break
            pages = self._registry.decisions.rosters(round_number)
            self._decide(round_number, head, {p: Roster.of(listed, head.meters) for p, listed in pages.items()})
            self._waiting_since.pop(round_number, None)
            replies += self._told(round_number, [ppn.point for ppn in head.ppns])
        return replies

    def _ripe(self, round_number: int, head: Head, now_seconds: float, away: AbstractSet[str]) -> bool:
        """Whether all rosters are there, or those of more than half of all PPNs and nothing more is worth waiting for."""
        there = self._registry.decisions.rosters(round_number).keys()
        since = self._waiting_since.get(round_number)
        if there and since is None:  # after a restart
            since = self._waiting_since[round_number] = now_seconds
        late = since is not None and now_seconds - since >= self._config.agreement.roster_patience_seconds
        expected = {ppn.point for ppn in head.ppns if ppn.id not in away}
        return len(there) == len(head.ppns) or ((late or expected <= there) and 2 * len(there) > len(head.ppns))

    def _decide(self, round_number: int, head: Head, rosters: Mapping[int, Roster]) -> None:
        coverage = contributors(head, self._history.charges_of(head), rosters)
        self._coverage[round_number] = coverage
        ending = self._history.windows_ending(round_number)
        since = min((each.window.first for each in ending), default=round_number)
        meters = self._registry.agents.meters()
        withheld = withheld_windows(
            head,
            ending,
            [release for r in range(since, round_number) for release in self._released_at(r)],
            {r: self._coverage_of(r) for r in range(since, round_number + 1)},
            policy_of(self._config.plan, self._config.policy, meters, self._modulus()),
            len(meters),
        )
        pages = coverage.to_pages()
        core = decision_core(head, round_number, pages, withheld, list(rosters))
        self._registry.decisions.add(core, self._identity.sign("decision", core.to_json()), pages)
        longest = self._history.longest_window()
        for table in (self._coverage, self._released):
            for old in [r for r in table if r <= round_number - 2 * longest]:
                del table[old]
        log.info("round %d decided: %d in, %d gaps, %d withheld", round_number, len(coverage.included), len(coverage.gaps),
                 len(withheld))  # fmt: skip

    def hear_countersignature(self, sender: str, body: Countersignature) -> list[Told]:
        """Take in a countersignature; the certificate, for all who have countersigned, once more than half have."""
        stored, head = self._registry.decisions.find(body.round), self._history.head_of(body.round)
        if stored is None or head is None:
            raise MessageError(RejectReason.FUTURE_ROUND, f"countersignature of round {body.round}")
        core = stored.core
        ppn = head.ppn(body.point)
        if ppn.id != sender or body.digest != core.digest:
            raise MessageError(RejectReason.CONFLICTING, f"countersignature of round {body.round}")
        verify(
            ppn.identity, "countersign", countersignature_payload(body.round, body.point, body.digest), body.signature
        )
        if stored.certificate is not None:
            return [Told(ppn, stored.certificate)]
        signatures = self._registry.decisions.add_countersignature(body)
        if 2 * len(signatures) <= len(head.ppns):
            return []
        certificate = ReleaseCertificate(
            round=body.round, digest=core.digest, signatures=tuple((s.point, s.signature) for s in signatures)
        )
        check_certificate(certificate, head)
        self._registry.decisions.set_certificate(certificate)
        done = {s.point for s in signatures}
        ready = [entry for entry in head.ppns if entry.point in done]
        return [Told(entry, certificate) for entry in ready]

    def hear_observation(self, consumer: str, body: Observation) -> None:
        """A consumer's word about where a window of its own was wrong; MessageError when it is not one."""
        head = self._history.head_of(body.first_round)
        found = [
            (rule, cohort)
            for rule, cohort in (self._history.rules_of(head) if head else ())
            if rule.number == body.rule
        ]
        decided = self._registry.decisions.decided_through()
        if head is None or not found or found[0][0].consumer != consumer:
            raise MessageError(RejectReason.WRONG_SENDER, f"observation of rule {body.rule} by {consumer}")
        rule, cohort = found[0]
        window = Window(body.first_round, rule.window_rounds)
        if decided is None or window.last > decided or not {*body.right, *body.wrong, *body.misfit} <= set(rule.points):
            raise MessageError(RejectReason.FUTURE_ROUND, f"observation of rule {body.rule}")
        pairs = {r: cohort & self._coverage_of(r).included.resized(cohort.size) for r in window}
        self.faults.observe(head, rule, body, pairs)

    def forgotten_through(self, round_number: int) -> int | None:
        """The last round of which nothing is known any more, if this one is forgotten; None otherwise."""
        kept_from = self._registry.decisions.kept_from()
        return kept_from - 1 if kept_from is not None and round_number < kept_from else None

    def prune(self, before_epoch: int) -> None:
        """Let go of rounds that are long certified, and of what only they needed; what an open window rests on stays."""
        kept_from, certified = self._registry.decisions.kept_from(), self._registry.decisions.certified_through()
        if kept_from is None or certified is None:
            return
        floor = certified - max(self._config.agreement.kept_rounds, 2 * self._history.longest_window())
        head = self._history.head_of(floor)
        if head is None or floor - kept_from < _PRUNED_TOGETHER:
            return
        self._registry.prune(floor, head.version, before_epoch)
        self._history.forget(head.version)
        log.info("rounds before %d are forgotten", floor)

    def _coverage_of(self, round_number: int) -> Contributors:
        if round_number not in self._coverage:
            stored = self._registry.decisions.find(round_number)
            if stored is None:
                raise MessageError(RejectReason.FUTURE_ROUND, f"round {round_number} is not decided")
            self._coverage[round_number] = Contributors.from_pages(stored.pages)
        return self._coverage[round_number]

    def _released_at(self, round_number: int) -> list[RuleWindow]:
        """What was released with an earlier decision."""
        if round_number not in self._released:
            stored = self._registry.decisions.find(round_number)
            withheld = {entry.rule for entry in stored.core.withheld} if stored else set()
            ended = self._history.windows_ending(round_number) if stored else []
            self._released[round_number] = [each for each in ended if each.rule.number not in withheld]
        return self._released[round_number]

    def _told(self, round_number: int, points: list[int]) -> list[Told]:
        stored, head = self._registry.decisions.find(round_number), self._history.head_of(round_number)
        if stored is None or head is None:
            return []
        replies = []
        for point in points:
            ppn = head.ppn(point)
            for index, page in enumerate(stored.pages):
                body = DecisionMessage(core=stored.core, signature=stored.signature, index=index, page=page)
                replies.append(Told(ppn, body))
        return replies
