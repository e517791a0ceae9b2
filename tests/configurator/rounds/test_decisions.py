"""The decisions of a grid, played by hand: rosters and countersignatures in, one decision and one certificate a round out."""

from __future__ import annotations

import pytest

from configurator.config import ConfiguratorConfig
from configurator.registry.history import PlanHistory
from configurator.registry.registry import Registry
from configurator.rounds.decisions import Decisions
from configurator.sections import AgreementSection, PlanSection, PolicySection
from configurator.values import BuiltPlan, GrantedRule, PlannedRule
from hushgrid.core.bitmap import Bitmap
from hushgrid.core.minimum import WithheldReason
from hushgrid.core.sealing import Identity, verify
from hushgrid.errors import MessageError, RejectReason
from hushgrid.plan.digest_tree import DigestTree
from hushgrid.statements.rounds import (
    DecisionMessage,
    Observation,
    ReleaseCertificate,
    RosterPage,
    check_certificate,
    countersign,
)
from hushgrid.statements.rules import RequestRule
from hushgrid.wire.role import Role
from hushgrid.wire.shares import SHARING_ID_BYTES
from tests.support.builders import FIELD, IDENTITIES, head

METERS, MINIMUM, FIRST, PATIENCE_SECONDS = 40, 5, 10, 30.0
CONFIGURATOR = Identity.from_bytes(b"c" * 32)
HEAD = head(meters=METERS, minimum_contributors=MINIMUM, coverage_floor_fraction=0.5, valid_from_round=FIRST)
HEAD_POINTS = tuple(ppn.point for ppn in HEAD.ppns)
#: A rule of a grid: its cohort and the length of its windows. Rules are numbered from 1 in the order they are given.
ALL = (range(METERS), 1)
TOTAL, LONG = 1, 2


class Grid:
    """One registry file with one plan, and the decisions over it."""

    def __init__(self, path, *rules, plan=HEAD):
        self.path = path
        self.registry = Registry(path, now=lambda: 0.0)
        with self.registry.transaction():
            names = [f"m{n}" for n in range(METERS)]
            tokens = self.registry.agents.issue_tokens([(name, Role.METER) for name in names])
            for name in names:
                self.registry.agents.enrol(name, Role.METER, tokens[name], name.encode().ljust(32), None, None)
            planned = tuple(PlannedRule(self._grant(*rule), lingers=False) for rule in rules)
            self.registry.plans.add(BuiltPlan(plan, (), DigestTree.over(()), planned))
        self.start()

    def _grant(self, cohort, window_rounds):
        request = RequestRule(name=f"r{window_rounds}", cohort="all", window_rounds=window_rounds)
        granted = self.registry.rules.draft(request, "utility", FIRST, MINIMUM, frozenset(cohort))
        rule = granted.rule.model_copy(update={"points": (1, 2, 3, 4)})
        granted = GrantedRule(rule, granted.cohort)
        self.registry.rules.grant(granted, request)
        return granted

    def start(self):
        config = ConfiguratorConfig.model_construct(
            plan=PlanSection(minimum_contributors=MINIMUM, coverage_floor_fraction=0.5),
            policy=PolicySection(),
            agreement=AgreementSection(roster_patience_seconds=PATIENCE_SECONDS, kept_rounds=1),
        )
        self.decisions = Decisions(
            config, self.registry, PlanHistory(self.registry.plans), CONFIGURATOR, modulus=lambda: FIELD.modulus
        )

    def restart(self):
        self.registry.close()
        self.registry = Registry(self.path, now=lambda: 0.0)
        self.start()

    def hear(self, round_number, points, readings=range(METERS), now=0.0):
        for point in points:
            assert self.decisions.hear_roster(f"ppn-{point}", roster(round_number, point, readings), now) == []

    def due(self, now=0.0, away=()):
        """(round, point) of every page that is told."""
        told = self.decisions.due(now, frozenset(away))
        return [(each.body.core.round, each.ppn.point) for each in told]

    def decide(self, round_number, readings=range(METERS)):
        self.hear(round_number, HEAD_POINTS, readings)
        assert self.due() == [(round_number, point) for point in HEAD_POINTS]
        return self.core(round_number)

    def core(self, round_number):
        return self.registry.decisions.find(round_number).core

    def withheld(self, round_number):
        return {entry.rule: entry.reason for entry in self.core(round_number).withheld}

    def sign(self, round_number, point):
        return countersign(IDENTITIES[point], round_number, point, self.core(round_number).digest)

    def certify(self, round_number):
        for point in (1, 2, 3):
            self.decisions.hear_countersignature(f"ppn-{point}", self.sign(round_number, point))


