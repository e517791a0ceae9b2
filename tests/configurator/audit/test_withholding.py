"""The dynamic check: whatever is lost, what is released never singles out too few meters (P17, P18, P19)."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest
from support import brute_force as brute

from configurator.audit.cohorts import Census
from configurator.audit.policy import Policy, Request
from configurator.audit.union import Granted
from configurator.audit.withholding import Release, withhold


def mask(meters, size):
    out = np.zeros(size, dtype=np.bool_)
    out[list(meters)] = True
    return out


def granted_of(size, **cohorts):
    rules = tuple(
        Request(name, "utility", mask(meters, size), window, billing=billing)
        for name, (meters, window, billing) in cohorts.items()
    )
    return Granted(Census.of(range(size)), rules)


def sums(meters, window=1):
    return (meters, window, False)


def texts(held):
    return {release: objection.text for release, objection in held.items()}


def test_a_difference_that_losses_shrink_is_withheld():
    granted = granted_of(40, all=sums(range(40)), most=sums(range(20)))
    policy = Policy(minimum_contributors=15, coverage_floor_fraction=0.6)
    both = [Release("all", 0), Release("most", 0)]
    assert withhold(both, [], {0: mask(range(40), 40)}, granted, policy) == {}
    lossy = {0: mask(range(34), 40)}
    assert set(withhold(both, [], lossy, granted, policy)) == {Release("most", 0)}
    held = withhold([Release("most", 0)], [Release("all", 0)], lossy, granted, policy)
    assert texts(held) == {Release("most", 0): "together with all it would single out too few meters"}


def test_minimum_and_coverage_are_those_of_the_included():
    granted = granted_of(40, all=sums(range(40), 2), few=sums(range(20), 2))
    policy = Policy(minimum_contributors=15, coverage_floor_fraction=0.8)
    included = {0: mask(range(40), 40), 1: mask(range(6, 40), 40)}
    held = withhold([Release("all", 0), Release("few", 0)], [], included, granted, policy)
    assert texts(held) == {Release("few", 0): "fewer than 15 meters that count are included in some round"}
    included = {0: mask(range(16, 40), 40), 1: mask(range(16, 40), 40)}
    held = withhold([Release("all", 0)], [], included, granted, policy)
    assert texts(held) == {Release("all", 0): "the coverage is below 0.8"}


def test_the_minimum_counts_distinct_meters_not_pairs():
    granted = granted_of(5, all=sums(range(5), 4))
    included = {at: mask(range(5), 5) for at in range(4)}
    assert withhold([Release("all", 0)], [], included, granted, Policy(minimum_contributors=15))


def test_a_window_with_one_round_left_is_withheld():
    granted = granted_of(20, all=sums(range(20), 4))
    included = {0: mask(range(20), 20)} | {at: mask((), 20) for at in range(1, 4)}
    assert withhold([Release("all", 0)], [], included, granted, Policy())


def test_a_bill_is_released_only_complete_or_settled():
    granted = granted_of(20, bills=(range(20), 2, True))
    whole = {0: mask(range(20), 20), 1: mask(range(20), 20)}
    partial = {0: mask(range(19), 20), 1: mask(range(20), 20)}
    bill = Release("bills", 0)
    assert withhold([bill], [], whole, granted, Policy()) == {}
    assert texts(withhold([bill], [], partial, granted, Policy())) == {bill: "a bill is released only complete"}
    assert withhold([bill], [], partial, granted, Policy(), settled={bill}) == {}


def test_one_bill_that_is_missing_withholds_those_that_would_give_it_away():
    size = 20
    bills = {f"bill{n}": ([n], 2, True) for n in range(size)}
    granted = granted_of(size, all=sums(range(size)), **bills)
    included = {0: mask(range(size), size), 1: mask(range(size - 1), size)}
    columns = [Release("all", 0), Release("all", 1)]
    policy = Policy(minimum_contributors=5, coverage_floor_fraction=0.8)
    held = withhold([Release(name, 0) for name in bills], columns, included, granted, policy)
    assert held[Release("bill19", 0)].text == "a bill is released only complete"
    assert len(held) >= 5
    everyone = {at: mask(range(size), size) for at in (0, 1)}
    assert withhold([Release(name, 0) for name in bills], columns, everyone, granted, policy) == {}


def _leaks(rules, releases, included, size, minimum):
    """By definition, over the pairs that are included."""
    rounds = sorted(included)
    column = {(m, t): at for at, (m, t) in enumerate(itertools.product(range(size), rounds)) if included[t][m]}
    rows, own = [], []
    for release in releases:
        rule = rules[release.rule]
        for members in [[m] for m in np.flatnonzero(rule.cohort)] if rule.billing else [np.flatnonzero(rule.cohort)]:
            row = [0] * (size * len(rounds))
            for m, t in itertools.product(
                members, range(release.first_round, release.first_round + rule.window_rounds)
            ):
                if (m, t) in column:
                    row[column[m, t]] = 1
            rows.append(row)
            own.append(set(members) if rule.billing else None)
    holders = [m for m in range(size) for _ in rounds]
    return brute.singled_out(rows, holders, own, size, minimum)


@pytest.mark.parametrize("bills", [False, True])
def test_whatever_is_lost_nothing_released_singles_out_too_few(bills):
    rnd = random.Random(7 + bills)
    released_in_all = held_in_all = 0
    for _ in range(400):
        size, rounds, minimum = rnd.randint(4, 7), 6, rnd.choice([2, 3])
        cohorts = {
            f"r{n}": sums([m for m in range(size) if rnd.random() < 0.8] or [0], rnd.choice([1, 2, 3]))
            for n in range(rnd.randint(1, 3))
        }
        if bills:
            cohorts |= {f"b{n}": ([n], 3, True) for n in range(size) if rnd.random() < 0.8}
        granted = granted_of(size, **cohorts)
        rules = {rule.name: rule for rule in granted.rules}
        policy = Policy(minimum_contributors=minimum, coverage_floor_fraction=0.3)
        included = {t: mask([m for m in range(size) if rnd.random() < 0.9], size) for t in range(rounds)}
        released = []
        for now in range(1, rounds + 1):
            known = {t: included[t] for t in range(now)}
            ending = [Release(name, now - r.window_rounds) for name, r in rules.items() if now % r.window_rounds == 0]
            held = withhold(ending, released, known, granted, policy)
            released += [candidate for candidate in ending if candidate not in held]
            held_in_all += len(held)
        assert _leaks(rules, released, included, size, minimum) is None
        released_in_all += len(released)
    assert released_in_all > 100
    assert held_in_all > 50


def test_windows_of_one_round_are_withheld_only_when_they_must_be():
    rnd = random.Random(9)
    for _ in range(150):
        size = rnd.randint(3, 7)
        cohorts = {f"r{n}": sums([m for m in range(size) if rnd.random() < 0.8] or [0]) for n in range(3)}
        granted = granted_of(size, **cohorts)
        rules = {rule.name: rule for rule in granted.rules}
        policy = Policy(minimum_contributors=2, coverage_floor_fraction=0.01)
        included = {0: mask([m for m in range(size) if rnd.random() < 0.9], size)}
        ending = [Release(name, 0) for name in rules]
        held = withhold(ending, [], included, granted, policy)
        out = [candidate for candidate in ending if candidate not in held]
        assert _leaks(rules, out, included, size, 2) is None
        if any(objection.text.startswith("together") for objection in held.values()):
            assert _leaks(rules, ending, included, size, 2) is not None, cohorts
