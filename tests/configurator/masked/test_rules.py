"""Rules of masked readings: which may exist, beside which others, and what the plan says of them."""

from __future__ import annotations

import random
from fractions import Fraction

import pytest
from pydantic import ValidationError

from configurator.audit.registered import policy_of
from configurator.masked.graph_book import GraphBook, first_period, from_json, to_json
from configurator.masked.graphs import Circulant, GraphFloors
from configurator.masked.section import PairwiseSection
from configurator.masked.streams import left_out
from configurator.rounds.contributors import too_few
from configurator.rules.granting import approve
from configurator.sections import PlanSection, PolicySection
from configurator.values import GrantedRule
from hushgrid.core.bitmap import Bitmap
from hushgrid.core.field import MODULI
from hushgrid.core.minimum import WithheldReason, spare_rounds
from hushgrid.core.schedule import Window
from hushgrid.errors import RefusedError
from hushgrid.plan.head import Head
from hushgrid.plan.parts import Rule
from hushgrid.statements.rounds import Contributors
from hushgrid.statements.rules import RequestRule
from hushgrid.wire.model import Mechanism

METERS = {f"m{number:03}": number for number in range(60)}
SECTION = PairwiseSection(period_rounds=48)


def wish(mechanism, cohort="all", window=48):
    return RequestRule(name="wish", cohort=cohort, window_rounds=window, mechanism=mechanism)


def granted(mechanism, cohort=None, window=1, number=1):
    rule = Rule(
        number=number, name=f"r{number}", consumer="a", window_rounds=window, minimum_contributors=15, points=(),
        from_round=0, mechanism=mechanism,
    )  # fmt: skip
    return GrantedRule(rule, frozenset(METERS.values() if cohort is None else cohort))


def ask(request, standing=(), section=SECTION):
    policy = policy_of(PlanSection(), PolicySection(), METERS, MODULI[-1])
    return approve(request, "b", meters=METERS, granted=standing, policy=policy, from_round=100, pairwise=section)


def test_bills_over_the_billing_period_are_granted_to_one_consumer():
    assert ask(wish(Mechanism.PAIRWISE)).cohort == frozenset(METERS.values())
    with pytest.raises(RefusedError, match="billed under another rule"):
        ask(wish(Mechanism.PAIRWISE), [granted(Mechanism.PAIRWISE, window=48)])


@pytest.mark.parametrize("window", [1, 24, 47, 49, 96])
def test_no_other_row_sum_than_the_billing_periods_leaves(window):
    with pytest.raises(RefusedError, match="the billing period here is 48 rounds"):
        ask(wish(Mechanism.PAIRWISE, window=window))


def test_without_the_section_nothing_masked_is_served():
    with pytest.raises(RefusedError, match="pairwise is not served here"):
        ask(wish(Mechanism.PAIRWISE), section=None)


def test_a_cohort_below_minimum_and_colluders_is_refused():
    six = PairwiseSection(period_rounds=48, colluders=6)
    with pytest.raises(RefusedError, match="20 meters is below the minimum group 15 beside 6 colluders"):
        ask(wish(Mechanism.PAIRWISE, cohort=("m000..m019",)), section=six)
    assert ask(wish(Mechanism.PAIRWISE, cohort=("m000..m020",)), section=six)


def test_a_graph_that_does_not_fit_the_cohort_is_refused_at_once():
    with pytest.raises(RefusedError, match="must exceed"):
        ask(wish(Mechanism.PAIRWISE), section=PairwiseSection(period_rounds=48, graph="random:0.01"))


@pytest.mark.parametrize("asked", [Mechanism.SHARES, Mechanism.BOTH])
def test_no_meter_gives_its_readings_to_columns_and_to_sums_of_shares(asked):
    """They follow decisions of their own: a reading that is lost on one of the ways is their difference."""
    areas = SECTION.model_copy(update={"areas": {"north": ("m000..m029",)}})
    bills = granted(Mechanism.PAIRWISE, cohort=range(29, 60), window=48)
    with pytest.raises(RefusedError, match="would be their difference") as refusal:
        ask(wish(asked, cohort=("m000..m029",), window=1), [bills], section=areas)
    assert refusal.value.because_of == ("a/r1",)
    apart = granted(Mechanism.PAIRWISE, cohort=range(30, 60), window=48)
    assert ask(wish(asked, cohort=("m000..m029",), window=1), [apart], section=areas)


def test_a_refusal_because_of_bills_names_all_of_them_and_no_other_rule():
    bills = [
        granted(Mechanism.PAIRWISE, cohort=range(*ends), window=48, number=n)
        for n, ends in ((1, (0, 25)), (2, (25, 40)))
    ]
    apart = granted(Mechanism.PAIRWISE, cohort=range(40, 60), window=48, number=3)
    for asked, window in ((Mechanism.PAIRWISE, 48), (Mechanism.SHARES, 1)):
        with pytest.raises(RefusedError) as refusal:
            ask(wish(asked, cohort=("m010..m039",), window=window), [*bills, apart])
        assert refusal.value.because_of == ("a/r1", "a/r2")


@pytest.mark.parametrize("standing", [Mechanism.SHARES, Mechanism.BOTH])
def test_no_columns_beside_sums_of_shares_either(standing):
    with pytest.raises(RefusedError, match="would be their difference"):
        ask(wish(Mechanism.PAIRWISE), [granted(standing, cohort=range(1))])


