"""Which plans an agent adopts, played by hand and at random: versions only rise, nothing below a floor, nothing it was not told.

A configurator here has one plan for each version; some of them no agent may follow.
"""

from __future__ import annotations

import enum
from dataclasses import replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from support.builders import head, ppn_entries

from hushgrid.core.sealing import Identity
from hushgrid.errors import MessageError, RejectReason
from hushgrid.plan.digest_tree import DigestTree, leaf
from hushgrid.plan.floors import Floors
from hushgrid.plan.following import AdoptedPlan, HeardPart, PlanFollower
from hushgrid.plan.head import EpochKey
from hushgrid.plan.parts import MaskingPart, MaskTerms, MeterPart, Neighbour

MEMBERS = ("a", "b")
POINTS, OTHER_POINTS = (1, 2, 3, 4), (2, 3, 4, 5)
NORTH = tuple(ppn.model_copy(update={"operator": "north"}) for ppn in ppn_entries()[:3]) + ppn_entries()[3:]
NEIGHBOURS = tuple(Identity.from_bytes(bytes([n]) * 32) for n in range(10, 14))


def meter_part(points=POINTS):
    return MeterPart(number=0, points=points, rules=1)


def masking_part(neighbours=4, epoch=0, grid="g", variant="hardened", colluders=3, **changes):
    terms = MaskTerms(
        stream=1, mechanism="pairwise", variant=variant, period_rounds=4, from_round=0, graph=b"g" * 32, self_masks=False,
        colluders=colluders,
    )  # fmt: skip
    around = tuple(
        Neighbour(
            number=n,
            identity=identity.public,
            key=EpochKey.sign(identity, grid, epoch, bytes([n]) * 32),
            sender=f"s{n}",
        )
        for n, identity in enumerate(NEIGHBOURS[:neighbours])
    )
    return MaskingPart(number=0, terms=terms, consumer=None, neighbours=around, **changes)


class Plan:
    """A version of a plan and the pages of its members: one each, unless it says more."""

    def __init__(self, version, parts=None, **changes):
        given = parts or {"a": [meter_part()], "b": [meter_part()]}
        self.parts = {member: [page.to_json() for page in pages] for member, pages in given.items()}
        places = [(member, page) for member, pages in self.parts.items() for page in range(len(pages))]
        self.tree = DigestTree.over([leaf(member, page, self.parts[member][page]) for member, page in places])
        self.places = {place: index for index, place in enumerate(places)}
        self.head = head(version, **({"parts_root": self.tree.root, "valid_from_round": 10 * version} | changes))

    def page(self, member, page=0):
        index = self.places[member, page]
        json, pages = self.parts[member][page], len(self.parts[member])
        return HeardPart(self.head.version, member, page, pages, index, self.tree.path(index), json)


def follower(kept=(), **changes):
    return PlanFollower(MEMBERS, "g", Floors(**({"threshold": 3, "minimum_contributors": 15} | changes)), kept)


def hand_over(follower, plan):
    found = [follower.hear_part(plan.page(*place)) for place in plan.places]
    assert found[:-1] == [None] * (len(found) - 1)
    return found[-1]


def adopt(follower, plan):
    follower.hear_head(plan.head)
    return hand_over(follower, plan)


def versions(follower):
    return [found.version for found, _ in follower.plans]


def refused(reason):
    return pytest.raises(MessageError, match=f"^{reason.value}")