def roster(round_number, point, readings=range(METERS), **changes):
    held = Bitmap.of(METERS, readings)
    page = RosterPage(
        round=round_number, version=1, point=point, page=0, pages=1, size=METERS, readings=held.to_bytes(),
        gaps=Bitmap(METERS).to_bytes(), tags=b"".join(bytes([n]) * SHARING_ID_BYTES for n in held),
    )  # fmt: skip
    return page.model_copy(update=changes)


def refusal(method, *arguments):
    with pytest.raises(MessageError) as refused:
        method(*arguments)
    return refused.value.reason


@pytest.fixture
def grid(tmp_path):
    found = Grid(tmp_path / "registry.sqlite", ALL, (range(METERS), 2))
    yield found
    found.registry.close()


def test_a_roster_under_another_ppns_point_is_refused_and_does_not_count(grid):
    hear = grid.decisions.hear_roster
    assert refusal(hear, "ppn-2", roster(10, 1), 0.0) is RejectReason.WRONG_SENDER
    assert refusal(hear, "ppn-6", roster(10, 6), 0.0) is RejectReason.NOT_IN_PLAN
    assert not grid.registry.decisions.rosters(10)


def test_a_roster_of_another_plans_version_or_of_a_round_before_all_plans_is_refused(grid):
    hear = grid.decisions.hear_roster
    assert refusal(hear, "ppn-1", roster(10, 1, version=2), 0.0) is RejectReason.WRONG_PLAN
    assert refusal(hear, "ppn-1", roster(9, 1), 0.0) is RejectReason.WRONG_PLAN
    assert not grid.registry.decisions.rosters(10)


def test_with_patience_over_more_than_half_of_the_rosters_is_enough(grid):
    grid.hear(10, (1, 2))
    assert grid.due(now=1000 * PATIENCE_SECONDS) == [], "two of five"
    grid.hear(10, (3,), now=1000 * PATIENCE_SECONDS)
    assert grid.due(now=1000 * PATIENCE_SECONDS) == [(10, point) for point in HEAD_POINTS], "all are told"
    assert grid.core(10).punctual == (1, 2, 3)


def test_more_than_half_of_the_rosters_waits_until_patience_is_over(grid):
    grid.hear(10, (1, 2, 3), now=5.0)
    assert grid.due(now=5.0 + PATIENCE_SECONDS - 1) == []
    assert len(grid.due(now=5.0 + PATIENCE_SECONDS)) == 5


def test_nobody_waits_for_those_who_are_away_but_for_more_than_half(grid):
    grid.hear(10, (1, 2))
    assert grid.due(away=("ppn-3", "ppn-4", "ppn-5")) == []
    grid.hear(10, (3,))
    assert grid.due(away=("ppn-4",)) == [], "ppn-5 is expected still"
    assert len(grid.due(away=("ppn-4", "ppn-5"))) == 5


def test_exactly_half_of_the_rosters_is_not_enough(tmp_path):
    four = HEAD.model_copy(update={"ppns": HEAD.ppns[:4]})
    grid = Grid(tmp_path / "registry.sqlite", ALL, plan=four)
    grid.hear(10, (1, 2))
    assert grid.due(now=2 * PATIENCE_SECONDS) == []
    assert grid.due(away=("ppn-3", "ppn-4")) == []
    grid.hear(10, (3,))
    assert len(grid.due(now=2 * PATIENCE_SECONDS)) == 4
    assert grid.decisions.hear_countersignature("ppn-1", grid.sign(10, 1)) == []
    assert grid.decisions.hear_countersignature("ppn-2", grid.sign(10, 2)) == []
    assert len(grid.decisions.hear_countersignature("ppn-3", grid.sign(10, 3))) == 3
    grid.registry.close()


