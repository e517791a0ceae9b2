"""The audit against brute force, and the cases of the threat model (P16, P18)."""

from __future__ import annotations

import itertools
import random
from collections import Counter

import numpy as np
import pytest
from support import brute_force as brute

from configurator.audit import groups
from configurator.audit.approval import audit, review, review_together, withdraw
from configurator.audit.cohorts import Census
from configurator.audit.groups import check_groups
from configurator.audit.policy import Policy, Request, Right
from configurator.audit.rowspace import Group
from configurator.audit.spans import check_spans, is_implied
from configurator.audit.union import Granted, Union
from configurator.audit.windows import stretch
from hushgrid.errors import RefusedError


def cohort(meters, size):
    mask = np.zeros(size, dtype=np.bool_)
    mask[list(meters)] = True
    return mask


def rule(name, meters, size=40, window=1, **more):
    return Request(name, more.pop("consumer", "utility"), cohort(meters, size), window, **more)


def request_of(wanted, size, name):
    mask = cohort(wanted.cohort, size)
    return Request(
        name,
        "utility",
        mask,
        wanted.window,
        billing=wanted.billing,
        from_round=wanted.start,
        until_round=wanted.end,
    )


def policy(minimum=2, floor=1, **more):
    return Policy(minimum_contributors=minimum, coverage_floor_fraction=floor, **more)


def granted_of(*rules, size=40):
    return Granted(Census.of(range(size)), tuple(rules))


def verdict(request, granted, rules):
    """ "grant", "group" or "span": which check says no, and the union."""
    union = Union(granted, [request], rules)
    if is_implied(union, request):
        return "implied", union
    try:
        check_groups(union)
    except RefusedError:
        return "group", union
    try:
        check_spans(union)
    except RefusedError:
        return "span", union
    return "grant", union


# Brute force


def test_every_rule_set_over_four_meters_is_judged_as_by_brute_force():
    cohorts = [frozenset(c) for n in range(1, 5) for c in itertools.combinations(range(4), n)]
    rules = policy(2)
    safe = {frozenset(): Granted(Census.of(range(4)))}
    checked = leaks = 0
    while safe:
        larger = {}
        for state, granted in safe.items():
            for added in set(cohorts) - state:
                grown = state | {added}
                if grown in larger:
                    continue
                wanted = [brute.Sum(c) for c in grown]
                outcome, union = verdict(request_of(brute.Sum(added), 4, str(sorted(added))), granted, rules)
                leak = brute.leaking_group(wanted, 4, 2)
                assert (outcome == "group") == (leak is not None), (state, added, leak)
                checked, leaks = checked + 1, leaks + (leak is not None)
                if leak is None:
                    larger[grown] = union.granted
        safe = larger
    assert checked > 100
    assert leaks > 50


def _judge_sets_over_five(sets):
    rules, census = policy(2), Census.of(range(5))
    leaks = 0
    for chosen in sets:
        wanted = [brute.Sum(c) for c in chosen]
        outcome = audit([request_of(w, 5, f"r{n}") for n, w in enumerate(wanted)], census, rules)
        leak = brute.leaking_group(wanted, 5, 2)
        assert bool(outcome.refused) == (leak is not None), (chosen, leak)
        leaks += leak is not None
    return leaks


FIVE = [frozenset(c) for n in range(1, 6) for c in itertools.combinations(range(5), n)]


def test_sets_of_rules_over_five_meters_are_judged_as_by_brute_force():
    rnd = random.Random(5)
    sets = [rnd.sample(FIVE, rnd.randint(1, 4)) for _ in range(1500)]
    assert _judge_sets_over_five(sets) > 100


def _one_of_each_kind(sets, rnd):
    """Of the sets that differ by the names of the meters only one, under names that `rnd` draws; and how many there were."""
    number = {cohort: at for at, cohort in enumerate(FIVE)}
    tables = [
        [number[frozenset(names[m] for m in cohort)] for cohort in FIVE] for names in itertools.permutations(range(5))
    ]
    kinds = Counter()
    for chosen in sets:
        numbers = [number[cohort] for cohort in chosen]
        kinds[min(tuple(sorted(table[at] for at in numbers)) for table in tables)] += 1
    found = []
    for numbers in kinds:
        table = rnd.choice(tables)
        found.append([FIVE[table[at]] for at in numbers])
    return found, kinds.total()


