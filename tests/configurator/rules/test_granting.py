"""The audit in a running grid: over what is registered, by meter ids in and numbers out (P16, P18)."""

from __future__ import annotations

import pytest

from configurator.audit.registered import policy_of
from configurator.rules.granting import approve
from configurator.sections import ClassSection, PlanSection, PolicySection, RightSection
from configurator.values import GrantedRule
from hushgrid.core.field import MODULI
from hushgrid.errors import RefusedError
from hushgrid.plan.parts import Rule
from hushgrid.statements.rules import RequestRule

#: Enrolled in another order than that of their ids.
METERS = {f"m{number:03}": 59 - number for number in range(60)}


def wish(name="wish", cohort="all", window=1, **more):
    return RequestRule(name=name, cohort=cohort, window_rounds=window, **more)


def granted(number, cohort, window=1, consumer="a", name="total", until=None):
    rule = Rule(
        number=number, name=name, consumer=consumer, window_rounds=window, minimum_contributors=15, points=(1, 2, 3, 4),
        from_round=0, until_round=until,
    )  # fmt: skip
    return GrantedRule(rule, frozenset(METERS[meter] for meter in cohort))


def ask(request, standing=(), consumer="b", section=None, **plan):
    policy = policy_of(PlanSection(**plan), section or PolicySection(), METERS, MODULI[-1])
    return approve(request, consumer, meters=METERS, granted=standing, policy=policy, from_round=100)


EVERYBODY = granted(1, METERS)


def test_a_cohort_is_granted_by_numbers_with_the_policys_minimum():
    approved = ask(wish(cohort=("m000..m018",)))
    assert approved.cohort == {METERS[f"m{n:03}"] for n in range(19)}
    assert approved.minimum_contributors == 15
    assert ask(wish(minimum_contributors=30)).minimum_contributors == 30


def test_everybody_but_one_is_refused_naming_the_rule_and_the_meter():
    with pytest.raises(RefusedError) as refused:
        ask(wish(cohort=("m000..m058",)), [EVERYBODY])
    assert refused.value.because_of == ("a/total",)
    assert "singles out meter (m059); 19 are needed" in refused.value.reason


def test_a_difference_of_nineteen_is_enough_and_of_eighteen_is_not():
    assert ask(wish(cohort=("m000..m040",)), [EVERYBODY])
    with pytest.raises(RefusedError, match="18 meters"):
        ask(wish(cohort=("m000..m041",)), [EVERYBODY])


def test_a_rule_that_ended_before_the_request_counts_no_more_and_one_that_ends_later_does():
    assert ask(wish(cohort=("m000..m058",)), [granted(1, METERS, until=100)])
    with pytest.raises(RefusedError) as refused:
        ask(wish(cohort=("m000..m058",)), [granted(1, METERS, until=101)])
    assert refused.value.because_of == ("a/total (number 1, until round 101)",)


def test_windows_that_would_give_single_rounds_are_refused():
    with pytest.raises(RefusedError, match="spans shorter than"):
        ask(wish(window=3), [granted(1, METERS, window=2)])
    assert ask(wish(window=4), [granted(1, METERS, window=2)])


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        (wish(window=0), "at least one round"),
        (wish(cohort=("m000..m017",)), "18 meters that count, 19 are needed"),
        (wish(cohort=("m999",)), "unknown meter m999"),
        (wish(minimum_contributors=14), "below the policy's 15"),
        (wish(weights=(2,)), "weights"),
        (wish(mechanism="pairwise"), "mechanism pairwise"),
    ],
)
def test_what_may_not_be_asked_for_is_refused_with_its_reason(request_, said):
    with pytest.raises(RefusedError, match=said):
        ask(request_)


def test_rights_own_meters_and_customer_classes_come_from_the_configuration():
    rights = PolicySection(rights={"b": RightSection(cohort=("m000..m029",), shortest_window_rounds=2)})
    assert ask(wish(cohort=("m000..m029",), window=2), section=rights)
    for request, consumer, said in (
        (wish(cohort=("m001..m030",), window=2), "b", "no right to"),
        (wish(cohort=("m000..m029",)), "b", "windows of 2 rounds or more"),
        (wish(window=2), "c", "may not ask for rules"),
    ):
        with pytest.raises(RefusedError, match=said):
            ask(request, section=rights, consumer=consumer)
    owned = PolicySection(owned={"b": ("m000..m009", "m999")})
    with pytest.raises(RefusedError, match="15 meters that count"):
        ask(wish(cohort=("m000..m024",)), section=owned)
    classes = PolicySection(classes=(ClassSection(cohort=("m050..m059",), minimum_contributors=30),))
    assert ask(wish(cohort=("m000..m024",)), section=classes).minimum_contributors == 15
    assert ask(wish(), section=classes).minimum_contributors == 30
    with pytest.raises(RefusedError, match="38 are needed"):
        ask(wish(cohort=("m030..m059",)), section=classes)


def test_without_a_margin_the_minimum_itself_is_enough():
    assert ask(wish(cohort=("m000..m014",)), coverage_floor_fraction=1.0)