def test_all_rosters_decide_at_once(grid):
    grid.hear(10, (1, 2, 3, 4))
    assert grid.due() == []
    grid.hear(10, (5,))
    assert grid.due() == [(10, point) for point in HEAD_POINTS]
    assert grid.due() == [], "once"


def test_rounds_are_decided_in_order(grid):
    grid.hear(11, HEAD_POINTS)
    assert grid.due(now=2 * PATIENCE_SECONDS) == []
    grid.hear(10, HEAD_POINTS)
    assert grid.due() == [(r, point) for r in (10, 11) for point in HEAD_POINTS]


def test_a_late_roster_is_answered_with_the_decision_and_changes_nothing(grid):
    grid.hear(10, (1, 2, 3, 4))
    told = grid.decisions.due(PATIENCE_SECONDS, frozenset())
    late = grid.decisions.hear_roster("ppn-5", roster(10, 5, range(3)), PATIENCE_SECONDS)
    assert late == [each for each in told if each.ppn.point == 5]


def test_a_countersignature_that_is_not_of_this_decision_by_this_ppn_is_refused(grid):
    grid.decide(10)
    hear, good = grid.decisions.hear_countersignature, grid.sign(10, 1)
    assert refusal(hear, "ppn-1", countersign(IDENTITIES[1], 10, 1, b"d" * 32)) is RejectReason.CONFLICTING
    assert refusal(hear, "ppn-2", good) is RejectReason.CONFLICTING, "another's point"
    forged = countersign(IDENTITIES[2], 10, 1, good.digest)
    assert refusal(hear, "ppn-1", forged) is RejectReason.BAD_SIGNATURE
    assert refusal(hear, "ppn-1", countersign(IDENTITIES[1], 11, 1, good.digest)) is RejectReason.FUTURE_ROUND
    assert hear("ppn-1", good) == []
    assert grid.registry.decisions.add_countersignature(good) == [good], "of all of them the good one alone is kept"


def test_the_certificate_comes_with_more_than_half_is_told_to_those_and_stays_the_same(grid):
    core, hear = grid.decide(10), grid.decisions.hear_countersignature
    assert hear("ppn-1", grid.sign(10, 1)) == []
    assert hear("ppn-1", grid.sign(10, 1)) == [], "the same twice is one"
    assert hear("ppn-4", grid.sign(10, 4)) == []
    told = hear("ppn-2", grid.sign(10, 2))
    assert [each.ppn.point for each in told] == [1, 2, 4]
    certificate = told[0].body
    assert isinstance(certificate, ReleaseCertificate)
    assert {each.body for each in told} == {certificate}
    assert certificate.digest == core.digest
    check_certificate(certificate, HEAD)
    later = [*hear("ppn-5", grid.sign(10, 5)), *hear("ppn-1", grid.sign(10, 1))]
    grid.restart()
    later += grid.decisions.hear_countersignature("ppn-1", grid.sign(10, 1))
    assert [each.ppn.point for each in later] == [5, 1, 1]
    assert {each.body.to_json() for each in later} == {certificate.to_json()}


def test_a_decision_is_signed_and_comes_out_as_the_same_bytes_after_a_restart(grid):
    grid.hear(10, HEAD_POINTS, range(3, METERS))
    before = {each.ppn.point: each.body for each in grid.decisions.due(0.0, frozenset())}
    grid.restart()
    for point, body in before.items():
        assert isinstance(body, DecisionMessage)
        verify(CONFIGURATOR.public, "decision", body.core.to_json(), body.signature)
        again = grid.decisions.hear_roster(f"ppn-{point}", roster(10, point), 0.0)
        assert [each.body.to_json() for each in again] == [body.to_json()]


def test_rosters_are_kept_over_a_restart_and_patience_begins_anew(grid):
    grid.hear(10, (1, 2, 3))
    grid.restart()
    assert grid.due(now=1000.0) == []
    assert len(grid.due(now=1000.0 + PATIENCE_SECONDS)) == 5


