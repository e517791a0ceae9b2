"""Rules asked for and given up: when each is answered, in which order, and what plan follows. No network, no clock."""

from __future__ import annotations

import itertools

import pytest

from configurator.config import ConfiguratorConfig
from configurator.history import PlanHistory
from configurator.masked_service import MaskedRules
from configurator.planner import Planner
from configurator.registry import Registry
from configurator.rule_requests import Asked, RuleRequests
from hushgrid.config import AgentSection, PaceSection
from hushgrid.control import RequestRule, Role, RuleState, Statement, WithdrawRule
from hushgrid.errors import MessageError
from hushgrid.pacing import PaceFollower
from hushgrid.plan import EpochKey, Mechanism
from hushgrid.schedule import Pace
from hushgrid.sealing import Agreement, Identity

GRID, FIRST, METERS = "g", 100, [f"m{number:02}" for number in range(20)]
CONSUMERS = ("consumer-1", "consumer-2", "consumer-3")
PPNS = tuple(f"ppn-{number}" for number in range(1, 6))


class Desk:
    """A configurator without its shell; `now` is whatever a test says it is."""

    def __init__(self, directory, **sections):
        agent = AgentSection(id="configurator", grid=GRID, state_directory=directory)
        plan = {"first_round": FIRST, "minimum_contributors": 15} | sections.pop("plan", {})
        config = ConfiguratorConfig(agent=agent, pace=PaceSection(), plan=plan, **sections)
        self.registry = Registry(directory / "registry.sqlite")
        self.history = PlanHistory(self.registry)
        self.masked = MaskedRules(None, directory, 15)
        self.pacing = PaceFollower(config.pace)
        self.planner = Planner(config, self.registry, self.history, self.masked, self.pacing, 0.0)
        self.requests = RuleRequests(config, self.registry, self.history, self.planner)
        self.tokens = {}
        self.sequences = itertools.count(1)

    def expect(self, role, *agents):
        self.tokens |= self.registry.issue_tokens([(agent, role) for agent in agents])

    def enrol(self, role, *agents):
        for agent in agents:
            identity = Identity.generate()
            self.registry.enrol(agent, role, self.tokens[agent], identity.public, None, None)
            self.registry.store_keys(agent, [EpochKey.sign(identity, GRID, 0, Agreement.generate().public)])

    def _asked(self, consumer, body):
        return Asked(
            Statement(sender=consumer, recipient="configurator", sequence=next(self.sequences), body=body), "p"
        )

    def ask(self, consumer, window=1, name="sum", cohort="all", now=0.0, mechanism=Mechanism.SHARES):
        body = RequestRule(name=name, cohort=cohort, window_rounds=window, mechanism=mechanism)
        return self.requests.request(self._asked(consumer, body), body, now)

    def give_up(self, consumer, name="sum", now=0.0):
        body = WithdrawRule(name=name)
        return self.requests.withdraw(self._asked(consumer, body), body, now)

    def gather(self, *consumers):
        """Everybody is expected, and comes."""
        for role, agents in ((Role.METER, METERS), (Role.PPN, PPNS), (Role.CONSUMER, consumers)):
            self.expect(role, *agents)
            self.enrol(role, *agents)

    def close(self):
        self.masked.close()
        self.registry.close()


@pytest.fixture
def desk(tmp_path):
    found = Desk(tmp_path)
    found.expect(Role.METER, *METERS)
    found.expect(Role.PPN, *PPNS)
    found.expect(Role.CONSUMER, *CONSUMERS)
    yield found
    found.close()


@pytest.fixture
def ready(desk):
    """Everybody is enrolled, nobody has asked."""
    desk.enrol(Role.METER, *METERS)
    desk.enrol(Role.PPN, *PPNS)
    desk.enrol(Role.CONSUMER, *CONSUMERS)
    return desk


def said(answers):
    return [(answer.asked.statement.sender, answer.body.state) for answer in answers]