@pytest.mark.system
@pytest.mark.timeout(900)
def test_all_sets_of_up_to_four_rules_over_five_meters_are_judged_as_by_brute_force(part):
    sets = itertools.chain.from_iterable(itertools.combinations(FIVE, n) for n in range(1, 5))
    if part is None:
        assert _judge_sets_over_five(sets) > 1000
        return
    kinds, count = _one_of_each_kind(sets, part)
    assert count == 31 + 465 + 4_495 + 31_465
    assert _judge_sets_over_five(kinds) > 50


def _random_rule(rnd, meters, *, timed, bills):
    window = rnd.randint(1, 4)
    start = rnd.choice([0, rnd.randint(0, 6)]) if timed else 0
    end = rnd.choice([None, start + window * rnd.randint(1, 4) + rnd.randint(0, 2)]) if timed else None
    billing = bills and rnd.random() < 0.35
    density = rnd.choice([0.4, 0.7, 0.9])
    members = frozenset(m for m in range(meters) if rnd.random() < density) or frozenset([0])
    return brute.Sum(members, rnd.choice([2, 4, 4]) if billing else window, start, end, billing)


def _judge_random(seed, rounds, *, meters, minimum, timed, bills):
    """Every answer of a random sequence of requests; single meters (minimum 2) must agree both ways, in time as well."""
    rnd = random.Random(seed)
    rules = policy(minimum, billing_period_rounds=2)
    outcomes = {"grant": 0, "implied": 0, "group": 0, "span": 0}
    for _ in range(rounds):
        size = rnd.randint(2, meters)
        granted, stand = Granted(Census.of(range(size))), []
        for number in range(rnd.randint(1, 5)):
            wanted = _random_rule(rnd, size, timed=timed, bills=bills)
            request = request_of(wanted, size, f"r{number}")
            if stretch(request).last <= stretch(request).first:
                continue
            outcome, union = verdict(request, granted, rules)
            outcomes[outcome] += 1
            leak = brute.leaking_group([*stand, wanted], size, minimum)
            if outcome == "group":
                assert leak is not None or (timed and minimum > 2), (stand, wanted)
                continue
            assert leak is None, (stand, wanted, leak)
            short = brute.new_short_span(stand, [*stand, wanted], size)
            if outcome == "span":
                assert short is not None or timed, (stand, wanted)
                continue
            assert short is None, (stand, wanted, short)
            granted, stand = union.granted, [*stand, wanted]
    return outcomes


@pytest.mark.parametrize("minimum", [2, 3])
@pytest.mark.parametrize("timed", [False, True])
@pytest.mark.parametrize("bills", [False, True])
def test_random_rules_with_windows_are_judged_as_by_brute_force(minimum, timed, bills):
    outcomes = _judge_random(
        1000 * minimum + 2 * timed + bills, 30, meters=6, minimum=minimum, timed=timed, bills=bills
    )
    assert outcomes["grant"] > 10
    assert outcomes["group"] > 5


@pytest.mark.system
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("minimum", [2, 3, 4])
@pytest.mark.parametrize("timed", [False, True])
def test_random_rules_over_up_to_twelve_meters_are_judged_as_by_brute_force(minimum, timed, part):
    for block in range(3) if part is None else [part.randrange(3)]:
        _judge_random(minimum + 1000 * block, 100, meters=12, minimum=minimum, timed=timed, bills=True)


# The named cases

EVERYBODY_OF = {size: frozenset(range(size)) for size in (5, 6)}