def test_a_plan_is_adopted_when_the_last_part_of_the_last_member_is_here():
    plan, agent = Plan(1, {"a": [meter_part()], "b": [meter_part(), meter_part(OTHER_POINTS)]}), follower()
    assert agent.settled
    assert agent.wanted_head is agent.awaited is None
    agent.hear_head(plan.head)
    assert (agent.awaited, agent.wanted_parts, agent.settled) == (plan.head, ["a", "b"], False)
    assert agent.hear_part(plan.page("b", 1)) is None
    assert agent.hear_part(plan.page("a")) is None
    assert agent.wanted_parts == ["b"]
    adoption = agent.hear_part(plan.page("b", 0))
    assert adoption.plan == AdoptedPlan(
        plan.head, {"a": (meter_part(),), "b": (meter_part(), meter_part(OTHER_POINTS))}
    )
    assert sorted((p.member, p.page, p.pages, p.json) for p in adoption.pages) == [
        ("a", 0, 1, plan.parts["a"][0]),
        ("b", 0, 2, plan.parts["b"][0]),
        ("b", 1, 2, plan.parts["b"][1]),
    ]
    assert agent.settled
    assert agent.plans.newest == (plan.head, adoption.plan)
    assert agent.hear_part(plan.page("b", 0)) is None, "told twice, adopted once"


def test_a_member_without_a_part_is_in_the_plan_without_one():
    plan, agent = Plan(1), follower()
    agent.hear_head(plan.head)
    agent.hear_part(plan.page("a"))
    assert agent.hear_no_part("b", 2) is None, "of another plan"
    adoption = agent.hear_no_part("b", 1)
    assert list(adoption.plan.parts) == ["a"]
    assert [page.member for page in adoption.pages] == ["a"]


def test_plans_that_were_missed_are_wanted_one_after_the_other_before_the_newest():
    plans, agent = [Plan(n) for n in range(5)], follower()
    adopt(agent, plans[1])
    agent.hear_head(plans[4].head)
    assert (agent.wanted_head, agent.awaited, agent.wanted_parts) == (2, None, [])
    assert agent.hear_part(plans[4].page("a")) is None, "parts of a plan are taken in order"
    agent.hear_missed_head(plans[3].head)
    assert agent.wanted_head == 2, "nor its head"
    for version in (2, 3):
        assert agent.wanted_head == version
        agent.hear_missed_head(plans[version].head)
        assert hand_over(agent, plans[version]).plan.head == plans[version].head
    assert agent.awaited == plans[4].head, "the newest is known already"
    hand_over(agent, plans[4])
    assert agent.settled
    assert versions(agent) == [1, 2, 3, 4]


def test_a_missed_plan_whose_head_is_below_the_floors_is_passed_over_at_once():
    agent = follower()
    adopt(agent, Plan(1))
    agent.hear_head(Plan(3).head)
    with refused(RejectReason.BELOW_FLOOR):
        agent.hear_missed_head(Plan(2, minimum_contributors=14).head)
    assert (agent.wanted_head, agent.awaited) == (None, Plan(3).head)
    hand_over(agent, Plan(3))
    assert versions(agent) == [1, 3]


def test_the_first_plan_of_an_agent_is_the_newest_there_is():
    agent = follower()
    adopt(agent, Plan(7))
    assert versions(agent) == [7]


def test_a_head_of_another_grid_is_refused_published_or_asked_for():
    agent = follower()
    with refused(RejectReason.UNKNOWN_KIND):
        agent.hear_head(Plan(1, grid="other", ppns=()).head)
    assert agent.awaited is None
    adopt(agent, Plan(1))
    agent.hear_head(Plan(3).head)
    agent.hear_missed_head(Plan(2, grid="other", ppns=()).head)
    assert (agent.awaited, agent.wanted_head) == (None, 2)


@pytest.mark.parametrize(
    ("part", "reason"),
    [
        (masking_part(neighbours=3), RejectReason.BELOW_FLOOR),
        (masking_part(variant="published"), RejectReason.BELOW_FLOOR),
        (masking_part(neighbours=0), RejectReason.BELOW_FLOOR),
        (masking_part(epoch=1), RejectReason.BELOW_FLOOR),
        (masking_part(grid="other"), RejectReason.BAD_SIGNATURE),
        (meter_part(), None),
        (masking_part(), None),
        (masking_part(neighbours=0, isolated_epsilon="1/2"), None),
    ],
)
def test_what_a_meter_is_to_mask_with_is_checked_before_its_plan_is_adopted(part, reason):
    plan, agent = Plan(1, {"a": [part], "b": [meter_part()]}), follower()
    agent.hear_head(plan.head)
    agent.hear_part(plan.page("b"))
    if reason is None:
        assert agent.hear_part(plan.page("a")) is not None
    else:
        with refused(reason):
            agent.hear_part(plan.page("a"))
        assert (versions(agent), agent.awaited) == ([], plan.head)


