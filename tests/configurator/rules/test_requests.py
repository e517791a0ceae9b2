"""Rules asked for and given up: when each is answered, in which order, and what plan follows. No network, no clock."""

from __future__ import annotations

import itertools

import pytest
from support.desk import CONSUMERS, FIRST, GRID, METERS, PPNS, Desk, said

from hushgrid.core.schedule import Pace
from hushgrid.core.sealing import Agreement, Identity
from hushgrid.errors import MessageError
from hushgrid.plan.head import EpochKey
from hushgrid.statements.rules import RequestRule, RuleState, WithdrawRule
from hushgrid.wire.model import Mechanism
from hushgrid.wire.role import Role


@pytest.fixture
def lonely(tmp_path):
    """Everybody is there, and the one consumer has not asked yet."""
    desk = Desk(tmp_path)
    desk.gather("consumer-1")
    yield desk
    desk.close()


@pytest.mark.parametrize("order", list(itertools.permutations((1, 2, 3))))
def test_a_start_grants_the_same_rules_in_whatever_order_consumers_ask(ready, order):
    """Of one cohort, windows of 2 beside 3 rounds shorten each other's spans; beside 1, granted first, both are implied."""
    for k in order[:-1]:
        assert not ready.ask(f"consumer-{k}", window=k)
    answers = ready.ask(f"consumer-{order[-1]}", window=order[-1])
    assert said(answers) == [(f"consumer-{k}", RuleState.GRANTED) for k in (1, 2, 3)]
    assert not ready.requests.waiting


@pytest.mark.parametrize("order", list(itertools.permutations((1, 2, 3))))
def test_a_start_grants_the_same_rules_in_whatever_order_one_consumer_asks_for_them(lonely, order):
    """The others asked before: the first of these is not judged before the rest have come."""
    for k in order:
        (answer,) = lonely.ask_at_once("consumer-1", window=k, name=f"sum-{k}", now=0.1)
        assert answer.body.state is RuleState.PENDING
        assert answer.body.reason == "other requests may follow; it is judged 0.3 s after the last one"
    assert not lonely.requests.due(0.3), "0.2 s after the last"
    judged = lonely.requests.due(0.4)
    assert [(answer.body.name, answer.body.state) for answer in judged] == [
        (f"sum-{k}", RuleState.GRANTED) for k in (1, 2, 3)
    ]


def test_who_never_stops_asking_holds_nobody_up_for_ever(lonely):
    found = [lonely.ask_at_once("consumer-1", name=f"sum-{n}", now=0.2 * n)[0].body for n in range(301)]
    assert {body.state for body in found[:-1]} == {RuleState.PENDING}
    assert (found[-1].name, found[-1].state) == ("sum-0", RuleState.GRANTED), "60 s after it came"


def test_a_request_waits_for_meters_that_are_expected_and_in_the_end_is_judged_without_them(desk):
    desk.enrol(Role.METER, *METERS[:-1])
    desk.enrol(Role.PPN, *PPNS)
    desk.enrol(Role.CONSUMER, *CONSUMERS)
    for consumer in CONSUMERS:
        assert not desk.ask(consumer, now=0.0)
    assert not desk.requests.due(59.9)
    assert said(desk.requests.due(60.0)) == [(consumer, RuleState.GRANTED) for consumer in CONSUMERS]
    assert len(desk.registry.rules.standing()[0].granted.cohort) == 19


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
    assert len(ready.registry.rules.standing()) == 3


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
    assert not ready.registry.rules.standing()


def test_a_rule_given_up_ends_with_its_open_window_and_a_plan_without_it_follows(ready):
    for consumer in CONSUMERS:
        ready.ask(consumer, window=4)
    first = ready.planner.plan_if_due(1.0)
    assert len(ready.history.planned(first)) == 3
    assert ready.planner.plan_if_due(2.0) is None, "nothing changed"
    ready.pacing.pace = Pace(FIRST + 3, FIRST + 3)
    ready.give_up("consumer-2", now=3.0)
    ends = {each.granted.rule.consumer: each.granted.rule.until_round for each in ready.registry.rules.standing()}
    assert ends == {"consumer-1": None, "consumer-2": 108, "consumer-3": None}, "106 is in the window of 104 to 107"
    assert ready.planner.plan_if_due(3.2) is None, "not settled yet"
    assert ready.planner.plan_if_due(3.5).valid_from_round == 106
    ready.pacing.pace = Pace(108, 108)
    ended = ready.planner.plan_if_due(4.0) or ready.planner.plan_if_due(4.4)
    assert {each.granted.rule.consumer for each in ready.history.planned(ended)} == {"consumer-1", "consumer-3"}


def test_a_rule_given_up_still_ends_when_another_is_granted_for_which_it_moves(ready):
    for consumer in CONSUMERS:
        ready.ask(consumer, window=4)
    ready.planner.plan_if_due(1.0)
    ready.pacing.pace = Pace(FIRST + 3, FIRST + 3)
    ready.give_up("consumer-2", now=3.0)
    ready.planner.away = frozenset({"ppn-1"})
    assert said(ready.ask("consumer-1", name="late", window=4, now=3.0)) == [("consumer-1", RuleState.GRANTED)]
    rules = {
        (each.granted.rule.consumer, each.granted.rule.name): each.granted.rule
        for each in ready.registry.rules.standing()
    }
    assert all(1 not in rule.points and len(rule.points) == 4 for rule in rules.values())
    assert rules["consumer-2", "sum"].until_round == 108


def test_a_rule_that_no_ppns_can_serve_leaves_nothing_behind(desk):
    desk.enrol(Role.METER, *METERS)
    desk.enrol(Role.PPN, *PPNS[:3])
    desk.enrol(Role.CONSUMER, *CONSUMERS)
    desk.ask("consumer-1")
    (refused,) = desk.requests.due(60.0)
    assert "no PPNs can serve it" in refused.body.reason
    assert not desk.registry.rules.standing()
    desk.enrol(Role.PPN, *PPNS[3:])
    for consumer in CONSUMERS:
        desk.ask(consumer, now=61.0)
    assert [each.granted.rule.number for each in desk.registry.rules.standing()] == [1, 2, 3]


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
        desk.registry.agents.store_keys(ppn, [EpochKey.sign(identity, GRID, 1, Agreement.generate().public)])
    head = desk.planner.plan_if_due(2.0)
    assert (head.epoch, head.valid_from_round) == (1, FIRST + 10)
    desk.close()


def test_the_answer_and_the_log_name_the_bills_that_a_rule_is_refused_for(tmp_path, caplog):
    desk = Desk(tmp_path, pairwise={"period_rounds": 4, "colluders": 2})
    desk.gather("consumer-1")
    desk.ask("consumer-1", name="bills", window=4, mechanism=Mechanism.PAIRWISE)
    with caplog.at_level("INFO", logger="hushgrid.configurator"):
        (answer,) = desk.ask("consumer-1")
    desk.close()
    assert (answer.body.state, answer.body.because_of) == (RuleState.REFUSED, ("consumer-1/bills",))
    assert caplog.messages[-1].endswith("would be their difference (because of consumer-1/bills)")
