"""Searches for the cheapest campaign, on errors that are known."""

from __future__ import annotations

import itertools
import math
import random

import pytest

from grid_operator.market.campaign import Campaign, Offer, Shop
from grid_operator.market.errors import MarketError
from grid_operator.market.privacy import Attitude
from grid_operator.market.search import Search

HOME = Attitude()
OFFERS = tuple(Offer(eps, round(HOME.compensation(eps, 0.9), 2)) for eps in (0.01, 0.04, 0.16))


def shop(devices="abc", offers=OFFERS, homes=20, cost=1_000.0):
    return Shop(tuple(devices), offers, (HOME,) * homes, cost)


def test_what_a_campaign_is_expected_to_cost():
    found = shop().expected_cost(Campaign(frozenset("ab"), OFFERS[0]))
    assert found == pytest.approx(2_000 + OFFERS[0].compensation * 20 * 0.9, rel=1e-4)
    assert shop().expected_cost(Campaign()) == 0


def test_the_papers_greedy_takes_what_lowers_the_error_most_and_no_more_than_is_needed():
    gain = {"a": 3.0, "b": 2.0, "c": 1.0}

    def error(campaign):
        return 6.0 - sum(gain[device] for device in campaign.devices)

    found = Search(shop(offers=()), error, target=1.5, budget=10_000).printed()
    assert [sorted(step.devices) for step in found.steps] == [["a"], ["a", "b"]]
    assert (found.reached, found.cost, found.error) == (True, 2_000, 1.0)
    poor = Search(shop(offers=()), error, target=1.5, budget=1_999).printed()
    assert (poor.reached, sorted(poor.campaign.devices)) == (False, ["a"])


def test_greed_that_bought_too_much_gives_it_back():
    """b and c together reach the target; a is best alone, and needs both of them beside it."""
    errors = {"": 9, "a": 5, "b": 7, "c": 7, "ab": 4, "ac": 4, "bc": 2, "abc": 1}

    def error(campaign):
        return float(errors["".join(sorted(campaign.devices))])

    search = Search(shop(offers=()), error, target=2, budget=10_000)
    assert sorted(search.printed().campaign.devices) == ["a", "b", "c"]
    assert sorted(search.mended().campaign.devices) == ["b", "c"]
    assert sorted(search.exact().campaign.devices) == ["b", "c"]


def test_a_step_never_costs_more_than_a_device():
    dear = Offer(0.16, 5_000.0)
    found = Search(shop(offers=(dear,)), lambda c: 1.0 if c.offer else 5.0 - len(c.devices), 1.5, 1e9).printed()
    assert found.campaign.offer is None
    assert not found.reached
    mended = Search(shop(offers=(dear,)), lambda c: 1.0 if c.offer else 5.0 - len(c.devices), 1.5, 1e9).mended()
    assert mended.campaign == Campaign(offer=dear)


def brute_force(search):
    """The least cost of all that reach the target, by looking at every campaign."""
    every = [
        Campaign(frozenset(devices), offer)
        for size in range(len(search.shop.devices) + 1)
        for devices in itertools.combinations(search.shop.devices, size)
        for offer in (None, *search.shop.offers)
    ]
    return min((search.shop.expected_cost(each) for each in every if search.reached(each)), default=math.inf)


@pytest.mark.parametrize("seed", range(40))
def test_no_search_is_cheaper_than_the_exact_one_and_that_is_as_cheap_as_brute_force(seed):
    rng = random.Random(seed)
    gain = {name: rng.uniform(0.5, 0.9) for name in "abcde"}
    helps = {offer: rng.uniform(0.5, 0.95) for offer in OFFERS}

    def error(campaign):
        return math.prod(gain[device] for device in campaign.devices) * helps.get(campaign.offer, 1.0)

    search = Search(shop("abcde", cost=rng.uniform(200, 2_000)), error, rng.uniform(0.2, 0.7), 1e6)
    exact, mended, printed = search.exact(), search.mended(), search.printed()
    assert exact.cost == pytest.approx(brute_force(search))
    assert exact.reached
    assert mended.reached
    assert exact.cost <= mended.cost
    assert mended.cost <= printed.cost or not printed.reached, "34: no offer is to be had for what a device costs"


def test_what_cannot_be_reached_is_said_and_the_best_that_there_is_given():
    search = Search(shop(), lambda c: 10.0 - len(c.devices), target=1, budget=2_500)
    exact = search.exact()
    assert (exact.reached, exact.error, len(exact.campaign.devices)) == (False, 8.0, 2)
    assert search.evaluated <= 8 * 4


def test_a_question_that_makes_no_sense_is_refused():
    for wrong in ({"devices": "", "offers": ()}, {"devices": "aa"}, {"offers": OFFERS[:1] * 2}, {"cost": 0}):
        with pytest.raises(MarketError):
            shop(**wrong)
    for target, budget in ((0, 1), (1, 0), (math.nan, 1)):
        with pytest.raises(MarketError):
            Search(shop(), len, target, budget)
    with pytest.raises(MarketError, match="too long"):
        Search(shop(devices="abcdefghijklmnopqrst"), len, 1, 1).exact()
    for epsilon, compensation in ((0, 1), (1, -1), (math.nan, 1), (1, math.nan)):
        with pytest.raises(MarketError):
            Offer(epsilon, compensation)