def test_the_published_noise_is_taken_with_the_unsafe_flag_only():
    plan = Plan(1, {"a": [masking_part(variant="published")], "b": [meter_part()]})
    assert adopt(follower(unsafe_published=True), plan) is not None


@pytest.mark.parametrize(
    "changes", [{"page": 1}, {"member": "b"}, {"json": meter_part(OTHER_POINTS).to_json()}, {"leaf": 1}, {"path": ()}]
)
def test_a_part_that_is_not_at_its_place_under_the_signed_root_is_refused_and_the_right_one_still_taken(changes):
    plan, agent = Plan(1, {"a": [meter_part()], "b": [meter_part((1, 2, 3, 5))]}), follower()
    agent.hear_head(plan.head)
    with refused(RejectReason.BAD_SIGNATURE):
        agent.hear_part(replace(plan.page("a"), **changes))
    assert agent.wanted_parts == ["a", "b"]
    assert hand_over(agent, plan) is not None


def test_the_newest_plan_is_awaited_though_a_part_of_it_is_refused_until_another_is_published():
    bad, agent = Plan(2, ppns=NORTH), follower()
    adopt(agent, Plan(1))
    agent.hear_head(bad.head)
    with refused(RejectReason.BELOW_FLOOR):
        agent.hear_part(bad.page("a"))
    assert (agent.awaited, agent.settled) == (bad.head, False)
    adopt(agent, Plan(3))
    assert versions(agent) == [1, 3]


def test_a_head_below_the_floors_leaves_what_is_awaited_as_it_is():
    agent, awaited = follower(), Plan(1)
    agent.hear_head(awaited.head)
    with refused(RejectReason.BELOW_FLOOR):
        agent.hear_head(Plan(2, minimum_contributors=14).head)
    assert hand_over(agent, awaited) is not None


def test_a_plan_valid_before_the_one_it_follows_is_refused_before_anything_of_it_could_be_kept():
    agent, back = follower(), Plan(2, valid_from_round=9)
    adopt(agent, Plan(1))
    agent.hear_head(back.head)
    agent.hear_part(back.page("a"))
    with refused(RejectReason.ROLLED_BACK):
        agent.hear_part(back.page("b"))
    adopt(agent, Plan(3))
    assert versions(agent) == [1, 3]


def test_after_a_restart_versions_go_on_rising_from_what_was_kept():
    agent = follower()
    kept = [adopt(agent, Plan(n)).plan for n in (1, 2)]
    again = follower(kept)
    assert versions(again) == [1, 2]
    for other in (Plan(1), Plan(2, width=5)):
        with refused(RejectReason.ROLLED_BACK):
            again.hear_head(other.head)
    again.hear_head(Plan(2).head)
    assert again.settled


class Sort(enum.Enum):
    """What is wrong with a version of the plan."""

    GOOD = enum.auto()
    BAD_HEAD = enum.auto()
    BAD_PART = enum.auto()
    BACK = enum.auto()  # valid before every plan it may follow: sound as an agent's first only


def plan_of(version, sort):
    match sort:
        case Sort.GOOD:
            return Plan(version, {"a": [meter_part(), meter_part(OTHER_POINTS)], "b": [meter_part()]})
        case Sort.BAD_HEAD:
            return Plan(version, minimum_contributors=14)
        case Sort.BAD_PART:
            return Plan(version, {"a": [meter_part()], "b": [masking_part(neighbours=2)]})
        case Sort.BACK:
            return Plan(version, valid_from_round=10 - version)
    raise AssertionError(sort)