@pytest.mark.parametrize("order", list(itertools.permutations((1, 2, 3))))
def test_a_start_grants_the_same_rules_in_whatever_order_consumers_ask(ready, order):
    """Of one cohort, windows of 2 beside 3 rounds shorten each other's spans; beside 1, granted first, both are implied."""
    for k in order[:-1]:
        assert not ready.ask(f"consumer-{k}", window=k)
    answers = ready.ask(f"consumer-{order[-1]}", window=order[-1])
    assert said(answers) == [(f"consumer-{k}", RuleState.GRANTED) for k in (1, 2, 3)]
    assert not ready.requests.waiting


def test_a_request_waits_for_meters_that_are_expected_and_in_the_end_is_judged_without_them(desk):
    desk.enrol(Role.METER, *METERS[:-1])
    desk.enrol(Role.PPN, *PPNS)
    desk.enrol(Role.CONSUMER, *CONSUMERS)
    for consumer in CONSUMERS:
        assert not desk.ask(consumer, now=0.0)
    assert not desk.requests.due(59.9)
    assert said(desk.requests.due(60.0)) == [(consumer, RuleState.GRANTED) for consumer in CONSUMERS]
    assert len(desk.registry.rules()[0][0].cohort) == 19


@pytest.mark.parametrize("enrolled", [CONSUMERS[:2], CONSUMERS])
def test_before_the_first_plan_a_request_waits_for_consumers_that_have_not_asked_but_not_for_ever(desk, enrolled):
    desk.enrol(Role.METER, *METERS)
    desk.enrol(Role.PPN, *PPNS)
    desk.enrol(Role.CONSUMER, *enrolled)
    assert not desk.ask("consumer-1", now=5.0)
    assert not desk.ask("consumer-2", now=15.0)
    assert said(desk.requests.due(65.0)) == [("consumer-1", RuleState.GRANTED)]
    assert desk.requests.waiting
    assert said(desk.requests.due(75.0)) == [("consumer-2", RuleState.GRANTED)]


def test_asking_again_does_not_prolong_the_wait(desk):
    desk.enrol(Role.CONSUMER, *CONSUMERS)
    desk.enrol(Role.METER, *METERS)
    assert not desk.ask("consumer-1", now=0.0)
    assert not desk.ask("consumer-1", now=59.0)
    (answer,) = desk.requests.due(60.0)
    assert answer.body.state is RuleState.REFUSED
    assert "no PPNs can serve it" in answer.body.reason


def test_after_the_first_plan_a_request_is_answered_at_once(ready):
    for consumer in CONSUMERS[:2]:
        ready.ask(consumer)
    assert said(ready.requests.due(60.0)) == [(consumer, RuleState.GRANTED) for consumer in CONSUMERS[:2]]
    head = ready.planner.plan_if_due(61.0)
    assert head is not None
    assert head.valid_from_round == FIRST
    ready.pacing.pace = Pace(FIRST + 3, FIRST + 3)
    assert said(ready.ask("consumer-3", window=2)) == [("consumer-3", RuleState.GRANTED)]


def test_what_stands_is_confirmed_and_another_rule_of_its_name_refused(ready):
    for consumer in CONSUMERS:
        ready.ask(consumer)
    (again,) = ready.ask("consumer-1")
    assert (again.body.state, again.body.number) == (RuleState.GRANTED, 1)
    (other,) = ready.ask("consumer-1", window=2)
    assert (other.body.state, other.body.because_of) == (RuleState.REFUSED, ("sum",))
    assert len(ready.registry.rules()) == 3


def test_a_meter_may_ask_for_nothing(ready):
    (answer,) = ready.ask("m00")
    assert (answer.body.state, answer.body.reason) == (RuleState.REFUSED, "not a consumer")


def test_what_was_said_before_changes_nothing(ready):
    body = RequestRule(name="sum", cohort="all", window_rounds=1)
    asked = ready._asked("consumer-1", body)
    ready.requests.request(asked, body, 0.0)
    with pytest.raises(MessageError):
        ready.requests.request(asked, body, 1.0)
    with pytest.raises(MessageError):
        ready.requests.withdraw(asked, WithdrawRule(name="sum"), 1.0)