@pytest.mark.parametrize(
    ("size", "stand", "wanted"),
    [
        (
            6,
            [brute.Sum(EVERYBODY_OF[6], 1, 0, 3), brute.Sum(frozenset({0, 2, 3, 4}), 2, 0, 3, billing=True)],
            brute.Sum(EVERYBODY_OF[6] - {0}, 2, 0, 4),
        ),
        (
            5,
            [brute.Sum(EVERYBODY_OF[5], 4, 2, billing=True), brute.Sum(EVERYBODY_OF[5], 4)],
            brute.Sum(EVERYBODY_OF[5] - {4}, 2, 2, 9),
        ),
    ],
)
def test_sums_that_give_away_a_meters_own_bill_and_nothing_else_are_granted(size, stand, wanted):
    """The bill is of other rounds than those in which the sums were looked at together."""
    granted, rules = Granted(Census.of(range(size))), policy(2, billing_period_rounds=2)
    for number, one in enumerate([*stand, wanted]):
        outcome, union = verdict(request_of(one, size, f"r{number}"), granted, rules)
        assert outcome == "grant"
        granted = union.granted
    assert brute.leaking_group([*stand, wanted], size, 2) is None


def test_two_rules_that_differ_by_one_meter_are_refused_with_both_named():
    granted = review(rule("all", range(40)), granted_of(), policy(2))
    with pytest.raises(RefusedError, match=r"singles out meter \(39\)") as refusal:
        review(rule("all but one", range(39)), granted, policy(2))
    assert refusal.value.because_of == ("all",)


def test_four_rules_that_together_give_meters_6_and_7_are_refused():
    rules = [rule(str(n), c, 8) for n, c in enumerate([range(1, 6), range(1, 4), range(4, 7), (6, 7)])]
    outcome = audit(rules, Census.of(range(8)), policy(2))
    assert outcome.granted == ("0", "1", "3")
    assert [(r.rule, r.because_of) for r in outcome.refused] == [("2", ("0", "1"))]
    outcome = audit(reversed(rules), Census.of(range(8)), policy(2))
    assert [(r.rule, set(r.because_of)) for r in outcome.refused] == [("0", {"1", "2"})]
    assert outcome.granted == ("3", "2", "1")


def test_a_difference_below_the_minimum_is_refused_and_at_the_minimum_granted():
    granted = review(rule("all", range(40)), granted_of(), policy(15))
    with pytest.raises(RefusedError, match="14 meters"):
        review(rule("most", range(26)), granted, policy(15))
    review(rule("fewer", range(25)), granted, policy(15))


def test_the_static_check_keeps_the_margin_of_the_coverage_floor():
    assert Policy().with_margin(15) == 19
    assert Policy(coverage_floor_fraction=0.75).with_margin(15) == 20
    with pytest.raises(RefusedError, match="18 meters that count, 19 are needed"):
        review(rule("small", range(18)), granted_of(), Policy())
    granted = review(rule("enough", range(19)), granted_of(), Policy())
    with pytest.raises(RefusedError):
        review(rule("37", range(37)), granted, Policy())
    review(rule("38", range(38)), granted, Policy())


@pytest.mark.parametrize(
    ("first", "second", "fine"), [(2, 3, False), (4, 6, False), (2, 4, True), (6, 2, True), (3, 3, True)]
)
def test_windows_of_one_cohort_may_not_cut_each_other(first, second, fine):
    granted = review(rule("a", range(40), window=first), granted_of(), policy())
    wanted = rule("b", range(40), window=second)
    if fine:
        review(wanted, granted, policy())
        return
    with pytest.raises(RefusedError, match=f"shorter than {min(first, second)} rounds") as refusal:
        review(wanted, granted, policy())
    assert refusal.value.because_of == ("a",)


def test_parts_at_shorter_windows_may_not_make_up_a_cohort_with_a_longer_one():
    granted = review(rule("all daily", range(40), window=4), granted_of(), policy())
    granted = review(rule("left", range(20)), granted, policy())
    with pytest.raises(RefusedError) as refusal:
        review(rule("right", range(20, 40)), granted, policy())
    assert set(refusal.value.because_of) == {"all daily", "left"}


def test_a_rule_that_the_granted_ones_already_determine_is_granted():
    granted = review(rule("left", range(20)), granted_of(), policy())
    granted = review(rule("right", range(20, 40)), granted, policy())
    granted = review(rule("all daily", range(40), window=4), granted, policy())
    review(rule("left again", range(20), window=2), granted, policy())