@pytest.mark.parametrize("restarted", [False, True])
def test_a_window_that_singles_out_too_few_beside_an_earlier_release_is_withheld(tmp_path, restarted):
    grid = Grid(tmp_path / "registry.sqlite", ALL, (range(30), 2))
    grid.decide(10, range(33))  # three meters are in the total of round 10 and not in the long window
    assert grid.withheld(10) == {}
    if restarted:
        grid.restart()
    grid.decide(11)
    assert grid.withheld(11) == {LONG: WithheldReason.WOULD_DISCLOSE}
    grid.registry.close()


def test_what_was_withheld_earlier_takes_nothing_from_a_later_window(tmp_path):
    """The total of round 10 has too small a part of its cohort, so that nobody has the difference."""
    grid = Grid(tmp_path / "registry.sqlite", ALL, (range(14), 2))
    grid.decide(10, range(16))
    assert grid.withheld(10) == {TOTAL: WithheldReason.BELOW_COVERAGE}
    grid.restart()
    grid.decide(11)
    assert grid.withheld(11) == {}
    grid.registry.close()


@pytest.mark.parametrize(("first", "second"), [(METERS, 7), (7, METERS)])
def test_the_round_with_the_fewest_meters_counts_for_a_whole_window(tmp_path, first, second):
    """The plan's minimum is above the policy's here, so that the audit behind it has nothing to say."""
    plan = HEAD.model_copy(update={"minimum_contributors": 8})
    grid = Grid(tmp_path / "registry.sqlite", (range(METERS), 2), plan=plan)
    grid.decide(10, range(first))
    grid.decide(11, range(second))
    assert grid.withheld(11) == {1: WithheldReason.BELOW_MINIMUM}
    grid.registry.close()


def test_pruning_keeps_what_an_open_window_rests_on_and_says_what_is_forgotten(tmp_path):
    grid = Grid(tmp_path / "registry.sqlite", (range(METERS), 8))
    assert grid.decisions.forgotten_through(10) is None
    with grid.registry.transaction():
        for r in range(10, 46):
            grid.decide(r)
            grid.certify(r)
    grid.decisions.prune(0)
    kept_from = grid.registry.decisions.kept_from()
    assert kept_from is not None
    assert 10 < kept_from <= 40, "the window from round 40 to 47 is open"
    assert grid.decisions.forgotten_through(kept_from - 1) == kept_from - 1
    assert grid.decisions.forgotten_through(10) == kept_from - 1
    assert grid.decisions.forgotten_through(kept_from) is None
    grid.restart()
    grid.decide(46)
    grid.decide(47)
    assert grid.withheld(47) == {}
    grid.registry.close()


def test_a_round_without_its_certificate_is_not_pruned(tmp_path):
    grid = Grid(tmp_path / "registry.sqlite", ALL)
    with grid.registry.transaction():
        for r in range(10, 40):
            grid.decide(r)
            if r != 12:
                grid.certify(r)
    grid.decisions.prune(0)
    assert grid.registry.decisions.kept_from() == 10
    grid.certify(12)
    grid.decisions.prune(0)
    assert grid.registry.decisions.kept_from() > 12
    grid.registry.close()


def test_an_observation_counts_only_of_ones_own_rule_a_decided_window_and_its_points(grid):
    grid.decide(10)
    hear = grid.decisions.hear_observation
    mine = Observation(rule=LONG, first_round=10, right=(1, 2, 3), wrong=(4,))
    assert refusal(hear, "utility", mine) is RejectReason.FUTURE_ROUND, "round 11 is not decided"
    grid.decide(11)
    assert refusal(hear, "other", mine) is RejectReason.WRONG_SENDER
    assert refusal(hear, "utility", mine.model_copy(update={"rule": 3})) is RejectReason.WRONG_SENDER
    for said in ("right", "wrong", "misfit"):
        outside = mine.model_copy(update={said: (5,)})
        assert refusal(hear, "utility", outside) is RejectReason.FUTURE_ROUND, "point 5 does not serve the rule"
    assert grid.decisions.faults.texts == ()
    hear("utility", mine)
    assert grid.decisions.faults.texts == (
        "ppn-4 (point 4) or a meter that sent it a bad share is at fault: undecided",
    )