class Following(RuleBasedStateMachine):
    """Heads and parts come in any order, twice, too early, forged or never; the agent restarts at any time."""

    @initialize(sorts=st.lists(st.sampled_from((Sort.GOOD, *Sort)), min_size=5, max_size=5))
    def begin(self, sorts):
        self.plans = {version: plan_of(version, sort) for version, sort in enumerate((Sort.GOOD, *sorts), start=1)}
        self.good = {1} | {version for version, sort in enumerate(sorts, start=2) if sort is Sort.GOOD}
        self.back = {version for version, sort in enumerate(sorts, start=2) if sort is Sort.BACK}
        self.agent = follower()
        self.kept: list[AdoptedPlan] = []
        self.heard: set[int] = set()

    def sound(self, first):
        """The versions to be followed by an agent whose first is this."""
        return self.good | (self.back & {first})

    def hear(self, call, *arguments):
        """Whatever comes of it; an adoption is on disk at once."""
        try:
            adoption = call(*arguments)
        except MessageError:
            return
        if adoption is not None:
            self.kept.append(adoption.plan)

    @rule(version=st.integers(1, 6))
    def publish(self, version):
        newest = max(self.heard, default=0)
        if version >= newest:  # the broker keeps the newest, which may come again
            self.heard.add(version)
        self.hear(self.agent.hear_head, self.plans[version].head)

    @rule(version=st.integers(1, 6))
    def answer_head(self, version):
        self.hear(self.agent.hear_missed_head, self.plans[version].head)

    @rule(version=st.integers(1, 6), at=st.integers(0, 2))
    def answer_part(self, version, at):
        plan = self.plans[version]
        self.hear(self.agent.hear_part, plan.page(*list(plan.places)[at % len(plan.places)]))

    @rule(version=st.integers(1, 6), member=st.sampled_from(MEMBERS))
    def forge_part(self, version, member):
        self.hear(
            self.agent.hear_part, replace(self.plans[version].page(member), json=meter_part((1, 2, 4, 5)).to_json())
        )

    @rule()
    def restart(self):
        self.agent = follower(self.kept)

    @rule(version=st.integers(1, 6))
    def publish_and_answer_all(self, version):
        self.publish(version)
        self.answer_all()

    @precondition(lambda self: self.heard)
    @rule()
    def answer_all(self):
        """The configurator answers everything that is asked: then nothing sound stays out, whatever came before."""
        newest, before = max(self.heard), versions(self.agent)
        self.hear(self.agent.hear_head, self.plans[newest].head)
        for _ in range(4 * len(self.plans)):
            if self.agent.wanted_head is not None:
                self.hear(self.agent.hear_missed_head, self.plans[self.agent.wanted_head].head)
            awaited = self.agent.awaited
            if awaited is not None:
                for place in self.plans[awaited.version].places:
                    self.hear(self.agent.hear_part, self.plans[awaited.version].page(*place))
        first = before[0] if before else newest
        if newest in self.sound(first):
            assert self.agent.settled
            expected = [version for version in sorted(self.sound(first)) if first <= version <= newest]
            assert [version for version in versions(self.agent) if version >= first] == expected

    @invariant()
    def versions_rise_and_nothing_unsound_is_in_them(self):
        found = versions(self.agent)
        assert found == sorted(set(found)) == [plan.head.version for plan in self.kept]
        assert set(found) <= self.sound(min(found, default=0))
        rounds = [head.valid_from_round for head, _ in self.agent.plans]
        assert rounds == sorted(rounds)
        for head_, adopted in self.agent.plans:
            plan = self.plans[head_.version]
            told = {member: [part.to_json() for part in parts] for member, parts in adopted.parts.items()}
            assert told == plan.parts

    @invariant()
    def one_thing_is_wanted_at_a_time(self):
        agent = self.agent
        assert not (agent.awaited is not None and agent.wanted_head is not None)
        assert bool(agent.wanted_parts) <= (agent.awaited is not None)
        assert agent.settled == (agent.awaited is None and agent.wanted_head is None)
        newest = versions(agent)[-1] if versions(agent) else 0
        for version in (agent.wanted_head, agent.awaited.version if agent.awaited else None):
            assert version is None or newest < version <= max(self.heard, default=0)


TestFollowing = Following.TestCase
TestFollowing.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