def test_a_meter_that_leaves_a_cohort_between_two_windows_is_not_determined():
    before = rule("before", range(40), window=4, until_round=40)
    granted = review(before, granted_of(), policy())
    review(rule("after", range(39), window=4, from_round=40), granted, policy())
    with pytest.raises(RefusedError):
        review(rule("overlapping", range(39), window=4, from_round=36), granted, policy())


def test_small_groups_are_told_apart_in_time_as_well():
    granted = review(rule("before", range(40), window=4), granted_of(), Policy())
    granted = withdraw(granted, "before", 42)
    assert granted.rules[0].until_round == 42
    review(rule("after", range(35), window=4, from_round=40), granted, Policy())


def test_a_withdrawn_rule_still_counts_for_what_it_released():
    granted = withdraw(review(rule("a", range(40)), granted_of(), policy()), "a", 5)
    with pytest.raises(RefusedError):
        review(rule("b", range(39)), granted, policy())
    assert withdraw(granted, "a", 0).rules == ()
    with pytest.raises(KeyError):
        withdraw(granted, "nobody", 0)


def test_a_consumer_that_owns_meters_counts_without_them():
    owned = {"utility": cohort(range(30), 40)}
    with pytest.raises(RefusedError, match="10 meters that count"):
        review(rule("all", range(40)), granted_of(), policy(15, owned=owned))
    review(rule("all", range(40), consumer="other"), granted_of(), policy(10, owned=owned))
    granted = review(rule("a", range(20, 40)), granted_of(), policy(5, owned=owned))
    with pytest.raises(RefusedError):  # the difference is five meters, of which four are its own
        review(rule("b", range(26, 39)), granted, policy(5, owned=owned))


def test_customer_classes_have_minima_of_their_own():
    minima = np.full(40, 15)
    minima[:10] = 4  # factories
    rules = policy(15, minimum_by_meter=minima)
    granted = review(rule("factories", range(5)), granted_of(), rules)
    granted = review(rule("more", range(10)), granted, rules)
    with pytest.raises(RefusedError, match="15"):
        review(rule("mixed", range(5, 15)), granted, rules)
    with pytest.raises(RefusedError):
        review(rule("three", range(7)), granted, rules)
    review(rule("homes", range(10, 40)), granted, rules)


def test_consumer_rights_are_checked():
    rights = {"utility": Right(cohort(range(20), 40), shortest_window_rounds=4)}
    rules = policy(rights=rights)
    review(rule("a", range(20), window=4), granted_of(), rules)
    for request, reason in [
        (rule("a", range(21), window=4), "no right to"),
        (rule("a", range(20), window=2), "4 rounds or more"),
        (rule("a", range(20), window=4, consumer="stranger"), "may not ask"),
    ]:
        with pytest.raises(RefusedError, match=reason):
            review(request, granted_of(), rules)


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (rule("a", range(40), window=0), "at least one round"),
        (rule("a", ()), "empty"),
        (rule("a", range(40), minimum_contributors=3), "below the policy's 15"),
        (rule("a", range(40), minimum_contributors=41), "41 are needed"),
        (rule("taken", range(40)), "is taken"),
        (rule("a", range(40), window=4, from_round=1, until_round=7), "before its first window"),
        (rule("a", range(40), window=2**40), "wrap around q"),
    ],
)
def test_unacceptable_requests_are_refused_with_the_reason(request_, reason):
    granted = granted_of(rule("taken", range(40)))
    with pytest.raises(RefusedError, match=reason):
        review(request_, granted, policy(15, modulus=2**61 - 1))


def test_an_unknown_meter_is_named():
    with pytest.raises(RefusedError, match="unknown meter m9"):
        Census.of(["m1", "m2"]).mask(["m1", "m9"])


# Bills


def billing_policy(**more):
    return policy(
        billing_period_rounds=4,
        suppliers=dict.fromkeys(range(40), "supplier"),
        consents=frozenset(range(40)),
        **more,
    )


def bill(name, meters, window=4, **more):
    return rule(name, meters, window=window, billing=True, consumer=more.pop("consumer", "supplier"), **more)