def test_two_sums_that_differ_from_a_column_by_one_meter_are_not_granted_in_any_order():
    """column - east - west is one reading; east and west do not meet."""
    bills = granted(Mechanism.PAIRWISE, window=48)
    for cohort in (("m000..m029",), ("m030..m058",)):
        with pytest.raises(RefusedError):
            ask(RequestRule(name="s", cohort=cohort, window_rounds=1), [bills])


def test_a_meter_is_in_nearly_all_rounds_of_a_period_or_in_none():
    """The columns of a period less the bills of all others are one meter's row."""
    rng, rounds, meters, whole = random.Random(3), 10, 6, 0
    spare = spare_rounds(rounds, Fraction(4, 5))
    assert spare == 2
    for _ in range(2000):
        rate = rng.choice([0.05, 0.3, 0.9])
        silent = {meter for meter in range(meters) if rng.random() < 0.2}
        closed: dict[int, frozenset[int]] = {}
        order = list(range(rounds))
        rng.shuffle(order)
        for round_number in order:
            missing = {m for m in range(meters) if m in silent or rng.random() < rate * (m % 2)}
            try:
                closed[round_number] = left_out(frozenset(missing), closed, spare)
            except RefusedError:
                continue
            assert closed[round_number] >= missing
        if len(closed) == rounds:
            whole += 1
            for meter in range(meters):
                inside = sum(meter not in absent for absent in closed.values())
                assert inside == 0 or inside >= rounds - spare
    assert 200 < whole < 2000


def test_without_a_floor_nobody_is_left_out_of_some_rounds_only():
    assert spare_rounds(48, Fraction(0)) == 0
    assert spare_rounds(48, Fraction(4, 5)) == 9
    assert left_out(frozenset({1}), {}, 0) == {1}
    assert left_out(frozenset(), {5: frozenset({1})}, 0) == {1}, "it stays out to the period's end"
    with pytest.raises(RefusedError, match="meter 1 would be in too few rounds of its period: in 1, out of 1"):
        left_out(frozenset({1}), {5: frozenset()}, 0)


def test_whole_areas_may_be_summed_from_masked_shares_and_nothing_else():
    areas = SECTION.model_copy(update={"areas": {"north": ("m000..m029",)}})
    assert ask(wish(Mechanism.BOTH, window=2), section=areas)
    assert ask(wish(Mechanism.BOTH, cohort=("m000..m029",), window=2), section=areas)
    with pytest.raises(RefusedError, match="cuts an area of 30 meters: masks cancel over whole components"):
        ask(wish(Mechanism.BOTH, cohort=("m000..m039",), window=2), section=areas)
    with pytest.raises(RefusedError, match="divides the billing period"):
        ask(wish(Mechanism.BOTH, window=5), section=areas)


def test_a_meter_shares_its_readings_masked_or_bare_and_not_both_ways():
    with pytest.raises(RefusedError, match="either masked or not"):
        ask(RequestRule(name="s", cohort="all", window_rounds=1), [granted(Mechanism.BOTH)])
    with pytest.raises(RefusedError, match="either masked or not"):
        ask(wish(Mechanism.BOTH, window=1), [granted(Mechanism.SHARES)])


def test_a_component_without_one_of_its_masked_readings_is_withheld():
    head = Head.model_construct(meters=20, minimum_contributors=1, coverage_floor_fraction=0.0)
    nobody = Bitmap(20)
    for mechanism, missing, expected in (
        (Mechanism.BOTH, 0, WithheldReason.NONE),
        (Mechanism.BOTH, 1, WithheldReason.INCOMPLETE),
        (Mechanism.SHARES, 1, WithheldReason.NONE),
    ):
        coverage = {0: Contributors(Bitmap.of(20, range(20 - missing)), nobody, nobody)}
        rule = granted(mechanism).rule
        assert too_few(head, rule, Bitmap.full(20), Window(0, 1), coverage) is expected


def test_the_published_variant_needs_its_flag_in_the_configuration():
    with pytest.raises(ValidationError, match="unsafe_published"):
        PairwiseSection(variant="published")
    assert PairwiseSection(variant="published", unsafe_published=True)


def test_a_graph_stands_while_its_meters_stay_and_is_drawn_anew_from_a_period_on(tmp_path):
    book = GraphBook(tmp_path / "graphs.sqlite", random.Random(1))
    shape, floors = Circulant((1, 2)), GraphFloors(3, 5)
    village = [f"m{n:02}" for n in range(20)]
    first = book.graph_for(7, [village], shape, floors, Window(96, 48))
    assert book.graph_for(7, [village], shape, floors, Window(144, 48)) == first
    assert from_json(to_json(first)) == first
    later = book.graph_for(7, [village[:-1]], shape, floors, Window(192, 48))
    assert later.period == Window(192, 48)
    assert later.digest != first.digest
    book.close()
    again = GraphBook(tmp_path / "graphs.sqlite")
    assert again.by_digest(7, first.digest) == first
    assert again.newest(7) == later
    again.close()


@pytest.mark.parametrize(("valid", "first"), [(96, 96), (97, 144), (143, 144), (144, 144)])
def test_a_plans_first_billing_period_begins_at_a_boundary(valid, first):
    assert first_period(valid, 48) == Window(first, 48)
