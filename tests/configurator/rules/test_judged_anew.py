"""Requests that cannot be judged yet are told so; what was refused is judged anew when others enrol. No network, no clock."""

from __future__ import annotations

import pytest
from support.desk import CONSUMERS, METERS, PPNS, Desk, said

from hushgrid.errors import MessageError
from hushgrid.statements.rules import RequestRule, RuleState
from hushgrid.wire.role import Role


def test_a_request_that_waits_is_told_at_once_for_whom(desk):
    desk.enrol(Role.METER, *METERS[:-1])
    desk.enrol(Role.PPN, *PPNS)
    desk.enrol(Role.CONSUMER, *CONSUMERS)
    for _ in range(2):
        (answer,) = desk.ask_at_once("consumer-1")
        assert answer.body.state is RuleState.PENDING
        assert answer.body.reason == (
            "meters (m19) and the requests of consumers (consumer-2, consumer-3) are expected; "
            "it is judged without them 60 s after it came"
        )


def test_of_many_that_are_missing_a_few_are_named(desk):
    desk.enrol(Role.CONSUMER, "consumer-1")
    (answer,) = desk.ask_at_once("consumer-1")
    assert answer.body.reason.startswith("meters (m00, m01, m02 and 17 more) and PPNs (ppn-1, ppn-2, ppn-3 and 2 more)")


def test_with_no_pace_a_request_is_told_so(ready):
    for consumer in CONSUMERS:
        ready.ask(consumer)
    ready.planner.plan_if_due(1.0)
    (answer,) = ready.ask_at_once("consumer-1", name="late")
    assert answer.body.state is RuleState.PENDING
    assert "which round it is" in answer.body.reason


LATE = {"name": "late", "cohort": ("m00..m19",)}


@pytest.fixture
def refused(tmp_path):
    """A rule was refused because one meter it names had not come; nobody waits any more."""
    desk = Desk(tmp_path)
    for role, agents in ((Role.METER, METERS), (Role.PPN, PPNS), (Role.CONSUMER, ("consumer-1",))):
        desk.expect(role, *agents)
    desk.enrol(Role.METER, *METERS[:-1])
    desk.enrol(Role.PPN, *PPNS)
    desk.enrol(Role.CONSUMER, "consumer-1")
    assert not desk.ask("consumer-1", **LATE)
    (answer,) = desk.requests.due(60.0)
    assert (answer.body.state, answer.body.reason) == (RuleState.REFUSED, "unknown meter m19")
    yield desk
    desk.close()


def test_a_rule_refused_for_a_late_meter_is_granted_when_it_comes(refused):
    assert not refused.requests.due(1000.0), "nobody came"
    refused.enrol(Role.METER, METERS[-1])
    (answer,) = refused.requests.due(1000.1)
    assert (answer.body.name, answer.body.state, answer.body.number) == ("late", RuleState.GRANTED, 1)
    assert answer.asked.statement.sender == "consumer-1"
    assert answer.asked.pseudonym == refused.registry.agents.find("consumer-1", 0).key.pseudonym
    assert not refused.requests.due(1001.0), "it is said once"
    (again,) = refused.ask("consumer-1", **LATE)
    assert (again.body.state, again.body.number) == (RuleState.GRANTED, 1)


def test_it_is_judged_anew_once_for_all_who_come_and_holds_up_no_plan(refused):
    refused.expect(Role.METER, "m20", "m21")
    refused.enrol(Role.METER, "m20")
    assert not refused.requests.due(100.0), "m19 and m21 may follow"
    assert not refused.requests.waiting
    refused.enrol(Role.METER, "m21")
    assert not refused.requests.due(159.9)
    (answer,) = refused.requests.due(160.0)
    assert (answer.body.state, answer.body.reason) == (RuleState.REFUSED, "unknown meter m19")
    assert not refused.requests.due(300.0)


def test_it_is_judged_anew_after_a_start_too(refused, tmp_path):
    refused.enrol(Role.METER, METERS[-1])
    refused.close()
    again = Desk(tmp_path)
    assert not again.requests.due(0.0), "nobody has asked since the start"
    assert said(again.requests.due(60.0)) == [("consumer-1", RuleState.GRANTED)]
    again.close()


def test_a_refused_rule_that_is_given_up_is_not_judged_anew(refused):
    refused.give_up("consumer-1", name="late")
    refused.enrol(Role.METER, METERS[-1])
    assert not refused.requests.due(1000.0)
    assert not refused.registry.rules.standing()


def test_asking_again_under_the_name_of_a_refused_rule_is_answered_and_a_replay_is_not(refused):
    body = RequestRule(name="late", cohort=("m00..m18",), window_rounds=1)
    asked = refused._asked("consumer-1", body)
    (pending,) = refused.requests.request(asked, body, 61.0)
    assert (pending.body.state, "m19" in pending.body.reason) == (RuleState.PENDING, True)
    with pytest.raises(MessageError):
        refused.requests.request(asked, body, 62.0)
    assert said(refused.requests.due(121.0)) == [("consumer-1", RuleState.GRANTED)]
    refused.enrol(Role.METER, METERS[-1])
    assert not refused.requests.due(1000.0), "what was refused is not wanted any more"


def test_the_newest_request_of_a_name_is_judged_and_not_the_one_that_was_refused(refused):
    assert not refused.ask("consumer-1", name="late", cohort=("m01..m19",), now=61.0)
    refused.enrol(Role.METER, METERS[-1])
    (answer,) = refused.requests.due(62.0)
    assert (answer.body.state, answer.asked.statement.body.cohort) == (RuleState.GRANTED, ("m01..m19",))
    assert not refused.requests.due(1000.0)