def test_a_bill_needs_its_period_its_supplier_and_consent():
    review(bill("ok", [1]), granted_of(), billing_policy())
    with pytest.raises(RefusedError, match="4 rounds or more"):
        review(bill("short", [1], window=2), granted_of(), billing_policy())
    with pytest.raises(RefusedError, match="not the supplier"):
        review(bill("foreign", [1], consumer="other"), granted_of(), billing_policy())
    with pytest.raises(RefusedError, match="consented"):
        review(bill("no", [1]), granted_of(), policy(billing_period_rounds=4, suppliers={1: "supplier"}))
    with pytest.raises(RefusedError, match="no bills"):
        review(bill("no", [1]), granted_of(), policy())


def test_bills_of_all_but_one_meter_of_a_cohort_are_refused_and_of_all_granted():
    granted = review(rule("all", range(40)), granted_of(), billing_policy())
    with pytest.raises(RefusedError, match=r"singles out meter \(39\)"):
        review(bill("bills", range(39)), granted, billing_policy())
    with pytest.raises(RefusedError):
        review_together([bill(f"b{n}", [n]) for n in range(39)], granted, billing_policy())
    after = review_together([bill(f"b{n}", [n]) for n in range(40)], granted, billing_policy())
    assert len(after.rules) == 41
    review(bill("bills", range(40)), granted, billing_policy())


def test_bills_beside_columns_that_are_finer_leave_no_single_round():
    granted = review(bill("bills", range(40)), granted_of(), billing_policy())
    granted = review(rule("columns", range(40)), granted, billing_policy())
    with pytest.raises(RefusedError):
        review(rule("columns less one", range(39)), granted, billing_policy())
    review(rule("billed differences", range(39), window=4), granted, billing_policy())


def test_bills_of_one_meter_may_not_cut_each_other():
    granted = review(bill("monthly", [1], window=4), granted_of(), billing_policy())
    review(bill("quarterly", [1], window=12), granted, billing_policy())
    with pytest.raises(RefusedError, match="bills of 4 and of 6"):
        review(bill("odd", [1], window=6), granted, billing_policy())


def refusal(request, granted, rules):
    with pytest.raises(RefusedError) as refused:
        review(request, granted, rules)
    return refused.value


def test_a_sum_refused_because_of_bills_names_them():
    """19 of 30 meters are needed, and the bills strike out 12 of them."""
    rules = billing_policy(minimum=19)
    granted = review(bill("bills", range(12)), granted_of(), rules)
    refused = refusal(rule("columns", range(30)), granted, rules)
    assert "singles out 18 meters" in refused.reason
    assert refused.because_of == ("bills",)


def test_bills_that_have_no_part_in_a_refusal_are_not_named():
    rules = billing_policy(minimum=15)
    granted = review(bill("struck out", range(4)), granted_of(), rules)
    granted = review(bill("elsewhere", range(35, 40)), granted, rules)
    granted = review(rule("most", range(35)), granted, rules)
    refused = refusal(rule("fewer", range(17)), granted, rules)  # of 17 meters with the bills 13 are left
    assert refused.because_of == ("struck out",)
    alone = refusal(rule("nearly as many", range(30)), granted, rules)  # leaves 5, whatever is billed
    assert alone.because_of == ("most",)


def test_the_last_bill_that_comes_one_by_one_names_the_bills_before():
    rules = billing_policy(minimum=15)
    granted = review(rule("all", range(40)), granted_of(), rules)
    for number in range(25):
        granted = review(bill(f"b{number}", [number]), granted, rules)
    refused = refusal(bill("b25", [25]), granted, rules)
    assert refused.because_of == ("all", *(f"b{number}" for number in range(25)))


def test_bills_under_which_the_audit_cannot_decide_are_named(monkeypatch):
    """Without the bills nothing is light enough to be looked for; with them the search gives up."""
    rules = billing_policy(minimum=15)
    granted = review(bill("bills", range(30)), granted_of(), rules)
    found = Group(classes=(), rules=(0,), proven=False)
    answers = iter([found, None])
    monkeypatch.setattr(groups, "smallest_group", lambda *_places, **_choices: next(answers))
    refused = refusal(rule("columns", range(40)), granted, rules)
    assert refused.reason.startswith("not shown that every combination")
    assert refused.because_of == ("bills",)