def test_a_rule_given_up_while_it_waits_is_never_judged(ready):
    ready.ask("consumer-1")
    assert said(ready.give_up("consumer-1")) == [("consumer-1", RuleState.WITHDRAWN)]
    assert not ready.requests.waiting
    assert not ready.registry.rules()


def test_a_rule_given_up_ends_with_its_open_window_and_a_plan_without_it_follows(ready):
    for consumer in CONSUMERS:
        ready.ask(consumer, window=4)
    first = ready.planner.plan_if_due(1.0)
    assert len(ready.history.planned(first)) == 3
    assert ready.planner.plan_if_due(2.0) is None, "nothing changed"
    ready.pacing.pace = Pace(FIRST + 3, FIRST + 3)
    ready.give_up("consumer-2", now=3.0)
    ends = {granted.rule.consumer: granted.rule.until_round for granted, _ in ready.registry.rules()}
    assert ends == {"consumer-1": None, "consumer-2": 108, "consumer-3": None}, "106 is in the window of 104 to 107"
    assert ready.planner.plan_if_due(3.2) is None, "not settled yet"
    assert ready.planner.plan_if_due(3.5).valid_from_round == 106
    ready.pacing.pace = Pace(108, 108)
    ended = ready.planner.plan_if_due(4.0) or ready.planner.plan_if_due(4.4)
    assert {each.granted.rule.consumer for each in ready.history.planned(ended)} == {"consumer-1", "consumer-3"}


def test_with_plans_and_no_pace_nobody_is_answered_and_nothing_planned(ready):
    for consumer in CONSUMERS:
        ready.ask(consumer)
    ready.planner.plan_if_due(1.0)
    assert ready.planner.knows_the_time is False
    assert not ready.ask("consumer-1", name="late")
    assert ready.planner.plan_if_due(100.0) is None
    with pytest.raises(MessageError):
        ready.give_up("consumer-1")
    ready.pacing.pace = Pace(FIRST - 1, FIRST - 1)
    assert said(ready.requests.due(2.0)) == [("consumer-1", RuleState.GRANTED)]


def test_meters_that_joined_a_stream_of_all_are_in_no_sum_of_shares(tmp_path):
    desk = Desk(tmp_path, pairwise={"period_rounds": 4, "colluders": 2})
    later = [f"m{number:02}" for number in range(20, 50)]
    desk.gather("consumer-1")
    assert said(desk.ask("consumer-1", window=4, mechanism=Mechanism.PAIRWISE)) == [("consumer-1", RuleState.GRANTED)]
    desk.expect(Role.METER, *later)
    desk.enrol(Role.METER, *later)
    (answer,) = desk.ask("consumer-1", name="newcomers", cohort=("m20..m49",))
    assert "would be their difference" in answer.body.reason
    desk.close()


def test_an_epoch_ends_on_time_with_nothing_changed(tmp_path):
    desk = Desk(tmp_path, plan={"epoch_rounds": 10})
    desk.gather("consumer-1")
    assert desk.planner.planned_through == -1
    desk.ask("consumer-1")
    assert desk.planner.plan_if_due(1.0).epoch == 0
    assert desk.planner.planned_through == FIRST + 9
    desk.pacing.pace = Pace(FIRST + 6, FIRST + 6)
    assert desk.planner.plan_if_due(2.0) is None
    desk.pacing.pace = Pace(FIRST + 7, FIRST + 7)
    assert desk.planner.plan_if_due(2.0) is None, "nobody has keys of the next epoch"
    for ppn in PPNS:
        identity = Identity.generate()
        desk.registry.store_keys(ppn, [EpochKey.sign(identity, GRID, 1, Agreement.generate().public)])
    head = desk.planner.plan_if_due(2.0)
    assert (head.epoch, head.valid_from_round) == (1, FIRST + 10)
    desk.close()
